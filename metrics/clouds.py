"""Embeddings of several clouds, each with its song and its instrument, for distances that need them all.

Shapes: W embeddings, D width.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.intervals import Floats, SongRows


class Estimate(NamedTuple):
    """A number of some clouds.

    Attributes:
        value: of all songs; nan if undefined.
        left_out_U: without each of the songs, or groups of them; none unless asked for.
    """

    value: float
    left_out_U: Floats


@dataclass(frozen=True)
class Cloud:
    """Embeddings in an order that does not depend on how processes shared the songs.

    Args:
        x_WD: the embeddings, float64.
        songs_W: a number for the song of each.
        category_W: the instrument category of each.
    """

    x_WD: Tensor
    songs_W: Floats
    category_W: Floats

    def __len__(self) -> int:
        return len(self.x_WD)

    def where(self, wanted_W: NDArray[np.bool_] | NDArray[np.int64]) -> Cloud:
        """A part of it, by a mask or by places."""
        return Cloud(self.x_WD[torch.from_numpy(wanted_W)], self.songs_W[wanted_W], self.category_W[wanted_W])

    def with_all(self, other: Cloud) -> Cloud:
        """Both."""
        joined = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("songs_W", "category_W"))
        return Cloud(torch.cat([self.x_WD, other.x_WD]), *joined)

    def of(self, category: int | None) -> Cloud:
        """The embeddings of one instrument; None = all."""
        return self if category is None else self.where(self.category_W == category)


def songs_of(clouds: Collection[Cloud]) -> Floats:
    """A number for every song of some clouds, each once."""
    return np.unique(np.concatenate([cloud.songs_W for cloud in clouds]))


class Clouds(SongRows):
    """Keeps embeddings of named clouds.

    Memory grows with the number of embeddings: a distance of pairs, or of one instrument, has no sums that suffice.

    Args:
        dimension: width D of the embeddings.
        names: of the clouds.
    """

    full_state_update = False

    def __init__(self, dimension: int, names: Collection[str]) -> None:
        super().__init__()
        self.dimension, self.names = dimension, tuple(names)
        self.leaves_songs_out = False
        self.keep_rows(width=2 + dimension)

    def keep_songs(self) -> None:
        """Songs are kept anyway; from now on there are also numbers without each of them."""
        self.leaves_songs_out = True

    def update(self, cloud: str, embeddings_WD: Tensor, category: int, song: str) -> None:
        """Add embeddings to a cloud.

        Args:
            cloud: its name.
            embeddings_WD: embeddings, possibly none.
            category: their instrument category.
            song: name of the song they come from.

        Raises:
            ValueError: wrong width, or numbers that are not finite.
        """
        if embeddings_WD.ndim != 2 or embeddings_WD.shape[1] != self.dimension:
            raise ValueError(f"embeddings of width {self.dimension} expected, got shape {tuple(embeddings_WD.shape)}")
        if not embeddings_WD.isfinite().all():
            raise ValueError("embeddings are not finite; was the audio?")
        place = torch.tensor([self.names.index(cloud), category], dtype=torch.float64)
        self.add_rows(song, torch.cat([place.expand(len(embeddings_WD), 2), embeddings_WD.double().cpu()], dim=1))

    def compute(self) -> Tensor:
        """How many embeddings every cloud has."""
        return torch.tensor([len(cloud) for cloud in self.clouds().values()])

    def clouds(self) -> dict[str, Cloud]:
        """Every cloud by its name; of all processes within `sync_context`."""
        songs, rows = self.rows_by_song()
        order = np.lexsort((*rows.T[::-1], songs))
        songs, rows = songs[order], rows[order]
        whole = Cloud(torch.from_numpy(rows[:, 2:]), songs, rows[:, 1].astype(np.int64))
        return {name: whole.where(rows[:, 0] == place) for place, name in enumerate(self.names)}
