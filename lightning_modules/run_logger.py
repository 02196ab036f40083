"""Curves in TensorBoard's files, in one place per run."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger


class RunLogger(TensorBoardLogger):
    """Writes to `tensorboard` in the run's folder, and goes on there when the run is resumed.

    TensorBoardLogger's `name` and `version` are not among its arguments: who puts another logger in its place, as
    `--trainer.logger WandbLogger` does, keeps the arguments that both have, and a version would be that one's run id,
    the same for every run.

    Args:
        save_dir: the run's folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name=None, version="tensorboard")
