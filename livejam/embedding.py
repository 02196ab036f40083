"""The interface of everything that maps a recording to points: what distances and references are made of.

Shapes: N audio samples, W windows, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class Embedding(ABC):
    """A map from a recording to a cloud of points."""

    name: str
    """A short lower-case name for the tags of the logs."""

    published = False
    """Whether the papers measure with it."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """The method and its settings; only distances of equal identity can be compared."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Width D of an embedding."""

    @abstractmethod
    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        """Embeddings_WD of a mono recording, one per window; none if it is shorter than a window."""
