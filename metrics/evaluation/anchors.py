"""The rows that a model's numbers are read against: perfect, as good as the codec, deaf, mute, spoilt, and cheating;
and for models that play in blocks: the stem at the mix's best lag, and what the model itself expects.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from livejam.codecs.codec import Codec
from metrics.anchor_rows import LAG_COPY, ONE_STEP
from metrics.evaluation.clips import Audio, Clip, Stem
from metrics.lag_copy import Horizon, lag_copy

LATENT_NOISE = 4.0
"""Noise at the end of an item, in standard deviations of each latent channel over the item; it rises from 0 in a
straight line, as in the low anchor of LiveBand's listening test, so this row drifts."""

THROUGH_CODEC = ("codec", "latent_noise")
"""The rows that need a codec."""


class Reconstructions:
    """True stems through a codec, each computed once, because several measures ask for the same ones.

    Made again for every evaluation: two stems are kept per clip, and a codec may have changed in between.

    Args:
        codec: the codec of the model.
        horizon: how far ahead the model plays; None = frame by frame or not known, so that there is no `lag_copy`.
        estimates: whether clips have what the model estimates in one step, so that there is the row `one_step`.
    """

    def __init__(self, codec: Codec, horizon: Horizon | None = None, estimates: bool = False) -> None:
        self.codec, self.horizon, self.estimates = codec, horizon, estimates
        self._known: dict[tuple[str, float], Audio] = {}

    @property
    def device(self) -> torch.device:
        """Where the codec computes."""
        return next(self.codec.parameters(), next(self.codec.buffers(), torch.empty(0))).device

    def __call__(self, clip: Clip, noise: float = 0.0) -> Audio:
        """The true stem of a clip, encoded and decoded.

        Args:
            clip: the item.
            noise: Gaussian noise on the latents at the end of the item, in standard deviations of each channel (≥ 0);
                it rises from 0 and is the same for the same item whenever it is asked for.
        """
        key = (clip.identity, noise)
        if key not in self._known:
            self._known[key] = self._computed(clip, noise)
        return self._known[key]

    @torch.no_grad()
    def _computed(self, clip: Clip, noise: float) -> Audio:
        padded_N = np.pad(clip.target_N, (0, -len(clip.target_N) % self.codec.spec.hop_samples))
        audio_BAN = torch.from_numpy(padded_N).to(self.device).expand(1, self.codec.spec.audio_channels, -1)
        latents_BTC = self.codec.encode(audio_BAN)
        if noise:
            latents_BTC = latents_BTC + noise * _rising_noise(latents_BTC, seed=int(clip.identity[:15], 16))
        decoded_BAN = self.codec.decode(latents_BTC)
        decoded_N: Audio = decoded_BAN[0].float().mean(0).cpu().numpy()[: len(clip.target_N)]
        return decoded_N


def _rising_noise(latents_BTC: Tensor, seed: int) -> Tensor:
    """Noise that grows from nothing to the spread of each channel; drawn on the CPU, hence equal everywhere."""
    noise_BTC = torch.randn(latents_BTC.shape, generator=torch.Generator().manual_seed(seed)).to(latents_BTC)
    amount_T = torch.linspace(0, 1, latents_BTC.shape[1]).to(latents_BTC)
    return amount_T[:, None] * latents_BTC.std(1, correction=0, keepdim=True) * noise_BTC


def anchor_stems(row: str, clips: list[Clip], reconstructions: Reconstructions | None) -> list[Stem | None]:
    """The stems of an anchor row, one per clip; None where there is none.

    Args:
        row: one of `metrics.anchor_rows.ANCHORS` or `BESIDE`.
        clips: the items that are evaluated.
        reconstructions: by the codec of the model; None for a row that needs none.
    """
    if row == "random_pairing":
        return [clip.partner for clip in clips]
    return [Stem(_own_stem(row, clip, reconstructions), clip.song) for clip in clips]


def _noise(clip: Clip) -> Audio:
    """White noise with the power of the true stem, the same whenever it is asked for."""
    noise_N = np.random.default_rng(int(clip.identity[:15], 16)).standard_normal(len(clip.target_N))
    power = np.mean(np.square(clip.target_N, dtype=np.float64)) if len(clip.target_N) else 0.0
    stem_N: Audio = (np.sqrt(power) * noise_N).astype(np.float32)
    return stem_N


def _own_stem(row: str, clip: Clip, reconstructions: Reconstructions | None) -> Audio:
    """What the item's own true stem becomes."""
    if row == "ground_truth":
        return clip.target_N
    if row in THROUGH_CODEC:
        assert reconstructions is not None
        return reconstructions(clip, LATENT_NOISE if row == "latent_noise" else 0.0)
    if row == LAG_COPY:
        assert reconstructions is not None
        assert reconstructions.horizon is not None
        return lag_copy(clip.mix_N, clip.target_N, clip.sample_rate_hz, reconstructions.horizon)
    if row == ONE_STEP:
        assert clip.estimate_N is not None
        return clip.estimate_N
    if row == "echo":
        return clip.mix_N
    if row == "noise":
        return _noise(clip)
    return np.zeros_like(clip.target_N)
