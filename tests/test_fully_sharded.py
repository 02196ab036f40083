"""LMDM's fine-tune in shares: two processes do what they do under DDP, hold half as much, and save what one would save.

The shipped config with its overlay, the bundled codec, latents of real songs, gloo.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import REPOSITORY
from killed_runs import CONTINUE, Run, between_checkpoints, kill_at
from run_facts import state
from test_resume import CASES, Bench, require_same_run
from test_two_processes import BASE, FORKED, Command, Runs, console, require_equal
from torch import Tensor

from benchmarks.strategy_memory import CONFIG as PAPER
from benchmarks.strategy_memory import STAND_INS, as_markdown, built, held, of_strategies, share, stepped
from lightning_modules.trainer_options import require_sound
from livejam.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = "lmdm/blockcausal_pocket"
CLOSE = 1e-6
"""Largest difference, relative to the norm: two processes add up in one order only, but the norm that clips differs."""

OVERLAY = ("--config", "configs/overlays/fsdp.yaml", "--trainer.precision", "32-true")
SHORT = {"trainer.limit_val_batches": "0", "data.init_args.batches_per_epoch": "3"}


@pytest.fixture(scope="module")
def runs(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(rendered_songs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def probes(root: Path) -> dict[str, Any]:
    """Callbacks that keep gradients and bytes beside the checkpoint."""
    checkpoint = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}
    checkpoint |= {"init_args": {"dirpath": str(root / "checkpoints"), "filename": "last"}}
    files = {"KeepGradients": "gradients.pt", "KeepBytes": "bytes.json"}
    kept = [{"class_path": f"gradient_probe.{n}", "init_args": {"path": str(root / f)}} for n, f in files.items()]
    return {"trainer": {"callbacks": [checkpoint, *kept]}}


def fitted(name: str, runs: Runs, command: Command, told: dict[str, Any], *words: str) -> dict[str, Any]:
    """The checkpoint of a short run in two processes."""
    path = runs.root(name) / "told.yaml"
    path.write_text(yaml.safe_dump(told), encoding="utf-8")
    status, err = command("fit", *runs.words(name, CONFIG, **SHORT), *words, "--config", str(path))
    assert status == 0, err
    return torch.load(runs.root(name) / "checkpoints/last.ckpt", weights_only=True)


def require_close(one: dict[str, Tensor], two: dict[str, Tensor], within: float = CLOSE) -> None:
    """The same names and shapes; equal as one vector: a bias before a softmax moves by nothing but noise."""
    assert {name: value.shape for name, value in one.items()} == {name: value.shape for name, value in two.items()}
    first, second = (torch.cat([value.double().flatten() for value in tensors.values()]) for tensors in (one, two))
    assert first.norm() > 0
    assert (first - second).norm() <= within * first.norm()


def require_same_state(one: dict[str, Any], two: dict[str, Any], within: float = CLOSE) -> None:
    """Weights, average, optimiser, schedule and position."""
    for network in ("generator.", "ema_generator."):
        weights = ({k: v for k, v in c["state_dict"].items() if k.startswith(network)} for c in (one, two))
        require_close(*weights)
    for moment in ("exp_avg", "exp_avg_sq"):
        states = (c["optimizer_states"][0]["state"] for c in (one, two))
        require_close(*({str(n): kept[moment] for n, kept in state.items()} for state in states), within)
    assert list(one["state_dict"]) == list(two["state_dict"])
    for part in ("epoch", "global_step", "lr_schedulers"):
        assert one[part] == two[part]
    assert one["optimizer_states"][0]["param_groups"] == two["optimizer_states"][0]["param_groups"]


def require_same_gradients(one: str, two: str, runs: Runs) -> None:
    """Of every step."""
    first, second = (torch.load(runs.root(name) / "gradients.pt", weights_only=True) for name in (one, two))
    assert len(first) == len(second) == 3
    for step in zip(first, second, strict=True):
        require_close(*step)


def test_shares_train_as_whole_networks_do(runs: Runs, lightning_command: Command) -> None:
    """Gradients, weights, average and optimiser; and what a process holds is what the benchmark computes."""
    whole = fitted("whole", runs, lightning_command, probes(runs.root("whole")), *FORKED)
    told = probes(runs.root("shares"))
    told["trainer"] |= {"devices": 2, "strategy": {"class_path": "gradient_probe.Forked"}}
    shares = fitted("shares", runs, lightning_command, told, *OVERLAY)
    require_same_gradients("whole", "shares", runs)
    require_same_state(whole, shares)
    recipe = built(f"configs/{CONFIG}.yaml", {"optimizer.init_args.fused": "false"}, None)
    parts = recipe.generator, recipe.ema_generator, stepped(recipe)
    assert json.loads((runs.root("whole") / "bytes.json").read_text()) == held(*parts)
    assert json.loads((runs.root("shares") / "bytes.json").read_text()) == held(*parts, share(2))


@pytest.mark.slow
def test_the_page_has_what_the_benchmark_computes() -> None:
    assert as_markdown(of_strategies(PAPER, STAND_INS)) in (REPOSITORY / "docs/gpu.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_low_rank_updates_train_in_shares(runs: Runs, lightning_command: Command) -> None:
    lora = ("--config", "configs/overlays/lora.yaml", BASE, str(runs.checkpoint("lmdm/base_pocket", lightning_command)))
    whole = fitted("whole, low-rank", runs, lightning_command, probes(runs.root("whole, low-rank")), *lora, *FORKED)
    told = probes(runs.root("shares, low-rank"))
    told["trainer"] |= {"devices": 2, "strategy": {"class_path": "gradient_probe.Forked"}}
    shares = fitted("shares, low-rank", runs, lightning_command, told, *lora, *OVERLAY)
    require_same_gradients("whole, low-rank", "shares, low-rank", runs)
    require_same_state(whole, shares)


@pytest.fixture(scope="module")
def bench(runs: Runs) -> Bench:
    return Bench(runs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [("FlowMatching", "FlowMatching in shares"), ("FlowMatching in shares", "FlowMatching")]
)
def test_a_run_goes_on_with_and_without_shares(
    before: str, after: str, bench: Bench, lightning_command: Command
) -> None:
    """Killed under one strategy and continued under the other, it is what it would have been without a break."""
    whole = bench.whole("FlowMatching", 2, lightning_command)
    broken = bench.run(CASES[before], f"{before}, then the other", 2, lightning_command)
    kill_at(broken, between_checkpoints(0, 1))
    words = bench.run(CASES[after], f"{after}, for its words", 2, lightning_command).words
    replace(broken, words=words).finish(*CONTINUE)
    require_same_state(state(whole.root), state(broken.root), within=1e-5)


@pytest.mark.slow
def test_a_signal_stops_shares_where_nothing_is_lost(bench: Bench, lightning_command: Command) -> None:
    whole = bench.whole("FlowMatching in shares", 2, lightning_command)
    stopped = bench.run(CASES["FlowMatching in shares"], "stopped shares", 2, lightning_command)

    def stop(run: Run, process: subprocess.Popen[bytes]) -> None:
        between_checkpoints(0, 1)(run, process)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM, run.said()

    kill_at(stopped, stop)
    assert (stopped.root / "interrupted.ckpt").is_file()
    stopped.finish(*CONTINUE)
    require_same_run(whole, stopped)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_process_tests_and_plays_what_shares_have_saved(
    bench: Bench, runs: Runs, lightning_command: Command, tmp_path: Path
) -> None:
    """As two with shares do, of which one has an item less, or none."""
    trained = bench.whole("FlowMatching in shares", 2, lightning_command).last
    for items in ("3", "1"):
        tables = []
        for name, strategy in (("one", ()), ("two", (*OVERLAY, "--trainer.devices", "2"))):
            sizes = {"data.init_args.eval_seconds": "8", "data.init_args.test_items": items}
            console("test", *runs.words(f"{name} {items}", CONFIG, **sizes), "--ckpt_path", trained, *strategy)
            tables.append(json.loads((runs.root(f"{name} {items}") / "results.json").read_text()))
        require_equal(*tables)
    sizes = {"data.init_args.eval_seconds": "8", "data.init_args.test_items": "3"}
    heard = runs.words("heard", CONFIG, **sizes)
    console("predict", *heard, "--ckpt_path", trained, *OVERLAY, "--trainer.devices", "2")
    assert next(runs.root("heard").rglob("*.wav"), None)
    mix = next(runs.songs.rglob("mix.flac"))
    command = ["play", "--checkpoint", trained, "--mix", mix, "--instrument", "drums", "--out", tmp_path / "played"]
    done = subprocess.run([Path(sys.executable).with_name("livejam"), *command], cwd=REPOSITORY, check=False)
    assert done.returncode == 0
    assert (tmp_path / "played/accompaniment.wav").is_file()


def test_a_recipe_that_cannot_be_shared_is_refused(tmp_path: Path, lightning_command: Command) -> None:
    words = ("--config", "configs/liveband/pocket.yaml", "--config", "configs/overlays/fsdp.yaml")
    root = ("--trainer.default_root_dir", str(tmp_path), "--trainer.accelerator", "cpu")
    status, err = lightning_command("fit", *words, *root)
    assert status == 2
    assert "not R3GAN: leave trainer.strategy out" in err.splitlines()[-1]


OURS = {"class_path": "lightning_modules.FullyShardedStrategy", "init_args": {}}
THEIRS = {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy", "init_args": {}}


@pytest.mark.parametrize(
    ("strategy", "precision", "says"),
    [
        ("fsdp", "32-true", "--config configs/overlays/fsdp.yaml spreads"),
        (THEIRS, "32-true", "--config configs/overlays/fsdp.yaml spreads"),
        (OURS, "16-mixed", "set it to bf16-mixed"),
    ],
)
def test_strategies_that_would_fail_are_refused(strategy: Any, precision: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        require_sound({"trainer": {"strategy": strategy, "precision": precision}})


def test_other_strategies_are_not() -> None:
    for strategy, precision in (("ddp", "16-mixed"), ("auto", "16-mixed"), (OURS, "bf16-mixed")):
        require_sound({"trainer": {"strategy": strategy, "precision": precision}})
