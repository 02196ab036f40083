"""Every recipe in two processes, as shipped: its pocket config, the bundled codec, real songs, the real command.

Two iterations, a validation of fewer items than there are processes, and a checkpoint. Sizes alone are overridden.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import REPOSITORY
from killed_runs import Run, raise_on
from run_facts import trace

from datamodules.local_bank import LatentBank
from livejam.codecs import load_codec
from metrics.anchor_rows import ANCHORS, BESIDE

Command = Callable[..., tuple[int, str]]

FORKED = ("--trainer.devices", "2", "--trainer.strategy", "ddp_fork_find_unused_parameters_true")
"""Two processes without the start of a second Python; otherwise what `--trainer.devices 2` stands for."""

BASE = "--model.init_args.base_checkpoint"
STARTS = {
    "lmdm/blockcausal_pocket": {BASE: "lmdm/base_pocket"},
    "lmdm/encdec_pocket": {BASE: "lmdm/base_pocket"},
    "lmdm/outpainting_pocket": {BASE: "lmdm/base_pocket"},
    "lmdm/arc_forcing_discriminator_warmup_pocket": {BASE: "lmdm/base_pocket"},
    "lmdm/arc_forcing_pocket": {
        BASE: "lmdm/blockcausal_pocket",
        "--model.init_args.discriminator_checkpoint": "lmdm/arc_forcing_discriminator_warmup_pocket",
    },
    "lookahead/consistency_pocket": {"--model.init_args.teacher_checkpoint": "lookahead/pocket"},
}
"""Config → option → the config whose checkpoint it takes."""

ACCOMPANISTS = ["liveband/pocket", "lmdm/base_pocket", "lookahead/pocket", *STARTS]

SAME_RECIPE = {"lmdm/encdec_pocket", "lmdm/outpainting_pocket"}
"""Train as blockcausal_pocket does, with another context mode."""

SMALL = {
    "trainer.accelerator": "cpu",
    "trainer.max_epochs": "1",
    "trainer.check_val_every_n_epoch": "1",
    "trainer.enable_model_summary": "false",
    "data.init_args.render_if_missing": "null",
    "data.init_args.batch_size": "2",
    "data.init_args.batches_per_epoch": "2",
    "data.init_args.eval_seconds": "4",
    "data.init_args.eval_items": "1",
    "data.init_args.test_items": "3",
    "data.init_args.eval_batch_size": "1",
    "data.init_args.bank_workers": "0",
}


class Runs:
    """What was trained already, in a folder of its own each; songs, banks and anchors are everybody's.

    Args:
        songs: the data set.
        folder: holds all runs.
    """

    def __init__(self, songs: Path, folder: Path) -> None:
        self.songs, self.folder = songs, folder

    def root(self, name: str) -> Path:
        """The run's folder."""
        root = self.folder / name
        if not root.is_dir():
            root.mkdir(parents=True)
            (self.folder / "anchors").mkdir(exist_ok=True)
            (root / "cache").symlink_to(self.folder / "anchors")
        return root

    def words(self, name: str, config: str, **sizes: str) -> list[str]:
        """Config, root and sizes of a run of an accompanist."""
        options = {
            "trainer.default_root_dir": str(self.root(name)),
            "data.init_args.root": str(self.songs),
            "data.init_args.cache_root": str(self.folder / "data"),
            **SMALL,
            **sizes,
        }
        return ["--config", f"configs/{config}.yaml", *(word for key, v in options.items() for word in (f"--{key}", v))]

    def checkpoint(self, config: str, lightning_command: Command) -> Path:
        """The checkpoint of a config after two iterations in two processes, with all that it starts from."""
        path = self.root(config) / "checkpoints/last.ckpt"
        if not path.is_file():
            starts = STARTS.get(config, {})
            options = [w for key, base in starts.items() for w in (key, self.checkpoint(base, lightning_command))]
            status, err = lightning_command("fit", *self.words(config, config), *options, *FORKED)
            assert status == 0, err
        return path


