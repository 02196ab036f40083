"""COCOLA scores of recordings: windows of five seconds, both parts or one of them, and their mean.

Shapes: B batch, N audio samples, W windows, P parts (full, harmonic, percussive), F mel bands, T frames, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from metrics.cocola import PARTS, Cocola, masked
from metrics.cocola_spectrogram import SAMPLE_RATE_HZ, harmonic_percussive_db, relative_db
from metrics.embeddings.embedding import mono_at
from metrics.scores import Summary

WINDOW_SAMPLES, WINDOW_HOP_SAMPLES = 5 * SAMPLE_RATE_HZ, 5 * SAMPLE_RATE_HZ // 2
PROTOCOL = "16000 Hz, windows of 5 s every 2.5 s, the last one padded"
"""StreamMusicGen's: ten seconds are three windows."""


def windows_of(audio_N: Tensor) -> Tensor:
    """Windows_WN of a recording at 16 kHz, at least one; the last one is padded with silence."""
    more = math.ceil(max(0, len(audio_N) - WINDOW_SAMPLES) / WINDOW_HOP_SAMPLES)
    missing = WINDOW_SAMPLES + more * WINDOW_HOP_SAMPLES - len(audio_N)
    return F.pad(audio_N, (0, missing)).unfold(0, WINDOW_SAMPLES, WINDOW_HOP_SAMPLES)


@torch.no_grad()
def embeddings(cocola: Cocola, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
    """Embeddings_PWD of every window of a recording, per part.

    Args:
        cocola: the network, in evaluation mode.
        audio_N: at least one sample; or audio_AN, whose channels are averaged.
        sample_rate_hz: its rate.
    """
    windows_WN = windows_of(mono_at(audio_N, sample_rate_hz, SAMPLE_RATE_HZ)).to(cocola.similarity.w.device)
    levels_W2FT = relative_db(harmonic_percussive_db(windows_WN))
    return torch.stack([cocola.embed(masked(levels_W2FT, part)) for part in PARTS])


@torch.no_grad()
def similarity(cocola: Cocola, mix_PWD: Tensor, stem_PWD: Tensor) -> dict[str, float]:
    """Score per part: the mean over the windows."""
    scores_PW = cocola.similarity.pairwise(mix_PWD.flatten(0, 1), stem_PWD.flatten(0, 1)).view(len(PARTS), -1)
    return dict(zip(PARTS, scores_PW.mean(1).tolist(), strict=True))


def cocola_score(cocola: Cocola, mix_N: Tensor, stem_N: Tensor, sample_rate_hz: int) -> dict[str, float]:
    """How well a stem goes with a mix, per part: a logit of no fixed range; compare only scores of equal weights.

    Silence has a score as well, because the published metric gives it one. The score of a recording
    that is empty or not finite is nan.

    Args:
        cocola: the network, in evaluation mode.
        mix_N: what the musician plays; or audio_AN, whose channels are averaged.
        stem_N: the accompaniment, as long as the mix.
        sample_rate_hz: the rate of both.

    Raises:
        ValueError: the recordings are not equally long.
    """
    if mix_N.shape[-1] != stem_N.shape[-1]:
        raise ValueError(f"mix and stem have {mix_N.shape[-1]} and {stem_N.shape[-1]} samples; cut them to one length")
    if not mix_N.shape[-1] or not (mix_N.isfinite().all() and stem_N.isfinite().all()):
        return dict.fromkeys(PARTS, math.nan)
    mix_PWD, stem_PWD = (embeddings(cocola, audio_N, sample_rate_hz) for audio_N in (mix_N, stem_N))
    return similarity(cocola, mix_PWD, stem_PWD)


class CocolaScore(Metric):
    """Mean COCOLA score of pairs; those whose score is undefined are excluded and counted.

    Args:
        cocola: the network, for instance `metrics.cocola_weights.pretrained_cocola()`.
    """

    full_state_update = False
    total_P: Tensor
    count: Tensor
    excluded: Tensor

    def __init__(self, cocola: Cocola) -> None:
        super().__init__()
        self.cocola = cocola.eval()
        self.add_state("total_P", torch.zeros(len(PARTS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("excluded", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mix_BN: Tensor, stem_BN: Tensor, sample_rate_hz: int) -> None:
        """Add pairs.

        Args:
            mix_BN: mixes, or mix_BAN.
            stem_BN: accompaniments, as many and as long.
            sample_rate_hz: the rate of all.
        """
        for mix_N, stem_N in zip(mix_BN, stem_BN, strict=True):
            scores = cocola_score(self.cocola, mix_N, stem_N, sample_rate_hz)
            if math.isnan(scores["full"]):
                self.excluded += 1
            else:
                self.count += 1
                self.total_P += torch.tensor(list(scores.values()), dtype=torch.float64, device=self.total_P.device)

    def compute(self) -> dict[str, Summary]:
        """Sum and count per part."""
        return {part: Summary(self.total_P[i], self.count, self.excluded) for i, part in enumerate(PARTS)}


def area_under_curve(higher_N: Tensor, lower_N: Tensor) -> float:
    """How often a score of the first kind is above one of the second; ties count half, 0.5 is chance.

    Args:
        higher_N: scores of the kind that should be higher, at least one.
        lower_N: scores of the other kind, at least one.
    """
    ordered_N = lower_N.double().sort().values
    below = torch.searchsorted(ordered_N, higher_N.double(), side="left")
    not_above = torch.searchsorted(ordered_N, higher_N.double(), side="right")
    return float((below + not_above).double().mean() / (2 * len(ordered_N)))
