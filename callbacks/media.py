"""Sounds and pictures in the loggers that take them: TensorBoard, Weights & Biases, and MLflow.

Shapes: N audio samples.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from metrics.evaluation.clips import Audio

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def takes_media(logger: Logger) -> bool:
    """Whether sounds and pictures can be logged there."""
    return isinstance(logger, TensorBoardLogger | WandbLogger | MLFlowLogger)


def log_sound(logger: Logger, tag: str, audio_N: Audio, sample_rate_hz: int, step: int) -> None:
    """Log mono audio in [-1, 1]; where media cannot be logged, nothing happens.

    MLflow, which has no sounds, keeps them as WAV files among a run's artifacts: `<tag>/<step>.wav`.
    """
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_audio(tag, audio_N[None], step, sample_rate_hz)
    elif isinstance(logger, WandbLogger):
        logger.log_audio(tag, [audio_N], step, sample_rate=[sample_rate_hz])
    elif isinstance(logger, MLFlowLogger):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{step:06d}.wav"
            soundfile.write(path, audio_N, sample_rate_hz, subtype="PCM_16")
            logger.experiment.log_artifact(logger.run_id, str(path), tag)


def log_picture(logger: Logger, tag: str, figure: Figure, step: int) -> None:
    """Log a figure of matplotlib; where media cannot be logged, nothing happens."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_figure(tag, figure, step)
    elif isinstance(logger, WandbLogger):
        logger.log_image(tag, [figure], step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, f"{tag}/{step:06d}.png")
