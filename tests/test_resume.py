"""Every recipe: killed twice and continued with `--ckpt_path last`, it equals a run without a break.

Sizes alone are overridden: the pocket configs, the bundled codec, real songs, the real command in processes of its own.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from commands import REPOSITORY
from killed_runs import (
    CONTINUE,
    Run,
    between_checkpoints,
    fill_disk,
    kill_at,
    kill_one,
    kill_while_saving,
    raise_on,
    small_disk,
)
from object_store import copied_to_s3, s3_server
from run_facts import NOTES, best, differences, notes, numbers, state, trace
from test_two_processes import CODEC, SMALL, STARTS, Command, Runs

pytestmark = [pytest.mark.resume, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Case:
    """A recipe with its shipped config.

    Args:
        config: name of the config.
        overlays: configs on top of it.
        options: what makes it short.
        metric: what the best checkpoints and early stopping look at.
    """

    config: str
    options: dict[str, str]
    metric: str = "val/fad/log_mel"
    overlays: tuple[str, ...] = ()
    monitors: tuple[str, ...] = ("callbacks.FADMonitor",)

    def callbacks(self, root: Path) -> list[dict[str, Any]]:
        """The shipped ones, with checkpoints more often than once an epoch, the best ones, and early stopping."""
        folder, judged = str(root / "checkpoints"), {"mode": "min"}
        stopper = "lightning.pytorch.callbacks.EarlyStopping"
        return [
            {"class_path": "callbacks.TrainingProgress"},
            {"class_path": "callbacks.TrainingSpeed"},
            {"class_path": "callbacks.LastCheckpoint", "init_args": {"folder": folder, "every_n_iterations": EVERY}},
            {"class_path": "callbacks.InterruptCheckpoint"},
            *({"class_path": monitor} for monitor in self.monitors),
            {
                "class_path": "callbacks.BestCheckpoints",
                "init_args": {**judged, "metric": self.metric, "folder": f"{folder}/best", "keep": 2},
            },
            {"class_path": stopper, "init_args": {**judged, "monitor": self.metric, "patience": 99}},
            {"class_path": "run_facts.Notes"},
        ]


ITERATIONS, EVERY = 12, 2
"""Of a whole run, and between two checkpoints; an epoch, and a validation, is 4 iterations."""

EPOCHS = {
    **SMALL,
    "trainer.max_epochs": "3",
    "trainer.log_every_n_steps": "1",
    "data.init_args.batches_per_epoch": "4",
    "data.init_args.num_workers": "0",
}
CODEC_SIZES = {
    **CODEC,
    "trainer.max_steps": "12",
    "trainer.limit_train_batches": "4",
    "trainer.val_check_interval": "4",
}
COCOLA = {
    **EPOCHS,
    "trainer.max_steps": "12",
    "trainer.val_check_interval": "4",
    "data.init_args.splits": "null",
    "data.init_args.eval_seconds": "7",
    "data.init_args.min_active_ratio": "0.1",
}
CASES = {
    "R3GAN": Case("liveband/pocket", {**EPOCHS, "data.init_args.num_workers": "2"}),
    "FlowMatching": Case("lmdm/blockcausal_pocket", EPOCHS),
    "FlowMatching in shares": Case(
        "lmdm/blockcausal_pocket", {**EPOCHS, "trainer.precision": "32-true"}, overlays=("fsdp",)
    ),
    "discriminator warm-up": Case("lmdm/arc_forcing_discriminator_warmup_pocket", EPOCHS),
    "ARCForcing": Case("lmdm/arc_forcing_pocket", EPOCHS),
    "ConsistencyDistillation": Case("lookahead/consistency_pocket", EPOCHS),
    "CocolaTraining": Case("cocola/pocket", COCOLA, metric="val/auc", monitors=()),
    "CodecTraining": Case("codec/pocket", CODEC_SIZES, metric="val/loss", monitors=()),
    "CodecTraining with adversary": Case(
        "codec/pocket",
        {**CODEC_SIZES, "trainer.max_steps": "21", "model.init_args.adversary.init_args.start_iteration": "3"},
        metric="val/loss",
        monitors=(),
        overlays=("codec_adversary",),
    ),
}


class Bench:
    """Runs of all cases on the same songs, in folders of their own.

    Args:
        trained: the networks that recipes start from.
        command: the `lightning` command in this process, to train them.
    """

    def __init__(self, trained: Runs) -> None:
        self.trained = trained
        self.wholes: dict[tuple[str, int], Run] = {}

    def run(self, case: Case, name: str, processes: int, command: Command) -> Run:
        """A run that has not begun."""
        root, shared = self.trained.folder / name, self.trained.folder
        words = ["--config", f"configs/{case.config}.yaml"]
        words += [word for overlay in case.overlays for word in ("--config", f"configs/overlays/{overlay}.yaml")]
        options = {**case.options, "data.init_args.root": str(self.trained.songs)}
        if case.config.startswith("codec/"):
            options["data.init_args.cache"] = str(shared / "decoded")
        else:
            options["data.init_args.cache_root"] = str(shared / "data")
        if case.config.startswith(("codec/", "cocola/")):
            options["model.init_args.export_path"] = str(root / "exported.safetensors")
        words += [word for key, value in options.items() for word in (f"--{key}", value)]
        for option, start in STARTS.get(case.config, {}).items():
            words += [option, str(self.trained.checkpoint(start, command))]
        root.mkdir(parents=True, exist_ok=True)
        (shared / "anchors").mkdir(exist_ok=True)
        (root / "cache").symlink_to(shared / "anchors")
        return Run(root, words, processes, {"trainer": {"callbacks": case.callbacks(root)}})

    def whole(self, name: str, processes: int, command: Command) -> Run:
        """The run without a break."""
        key = name, processes
        if key not in self.wholes:
            run = self.run(CASES[name], f"{name} whole {processes}", processes, command)
            run.finish()
            self.wholes[key] = run
        return self.wholes[key]


def grouped(name: str) -> Any:
    """All tests of a case run in one process, which trains once without a break."""
    return pytest.param(name, marks=pytest.mark.xdist_group(name))


@pytest.fixture(scope="module")
def bench(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(Runs(rendered_songs, tmp_path_factory.mktemp("runs")))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("name", [grouped(name) for name in CASES])
def test_killed_twice_and_continued_equals_a_run_without_a_break(
    name: str, processes: int, bench: Bench, lightning_command: Command
) -> None:
    """Once at a random moment, once while a checkpoint is written."""
    broken = bench.run(CASES[name], f"{name} broken {processes}", processes, lightning_command)
    kill_at(broken, between_checkpoints(zlib.crc32(f"{name}{processes}".encode()), saves=3))
    kill_while_saving(broken)
    broken.finish(*CONTINUE)
    require_same_run(bench.whole(name, processes, lightning_command), broken)


def require_same_run(whole: Run, broken: Run) -> None:
    """The last and the best checkpoints, the curves, and what every process heard, drew and had in every iteration."""
    for facts in (state, best, trace):
        assert facts(whole.root)
        assert not differences(facts(whole.root), facts(broken.root))
    assert numbers(whole.root) == numbers(broken.root)
    for process in range(whole.processes):
        assert list(notes(whole.root, process)) == list(range(1, ITERATIONS + 1))
        assert not differences(notes(whole.root, process), notes(broken.root, process))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
@pytest.mark.parametrize("name", [grouped("R3GAN"), grouped("CodecTraining")])
def test_the_number_of_processes_may_change(
    name: str, before: int, after: int, bench: Bench, lightning_command: Command
) -> None:
    """State and position go on, and one line says that the rest is drawn anew."""
    whole = bench.whole(name, before, lightning_command)
    broken = bench.run(CASES[name], f"{name} from {before} to {after}", before, lightning_command)
    kill_at(broken, between_checkpoints(0, 1))
    heard = taken_notes(broken, before)[0]
    broken = replace(broken, processes=after)
    broken.finish(*CONTINUE)
    assert broken.said().count(f"trained in {before} and goes on in {after} processes") == 1
    first, second = state(whole.root), state(broken.root)
    for part in ("epoch", "global_step", "lr_schedulers"):
        assert not differences(first[part], second[part])
    assert differences(first["state_dict"], second["state_dict"])
    later = taken_notes(broken, after)
    assert of("batch", {**heard, **later[0]}) == of("batch", notes(whole.root)), "the first process hears the same"
    if after == 2:
        assert of("networks", later[0]) == of("networks", later[1])
        assert not {*of("batch", later[0]).values()} & {*of("batch", later[1]).values()}


def taken_notes(run: Run, processes: int) -> list[dict[int, dict[str, str]]]:
    """Those of every process, which then begin anew."""
    found = [notes(run.root, process) for process in range(processes)]
    for path in run.root.glob(NOTES.format("*")):
        path.unlink()
    return found


def of(fact: str, noted: dict[int, dict[str, str]]) -> dict[int, str]:
    """One fact of every iteration."""
    return {iteration: facts[fact] for iteration, facts in noted.items()}


@pytest.mark.xdist_group("R3GAN")
def test_a_full_disk_leaves_the_last_good_checkpoint(bench: Bench, lightning_command: Command) -> None:
    """The run ends with one sentence, and goes on when there is room."""
    name = "R3GAN full disk"
    folder = bench.trained.folder / name
    folder.mkdir()
    with small_disk(folder, "1g"):
        broken = bench.run(CASES["R3GAN"], name, 1, lightning_command)
        filler = fill_disk(broken)
        assert "the disk is full: this checkpoint is not written, the one before it is kept" in broken.said()
        assert "Traceback" not in broken.said()
        filler.unlink()
        broken.finish(*CONTINUE)
        require_same_run(bench.whole("R3GAN", 1, lightning_command), broken)


@pytest.mark.xdist_group("R3GAN")
def test_a_bank_in_an_object_store_gives_the_same_run(
    bench: Bench, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two loaders of its own read every crop from the server; the run with the bank on a disk has no break."""
    folder = bench.trained.folder
    options = {"root": bench.trained.songs, "cache_root": folder / "data", "bank_root": folder / "bank"}
    words = [word for key, value in options.items() for word in (f"--data.init_args.{key}", value)]
    words += ["--data.init_args.render_if_missing", "null", "--trainer.default_root_dir", folder / "building"]
    status, err = lightning_command("predict", "--config", "configs/bank/pocket.yaml", *words)
    assert status == 0, err
    with s3_server() as (_, endpoint):
        url = copied_to_s3(folder / "bank", endpoint, monkeypatch)
        there = {"url": url, "cache": str(folder / "kept"), "cache_gb": 0.0}
        broken = bench.run(CASES["R3GAN"], "R3GAN from a store", 1, lightning_command)
        store = {"init_args": {"bank_store": {"class_path": "datamodules.BankStore", "init_args": there}}}
        broken = replace(broken, overlay={**broken.overlay, "data": store})
        kill_at(broken, between_checkpoints(0, 3))
        broken.finish(*CONTINUE)
    assert not list((folder / "kept").rglob("songs/*"))
    whole = bench.whole("R3GAN", 1, lightning_command)
    for facts in (trace, numbers, notes):
        assert not differences(facts(whole.root), facts(broken.root))


@pytest.mark.xdist_group("ranks")
@pytest.mark.parametrize("rank", [0, 1])
def test_no_process_waits_for_one_that_is_gone(rank: int, bench: Bench, lightning_command: Command) -> None:
    """Neither for one that was killed, nor for one that raised."""
    for name, end in (("killed", kill_one), ("raised", raise_on)):
        run = bench.run(CASES["R3GAN"], f"R3GAN {name} {rank}", 2, lightning_command)
        assert end(run, rank) < 60
