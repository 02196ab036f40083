"""The adversary of a codec's decoder: discriminators, their losses and their optimiser's settings.

Shapes: B batch, V views of the audio channels, N audio samples, P patches.
"""

from __future__ import annotations

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from livejam.networks.spectrogram_discriminator import SpectrogramDiscriminator
from livejam.objectives import discriminator_loss, generator_loss, lazy_penalty_scale, zero_centred_penalty
from livejam.objectives.feature_matching import feature_distance


class CodecAdversary(nn.Module):
    """Relativistic pairing of original and reconstruction, patch by patch, with lazy R1 and R2 and feature matching.

    The pairs of R3GAN are sounds with the same mix. Here they are sounds with the same latents, and because both are
    aligned in time, every patch of their spectrograms is a pair.

    Args:
        discriminator: a network that scores patches of spectrograms.
        optimizer: optimiser of the discriminator.
        start_iteration: iterations before the adversary starts; the decoder must make sound by then.
        weight: weight > 0 of the adversarial loss in the codec's sum of losses.
        feature_weight: weight ≥ 0 of feature matching.
        penalty_weight: weight ≥ 0 of the gradient penalties; 0 = none.
        penalty_every: discriminator steps per gradient penalty, R1 and R2 in turn.
        gradient_clip: largest gradient norm of the codec and of the discriminator; Lightning's `gradient_clip_val`
            cannot serve two optimisers.
    """

    def __init__(
        self,
        discriminator: SpectrogramDiscriminator,
        optimizer: OptimizerCallable,
        start_iteration: int = 50_000,
        weight: float = 0.1,
        feature_weight: float = 0.3,
        penalty_weight: float = 1.0,
        penalty_every: int = 8,
        gradient_clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.start_iteration = start_iteration
        self.weight, self.feature_weight = weight, feature_weight
        self.penalty_weight, self.penalty_every = penalty_weight, penalty_every
        self.gradient_clip = gradient_clip

    def discriminator_losses(self, real_BVN: Tensor, fake_BVN: Tensor, step: int) -> dict[str, Tensor]:
        """The discriminator's losses by name. Both sounds are data: no gradient reaches the codec.

        Args:
            real_BVN: originals.
            fake_BVN: their reconstructions.
            step: discriminator steps done before.
        """
        real, fake = self._images(real_BVN), self._images(fake_BVN.detach())
        real_logits, fake_logits = self.discriminator(real).logits, self.discriminator(fake).logits
        pairs = zip(real_logits, fake_logits, strict=True)
        losses = {"pairs": torch.stack([discriminator_loss(r, f).mean() for r, f in pairs]).mean()}
        scale = lazy_penalty_scale(step, self.penalty_every)
        for name, images, factor in (("r1", real, scale.r1), ("r2", fake, scale.r2)):
            if factor and self.penalty_weight:
                losses[name] = self.penalty_weight / 2 * factor * self._penalty(images)
        return losses

    def codec_losses(self, real_BVN: Tensor, fake_BVN: Tensor) -> dict[str, Tensor]:
        """The codec's losses by name; the scores of the originals are constants."""
        with torch.no_grad():
            real = self.discriminator(self._images(real_BVN))
        fake = self.discriminator(self._images(fake_BVN))
        pairs = zip(fake.logits, real.logits, strict=True)
        losses = {"adversarial": self.weight * torch.stack([generator_loss(f, r).mean() for f, r in pairs]).mean()}
        if self.feature_weight:
            losses["features"] = self.feature_weight * feature_distance(fake.features, real.features).mean()
        return losses

    def _images(self, audio_BVN: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(audio_BVN.device.type, enabled=False):
            return self.discriminator.images(audio_BVN.float())

    def _penalty(self, images: tuple[Tensor, ...]) -> Tensor:
        """Squared gradient norm per patch, in float32: squares of small gradients vanish in bf16."""
        total = images[0].new_zeros(())
        with torch.autocast(images[0].device.type, enabled=False):
            samples = tuple(image.detach().requires_grad_() for image in images)
            for image, logits_BP in zip(samples, self.discriminator(samples).logits, strict=True):
                total = total + zero_centred_penalty(image, logits_BP.sum(1)).mean() / logits_BP.shape[1]
        return total / len(images)
