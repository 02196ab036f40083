"""The rows that a model's numbers are read against: perfect, as good as the codec, deaf, mute, and spoilt.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchmetrics import Metric

from callbacks.clips import Audio, Clip, Stem
from livejam.codecs.codec import Codec
from livejam.files import atomic_path

LATENT_NOISE = 4.0
"""Noise at the end of an item, in standard deviations of each latent channel over the item; it rises from 0 in a
straight line, as in the low anchor of LiveBand's listening test, so this row drifts."""

REMEMBERED_CLIPS = 128

_reconstructions: WeakKeyDictionary[Codec, dict[tuple[str, float, str], Audio]] = WeakKeyDictionary()


def anchor_stems(row: str, clips: list[Clip], codec: Codec) -> list[Stem | None]:
    """The stems of an anchor row, one per clip; None where there is none.

    Args:
        row: one of `metrics.results.ANCHORS`.
        clips: the items that are evaluated.
        codec: the codec of the model.
    """
    if row == "random_pairing":
        return [clip.partner for clip in clips]
    return [Stem(_own_stem(row, clip, codec), clip.song) for clip in clips]


def _own_stem(row: str, clip: Clip, codec: Codec) -> Audio:
    """What the item's own true stem becomes."""
    if row == "ground_truth":
        return clip.target_N
    if row == "codec":
        return codec_stem(clip, codec)
    if row == "latent_noise":
        return codec_stem(clip, codec, LATENT_NOISE)
    return np.zeros_like(clip.target_N)


@torch.no_grad()
def codec_stem(clip: Clip, codec: Codec, noise: float = 0.0) -> Audio:
    """The true stem, encoded and decoded; remembered, because several monitors ask for the same ones.

    Args:
        clip: the item.
        codec: the codec of the model.
        noise: Gaussian noise on the latents at the end of the item, in standard deviations of each channel (≥ 0); it
            rises from 0 and is the same for the same item whenever it is asked for.
    """
    known = _reconstructions.setdefault(codec, {})
    key = (clip.identity, noise, str(codec.settings))
    if key not in known:
        weights = next(codec.parameters(), next(codec.buffers(), torch.empty(0)))
        padded_N = np.pad(clip.target_N, (0, -len(clip.target_N) % codec.spec.hop_samples))
        audio_BAN = torch.from_numpy(padded_N).to(weights.device).expand(1, codec.spec.audio_channels, -1)
        latents_BTC = codec.encode(audio_BAN)
        if noise:
            latents_BTC = latents_BTC + noise * _rising_noise(latents_BTC, seed=int(clip.identity[:15], 16))
        decoded_BAN = codec.decode(latents_BTC)
        if len(known) >= REMEMBERED_CLIPS:
            known.pop(next(iter(known)))
        known[key] = decoded_BAN[0].float().mean(0).cpu().numpy()[: len(clip.target_N)]
    return known[key]


def _rising_noise(latents_BTC: Tensor, seed: int) -> Tensor:
    """Noise that grows from nothing to the spread of each channel; drawn on the CPU, hence equal everywhere."""
    noise_BTC = torch.randn(latents_BTC.shape, generator=torch.Generator().manual_seed(seed)).to(latents_BTC)
    amount_T = torch.linspace(0, 1, latents_BTC.shape[1]).to(latents_BTC)
    return amount_T[:, None] * latents_BTC.std(1, correction=0, keepdim=True) * noise_BTC


def identity_of(*parts: str) -> str:
    """One short name for everything that an anchor's numbers depend on."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def load_states(path: Path, metrics: dict[str, Metric]) -> bool:
    """Restore the states of metrics, named as they were saved; False if there is no file that fits."""
    try:
        states = load_file(path)
    except (OSError, SafetensorError):
        return False
    names = {f"{name}.{state}" for name, metric in metrics.items() for state in metric.metric_state}
    if names != set(states):
        return False
    for name, metric in metrics.items():
        for state in metric.metric_state:
            loaded = states[f"{name}.{state}"]
            setattr(metric, state, [loaded] if isinstance(getattr(metric, state), list) else loaded)
    return True


def save_states(path: Path, metrics: dict[str, Metric]) -> None:
    """Keep the states of metrics: sums and rows, so that every process may keep its own share."""
    states = {
        f"{name}.{state}": (torch.cat(value) if isinstance(value, list) else value).detach().cpu().contiguous()
        for name, metric in metrics.items()
        for state, value in metric.metric_state.items()
    }
    with atomic_path(path) as temporary:
        save_file(states, temporary)
