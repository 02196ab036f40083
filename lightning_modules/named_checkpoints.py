"""The files that `--ckpt_path last`, `best` and `hpc` stand for, if there are any."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from livejam.errors import UserError

NAMES = ("last", "best", "hpc")
SHOWN = 5
"""The most checkpoints that an error names."""


def require_named_checkpoint(name: str, trainer: Trainer) -> None:
    """Refuse a name without a file: Lightning would continue with untrained weights as if they were trained.

    Args:
        name: `last`, the newest `last*.ckpt` of the trainer's ModelCheckpoints; `hpc`, the checkpoint of a SLURM job in
            the trainer's root; `best`, which only the process that trained knows.
        trainer: the trainer, for its root, loggers and ModelCheckpoints.

    Raises:
        UserError: says where it looked, what is there instead, and what to do.
    """
    root = Path(trainer.default_root_dir)
    keepers = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    if name == "last" and not any(keeper._find_last_checkpoints(trainer) for keeper in keepers):
        looked = ", ".join(_shown(Path(keeper.dirpath or root)) for keeper in keepers)
        reason = f"no last*.ckpt in {looked}" if keepers else "the trainer keeps no checkpoints"
    elif name == "hpc" and not any(root.glob("hpc_ckpt_*.ckpt")):
        reason = f"no hpc_ckpt_*.ckpt in {_shown(root)}, as a SLURM job leaves it there when its time is up"
    elif name == "best" and not any(keeper.best_model_path for keeper in keepers):
        reason = "only the run that trained knows which one is best, and `livejam describe` on one of its checkpoints"
    else:
        return
    raise UserError(f"--ckpt_path {name} stands for no checkpoint: {reason}; {_instead(root)}")


def _instead(root: Path) -> str:
    found = sorted(root.rglob("*.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)[:SHOWN]
    if not found:
        return "train first, or leave it out to start from untrained weights"
    return f"name a file, such as {', '.join(map(_shown, found))}, or leave it out to start from untrained weights"


def _shown(path: Path) -> str:
    """A path as a user would write it."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute)
