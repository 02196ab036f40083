"""From a recording to the embedding that a model is asked to sound like.

Zeros stand for no reference. How loud a recording is does not matter.

Shapes: A audio channels, N audio samples, X excerpts, E channels of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livejam.embedding import Embedding
from livejam.errors import UserError

LEVEL_SECONDS = 0.1
"""Levels are measured over so much."""

SILENT_DBFS = -60.0
"""What lies below does not sound."""

SOUNDING_SHARE = 0.5
"""An excerpt counts if so much of it sounds."""

SHORTEST_SECONDS = 0.2
"""A reference sounds at least for so long."""

LEVEL, FAINTEST = 0.1, 1e-6
"""RMS at which all excerpts are embedded, −20 dBFS, and the least that is amplified to it."""

MOST_PARTS, HEAVIEST = 16, 1e6
"""References of a mix, and the largest weight of one."""

LOUDEST = 10.0
"""Samples beyond ± this are clipped, as in a session: their squares must not overflow."""


@dataclass(frozen=True)
class ReferenceAnalysis:
    """How references are made of recordings. A model takes references that are made like those it was trained on.

    Args:
        encoder: the map from an excerpt to points; the mean of these is its embedding. LiveBand's paper takes CLAP
            (`metrics.embeddings.LaionClap`); `metrics.embeddings.LogMel` needs no weights and knows timbre.
        excerpt_seconds: length of an excerpt, at least a window of the encoder: 1 for log-mel, 10 for CLAP.
        excerpts: so many of a recording are embedded, at most, at even distances.

    Raises:
        UserError: a number is out of range.
    """

    encoder: Embedding
    excerpt_seconds: float = 5.0
    excerpts: int = 6

    def __post_init__(self) -> None:
        if not self.excerpt_seconds >= SHORTEST_SECONDS or self.excerpts < 1:
            raise UserError(
                f"excerpt_seconds is {self.excerpt_seconds} and excerpts {self.excerpts}; they are at least "
                f"{SHORTEST_SECONDS} and 1"
            )

    @property
    def channels(self) -> int:
        """Channels of an embedding (E)."""
        return self.encoder.dimension

    @property
    def facts(self) -> dict[str, Any]:
        """All that an embedding depends on besides the recording, in plain values."""
        return {
            "encoder": self.encoder.identity,
            "excerpt_seconds": self.excerpt_seconds,
            "excerpts": self.excerpts,
        }

    def excerpt_samples(self, sample_rate_hz: int) -> int:
        """Length of an excerpt in samples, rounded up."""
        return math.ceil(self.excerpt_seconds * sample_rate_hz)

    def starts(self, audio_N: Tensor, sample_rate_hz: int) -> list[int]:
        """First samples of the excerpts of a recording that are embedded: side by side, sounding, evenly chosen."""
        length, step = self.excerpt_samples(sample_rate_hz), max(1, round(LEVEL_SECONDS * sample_rate_hz))
        candidates = range(0, len(audio_N) - length + 1, length)
        sounding = [start for start in candidates if sounds(audio_N[start : start + length], step) >= SOUNDING_SHARE]
        count = min(self.excerpts, len(sounding))
        return [sounding[place * len(sounding) // count] for place in range(count)]

    def embedded(self, audio_N: Tensor, sample_rate_hz: int, start: int) -> Tensor:
        """Embedding_E of one excerpt, at a level of its own choice."""
        excerpt_N = audio_N[start : start + self.excerpt_samples(sample_rate_hz)]
        loudness = excerpt_N.square().mean().sqrt().clamp_min(FAINTEST)
        return self.encoder(excerpt_N * (LEVEL / loudness), sample_rate_hz).float().mean(dim=0)

    @torch.no_grad()
    def of(self, audio_AN: Tensor, sample_rate_hz: int, name: str = "the reference") -> Tensor:
        """Embedding_E of a recording: the mean over its excerpts. What is shorter than an excerpt is repeated.

        Args:
            audio_AN: of any length and number of channels.
            sample_rate_hz: its rate.
            name: what errors call it.

        Raises:
            UserError: it is too short, silent or not finite.
        """
        audio_N = audio_AN.float().mean(dim=0)
        if not audio_N.isfinite().all():
            raise UserError(f"{name} contains NaN or infinite samples; choose another recording")
        audio_N = audio_N.clamp(-LOUDEST, LOUDEST)
        if len(audio_N) < SHORTEST_SECONDS * sample_rate_hz:
            raise UserError(f"{name} is shorter than {SHORTEST_SECONDS} s; choose one that shows how it sounds")
        length = self.excerpt_samples(sample_rate_hz)
        if len(audio_N) < length:
            audio_N = audio_N.repeat(-(-length // len(audio_N)))[:length]
        starts = self.starts(audio_N, sample_rate_hz) or self._loudest(audio_N, sample_rate_hz, name)
        return torch.stack([self.embedded(audio_N, sample_rate_hz, start) for start in starts]).mean(dim=0)

    def _loudest(self, audio_N: Tensor, sample_rate_hz: int, name: str) -> list[int]:
        """Where a recording of mostly silence sounds most.

        Raises:
            UserError: it sounds nowhere.
        """
        length, step = self.excerpt_samples(sample_rate_hz), max(1, round(LEVEL_SECONDS * sample_rate_hz))
        starts = (*range(0, len(audio_N) - length + 1, length), len(audio_N) - length)
        share, start = max((sounds(audio_N[start : start + length], step), -start) for start in starts)
        if not share:
            raise UserError(f"{name} is silent, so there is nothing to sound like; choose another recording")
        return [-start]


def sounds(audio_N: Tensor, step: int) -> float:
    """The share of a recording's pieces of `step` samples that sound."""
    pieces = len(audio_N) // step
    if not pieces:
        return 0.0
    power = audio_N[: pieces * step].view(pieces, step).square().mean(dim=-1)
    return float((power > 10 ** (SILENT_DBFS / 10)).float().mean())


