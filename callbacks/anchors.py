"""The rows that a model's numbers are read against: perfect, as good as the codec, deaf, and mute.

Shapes: N audio samples.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torchmetrics import Metric

from callbacks.clips import Audio, Clip
from livejam.codecs.codec import Codec
from livejam.files import atomic_path

ANCHORS = ("ground_truth", "codec", "random_pairing", "silence")
"""The true stem; the true stem through the codec; the true stem of another song; nothing."""

REMEMBERED_CLIPS = 128

_reconstructions: WeakKeyDictionary[Codec, dict[str, Audio]] = WeakKeyDictionary()


def anchor_stems(row: str, clips: list[Clip], codec: Codec) -> list[Audio | None]:
    """The stems of an anchor row, one per clip; None where there is none.

    Args:
        row: one of `ANCHORS`.
        clips: the items that are evaluated.
        codec: the codec of the model.
    """
    if row == "ground_truth":
        return [clip.target_N for clip in clips]
    if row == "codec":
        return [codec_stem(clip, codec) for clip in clips]
    if row == "random_pairing":
        return [_partner_stem(i, clips) for i in range(len(clips))]
    return [np.zeros_like(clip.target_N) for clip in clips]


def _partner_stem(index: int, clips: list[Clip]) -> Audio | None:
    """The true stem of the next clip that has the same instrument and is of another song, cut or padded to fit."""
    clip = clips[index]
    for other in clips[index + 1 :] + clips[:index]:
        if other.category == clip.category and other.song != clip.song:
            stem_N = other.target_N[: len(clip.target_N)]
            return np.pad(stem_N, (0, len(clip.target_N) - len(stem_N)))
    return None


@torch.no_grad()
def codec_stem(clip: Clip, codec: Codec) -> Audio:
    """The true stem, encoded and decoded; remembered, because several monitors ask for the same ones."""
    known = _reconstructions.setdefault(codec, {})
    if clip.identity not in known:
        weights = next(codec.parameters(), next(codec.buffers(), torch.empty(0)))
        padded_N = np.pad(clip.target_N, (0, -len(clip.target_N) % codec.spec.hop_samples))
        audio_BAN = torch.from_numpy(padded_N).to(weights.device).expand(1, codec.spec.audio_channels, -1)
        decoded_BAN = codec.decode(codec.encode(audio_BAN))
        if len(known) >= REMEMBERED_CLIPS:
            known.pop(next(iter(known)))
        known[clip.identity] = decoded_BAN[0].float().mean(0).cpu().numpy()[: len(clip.target_N)]
    return known[clip.identity]


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
            setattr(metric, state, states[f"{name}.{state}"])
    return True


def save_states(path: Path, metrics: dict[str, Metric]) -> None:
    """Keep the states of metrics: sums, so that every process may keep its own share."""
    states = {
        f"{name}.{state}": value.detach().cpu().contiguous()
        for name, metric in metrics.items()
        for state, value in metric.metric_state.items()
        if isinstance(value, torch.Tensor)
    }
    with atomic_path(path) as temporary:
        save_file(states, temporary)
