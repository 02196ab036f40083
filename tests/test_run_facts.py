"""What the comparison of two runs sees: every part of a checkpoint, and every note of a process."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import pytest
import test_r3gan
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from run_facts import LAST, NOTES, Notes, differences, notes, state
from toy_latents import make_trainer

from callbacks import BestCheckpoints, LastCheckpoint

PARTS = (
    "/state_dict/generator.",
    "/state_dict/ema_generator.",
    "/state_dict/discriminator.",
    "/state_dict/penalty_weight",
    "/state_dict/iteration",
    "/optimizer_states[0]/state/0/exp_avg",
    "/optimizer_states[1]/state/0/exp_avg",
    "/lr_schedulers[0]/last_epoch",
    "/loops/fit_loop/state_dict/combined_loader[0]/position",
    "/callbacks/BestCheckpoints",
    "/callbacks/EarlyStopping",
    "/recipe/latest/",
)
FACTS = {
    "batch",
    "draws of this process",
    "draws of all processes",
    "draws of layers",
    "draws of Python",
    "draws of NumPy",
    "networks",
    "optimisers",
}


def train(root: Path, *more: Callback, checkpoint: Path | None = None) -> None:
    """LiveBand in miniature, with everything that a checkpoint may hold: two epochs of four iterations."""
    lightning.seed_everything(0, verbose=False)
    module = test_r3gan.make_module()
    module.validation_step = lambda batch, batch_idx: module.log("val/score", module.penalty_weight)
    judges = [
        BestCheckpoints("val/score", "min", str(root / "checkpoints/best"), keep=2),
        EarlyStopping("val/score"),
        LastCheckpoint(str(root / "checkpoints"), 2),
    ]
    made = make_trainer(
        root, max_epochs=2, limit_val_batches=1, enable_checkpointing=True, callbacks=[*judges, Notes(), *more]
    )
    made.fit(module, test_r3gan.data(batches=4), ckpt_path=checkpoint)


class Killed(Callback):
    """Before the eighth iteration."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if int(pl_module.iteration) == 7:
            raise RuntimeError("killed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without a break."""
    root = tmp_path_factory.mktemp("run")
    train(root)
    return root


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run left that was killed after its sixth iteration's checkpoint."""
    root = tmp_path_factory.mktemp("killed")
    with pytest.raises(RuntimeError, match="killed"):
        train(root, Killed())
    return root.rename(root.with_name("saved"))


@pytest.fixture
def killed(saved: Path) -> Path:
    """The same in its own place, which checkpoints name."""
    root = saved.with_name("killed0")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(saved, root)
    return root


def go_on(root: Path, damage: Callable[[dict[str, Any]], None]) -> None:
    """From a checkpoint with a part that is not as it was."""
    checkpoint = torch.load(root / LAST, weights_only=True)
    damage(checkpoint)
    torch.save(checkpoint, root / LAST)
    (root / NOTES.format(0)).unlink()
    train(root, checkpoint=root / LAST)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Callable[[Any, Any], None], Any]]:
    """Path, what sets it in a copy, and value of every leaf."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        here = f"{path}/{name}" if isinstance(value, dict) else f"{path}[{name}]"
        if isinstance(item, (dict, list)) and item:
            for found, put, leaf in leaves(item, here):
                yield found, lambda top, new, put=put, name=name: put(top[name], new), leaf
        else:
            yield here, lambda top, new, name=name: top.__setitem__(name, new), item


def changed(leaf: Any) -> Any:
    """The smallest change of a kind."""
    if isinstance(leaf, torch.Tensor) and leaf.is_floating_point():
        last = leaf.flatten().clone()
        last[-1] = torch.nextafter(last[-1], torch.tensor(-torch.inf, dtype=last.dtype))
        return last.reshape(leaf.shape)
    if isinstance(leaf, float):
        return math.nextafter(leaf, -math.inf)
    return leaf + 1 if isinstance(leaf, (int, torch.Tensor)) else "something else"


@pytest.mark.filterwarnings("ignore")
def test_a_change_of_any_leaf_of_a_checkpoint_is_seen(run: Path) -> None:
    whole, seen = state(run), []
    other = copy.deepcopy(whole)
    for path, put, leaf in leaves(whole):
        put(other, changed(leaf))
        found = differences(whole, other)
        assert len(found) == 1
        assert found[0].startswith(f"{path}: ")
        put(other, leaf)
        seen.append(path)
    assert not differences(whole, other)
    for part in PARTS:
        assert any(path.startswith(part) for path in seen), part


def of_network(name: str) -> Callable[[dict[str, Any]], None]:
    def forget(checkpoint: dict[str, Any]) -> None:
        first = next(key for key in checkpoint["state_dict"] if key.startswith(name))
        checkpoint["state_dict"][first].zero_()

    return forget


def of_optimizer(number: int) -> Callable[[dict[str, Any]], None]:
    return lambda checkpoint: checkpoint["optimizer_states"][number]["state"][0]["exp_avg"].zero_()


def of_callback(name: str) -> Callable[[dict[str, Any]], None]:
    def forget(checkpoint: dict[str, Any]) -> None:
        del checkpoint["callbacks"][next(key for key in checkpoint["callbacks"] if key.startswith(name))]

    return forget


def of_position(checkpoint: dict[str, Any]) -> None:
    checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["position"] -= 1


FORGOTTEN = {
    "generator": of_network("generator."),
    "averaged generator": of_network("ema_generator."),
    "discriminator": of_network("discriminator."),
    "AdaGP's weight": of_network("penalty_weight"),
    "iteration": of_network("iteration"),
    "the generator's optimiser": of_optimizer(0),
    "the discriminator's optimiser": of_optimizer(1),
    "learning rate": lambda checkpoint: checkpoint["lr_schedulers"][0].update(last_epoch=0),
    "position in the data": of_position,
    "best checkpoints": of_callback("BestCheckpoints"),
    "early stopping": of_callback("EarlyStopping"),
}


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_forgets_nothing_is_equal(run: Path, killed: Path) -> None:
    go_on(killed, lambda checkpoint: None)
    assert not differences(state(run), state(killed))
    noted = notes(killed)
    assert list(noted) == [7, 8]
    assert not differences({iteration: notes(run)[iteration] for iteration in noted}, noted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", FORGOTTEN)
def test_a_run_that_forgets_a_part_is_not(part: str, run: Path, killed: Path) -> None:
    go_on(killed, FORGOTTEN[part])
    assert differences(state(run), state(killed))


@pytest.mark.filterwarnings("ignore")
def test_other_draws_after_a_break_are_seen(run: Path, killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_modules.training.draw_seed", lambda seed, iteration: 0)
    go_on(killed, lambda checkpoint: None)
    found = differences(notes(run)[8], notes(killed)[8])
    assert {path.split(":")[0] for path in found} >= {"/draws of this process", "/draws of all processes", "/networks"}


@pytest.mark.filterwarnings("ignore")
def test_every_fact_of_every_iteration_is_noted(run: Path) -> None:
    noted = notes(run)
    assert list(noted) == list(range(1, 9))
    assert all(facts.keys() == FACTS for facts in noted.values())
    for fact in ("draws of this process", "draws of layers", "networks", "optimisers"):
        assert len({facts[fact] for facts in noted.values()}) == 8, f"{fact} is another one in every iteration"


def test_an_iteration_that_was_another_one_the_second_time_is_refused(tmp_path: Path) -> None:
    lines = [json.dumps({"iteration": 1, "batch": batch}) for batch in ("a", "b")]
    (tmp_path / NOTES.format(0)).write_text("\n".join(lines))
    with pytest.raises(AssertionError, match="iteration 1 was another one"):
        notes(tmp_path)
