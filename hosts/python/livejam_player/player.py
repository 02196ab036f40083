"""Sound in, accompaniment out, in pieces of any size.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from livejam_player.model import Array, ModelError, StepModel, require_seed

LOUDEST = 10.0
"""Samples beyond ± this are clipped, before they overflow in a graph."""


class Player:
    """A model that accompanies: sample k of the output should sound while sample k of the input sounds.

    Args:
        folder: an exported directory.
        instrument: by name; None = the model's default.
        seed: equal seeds and equal mixes give equal notes.
        threads: that a graph may use.

    Raises:
        ModelError: the directory cannot be played, or the model does not know the instrument.
    """

    def __init__(self, folder: str | Path, instrument: str | None = None, seed: int = 0, threads: int = 1) -> None:
        require_seed(seed)
        self.model = StepModel(folder, threads)
        self.instrument, self.seed = self.model.instrument_index(instrument), seed
        self.reset()

    @property
    def sample_rate_hz(self) -> int:
        """Of input and output."""
        return int(self.model.signature["sample_rate_hz"])

    @property
    def channels(self) -> int:
        """Of input and output."""
        return self.model.channels

    @property
    def lead_samples(self) -> int:
        """After n samples heard, at least n + lead samples of the output are known."""
        return int(self.model.signature["lead_samples"])

    @property
    def late_samples(self) -> int:
        """How late `process` plays; 0 for a model that plays ahead."""
        return max(0, -self.lead_samples)

    def reset(self) -> None:
        """Begin anew."""
        self.model.reset()
        nothing_AN: Array = np.zeros((self.channels, 0), np.float32)
        self._due_AN = self._unheard_AN = nothing_AN
        first = self.model.signature["first_output_sample"] + self.late_samples
        self._before_AN: Array = np.zeros((self.channels, first), np.float32)

    def process(self, audio_AN: Array) -> Array:
        """Hear the next samples, and play as many.

        Args:
            audio_AN: sound in [-1, 1], any number of samples.

        Raises:
            ModelError: wrong number of channels, or samples that are not finite; nothing of them was heard.
        """
        self._due_AN = np.concatenate((self._due_AN, self.advance(audio_AN)), axis=1)
        samples = audio_AN.shape[1]
        played_AN, self._due_AN = self._due_AN[:, :samples], self._due_AN[:, samples:]
        return played_AN

    def advance(self, audio_AN: Array) -> Array:
        """Hear the next samples; what became known of the output, which is often ahead of them.

        All that it gives, one after another, is what `process` gives.

        Args:
            audio_AN: sound in [-1, 1], any number of samples.

        Raises:
            ModelError: as `process`.
        """
        if audio_AN.ndim != 2 or len(audio_AN) != self.channels:
            raise ModelError(
                f"the audio has shape {audio_AN.shape}, but the model needs ({self.channels} channels, samples); "
                "mix it down first"
            )
        if not np.isfinite(audio_AN).all():
            raise ModelError("the audio contains NaN or infinite samples and was not heard; check where it comes from")
        clipped_AN = np.clip(audio_AN, -LOUDEST, LOUDEST).astype(np.float32)
        self._unheard_AN = np.concatenate((self._unheard_AN, clipped_AN), axis=1)
        pieces, block = [self._before_AN], self.model.block_samples
        self._before_AN = self._before_AN[:, :0]
        while self._unheard_AN.shape[1] >= block:
            pieces.append(self.model.step(self._unheard_AN[:, :block], self.instrument, self.seed))
            self._unheard_AN = self._unheard_AN[:, block:]
        return np.concatenate(pieces, axis=1)
