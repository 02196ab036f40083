"""Jobs as a user submits them, from a checkout of their own, and what they leave."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from commands import REPOSITORY
from slurm_cluster import Cluster, until
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CLOCK = ("speed/", "memory/")
"""Tags of what no two runs have in common."""

PATIENCE_SECONDS = 900
"""Longer than anything takes, on a busy machine, too."""

SMALL = {
    "trainer.accelerator": "cpu",
    "trainer.max_epochs": "3",
    "trainer.check_val_every_n_epoch": "1",
    "trainer.log_every_n_steps": "1",
    "trainer.enable_model_summary": "false",
    "data.init_args.render_if_missing": "null",
    "data.init_args.batch_size": "2",
    "data.init_args.batches_per_epoch": "20",
    "data.init_args.eval_seconds": "4",
    "data.init_args.eval_items": "2",
    "data.init_args.test_items": "2",
    "data.init_args.eval_batch_size": "1",
    "data.init_args.bank_workers": "0",
}
"""Options for a run of a minute."""


def words(options: dict[str, str]) -> list[str]:
    """Options as they are typed."""
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def checkout(folder: Path) -> Path:
    """The working tree's files, as in a fresh clone, with the installation."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


class Job:
    """A submitted job.

    Args:
        cluster: where it runs.
        folder: the folder from which it was submitted.
        number: its id.
        name: its name.
    """

    def __init__(self, cluster: Cluster, folder: Path, number: str, name: str) -> None:
        self.cluster, self.folder, self.number = cluster, folder, number
        self.root = folder / f"runs/{name}-{number}"
        self.log = folder / f"{name}-{number}.out"

    @property
    def facts(self) -> dict[str, str]:
        """What Slurm knows of it."""
        shown = self.cluster.ask("scontrol", "--oneliner", "show", "job", self.number)
        return dict(pair.partition("=")[::2] for pair in shown.split())

    @property
    def state(self) -> str:
        """RUNNING, COMPLETED, FAILED …"""
        return self.facts["JobState"]

    @property
    def restarts(self) -> int:
        """How often it was requeued."""
        return int(self.facts["Restarts"])

    @property
    def said(self) -> str:
        """Its log."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""

    def wait(self, state: str = "COMPLETED") -> Job:
        """Wait until it has ended.

        Raises:
            AssertionError: it ended otherwise.
        """
        running = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED")
        self.wait_for(lambda: self.state not in running, "its end")
        assert self.state == state, f"{self.facts}\n{self.said[-4000:]}"
        return self

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something has happened to it.

        Raises:
            AssertionError: it did not; says what Slurm and the log know.
        """
        assert until(condition, PATIENCE_SECONDS), f"{what} does not come\n{self.facts}\n{self.said[-4000:]}"

    def wait_for_iteration(self, iteration: int) -> None:
        """Wait until its curve has reached an iteration."""
        self.wait_for(lambda: self.iteration >= iteration or self.over, f"iteration {iteration}")

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

    @property
    def iteration(self) -> int:
        """The last iteration in its curve, −1 before the first."""
        return max((step for _, step in self.curve), default=-1)

    @property
    def traces(self) -> dict[str, dict[int, float]]:
        """Tag → step → value as in TensorBoard, unrounded; nothing of clocks."""
        found: dict[str, dict[int, float]] = {}
        for path in sorted((self.root / "tensorboard").rglob("events.out.*"), key=lambda path: path.stat().st_mtime):
            events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
            for tag in events.Tags()["scalars"]:
                key = f"{path.parent.name}/{tag}"
                if not tag.startswith(CLOCK):
                    found.setdefault(key, {}).update({event.step: event.value for event in events.Scalars(tag)})
        return found

    @property
    def curve(self) -> dict[tuple[str, int], float]:
        """(tag, step) → value, as last written; nothing of clocks."""
        path = self.root / "metrics.csv"
        if not path.is_file():
            return {}
        with path.open(newline="", encoding="utf-8") as file:
            lines = [line for line in csv.DictReader(file) if None not in line.values()]
        return {
            (line["tag"], int(line["step"])): float(line["value"])
            for line in lines
            if not line["tag"].startswith(CLOCK)
        }

    @property
    def last(self) -> str:
        """Where it keeps its last checkpoint."""
        return str(self.root / "checkpoints/last.ckpt")

    @property
    def checkpoint(self) -> dict[str, Any]:
        """Its last checkpoint."""
        loaded: dict[str, Any] = torch.load(self.last, weights_only=True)
        return loaded

    @property
    def starts(self) -> int:
        """How often training has begun: the line of its first iteration has no time left yet."""
        return len(re.findall(r"^epoch \d+ of \d+, iteration \d+ of \d+$", self.said, flags=re.MULTILINE))

    def signal(self, name: str = "USR1") -> None:
        """What `#SBATCH --signal=SIGUSR1@300` sends, to the same processes."""
        self.cluster.ask("scancel", f"--signal={name}", self.number)


