"""Something to hear and to see: examples in the logs, and WAV files of the test.

Shapes: N audio samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile
from lightning.pytorch import LightningModule, Trainer

from callbacks.media import log_picture, log_sound
from callbacks.shared_evaluation import ItemCallback, SharedEvaluation
from callbacks.trainer_facts import is_dry_run
from callbacks.validations import logged_step
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.processes import gathered, own_rank
from metrics.beat_tracking import BeatTracker, CachedBeatTracker
from metrics.evaluation.anchors import LATENT_NOISE, Reconstructions
from metrics.evaluation.clips import Audio, Clip, clips_of, first_of_run, known_categories
from metrics.loudness import limited


class AudioLogger(ItemCallback):
    """Logs the mix, the accompaniment and both together as audio, and a picture per example, on rank zero.

    In test it also writes 16-bit WAV files `<song>_<instrument>_{mix,target,generated,both,codec,noise}.wav`, where
    `codec` is the target through the codec, the best sound that a model could have with it; `noise` is the same with
    noise on its latents, the low anchor of `livejam listening-test`. `lightning predict` writes `generated` and `both`
    of every item of the test, with their start in the name, to `predictions` in the trainer's root.

    TensorBoard, Weights & Biases and MLflow take them; that no logger in use does is said once. A dry `fast_dev_run`
    writes no files.

    Args:
        max_items: examples logged per validation, the first of the plan.
        max_test_items: examples logged and written in test, the first of the plan.
        every_n_validations: n: log only in every n-th validation (≥ 1).
        categories: names of the categories that are logged; None = all.
        tracker: a beat tracker for the accompaniment in the picture; None = only true beats are drawn.
        folder: the folder for WAV files; None = `audio` in the trainer's root.
    """

    def __init__(
        self,
        max_items: int = 3,
        max_test_items: int = 12,
        every_n_validations: int = 1,
        categories: list[str] | None = None,
        tracker: BeatTracker | None = None,
        folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations, max_items, max_test_items)
        self.categories = known_categories(categories)
        self.tracker = CachedBeatTracker(tracker, None) if tracker is not None else None
        self.folder = Path(folder) if folder is not None else None

    def accepts(self, clip: Clip) -> bool:
        """Only the chosen categories."""
        return self.categories is None or clip.instrument in self.categories

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.due:
            self._log(trainer, pl_module, "val", _on_rank_zero(self.clips, self.max_items))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        clips = _on_rank_zero(self.clips, self.max_test_items)
        if not is_dry_run(trainer):
            folder = self.folder or Path(trainer.default_root_dir) / "audio"
            reconstructions = SharedEvaluation.of(trainer).reconstructions(trainer, pl_module)
            for name, clip in zip(names_of(clips), clips, strict=True):
                write_wavs(folder, name, clip, reconstructions)
        self._log(trainer, pl_module, "test", clips)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Every rank writes all of its items."""
        if is_dry_run(trainer):
            return
        folder = self.folder or Path(trainer.default_root_dir) / "predictions"
        clips = clips_of(outputs)
        if broken := [clip.song for clip in clips if clip.broken]:
            raise UserError(f"what the model plays to {', '.join(broken)} is no sound, so nothing was written for it")
        for clip in clips:
            name = f"{clip.song}_{clip.instrument.replace(' ', '-')}_{clip.start_seconds:.1f}s"
            for part in ("generated", "both"):
                _write(folder / f"{name}_{part}.wav", parts_of(clip)[part], clip.sample_rate_hz)

    def _log(self, trainer: Trainer, pl_module: LightningModule, stage: str, clips: list[Clip]) -> None:
        from callbacks.pictures import example_figure  # matplotlib is slow to import

        step = logged_step(trainer, pl_module)
        loggers = self.media_loggers(trainer, "no audio and no pictures are") if clips else []
        for name, clip in zip(names_of(clips), clips, strict=True) if loggers else ():
            figure = example_figure(clip, self._tracked(clip))
            for logger in loggers:
                for part in ("mix", "generated", "both"):
                    log_sound(
                        logger, f"{stage}/{name}/{part}", limited(parts_of(clip)[part]), clip.sample_rate_hz, step
                    )
                log_picture(logger, f"{stage}/{name}", figure, step)

    def _tracked(self, clip: Clip) -> list[float] | None:
        if self.tracker is None:
            return None
        return [float(beat) for beat in self.tracker([clip.generated_N], clip.sample_rate_hz, keep=False)[0]]


def _on_rank_zero(clips: list[Clip], limit: int | None) -> list[Clip]:
    """The first of all processes' clips, in the order of the plan; nothing on other ranks."""
    everyones = [clip for own in gathered(first_of_run(clips, limit)) for clip in own]
    return sorted(everyones, key=lambda clip: clip.position or 0) if own_rank() == 0 else []


def names_of(clips: list[Clip]) -> list[str]:
    """`<song>_<instrument>` per clip; the start is added where that is not unique."""
    short = [f"{clip.song}_{clip.instrument.replace(' ', '-')}" for clip in clips]
    return [
        f"{name}_{clip.start_seconds:g}s" if short.count(name) > 1 else name
        for name, clip in zip(short, clips, strict=True)
    ]


def parts_of(clip: Clip) -> dict[str, Audio]:
    """The sounds of a clip."""
    both_N = clip.mix_N + clip.generated_N
    return {"mix": clip.mix_N, "target": clip.target_N, "generated": clip.generated_N, "both": both_N}


def write_wavs(folder: Path, name: str, clip: Clip, reconstructions: Reconstructions) -> None:
    """Write all sounds of a clip, 16 bit."""
    through_codec = {"codec": reconstructions(clip), "noise": reconstructions(clip, LATENT_NOISE)}
    for part, audio_N in (parts_of(clip) | through_codec).items():
        _write(folder / f"{name}_{part}.wav", audio_N, clip.sample_rate_hz)


def _write(file: Path, audio_N: Audio, sample_rate_hz: int) -> None:
    with atomic_path(file) as path:
        soundfile.write(path, limited(audio_N), sample_rate_hz, subtype="PCM_16")
