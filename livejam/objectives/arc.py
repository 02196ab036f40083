"""ARC: adversarial relativistic-contrastive post-training (LMDM section 3, after Novack et al. 2025).

A discriminator scores noised sequences with a map of scores over time. Real and generated sequences are paired: they
share context, prompt, noise level and the noise itself, so that only the music differs.

Shapes: B batch, T latent frames, C latent channels, M places of a score map, N audio samples, F frequency bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.objectives.flow import LogSNRTimes, TimeDistribution, interpolate
from livejam.objectives.r3gan import discriminator_loss, generator_loss


def arc_generator_loss(fake_BM: Tensor, real_BM: Tensor) -> Tensor:
    """E[softplus(D(x_t, t, c) - D(x̂_t, t, c))] over the places of the map, per sample."""
    return generator_loss(fake_BM, real_BM).mean(1)


def arc_discriminator_loss(real_BM: Tensor, fake_BM: Tensor) -> Tensor:
    """E[softplus(-(D(x_t, t, c) - D(x̂_t, t, c)))] over the places of the map, per sample."""
    return discriminator_loss(real_BM, fake_BM).mean(1)


def contrastive_loss(matched_BM: Tensor, mismatched_BM: Tensor) -> Tensor:
    """E[softplus(-(D(x_t, t, c) - D(x_t, t, P(c))))] over the places of the map, per sample.

    Both maps judge the same real music with the same noise; only the prompt of the second is another item's. The
    discriminator must rank by the prompt, and cannot rely on the generator's faults.
    """
    return discriminator_loss(matched_BM, mismatched_BM).mean(1)


def approximate_gradient_penalty(score_BM: Tensor, perturbed_BM: Tensor) -> Tensor:
    """Σ (D(x_t + σ n) - D(x_t))² over the map, per sample: R1 on real, R2 on generated sequences without double
    backward (Lin et al. 2025, equation 3, not divided by σ²). LMDM leaves it out.

    Args:
        score_BM: scores of the sequences.
        perturbed_BM: scores of the same sequences after a little white noise (σ = 0.05 in ARC) was added.
    """
    return (perturbed_BM - score_BM).square().sum(1)


def level_gap(fake_BN: Tensor, real_BN: Tensor) -> Tensor:
    """|ln E(x̂) - ln E(x)| of mean energies, per sample: how much too loud or too soft a rollout is as a whole.

    Ours, not the paper's. Its unit is nepers of energy, 4.34 dB; below -80 dB there is no level.
    """
    fake_B, real_B = (torch.log(audio_BN.square().mean(1) + 1e-8) for audio_BN in (fake_BN, real_BN))
    return (fake_B - real_B).abs()


def spectral_gap(fake_BN: Tensor, real_BN: Tensor, window_samples: int = 2048) -> Tensor:
    """Mean difference of the long-term means and deviations of log magnitudes, over the bins, per sample.

    Ours, not the paper's. Where in a rollout something sounds costs nothing, so that no rollout has to be its pair:
    only its timbre, and how much that changes, should be those of the music.

    Args:
        fake_BN: a rollout.
        real_BN: how the music went on, of the same length.
        window_samples: length of the Hann windows, or the whole rollout if that is shorter; half of it is the hop.
    """
    window_samples = min(window_samples, fake_BN.shape[1])
    window_N = torch.hann_window(window_samples, device=fake_BN.device, dtype=fake_BN.dtype)
    gaps = []
    for audio_BN in (fake_BN, real_BN):
        frames_BTN = audio_BN.unfold(1, window_samples, window_samples // 2)
        spectrum_BTF = torch.fft.rfft(frames_BTN * (window_N * 2 / window_N.sum()))
        # the floor, -80 dB of a full-scale sine, also keeps the gradient of silence finite
        log_BTF = torch.log(spectrum_BTF.real.square() + spectrum_BTF.imag.square() + 1e-8) / 2
        gaps.append((log_BTF.mean(1), torch.sqrt(log_BTF.var(1, correction=0) + 1e-8)))
    (fake_mean_BF, fake_spread_BF), (real_mean_BF, real_spread_BF) = gaps
    return (fake_mean_BF - real_mean_BF).abs().mean(1) + (fake_spread_BF - real_spread_BF).abs().mean(1)


@dataclass(frozen=True)
class SharedNoise:
    """How real and generated sequences are scored: in the same context, under the same conditions, noise and level.

    Args:
        discriminator: (noisy_BTC, time_B, conditions, frames to score) → score_BM, as `RolloutDiscriminator`.
        context_BTC: what was played before the music that is scored.
        conditions: of context and music.
        noise_BTC: over context and music.
        time_B: noise level.
    """

    discriminator: nn.Module
    context_BTC: Tensor
    conditions: DiffusionConditions
    noise_BTC: Tensor
    time_B: Tensor

    def scores(self, music_BTC: Tensor, shaken_BTC: Tensor | None = None) -> Tensor:
        """D's map over the music (float32).

        Args:
            music_BTC: what follows the context.
            shaken_BTC: further noise on the noisy sequence.
        """
        whole_BTC = torch.cat((self.context_BTC, music_BTC.to(self.context_BTC)), dim=1)
        noisy_BTC = interpolate(whole_BTC, self.noise_BTC, self.time_B)
        noisy_BTC = noisy_BTC if shaken_BTC is None else noisy_BTC + shaken_BTC
        return self.discriminator(noisy_BTC, self.time_B, self.conditions, music_BTC.shape[1]).float()

    def mismatched(self, music_BTC: Tensor) -> Tensor:
        """The same with the prompts of other items."""
        return replace(self, conditions=self.conditions.roll_prompt(1)).scores(music_BTC)


@dataclass(frozen=True)
class ARCObjective:
    """What the discriminator and the generator learn.

    Args:
        contrastive_weight: λ of the loss that ranks real music above real music with another item's prompt; 0 = off.
        penalty_weight: of (R1 + R2) / 2 in their approximate form; 0 = off, as in the paper.
        penalty_noise: standard deviation of the noise in that form.
        judging_times: noise levels; uniform in the logarithm of the signal-to-noise ratio where nothing else is said.
        level_weight: of the generator's `level_gap`; 0 = off, as in the paper.
        spectral_weight: of the generator's `spectral_gap`; 0 = off, as in the paper. Either decodes the rollouts, which
            takes longer than judging them.
    """

    contrastive_weight: float = 1.0
    penalty_weight: float = 0.0
    penalty_noise: float = 0.05
    judging_times: TimeDistribution = field(default_factory=LogSNRTimes)
    level_weight: float = 0.0
    spectral_weight: float = 0.0

    @property
    def hears_sound(self) -> bool:
        """Whether rollouts are decoded."""
        return bool(self.level_weight or self.spectral_weight)

    def sound_loss(self, real_BAN: Tensor, fake_BAN: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What the generator's loss has besides, and the parts of it.

        Args:
            real_BAN: how the music went on, decoded.
            fake_BAN: the rollout, decoded.
        """
        real_BN, fake_BN = real_BAN.flatten(0, 1), fake_BAN.flatten(0, 1)
        level, spectral = level_gap(fake_BN, real_BN).mean(), spectral_gap(fake_BN, real_BN).mean()
        loss = self.level_weight * level + self.spectral_weight * spectral
        return loss, {"loss/level": level, "loss/spectral": spectral}

    def generator_loss(self, judge: SharedNoise, real_BTC: Tensor, fake_BTC: Tensor) -> Tensor:
        """L_G = E[softplus(D(x_t) - D(x̂_t))]; D(x_t) is a constant."""
        with torch.no_grad():
            real_BM = judge.scores(real_BTC)
        return arc_generator_loss(judge.scores(fake_BTC), real_BM).mean()

    def discriminator_loss(
        self, judge: SharedNoise, real_BTC: Tensor, fake_BTC: Tensor, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_D = E[softplus(-(D(x_t) - D(x̂_t)))] + λ L_C, and the parts of it.

        Args:
            judge: scores both.
            real_BTC: how the music went on.
            fake_BTC: how the generator went on; a constant.
            rng: of the penalties' noise.
        """
        real_BM, fake_BM = judge.scores(real_BTC), judge.scores(fake_BTC)
        loss, gap = arc_discriminator_loss(real_BM, fake_BM).mean(), (real_BM - fake_BM).mean()
        parts = {"loss/relativistic": loss, "score/real": real_BM.mean(), "score/fake": fake_BM.mean(), "gap": gap}
        if self.contrastive_weight:
            mismatched_BM = judge.mismatched(real_BTC)
            contrast = contrastive_loss(real_BM, mismatched_BM).mean()
            parts |= {"loss/contrastive": contrast, "gap/prompt": (real_BM - mismatched_BM).mean()}
            loss = loss + self.contrastive_weight * contrast
        if self.penalty_weight:
            pairs = ((real_BTC, real_BM), (fake_BTC, fake_BM))
            r1, r2 = (self._penalty(judge, music_BTC, score_BM, rng) for music_BTC, score_BM in pairs)
            parts |= {"r1": r1, "r2": r2}
            loss = loss + self.penalty_weight * (r1 + r2) / 2
        return loss, parts

    def _penalty(self, judge: SharedNoise, music_BTC: Tensor, score_BM: Tensor, rng: torch.Generator) -> Tensor:
        """How much the scores change when a little noise is added to the sequence that is judged."""
        noise_BTC = torch.randn(judge.noise_BTC.shape, generator=rng, device=rng.device)
        perturbed_BM = judge.scores(music_BTC, self.penalty_noise * noise_BTC)
        return approximate_gradient_penalty(score_BM, perturbed_BM).mean()


@dataclass(frozen=True)
class TruncatedLogitNormalTimes(TimeDistribution):
    """t = 1 - (s - cut) / (1 - cut), s logit-normal given that s > cut: closer to noise than to music more often.

    `truncated_logistic_normal_rescaled` of stable-audio-tools, flipped. ARC uses these times as they are; the
    discriminator's base is trained with the length shift added (`ShiftedTimes`).

    Args:
        cut: where the logit-normal distribution is cut off, in (0, 1); there t = 1.
    """

    cut: float = 0.075

    def __post_init__(self) -> None:
        if not 0 < self.cut < 1:
            raise UserError(f"cut is {self.cut}, but must lie between 0 and 1; the paper's is 0.075")

    def draw(self, batch: int, rng: torch.Generator) -> Tensor:
        # float64: the inverse of the normal distribution is steep at its ends
        share_B = torch.rand(batch, generator=rng, device=rng.device, dtype=torch.float64)
        below = torch.special.ndtr(torch.logit(share_B.new_full((), self.cut)))
        level_B = torch.sigmoid(torch.special.ndtri(below + (1 - below) * share_B))
        return ((1 - level_B) / (1 - self.cut)).clamp(0.0, 1.0).float()
