"""A run writes into its own folder: it destroys no other run, and no second run joins it.

The folder is `trainer.default_root_dir`; checkpoints may be configured to lie elsewhere, and count as well.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lightning_modules.named_checkpoints import NAMES, require_named_checkpoint
from livejam.checkpoints.run_states import RunState, furthest_first
from livejam.errors import UserError
from livejam.slurm import job_id, restarts

LOCK = ".lock"

MOST_RESTARTS = 10
"""So often a job is restarted from one checkpoint: ten times tell an accident from a habit."""


def starting_point(trainer: Trainer, module: LightningModule, asked: str | None, overwrite: bool) -> str | None:
    """The checkpoint from which fit continues; None = start again.

    A requeued SLURM job runs the same command again, and continues from where it had come furthest. So does
    `--ckpt_path last`. Only the first process refuses; the others run the same command.

    Args:
        trainer: the trainer, for its folders.
        module: the recipe, which may export weights to its `export_path`.
        asked: the value of `--ckpt_path`.
        overwrite: whether another run may be overwritten.

    Raises:
        UserError: the run would overwrite another one's checkpoints or exported weights, or none of its own can be
            read, or the job does not get any further.
    """
    found = checkpoints(trainer)
    if restarts() > 0:
        # what the job was told to leave behind is not its own
        its_own = overwrite or asked is not None
        own = _furthest(found, job_id() if its_own else None)
        _require_progress(own)
        if own is not None:
            rank_zero_info(f"this job was requeued: it continues from {own.path}")
            return str(own.path)
    if asked == "last":
        if (own := _furthest(found)) is None:
            require_named_checkpoint(asked, trainer)
        return asked if own is None else str(own.path)
    own_folders = [Path(trainer.default_root_dir).resolve(), *_checkpoint_folders(trainer)]
    goes_on = asked in NAMES or (asked is not None and Path(asked).resolve().parent in own_folders)
    taken = [*found, *exports(module)]
    if taken and not goes_on and not overwrite and in_charge():
        raise UserError(_refusal(taken[0], found[:1]))
    return asked


def checkpoints(trainer: Trainer) -> list[Path]:
    """Checkpoints in the folders of this run, the newest first."""
    found = _interrupted(trainer) | {
        path for folder in _checkpoint_folders(trainer) for path in folder.glob("[!.]*.ckpt")
    }
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def remove_interrupted(trainer: Trainer) -> None:
    """Delete what a stopped run left that another one takes the place of: this one would go on from it.

    Lightning prefers `hpc_ckpt_*.ckpt` to a new start, and `--ckpt_path last` takes the furthest. All processes do it,
    as each of them looks for itself.
    """
    for path in _interrupted(trainer):
        path.unlink(missing_ok=True)


def _interrupted(trainer: Trainer) -> set[Path]:
    root = Path(trainer.default_root_dir).resolve()
    return {path for pattern in ("interrupted.ckpt", "hpc_ckpt_*.ckpt") for path in root.glob(pattern)}


def exports(module: LightningModule) -> list[Path]:
    """Weights in the place to which a recipe exports."""
    path = getattr(module, "export_path", None)
    return [Path(path)] if path is not None and Path(path).exists() else []


@contextmanager
def one_run_at_a_time(folder: Path) -> Iterator[None]:
    """Keep other training runs out of a folder, by a lock of the operating system that ends with the process.

    Raises:
        UserError: another process trains there, or the folder cannot be written.
    """
    if not in_charge():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with --trainer.default_root_dir"
        ) from error
    with file:
        try:
            # a lock of the process, not of the file: forked workers do not hold it
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is training in {folder}; wait for it, or choose another folder with "
                "--trainer.default_root_dir"
            ) from error
        except OSError as error:
            rank_zero_info(f"{folder} cannot be locked ({error.strerror}): do not start a second training in it")
        yield


def in_charge() -> bool:
    """Whether this is the first process of the run."""
    # when Lightning starts the processes, the first one of every node has no rank yet
    node = int(os.environ.get("NODE_RANK") or os.environ.get("GROUP_RANK") or 0)
    return node == 0 and rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set by Lightning


def _require_progress(own: RunState | None) -> None:
    """A job whose set-up takes longer than its time, or that runs out of memory, is not restarted for ever.

    Args:
        own: what it goes on from, which may be another job's.

    Raises:
        UserError: it has been restarted too often since it saved that.
    """
    saved = own if own is not None and own.job == job_id() else None
    since = restarts() - (saved.restarts if saved else 0)
    if since > MOST_RESTARTS:
        where = f"since {saved.path}" if saved else "at all"
        raise UserError(
            f"this job has been restarted {since} times, and has saved no checkpoint {where}; submit it again with "
            "more time or memory, or build its latent bank beforehand (docs/cluster.md)"
        )


def _furthest(found: list[Path], job: str | None = None) -> RunState | None:
    """The checkpoint of the most iterations, which may be one of a job alone; those that cannot be read are named.

    Raises:
        UserError: none can be read.
    """
    states, faults = furthest_first(found)
    if faults and not states:
        raise UserError(f"no checkpoint of this run can be read: {faults[0]}, or start again with --overwrite")
    for fault in faults:
        rank_zero_info(f"left out: {fault}")
    return next((state for state in states if job is None or state.job == job), None)


def _checkpoint_folders(trainer: Trainer) -> list[Path]:
    """Where the run's ModelCheckpoints write."""
    named: list[Any] = [getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks]
    folders = [Path(trainer.default_root_dir) / "checkpoints", *(Path(path) for path in named if path is not None)]
    if None in named:
        # Lightning's own default; other loggers create a new folder for every run
        logs = [logger.log_dir for logger in trainer.loggers[:1] if isinstance(logger, (TensorBoardLogger, CSVLogger))]
        folders += [Path(folder) / "checkpoints" for folder in logs]
    return [folder.resolve() for folder in folders]


def _refusal(taken: Path, newest: list[Path]) -> str:
    """What is in the way, and the three ways on."""
    on = [f"continue from it with --ckpt_path {'last' if p.stem.startswith('last') else shown(p)}" for p in newest]
    ways = [*on, "choose another folder with --trainer.default_root_dir", "start again in its place with --overwrite"]
    return f"{shown(taken)} is another run's: {', '.join(ways[:-1])}, or {ways[-1]}"


def shown(path: Path) -> str:
    """A path as a user would type it here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
