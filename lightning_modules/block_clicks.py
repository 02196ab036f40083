"""How much the joins of blocks click."""

from __future__ import annotations

import numpy as np

from lightning_modules.epoch_means import EpochMeans
from livejam.batch import AccompanimentOutput
from metrics.clicks import click_db


class BlockClicks(EpochMeans):
    """`val/block_click_db/rollout`, and to read it by `val/block_click_db/real`: of what is played and of the truth."""

    def update(self, output: AccompanimentOutput, block_samples: int) -> None:
        """Add the items of a batch; those in which nothing sounds have no clicks to speak of."""
        for name, audio_BAN in (("rollout", output.generated_BAN), ("real", output.target_BAN)):
            audio_BN = audio_BAN.mean(1).float().cpu().numpy()
            clicks = [click_db(audio_BN[i], block_samples) for i in output.counting]
            heard = [click for click in clicks if np.isfinite(click)]
            if heard:
                self.add(f"val/block_click_db/{name}", float(np.mean(heard)), len(heard))