@pytest.fixture(scope="module")
def runs(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(rendered_songs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def require_trained(root: Path, checkpoint: Path) -> None:
    """Two iterations; a validation that measured its one item, the item's partner and the other anchors."""
    assert int(torch.load(checkpoint, weights_only=True)["state_dict"]["iteration"]) == 2
    with (root / "metrics.csv").open(newline="") as file:
        tags = {line["tag"]: float(line["value"]) for line in csv.DictReader(file)}
    assert tags["val/loudness_db/count"] == 1
    assert {"val/fad/log_mel", "anchor/random_pairing/cocola/full", "anchor/ground_truth/onset_ratio"} <= tags.keys()
    rows = {folder.name for folder in (root / "tensorboard").iterdir() if folder.is_dir()}
    assert rows - BESIDE.keys() == {"model", *ANCHORS}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "config", [pytest.param(name, marks=[pytest.mark.slow] * (name in SAME_RECIPE)) for name in ACCOMPANISTS]
)
def test_accompanists_train_validate_and_save(config: str, runs: Runs, lightning_command: Command) -> None:
    require_trained(runs.root(config), runs.checkpoint(config, lightning_command))


def console(*words: str | Path) -> None:
    """Run `lightning` as a user does: a new process, which starts the others itself."""
    script = Path(sys.executable).with_name("lightning")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([script, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


def test_quickstart_needs_nothing_but_a_number_of_devices(runs: Runs) -> None:
    """The strategy that Lightning chooses bears networks that take turns."""
    console("fit", *runs.words("quickstart", "quickstart"), "--trainer.devices", "2")
    require_trained(runs.root("quickstart"), runs.root("quickstart") / "checkpoints/last.ckpt")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("items", [3, 1])
def test_a_test_gives_the_same_table(items: int, runs: Runs, lightning_command: Command) -> None:
    """In batches of one: two items for the first process, one and a repeated one for the second; or one and none."""
    checkpoint, tables, sounds = runs.checkpoint("liveband/pocket", lightning_command), [], []
    sizes = {"data.init_args.eval_seconds": "8", "data.init_args.test_items": str(items)}
    for name, processes in ((f"one {items}", ()), (f"two {items}", FORKED)):
        words = runs.words(name, "liveband/pocket", **sizes)
        (runs.root(name) / "cache").unlink()  # each computes its own anchors
        status, err = lightning_command("test", *words, "--ckpt_path", checkpoint, *processes)
        assert status == 0, err
        tables.append(json.loads((runs.root(name) / "results.json").read_text()))
        sounds.append({path.name: path.read_bytes() for path in (runs.root(name) / "audio").iterdir()})
    assert len(sounds[0]) == items * 6
    assert sounds[0] == sounds[1]
    assert tables[0]["random_pairing"]["loudness_db"]["count"] == items
    require_equal(*tables)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_no_process_of_a_test_waits_for_one_that_raised(rank: int, runs: Runs, lightning_command: Command) -> None:
    root, checkpoint = runs.root(f"raised {rank}"), runs.checkpoint("liveband/pocket", lightning_command)
    words = [*runs.words(root.name, "liveband/pocket"), "--ckpt_path", str(checkpoint)]
    kept = [{"class_path": f"callbacks.{name}"} for name in ("FADMonitor", "ResultsTable")]
    run = Run(root, words, processes=2, overlay={"trainer": {"callbacks": kept}}, subcommand="test")
    assert raise_on(run, rank, batch=0, stage="test") < 60


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_no_process_of_a_validation_waits_for_one_that_raised(rank: int, runs: Runs) -> None:
    """The validation of a training, whose metrics the processes would gather after it."""
    root = runs.root(f"raised in a validation {rank}")
    kept = [{"class_path": f"callbacks.{name}"} for name in ("FADMonitor", "InterruptCheckpoint")]
    run = Run(root, runs.words(root.name, "liveband/pocket"), processes=2, overlay={"trainer": {"callbacks": kept}})
    assert raise_on(run, rank, batch=0, stage="validate") < 60


def require_equal(one: Any, two: Any) -> None:
    """Equal but for the order of sums."""
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for name in one:
            require_equal(one[name], two[name])
    else:
        assert two == pytest.approx(one, rel=1e-9, abs=1e-12) if isinstance(one, float) else two == one


CODEC = {
    "trainer.accelerator": "cpu",
    "trainer.max_steps": "2",
    "trainer.limit_train_batches": "2",
    "trainer.val_check_interval": "2",
    "trainer.enable_model_summary": "false",
    "trainer.log_every_n_steps": "1",
    "model.init_args.code_frames": "200",
    "model.init_args.magnitude_steps": "1",
    "data.init_args.batch_size": "2",
    "data.init_args.validation_crops": "3",
    "data.init_args.workers": "1",
}


def codec_words(name: str, overlay: str | None, runs: Runs) -> list[str]:
    """A run of the codec's recipe."""
    root = runs.root(name)
    sizes = {"trainer.default_root_dir": str(root), "data.init_args.root": str(runs.songs)}
    sizes |= {
        "data.init_args.cache": str(runs.folder / "decoded"),
        "model.init_args.export_path": str(root / "codec.safetensors"),
    }
    words = ["--config", "configs/codec/pocket.yaml"]
    if overlay is not None:
        words += ["--config", f"configs/overlays/{overlay}.yaml"]
        sizes |= {"model.init_args.adversary.init_args.start_iteration": "1", "trainer.max_steps": "3"}
    return words + [word for key, value in (CODEC | sizes).items() for word in (f"--{key}", value)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("overlay", [None, "codec_adversary"])
def test_codec(overlay: str | None, runs: Runs, lightning_command: Command) -> None:
    """The second process hears other crops, and the three held-out ones count once each."""
    name = f"codec/{overlay}"
    status, err = lightning_command("fit", *codec_words(name, overlay, runs), *FORKED)
    assert status == 0, err
    assert load_codec(runs.root(name) / "codec.safetensors").spec.latent_channels == 96


def cocola_words(name: str, runs: Runs, **more: str) -> list[str]:
    """A run of COCOLA's recipe."""
    sizes = {"data.init_args.splits": "null", "trainer.max_steps": "2", "trainer.val_check_interval": "2"}
    sizes |= {"data.init_args.eval_seconds": "7", "data.init_args.min_active_ratio": "0.1"}
    sizes |= {"model.init_args.export_path": str(runs.root(name) / "cocola.safetensors")}
    return runs.words(name, "cocola/pocket", **sizes, **more)


@pytest.mark.filterwarnings("ignore")
def test_cocola(runs: Runs, lightning_command: Command) -> None:
    status, err = lightning_command("fit", *cocola_words("cocola", runs), *FORKED)
    assert status == 0, err
    assert (runs.root("cocola") / "cocola.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("recipe", ["codec", "cocola"])
def test_a_validation_gives_the_same_numbers(recipe: str, runs: Runs, lightning_command: Command) -> None:
    """Three batches, of which one process has two; what accompanists measure is in the table of a test."""
    found = []
    for name, processes in ((f"{recipe} in one", ()), (f"{recipe} in two", FORKED)):
        if recipe == "codec":
            words = [*codec_words(name, None, runs), "--data.init_args.batch_size", "1"]
            words += ["--model.init_args.initial_weights", "pocket"]
        else:
            words = cocola_words(
                name, runs, **{"data.init_args.eval_items": "5", "data.init_args.eval_batch_size": "2"}
            )
        status, err = lightning_command("validate", *words, *processes)
        assert status == 0, err
        found.append({tag: list(points.values()) for tag, points in trace(runs.root(name)).items()})
    assert {"codec": "model:val/loss", "cocola": "model:val/auc_foreign"}[recipe] in found[0]
    assert found[0].keys() == found[1].keys()
    for tag, values in found[0].items():
        assert found[1][tag] == pytest.approx(values, rel=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_bank(runs: Runs, lightning_command: Command) -> None:
    """One song for two processes."""
    bank = runs.folder / "bank"
    options = {"root": runs.songs, "cache_root": runs.folder / "data", "bank_root": bank, "num_workers": 0}
    words = [word for key, value in options.items() for word in (f"--data.init_args.{key}", value)]
    words += ["--data.init_args.render_if_missing", "null", "--trainer.default_root_dir", runs.root("bank")]
    status, err = lightning_command("predict", "--config", "configs/bank/pocket.yaml", *words, *FORKED)
    assert status == 0, err
    assert len(LatentBank(bank)) == 1
