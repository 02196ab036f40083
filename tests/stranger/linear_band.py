"""A recipe of one's own in one file: a matrix that maps each frame of the mix to the frame to play.

    lightning fit --config linear_band.yaml
    livejam play --checkpoint runs/linear_band/checkpoints/last.ckpt --trust linear_band --mix song.wav --out played

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.accompaniment import AccompanimentModule, described
from livejam.accompanist import Controls
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.spec import CodecSpec, LatentStatistics


class LinearMap(nn.Module):
    """One matrix.

    Args:
        channels: of a latent.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, mix_BTC: Tensor) -> Tensor:
        return self.linear(mix_BTC)


@dataclass(frozen=True)
class LinearAccompanist:
    """Remembers nothing: the state is None.

    Args:
        generator: the matrix.
        spec: the codec's.
        statistics: of its latents.
    """

    generator: LinearMap
    spec: CodecSpec
    statistics: LatentStatistics
    block_frames: int = 1
    anticipation_frames: int = 0

    def init_state(self, batch_size: int, controls: Controls) -> None:
        return None

    def step(self, mix_BTC: Tensor, state: None) -> tuple[Tensor, None]:
        return self.statistics.denormalise(self.generator(self.statistics.normalise(mix_BTC))), None


class LinearBand(AccompanimentModule[LinearMap]):
    """The matrix is trained to play the next frame.

    Args:
        generator: the matrix.
        codec: encodes and decodes audio; frozen.
    """

    def __init__(self, generator: LinearMap, codec: Codec) -> None:
        super().__init__(generator, codec, ema_decay=None, gradient_clip=1.0, seed=0)

    def accompanist(self) -> LinearAccompanist:
        return LinearAccompanist(self.playing_generator, self.codec.spec, self.statistics)

    @staticmethod
    def player(settings: Mapping[str, Any]) -> dict[str, Any]:
        return described(LinearAccompanist, {"generator": settings["generator"]})

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> Tensor:
        mix_BTC, target_BTC = (self.statistics.normalise(latents_BTC) for latents_BTC in self.latents(batch))
        loss = (self.generator(mix_BTC[:, :-1]) - target_BTC[:, 1:]).abs().mean()
        self.log("train/loss", loss)
        self.iteration += 1
        return self.about_to_step("generator", loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.generator.parameters(), lr=1e-3)
