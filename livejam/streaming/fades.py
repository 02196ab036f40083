"""No click where sound is missing: what sounded last goes on, mirrored in time, and fades away.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import numpy as np

from livejam.streaming.rings import Audio


def fade_in(samples: int) -> Audio:
    """Weights from just above 0 to just below 1, half a period of a cosine; 1 minus them fades out."""
    phase = np.arange(1, samples + 1) / (samples + 1)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * phase), dtype=np.float32)


def mirrored_tail(last_AN: Audio) -> Audio:
    """A continuation of the given samples that fades out within as many.

    It begins with the last sample, so there is no jump, and has the same spectrum. It needs no knowledge of what is to
    come, and so costs no time.
    """
    return np.asarray(last_AN[:, ::-1] * (1 - fade_in(last_AN.shape[1])), dtype=np.float32)


def spliced(audio_AN: Audio, last_AN: Audio) -> Audio:
    """Audio that follows samples with which it has nothing to do: a cross-fade from their tail."""
    fade = min(audio_AN.shape[1], last_AN.shape[1])
    spliced_AN = audio_AN.copy()
    spliced_AN[:, :fade] *= fade_in(last_AN.shape[1])[:fade]
    spliced_AN[:, :fade] += mirrored_tail(last_AN)[:, :fade]
    return spliced_AN


def after_silence(audio_AN: Audio, silence_samples: int, fade_samples: int) -> Audio:
    """Silence, and then audio that fades in."""
    fade = min(audio_AN.shape[1], fade_samples)
    padded_AN = np.pad(audio_AN, ((0, 0), (silence_samples, 0)))
    padded_AN[:, silence_samples : silence_samples + fade] *= fade_in(fade_samples)[:fade]
    return padded_AN


class MissFader:
    """Turns blocks of which only the first samples are known into sound without clicks.

    Missing samples: the last sound fades out, then there is silence. Sound that comes back fades in. Each takes
    `fade_samples`, over as many blocks as needed.

    Args:
        channels: of the audio.
        fade_samples: length of a fade.
    """

    def __init__(self, channels: int, fade_samples: int) -> None:
        self.misses = 0
        self.missed_samples = 0
        self._fade = fade_samples
        self._weights = fade_in(fade_samples)
        self._last_AN = np.zeros((channels, fade_samples), dtype=np.float32)
        self._tail_AN = np.zeros((channels, fade_samples), dtype=np.float32)
        self._tail_at = self._weight_at = fade_samples
        self._missing = False

    def __call__(self, block_AN: Audio, known: int) -> None:
        """Change a block in place.

        Args:
            block_AN: the next samples.
            known: how many of them (the first ones) are valid.
        """
        if known and self._missing:
            self._missing, self._weight_at = False, 0
        known_AN, missing_AN = block_AN[:, :known], block_AN[:, known:]
        self._weigh(known_AN)
        self._add_tail(known_AN)
        self._remember(known_AN)
        if missing_AN.shape[1]:
            self._miss(missing_AN)

    def cut(self) -> None:
        """What follows does not continue what sounded last: cross-fade."""
        self._tail_AN, self._tail_at, self._weight_at = mirrored_tail(self._last_AN), 0, 0

    def _miss(self, missing_AN: Audio) -> None:
        self.missed_samples += missing_AN.shape[1]
        if not self._missing:
            self.misses += 1
            self._missing = True
            self._tail_AN, self._tail_at = mirrored_tail(self._last_AN), 0
        missing_AN[:] = 0
        self._add_tail(missing_AN)
        self._remember(missing_AN)

    def _weigh(self, block_AN: Audio) -> None:
        count = min(self._fade - self._weight_at, block_AN.shape[1])
        block_AN[:, :count] *= self._weights[self._weight_at : self._weight_at + count]
        self._weight_at += count

    def _add_tail(self, block_AN: Audio) -> None:
        count = min(self._fade - self._tail_at, block_AN.shape[1])
        block_AN[:, :count] += self._tail_AN[:, self._tail_at : self._tail_at + count]
        self._tail_at += count

    def _remember(self, block_AN: Audio) -> None:
        kept = max(0, self._fade - block_AN.shape[1])
        self._last_AN[:, :kept] = self._last_AN[:, self._fade - kept :]
        self._last_AN[:, kept:] = block_AN[:, block_AN.shape[1] - (self._fade - kept) :]
