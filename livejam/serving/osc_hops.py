"""What a session played, cut into hops.

Shapes: B rows (accompanists), A audio channels, N audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from livejam.streaming import Session
from livejam.streaming.rings import Audio

KEPT_SECONDS = 20.0
"""Longer than the longest hop with its fade, and what models know ahead."""


@dataclass(frozen=True)
class Hop:
    """Which part of the output an answer is.

    Args:
        samples: of the hop.
        ahead: w; -1 = the hop that was heard last, 0 = the one after it.
        fade_samples: by how much the answer begins before that.
    """

    samples: int
    ahead: float
    fade_samples: int

    def end(self, heard_samples: int) -> int:
        """The output sample at which it ends."""
        return heard_samples + int((self.ahead + 1) * self.samples)


class OutputTape:
    """The last seconds of a session's output, by the session's own count of samples."""

    def __init__(self) -> None:
        self._end = 0
        self._audio_BN: Audio = np.zeros((0, 0), dtype=np.float32)

    def hear(self, session: Session, audio_N: Audio) -> None:
        """Let the session hear sound, and keep what becomes known."""
        start = session.known_samples
        new_BN = session.advance(torch.from_numpy(audio_N)[None])[:, 0].numpy()
        if start != self._end or len(new_BN) != len(self._audio_BN):  # it was reset, or went back
            self._audio_BN = new_BN[:, :0]
        kept = round(KEPT_SECONDS * session.sample_rate_hz)
        self._audio_BN = np.concatenate((self._audio_BN, new_BN), axis=1)[:, -kept:]
        self._end = session.known_samples

    def answer(self, session: Session, hop: Hop) -> dict[str, Audio]:
        """The hop of every instrument, faded in before it; rows that play the same instrument are added."""
        end = hop.end(session.heard_samples)
        audio_BN = self._between(end - hop.samples - hop.fade_samples, end)
        audio_BN[:, : hop.fade_samples] *= np.linspace(0, 1, hop.fade_samples, dtype=np.float32)
        answers: dict[str, Audio] = {}
        for name, row_N in zip(session.instruments, audio_BN, strict=True):
            answers[name] = answers[name] + row_N if name in answers else row_N
        return answers

    def _between(self, start: int, end: int) -> Audio:
        """A copy of the output, with silence before what is kept."""
        first = self._end - self._audio_BN.shape[1]
        cut_BN = self._audio_BN[:, max(0, start - first) : max(0, end - first)]
        return np.pad(cut_BN, ((0, 0), (end - start - cut_BN.shape[1], 0)))
