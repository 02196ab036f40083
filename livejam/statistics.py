"""Per-channel normalisation of latents (LiveBand section 4.2: zero mean, unit variance over the training set)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation per latent channel, over the training set."""

    mean_C: Tensor
    std_C: Tensor

    def normalise(self, latents_BTC: Tensor) -> Tensor:
        """Codec latents to zero mean and unit variance."""
        return (latents_BTC - self.mean_C.to(latents_BTC)) / self.std_C.to(latents_BTC)

    def denormalise(self, latents_BTC: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return latents_BTC * self.std_C.to(latents_BTC) + self.mean_C.to(latents_BTC)
