"""A session in an engine's hands: it may refuse its input, fail or be rewound, and the stream goes on.

Shapes: B rows of a batch, A audio channels, N audio samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.streaming.rings import Audio


class SessionTiming(Protocol):
    """What an engine needs to know of a session's time."""

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def block_samples(self) -> int: ...

    @property
    def lead_samples(self) -> int: ...


class PlayedSession(Protocol):
    """What an engine needs of a session."""

    @property
    def timing(self) -> SessionTiming: ...

    @property
    def channels(self) -> int: ...

    @property
    def heard_samples(self) -> int: ...

    @property
    def known_samples(self) -> int: ...

    @property
    def failures(self) -> int: ...

    def advance(self, audio_AN: Tensor) -> Tensor: ...

    def reset(self) -> None: ...

    def snapshot(self) -> Any: ...

    def restore(self, snapshot: Any) -> None: ...


S = TypeVar("S", bound=PlayedSession)
R = TypeVar("R")


class Performer(Generic[S]):
    """Lets a session hear a stream whose positions only grow.

    Whatever happens to the session's own count of samples (a snapshot restored, a reset), the stream's positions go on;
    `cut` then says that what follows has nothing to do with what was known before.

    Args:
        session: plays.
        say: told every kind of problem once, in a sentence.
    """

    def __init__(self, session: S, say: Callable[[str], None]) -> None:
        self.session = session
        self.refused = 0
        self.problem = ""
        self.cut = session.heard_samples > 0
        self._origin = -session.heard_samples
        self._say = say
        self._said: set[str] = set()

    @property
    def origin_samples(self) -> int:
        """The stream's position of the session's first sample."""
        return self._origin

    def advance(self, audio_AN: Audio) -> tuple[int, Audio]:
        """Hear the next samples: which output became known, and its position in the stream.

        Input that the session refuses, or fails on, becomes silence. If it fails on silence too, it starts afresh.
        """
        end = self._origin + self.session.heard_samples + audio_AN.shape[1]
        known, new_AN = self._played(audio_AN)
        self._align(end)
        return self._origin + known, new_AN

    def control(self, change: Callable[[S], R]) -> R:
        """Change the session between two pieces of its input."""
        position = self._origin + self.session.heard_samples
        try:
            return change(self.session)
        finally:
            self._align(position)

    def rehearse(self, rehearsal: Callable[[Callable[[], object]], R]) -> R:
        """Let somebody play blocks of silence, which the session then forgets."""
        session, before = self.session, self.session.snapshot()
        silence_AN = torch.zeros(session.channels, session.timing.block_samples)
        try:
            return rehearsal(lambda: session.advance(silence_AN))
        finally:
            session.restore(before)

    def note(self, kind: str, sentence: str) -> None:
        """Remember a problem, and say it if it is the first of its kind."""
        self.problem = sentence
        if kind not in self._said:
            self._said.add(kind)
            self._say(sentence)

    def _played(self, audio_AN: Audio) -> tuple[int, Audio]:
        for heard_AN in (audio_AN, np.zeros_like(audio_AN)):
            try:
                known = self.session.known_samples
                return known, self.session.advance(torch.from_numpy(heard_AN)).sum(0).numpy()
            except Exception as error:  # anything may go wrong in a model; the stage must not notice
                self.refused += 1
                sentence = f"{_described(error)}; silence takes the place of {audio_AN.shape[1]} samples"
                self.note(type(error).__name__, sentence)
        self.session.reset()
        self.cut = True
        return self.session.known_samples, np.zeros((len(audio_AN), 0), dtype=np.float32)

    def _align(self, position: int) -> None:
        """Let the session's next sample be the stream's at this position."""
        origin = position - self.session.heard_samples
        self.cut |= origin != self._origin
        self._origin = origin


def _described(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if isinstance(error, UserError) else f"the model failed ({text})"
