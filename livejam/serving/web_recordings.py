"""What one musician of the page gives the model to sound like: files, and what was played last.

Shapes: N audio samples, E channels of an embedding.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from torch import Tensor

from livejam.errors import UserError
from livejam.reference import interpolated
from livejam.serving.web_frames import RECORDINGS, Recorded
from livejam.streaming.rings import Audio

LONGEST_SECONDS = 30.0
"""Of a recording that is sent."""

REMEMBERED_SECONDS = 20.0
"""Of what was heard."""


class Recordings:
    """Sound that has come, until it is embedded, and the embeddings.

    Args:
        sample_rate_hz: of all sound.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._heard: deque[Audio] = deque()
        self._heard_samples = 0
        self._pieces: dict[int, list[Audio]] = {}
        self._embeddings: dict[int, Tensor] = {}

    def hear(self, audio_N: Audio) -> None:
        """The musician has played so much more."""
        self._heard.append(audio_N)
        self._heard_samples += len(audio_N)
        while self._heard_samples - len(self._heard[0]) >= REMEMBERED_SECONDS * self._rate:
            self._heard_samples -= len(self._heard.popleft())

    def put(self, recorded: Recorded) -> None:
        """A piece of a recording has come.

        Raises:
            UserError: it does not continue the one before, or the recording is too long; it is then forgotten.
        """
        pieces = [] if recorded.position_samples == 0 else self._pieces.pop(recorded.slot, [])
        held = sum(map(len, pieces))
        if recorded.position_samples != held:
            raise UserError("a piece of the recording is missing; send it again from its beginning")
        if held + len(recorded.audio_N) > LONGEST_SECONDS * self._rate:
            raise UserError(f"the recording is longer than {LONGEST_SECONDS:g} s; send a part of it")
        self._pieces[recorded.slot] = [*pieces, recorded.audio_N]

    def sent(self, slot: int) -> Audio:
        """The recording that was sent, which is then forgotten.

        Raises:
            UserError: there is none.
        """
        if slot not in self._pieces:
            raise UserError("no recording has come; send its sound first")
        return np.concatenate(self._pieces.pop(slot))

    def last(self, seconds: float) -> Audio:
        """What was played in the last seconds.

        Raises:
            UserError: nothing was.
        """
        if not self._heard:
            raise UserError("nothing was heard yet; play something first")
        return np.concatenate(self._heard)[-round(seconds * self._rate) :]

    def keep(self, slot: int, embedding_E: Tensor) -> None:
        """A recording was embedded."""
        self._embeddings[slot] = embedding_E

    def between(self, share: float) -> Tensor:
        """The reference between both recordings: 0 is the first, 1 the second.

        Raises:
            UserError: one that is needed is not there.
        """
        needed = [slot for slot, weight in zip(range(RECORDINGS), (1 - share, share), strict=True) if weight]
        if missing := [slot for slot in needed if slot not in self._embeddings]:
            raise UserError(f"there is no recording {missing[0]} yet; choose one first")
        if len(needed) == 1:
            return self._embeddings[needed[0]]
        return interpolated(self._embeddings[0], self._embeddings[1], share)
