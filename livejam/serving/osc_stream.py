"""The continuous mode over OSC: answers leave as `/stream` as soon as they are known.

Shapes: B rows (accompanists), N audio samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from livejam.serving.line import Answer
from livejam.serving.osc_fields import LAST, LONGEST_BLOCK, Message
from livejam.serving.osc_messages import Stream, StreamAnswer
from livejam.streaming.rings import Audio

GRID = 64
"""Answers begin at multiples of this: programs whose numbers are 32-bit floats (Pd) can then count for six hours."""

SMALLEST_BLOCK = 256


class StreamAnswers:
    """Cuts answers into datagrams no longer than those that the musician sends, which pass its network whole.

    Samples since the last multiple of `GRID` are sent again with the ones that follow, so that every datagram begins at
    such a multiple.

    Args:
        reply: sends a message; called in the thread that calls `answer`.
    """

    def __init__(self, reply: Callable[[Message], None]) -> None:
        self._reply = reply
        self._longest = SMALLEST_BLOCK
        self._sequence = 0
        self._end = 0
        self._tail_BN: Audio = np.zeros((0, 0), dtype=np.float32)

    def hear(self, message: Stream) -> None:
        """Note how long the musician's blocks are."""
        samples = -(-len(message.samples_N) // GRID) * GRID
        self._longest = min(max(self._longest, samples), LONGEST_BLOCK)

    def answer(self, answer: Answer) -> None:
        """Send what has become known."""
        start, audio_BN = self._on_grid(answer.position_samples, answer.audio_BAN[:, 0])
        end = start + audio_BN.shape[1]
        if start < 0 or end > LAST:
            return
        for row, row_N in enumerate(audio_BN):
            for place in range(0, len(row_N), self._longest):
                samples_N = row_N[place : place + self._longest]
                self._reply(StreamAnswer(self._sequence, start + place, row, samples_N))
                self._sequence = (self._sequence + 1) % LAST

    def _on_grid(self, position: int, audio_BN: Audio) -> tuple[int, Audio]:
        """Begin at a multiple of `GRID`, with samples that were sent before, or silence."""
        before, end = position % GRID, position + audio_BN.shape[1]
        tail_BN = np.zeros((len(audio_BN), before), dtype=np.float32)
        if position == self._end and self._tail_BN.shape == tail_BN.shape:
            tail_BN = self._tail_BN
        whole_BN = np.concatenate((tail_BN, audio_BN), axis=1)
        self._end, self._tail_BN = end, whole_BN[:, whole_BN.shape[1] - end % GRID :]
        return position - before, whole_BN
