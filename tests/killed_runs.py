"""Real `lightning fit` processes that are killed, or find the disk full."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import REPOSITORY
from lightning.pytorch import Callback, LightningModule, Trainer
from run_facts import LAST

CONSOLE = Path(sys.executable).with_name("lightning")
PATIENCE_SECONDS = 300.0
GLANCE_SECONDS = 0.001
TRIES = 3
CONTINUE = ("--ckpt_path", "last")


@dataclass(frozen=True)
class Run:
    """A training by the command line, in a folder of its own.

    Args:
        root: the run's folder.
        words: of the command, without folder and checkpoint.
        processes: ranks.
        overlay: what goes on top of the configuration, as in a YAML.
        subcommand: of `lightning`.
    """

    root: Path
    words: list[str]
    processes: int = 1
    overlay: dict[str, Any] = field(default_factory=dict)
    subcommand: str = "fit"

    @property
    def last(self) -> Path:
        """The checkpoint that `--ckpt_path last` stands for."""
        return self.root / LAST

    @property
    def temporary(self) -> Path:
        """The folder for temporary files of this run alone."""
        return self.root / "tmp"

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """The command as a user starts it; it and all its processes are one group."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        overlay = self.root / "overlay.yaml"
        overlay.write_text(yaml.safe_dump(self.overlay), encoding="utf-8")
        own = ["--trainer.default_root_dir", str(self.root), "--trainer.devices", str(self.processes)]
        words = [self.subcommand, *self.words, "--config", str(overlay), *own, *more]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])}
        environment |= {"TMPDIR": str(self.temporary), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
        with (self.root / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [CONSOLE, *words], cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def finish(self, *more: str) -> None:
        """Train to the end."""
        with _ended(self.start(*more)) as process:
            status = process.wait(PATIENCE_SECONDS)
        assert status == 0, self.said()

    def said(self) -> str:
        """The end of what it printed."""
        return (self.root / "log.txt").read_text(encoding="utf-8", errors="replace")[-4000:]


RAISED = "this process alone gives up"


class RaiseOn(Callback):
    """Raises in one process.

    Args:
        rank: of the process.
        batch: the first one of that number is it.
        stage: train, validate or test; a validation is one within a training.
    """

    def __init__(self, rank: int, batch: int, stage: str) -> None:
        self.rank, self.batch, self.stage = rank, batch, stage

    def _raise(self, trainer: Trainer, batch: int) -> None:
        if (trainer.global_rank, batch, trainer.state.stage) == (self.rank, self.batch, self.stage):
            raise RuntimeError(RAISED)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._raise(trainer, batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._raise(trainer, batch_idx)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._raise(trainer, batch_idx)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Whatever happens, no process of the group is left."""
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` of every process of the run at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_SECONDS)


Moment = Callable[[Run, subprocess.Popen[bytes]], None]
"""Returns when it has come."""


def between_checkpoints(seed: int, saves: int) -> Moment:
    """A random moment after a random one of the first so many checkpoints."""
    rng = random.Random(seed)
    after, share = rng.randint(1, saves), rng.random()

    def wait(run: Run, process: subprocess.Popen[bytes]) -> None:
        times = _wait_for_saves(run, process, after)
        usual = times[-1] - times[-2] if len(times) > 1 else 0.5
        time.sleep(share * usual)

    return wait


def next_save_begins(run: Run, process: subprocess.Popen[bytes]) -> None:
    """A checkpoint begins to appear on the disk."""
    known = _sizes(run)
    _until(lambda: _grows(known, _sizes(run)), process, run)


def _wait_for_saves(run: Run, process: subprocess.Popen[bytes], saves: int) -> list[float]:
    """When each of them was first seen."""
    seen: list[float] = []
    latest = _stamp(run.last)
    while len(seen) < saves:
        _until(lambda: _stamp(run.last) not in (None, latest), process, run)  # noqa: B023
        latest = _stamp(run.last)
        seen.append(time.monotonic())
    return seen


def _until(happened: Callable[[], bool], process: subprocess.Popen[bytes], run: Run) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert process.poll() is None, f"ended before it was killed: {run.said()}"
        assert time.monotonic() < end, f"nothing happened: {run.said()}"
        time.sleep(GLANCE_SECONDS)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_mtime_ns) if status.st_size else None


def _sizes(run: Run) -> dict[str, int]:
    """Bytes of every file in which a checkpoint may be under way."""
    sizes = {}
    for folder in (run.last.parent, run.temporary):
        for entry in os.scandir(folder):
            try:
                sizes[f"{entry.path}:{entry.inode()}"] = entry.stat().st_size if entry.is_file() else 0
            except FileNotFoundError:
                continue
    return sizes


def _grows(known: dict[str, int], now: dict[str, int]) -> bool:
    return any(size > known.get(name, 0) for name, size in now.items())


def kill_at(run: Run, moment: Moment, *more: str) -> None:
    """Start, and kill -9 at the moment."""
    with _ended(run.start(*more)) as process:
        moment(run, process)


def kill_while_saving(run: Run) -> None:
    """Go on, and kill -9 within the writing of a checkpoint; again at the next one where it had just been complete."""
    for _ in range(TRIES):
        kill_at(run, next_save_begins, *CONTINUE)
        if any(run.last.parent.glob(f".{run.last.name}.*")):
            return
    raise AssertionError(f"{TRIES} checkpoints were complete before the kill")


def kill_one(run: Run, rank: int) -> float:
    """Start, kill -9 one process only after a checkpoint; seconds until the last of the others has ended by itself."""
    with _ended(run.start()) as process:
        _wait_for_saves(run, process, 1)
        os.kill(([process.pid] + [pid for pid in _group(process.pid) if pid != process.pid])[rank], signal.SIGKILL)
        return _seconds_until_all_end(process, run)


def raise_on(run: Run, rank: int, batch: int = 2, stage: str = "train") -> float:
    """Start; one process raises in a batch; seconds until all have ended by themselves."""
    marked = {"class_path": "killed_runs.RaiseOn", "init_args": {"rank": rank, "batch": batch, "stage": stage}}
    overlay = {"trainer": {"callbacks": [*run.overlay["trainer"]["callbacks"], marked]}}
    with _ended(replace(run, overlay=overlay).start()) as process:
        _until(lambda: RAISED in run.said(), process, run)
        return _seconds_until_all_end(process, run)


def _seconds_until_all_end(process: subprocess.Popen[bytes], run: Run) -> float:
    begun = time.monotonic()
    while process.poll() is None or _group(process.pid):
        assert time.monotonic() < begun + PATIENCE_SECONDS, run.said()
        time.sleep(0.1)
    assert process.returncode != 0, run.said()
    return time.monotonic() - begun


def _group(leader: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = subprocess.run(["ps", "-eo", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)
    rows = (line.split() for line in found.stdout.splitlines())
    return sorted(int(pid) for pid, group, status in rows if int(group) == leader and not status.startswith("Z"))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """An empty disk of its own in place of a folder.

    Args:
        folder: exists, and is empty.
        size: as mount understands it, for example 200m.
    """
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a disk of its own needs the right to mount one: {mounted.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_disk(run: Run) -> Path:
    """After the second checkpoint, leave no room for another; wait until the run has ended; the file in the way."""
    filler = run.root / "filler"
    with _ended(run.start()) as process, filler.open("ab") as file:
        _wait_for_saves(run, process, 2)
        kept = run.last.stat().st_size // 2
        end = time.monotonic() + PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < end:
            more = shutil.disk_usage(run.root).free - kept
            if more > 0:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, more)
            time.sleep(GLANCE_SECONDS)
        assert process.returncode not in (0, None), run.said()
    return filler
