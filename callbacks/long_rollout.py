"""A long performance of a model, which shows what a few seconds of validation do not.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from callbacks.media import log_sound
from callbacks.validations import ValidationCallback, logged_step
from livejam.accompanist import Controls, accompany
from metrics.loudness import limited


class LongRollout(ValidationCallback):
    """Logs one long accompaniment, and both together, as audio after each validation, on rank zero.

    The mix of the first validation item is repeated for as long as necessary. That no logger in use takes sounds
    is said once.

    Args:
        seconds: minimum length, more than 0.
        every_n_validations: n: log only in every n-th validation (≥ 1).
        seed: seed of the model's noise.
    """

    def __init__(self, seconds: float = 60.0, every_n_validations: int = 1, seed: int = 0) -> None:
        super().__init__(every_n_validations)
        self.seconds, self.seed = seconds, seed
        self._first: tuple[Tensor, Tensor] | None = None

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_validation_epoch_start(trainer, pl_module)
        self._first = None

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.due and self._first is None:
            self._first = batch.mix[:1], batch.instrument_B[:1]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._first is None or not trainer.is_global_zero:
            return
        loggers = self.media_loggers(trainer, "no long rollout is")
        if not loggers:
            return
        mix_AN, played_AN = self.played(pl_module, *self._first)
        codec: Any = pl_module.codec
        step, rate = logged_step(trainer, pl_module), codec.spec.sample_rate_hz
        for logger in loggers:
            for name, audio_AN in (("generated", played_AN), ("both", mix_AN + played_AN)):
                log_sound(logger, f"val/long_rollout/{name}", limited(audio_AN.mean(0).numpy()), rate, step)

    @torch.no_grad()
    def played(self, module: Any, mix_BAN: Tensor, instrument_B: Tensor) -> tuple[Tensor, Tensor]:
        """Mix and accompaniment of one long performance (audio, float32, CPU).

        Args:
            module: a recipe that plays.
            mix_BAN: one item, repeated.
            instrument_B: the instrument.
        """
        with torch.autocast(module.device.type, enabled=False):
            once_BTC = module.codec.encode(mix_BAN)
        accompanist, spec = module.accompanist(), module.codec.spec
        blocks = math.ceil(self.seconds / spec.seconds_in(accompanist.block_frames))
        frames = blocks * accompanist.block_frames
        mix_BTC = once_BTC.repeat(1, math.ceil(frames / once_BTC.shape[1]), 1)[:, :frames]
        seed_B = torch.full((1,), self.seed, dtype=torch.int64, device=module.device)
        played_BTC = accompany(accompanist, mix_BTC, Controls(instrument_B, seed_B), module.silence_C)
        with torch.autocast(module.device.type, enabled=False):
            played_BAN = module.codec.decode(played_BTC.float())
        samples = played_BAN.shape[-1]
        mix_BAN = mix_BAN.repeat(1, 1, math.ceil(samples / mix_BAN.shape[-1]))[..., :samples]
        return mix_BAN[0].float().cpu(), played_BAN[0].float().cpu()
