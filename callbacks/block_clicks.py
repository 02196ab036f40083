"""How much the joins of blocks click."""

from __future__ import annotations

from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from metrics.clicks import click_db
from metrics.epoch_means import EpochMeans


class BlockClicks(Callback):
    """Logs `val/block_click_db/rollout`, and to read it by `val/block_click_db/real`: of what a model plays block by
    block, and of the truth, in validation and test."""

    def __init__(self) -> None:
        self._means = EpochMeans()

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        block_samples = pl_module.codec.spec.samples_in(pl_module.accompanist().block_frames)
        for name, audio_BAN in (("rollout", outputs.generated_BAN), ("real", outputs.target_BAN)):
            audio_BN = audio_BAN.mean(1).float().cpu().numpy()
            clicks = [click_db(audio_BN[i], block_samples) for i in outputs.counting]
            # items in which nothing sounds have no clicks to speak of
            audible = [click for click in clicks if np.isfinite(click)]
            if audible:
                self._means.add(f"val/block_click_db/{name}", float(np.mean(audible)), len(audible))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.log_dict(self._means.collect(), sync_dist=True)

    on_test_epoch_end = on_validation_epoch_end