def interpolated(one_E: Tensor, other_E: Tensor, share: float) -> Tensor:
    """The reference between two: 0 is the one, 1 is the other, both exactly.

    Args:
        one_E: an embedding.
        other_E: another one.
        share: of the other one, from 0 to 1.

    Raises:
        UserError: the share is out of range.
    """
    if not 0 <= share <= 1:
        raise UserError(f"a share of {share} between two references cannot be played; use 0 to 1")
    if share in (0, 1):
        return other_E if share else one_E
    return torch.lerp(one_E, other_E, share)


def mixed(parts: Sequence[tuple[Tensor, float]]) -> Tensor:
    """One reference of several: the weighted mean of their embeddings, of whose weights only the ratios count.

    They are averaged as they are, not as unit vectors. The embedding of a recording is itself the mean over its
    excerpts, so this is the embedding of a recording that has so much of each; and networks standardise every channel
    by the mean and deviation of what they learnt, which a unit vector would have lost.

    Args:
        parts: embeddings of equal lengths, each with its weight.

    Raises:
        UserError: a weight is negative or not finite, all are 0, or there are too many.
    """
    if not 1 <= len(parts) <= MOST_PARTS:
        raise UserError(f"{len(parts)} references cannot be mixed; use 1 to {MOST_PARTS}")
    if wrong := [weight for _, weight in parts if not 0 <= weight <= HEAVIEST]:  # NaN is wrong as well
        raise UserError(f"a reference cannot have the weight {wrong[0]}; use 0 to {HEAVIEST:g}")
    total = sum(weight for _, weight in parts)
    if not total:
        raise UserError("all weights of the references are 0; give at least one of them more")
    shares = [(embedding_E, weight / total) for embedding_E, weight in parts if weight]
    if len(shares) == 1:
        return shares[0][0]
    return torch.stack([share * embedding_E for embedding_E, share in shares]).sum(dim=0)