def number_of(said: str) -> str:
    """The job's id in what sbatch said."""
    (number,) = re.findall(r"Submitted batch job (\d+)", said)
    return str(number)


def require_same(one: Any, two: Any, where: str = "") -> None:
    """Equal bit for bit.

    Raises:
        AssertionError: names the first place that differs.
    """
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert one.keys() == two.keys(), (where, one.keys() ^ two.keys())
        for key in one:
            require_same(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for position, pair in enumerate(zip(one, two, strict=True)):
            require_same(*pair, f"{where}/{position}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one.nan_to_num(), two.nan_to_num()), where
    else:
        assert one == two or one != one, f"{where}: {one} and {two}"


STATE = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch")
"""Parts of a checkpoint that follow from what was trained on."""


def require_same_run(one: Job, two: Job) -> None:
    """The same weights, optimisers, position and curve."""
    first, second = one.checkpoint, two.checkpoint
    for part in STATE:
        require_same(first.get(part), second.get(part), part)
    require_same(one.traces, two.traces, "curve")


class Jobs:
    """Submits jobs from one checkout, on one data set.

    Args:
        cluster: where they run.
        folder: the checkout.
        songs: the data set.
    """

    def __init__(self, cluster: Cluster, folder: Path, songs: Path) -> None:
        self.cluster, self.folder, self.songs = cluster, folder, songs
        self._others: dict[str, Jobs] = {}
        self._uninterrupted: dict[tuple[str, ...], Job] = {}

    def options(self, config: str, **sizes: str) -> list[str]:
        """An experiment in small: its config and options."""
        data = {"data.init_args.root": str(self.songs), "data.init_args.cache_root": str(self.folder / "cache")}
        return ["--config", f"configs/{config}.yaml", *words(SMALL | data | sizes)]

    def submit(self, config: str, tasks: int = 1, sbatch: tuple[str, ...] = (), **sizes: str) -> Job:
        """One or two tasks of one core; two are one on each node."""
        file = "single" if tasks == 1 else "multi"
        shape = [f"--nodes={tasks}", "--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1", "--mem=4G"]
        return self.sbatch([*shape, *sbatch, f"configs/slurm/{file}.sbatch", *self.options(config, **sizes)])

    @property
    def environment(self) -> dict[str, str]:
        """A user's, with the checkout's own environment activated."""
        # nodes of a real cluster know each other's names; these have only one address
        own = {"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": str(self.folder)}
        path = f"{self.folder}/.venv/bin:{os.environ['PATH']}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "OMP_"))}
        return inherited | self.cluster.environment | own | {"PATH": path}

    def sbatch(self, typed: list[str]) -> Job:
        """What sbatch makes of these words in the checkout."""
        done = subprocess.run(["sbatch", *typed], cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return Job(self.cluster, self.folder, number_of(done.stdout), "livejam")

    def another(self, name: str) -> Jobs:
        """The same songs and latents, another checkout."""
        if name not in self._others:
            folder = self.folder.with_name(f"{self.folder.name}-{name}")
            folder.mkdir()
            (self.folder / "cache").mkdir(exist_ok=True)
            (checkout(folder) / "cache").symlink_to(self.folder / "cache")
            self._others[name] = Jobs(self.cluster, folder, self.songs)
        return self._others[name]

    def uninterrupted(self, config: str, tasks: int = 1, **sizes: str) -> Job:
        """A run from beginning to end, for comparison."""
        key = (config, str(tasks), *words(sizes))
        if key not in self._uninterrupted:
            self._uninterrupted[key] = self.submit(config, tasks, **sizes).wait()
        return self._uninterrupted[key]
