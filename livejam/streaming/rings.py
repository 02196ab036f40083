"""Two rings of audio between a sound card's thread and a worker: what was heard, and what will sound.

Each has one writer and one reader and no lock. A position is a sample's number in the stream; it only grows, and its
place in the ring is its remainder. The writer stores samples first and says so afterwards. NumPy, since a sound card's
thread has microseconds.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Audio = npt.NDArray[np.float32]


class _Ring:
    """Samples by their positions."""

    def __init__(self, channels: int, capacity_samples: int) -> None:
        self._samples_AN = np.zeros((channels, capacity_samples), dtype=np.float32)

    @property
    def capacity_samples(self) -> int:
        return self._samples_AN.shape[1]

    def _store(self, start: int, audio_AN: Audio) -> None:
        for there, here in self._parts(start, audio_AN.shape[1]):
            self._samples_AN[:, there] = audio_AN[:, here]

    def _load(self, start: int, out_AN: Audio) -> None:
        for there, here in self._parts(start, out_AN.shape[1]):
            out_AN[:, here] = self._samples_AN[:, there]

    def _parts(self, start: int, samples: int) -> Iterator[tuple[slice, slice]]:
        """A stretch of the stream as slices of the ring and of the stretch: two at the ring's seam."""
        place = start % self.capacity_samples
        first = min(samples, self.capacity_samples - place)
        yield slice(place, place + first), slice(0, first)
        if first < samples:
            yield slice(0, samples - first), slice(first, samples)


class HeardRing(_Ring):
    """What the musician played, from the sound card's thread to the worker.

    The writer never waits: if the reader has fallen a whole ring behind, the oldest samples are overwritten. The reader
    notices and gets silence in their place, so that positions stay right.

    Args:
        channels: of the audio.
        capacity_samples: how far the reader may fall behind.
    """

    def __init__(self, channels: int, capacity_samples: int) -> None:
        super().__init__(channels, capacity_samples)
        self.written_samples = 0
        self.taken_samples = 0
        self._claimed_samples = 0

    @property
    def waiting_samples(self) -> int:
        """Written and not yet taken."""
        return self.written_samples - self.taken_samples

    def write(self, audio_AN: Audio) -> None:
        """Add the next samples, at most `capacity_samples`."""
        start = self.written_samples
        self._claimed_samples = start + audio_AN.shape[1]
        self._store(start, audio_AN)
        self.written_samples = self._claimed_samples

    def take(self, limit_samples: int) -> tuple[Audio, int]:
        """The next samples, as many as there are up to a limit, and how many of them (the first ones) are lost."""
        start = self.taken_samples
        samples = min(self.waiting_samples, limit_samples)
        audio_AN = np.zeros((len(self._samples_AN), samples), dtype=np.float32)
        kept_from = self._lost(start, samples)
        self._load(start + kept_from, audio_AN[:, kept_from:])
        lost = self._lost(start, samples)  # once more: the writer went on meanwhile
        audio_AN[:, :lost] = 0
        self.taken_samples = start + samples
        return audio_AN, lost

    def _lost(self, start: int, samples: int) -> int:
        return min(samples, max(0, self._claimed_samples - self.capacity_samples - start))


class TimedRing(_Ring):
    """What will sound, from the worker to the sound card's thread, by the position at which it is due.

    Before `known_samples` everything is known (at first: silence), after it nothing.

    Args:
        channels: of the audio.
        capacity_samples: the past that is kept and the future that is known, together.
        known_samples: known at the start.
    """

    def __init__(self, channels: int, capacity_samples: int, known_samples: int) -> None:
        super().__init__(channels, capacity_samples)
        self.known_samples = known_samples

    def append(self, audio_AN: Audio) -> None:
        """Add what follows after `known_samples`; of more than the ring holds, the last part."""
        end = self.known_samples + audio_AN.shape[1]
        kept_AN = audio_AN[:, -self.capacity_samples :]
        self._store(end - kept_AN.shape[1], kept_AN)
        self.known_samples = end

    def read(self, start: int, out_AN: Audio) -> int:
        """Fill `out_AN` with what sounds from `start` on; how many samples of it are known (the first ones)."""
        known = min(max(0, self.known_samples - start), out_AN.shape[1])
        self._load(start, out_AN[:, :known])
        return known

    def last(self, out_AN: Audio) -> None:
        """Fill `out_AN` with the last samples before `known_samples`."""
        self._load(self.known_samples - out_AN.shape[1], out_AN)
