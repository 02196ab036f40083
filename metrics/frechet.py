"""The Fréchet distance between two clouds of embeddings.

Shapes: W embeddings (windows), D embedding width, U songs or groups of them, S sizes of subsets.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metrics.frechet_reference import FrechetReference
from metrics.gaussians import SampleGaussian, gaussian_distance
from metrics.intervals import Floats, SongRows, groups_of


class Extrapolation(NamedTuple):
    """A line through distances of subsets, and its limit.

    Attributes:
        distance: FAD∞, where the line meets 1/N = 0; nan with fewer than ten embeddings. May lie below 0.
        slope: by how much a distance grows with 1/N.
        sizes_S: embeddings of every subset.
        distances_S: their distances.
    """

    distance: float
    slope: float
    sizes_S: Floats
    distances_S: Floats


def extrapolated_distance(
    real: SampleGaussian, fake_WD: Tensor, steps: int = 15, smallest: float = 0.2, seed: int = 0
) -> Extrapolation:
    """FAD∞: the distance that unlimited generated embeddings would have (Chong & Forsyth 2020, Gui et al. 2024).

    The bias of few samples falls with 1/N. Distances of random subsets, each drawn without replacement, are therefore
    fitted by a line over 1/N. The line is straight only where subsets have more embeddings than dimensions.

    Args:
        real: the reference, on the CPU.
        fake_WD: generated embeddings.
        steps: number of subsets (≥ 2), of sizes from the smallest to all.
        smallest: share of the smallest subset, in (0, 1).
        seed: seed of the draws; equal seeds give equal results.
    """
    total = len(fake_WD)
    if total < 10:
        return Extrapolation(math.nan, math.nan, np.zeros(0), np.zeros(0))
    rng = torch.Generator().manual_seed(seed)
    sizes_S = np.linspace(max(2, smallest * total), total, steps).round()
    x_WD = fake_WD.to("cpu", torch.float64)
    distances = []
    for size in sizes_S:
        subset_WD = x_WD[torch.randperm(total, generator=rng)[: int(size)]]
        distances.append(gaussian_distance(real, SampleGaussian.of_samples(subset_WD)))
    slope, end = np.polyfit(1 / sizes_S, distances, 1)
    return Extrapolation(float(end), float(slope), sizes_S, np.array(distances))


class FrechetScore(NamedTuple):
    """A distance and the numbers of embeddings behind it, which every comparison should name.

    `extrapolated` is FAD∞, nan unless asked for.
    """

    distance: Tensor
    real_count: Tensor
    fake_count: Tensor
    extrapolated: Tensor


class FrechetAudioDistance(SongRows):
    """Fréchet audio distance (Kilgour et al. 2019) in constant memory.

    Counts, sums and sums of outer products of both clouds are kept in float64, so processes add up exactly.

    Args:
        dimension: width D of the embeddings.
        extrapolate: whether to compute FAD∞ too, for which all embeddings are kept: memory grows with their number.
    """

    clouds: tuple[str, ...] = ("real", "fake")
    full_state_update = False
    real_count: Tensor
    fake_count: Tensor
    real_data: Tensor

    def __init__(self, dimension: int, extrapolate: bool = False) -> None:
        super().__init__()
        self.dimension, self.extrapolate = dimension, extrapolate
        self.kept_reference: FrechetReference | None = None
        self.add_state("real_data", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for cloud in self.clouds:
            self.add_state(f"{cloud}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{cloud}_sum_D", torch.zeros(dimension, dtype=torch.float64), dist_reduce_fx="sum")
            outer_DD = torch.zeros(dimension, dimension, dtype=torch.float64)
            self.add_state(f"{cloud}_outer_DD", outer_DD, dist_reduce_fx="sum")
        if extrapolate:
            self.keep_songs()

    def update(self, embeddings_WD: Tensor, real: bool, song: str | None = None, data: str = "") -> None:
        """Add embeddings to one of the clouds.

        Args:
            embeddings_WD: embeddings, possibly none.
            real: whether they belong to the reference.
            song: name of the song they come from, for intervals; None leaves them out.
            data: identifier of the recording, for the data hash of the reference.

        Raises:
            ValueError: wrong width, or numbers that are not finite.
        """
        cloud = "real" if real else "fake"
        self._add(cloud, embeddings_WD)
        self._keep(cloud, embeddings_WD, song)
        if real and data:
            # A sum, unlike a digest, is the same in any order and on any number of processes.
            self.real_data = self.real_data + int(hashlib.sha256(data.encode()).hexdigest()[:12], 16)

    def _add(self, cloud: str, embeddings_WD: Tensor) -> None:
        """Add to the sums of a cloud."""
        if embeddings_WD.ndim != 2 or embeddings_WD.shape[1] != self.dimension:
            raise ValueError(f"embeddings of width {self.dimension} expected, got shape {tuple(embeddings_WD.shape)}")
        if not embeddings_WD.isfinite().all():
            raise ValueError("embeddings are not finite; was the audio?")
        x_WD = embeddings_WD.to(self.real_count.device, torch.float64)
        setattr(self, f"{cloud}_count", getattr(self, f"{cloud}_count") + len(x_WD))
        setattr(self, f"{cloud}_sum_D", getattr(self, f"{cloud}_sum_D") + x_WD.sum(0))
        setattr(self, f"{cloud}_outer_DD", getattr(self, f"{cloud}_outer_DD") + x_WD.T @ x_WD)

    def _keep(self, cloud: str, embeddings_WD: Tensor, song: str | None) -> None:
        """Keep embeddings as rows of a cloud, if rows are kept."""
        if self.extrapolate and song is None:
            song = ""
        row_W1D = torch.nn.functional.pad(embeddings_WD.double(), (1, 0), value=float(self.clouds.index(cloud)))
        self.add_rows(song, row_W1D)

    def use_reference(self, reference: FrechetReference) -> None:
        """Compare with this reference from now on, also after `reset`, in place of real embeddings.

        Args:
            reference: the same on every process; it is not summed over them.

        Raises:
            ValueError: embeddings of another width.
        """
        if len(reference.sum_D) != self.dimension:
            raise ValueError(f"a reference of width {self.dimension} expected, got {len(reference.sum_D)}")
        self.kept_reference = reference

    def reference(self, embedding: str, sample_rate_hz: int, segment_seconds: float) -> FrechetReference:
        """What has been seen of the real cloud, by all processes within `sync_context`.

        Args:
            embedding: identity of the embedding.
            sample_rate_hz: rate of the recordings.
            segment_seconds: length of the stretches that they were cut into.
        """
        _, sum_D, outer_DD = (x.cpu().clone() for x in self._sums("real"))
        made_of = (embedding, sample_rate_hz, segment_seconds, f"{int(self.real_data):x}", int(self.real_count))
        return FrechetReference(*made_of, sum_D, outer_DD)

    def _sums(self, cloud: str) -> tuple[Tensor, Tensor, Tensor]:
        """Count, sum and sum of outer products."""
        if cloud == "real" and self.kept_reference is not None:
            kept = self.kept_reference
            sum_D, outer_DD = (x.to(self.fake_count.device) for x in (kept.sum_D, kept.outer_DD))
            return torch.tensor(kept.count, device=self.fake_count.device), sum_D, outer_DD
        return getattr(self, f"{cloud}_count"), getattr(self, f"{cloud}_sum_D"), getattr(self, f"{cloud}_outer_DD")

    def compute(self) -> FrechetScore:
        """The distance, nan if one cloud has fewer than two embeddings.

        With fewer embeddings than dimensions a covariance is singular: the distance is still defined, but biased
        upwards; compare it only with distances of as many embeddings.
        """
        real, fake = (_gaussian_of(*self._sums(cloud)) for cloud in ("real", "fake"))
        distance, extrapolated = _distance(real, fake), math.nan
        if self.extrapolate and real is not None and fake is not None:
            known = _gaussian_of(*(x.cpu() for x in self._sums("real")))
            assert known is not None
            extrapolated = extrapolated_distance(known, self._rows_of("fake")[1]).distance
        numbers = (torch.tensor(number, dtype=torch.float64) for number in (distance, extrapolated))
        return FrechetScore(next(numbers), self._sums("real")[0], self.fake_count, next(numbers))

    def _rows_of(self, cloud: str) -> tuple[Floats, Tensor]:
        """Songs and embeddings of a cloud, in an order that does not depend on how processes shared the songs."""
        keys, rows = self.rows_by_song()
        wanted = rows[:, 0] == self.clouds.index(cloud)
        keys, rows = keys[wanted], rows[wanted, 1:]
        order = np.lexsort((*rows.T[:2], keys))
        return keys[order], torch.from_numpy(rows[order])

    def keep_songs(self) -> None:
        """Keep all embeddings from now on, so that songs can be left out: memory grows with their number."""
        self.keep_rows(width=1 + self.dimension)

    def left_out(self, cloud: str) -> Floats:
        """The distance of a cloud without each of the songs, distances_U; a song is left out of stems and reference.

        Songs are those of all processes within `sync_context`, none unless they are kept; more than fifty are left out
        in groups.

        Args:
            cloud: name of one of the clouds that are not the reference.
        """
        songs, x_WD = self._rows_of(cloud)
        real_songs, real_WD = self._rows_of("real")
        fixed = None if self.kept_reference is None else _gaussian_of(*(x.cpu() for x in self._sums("real")))
        names = np.unique(np.concatenate([songs, real_songs]))
        distances = []
        for group in groups_of(names):
            real, fake = (_samples(x[~np.isin(of, group)]) for x, of in ((real_WD, real_songs), (x_WD, songs)))
            distances.append(_distance(fixed or real, fake))
        return np.array(distances)


def _gaussian_of(count: Tensor, sum_D: Tensor, outer_DD: Tensor) -> SampleGaussian | None:
    """None of fewer than two embeddings."""
    return SampleGaussian.of_sums(int(count), sum_D, outer_DD) if int(count) >= 2 else None


def _samples(x_WD: Tensor) -> SampleGaussian | None:
    return SampleGaussian.of_samples(x_WD) if len(x_WD) >= 2 else None


def _distance(real: SampleGaussian | None, fake: SampleGaussian | None) -> float:
    return math.nan if real is None or fake is None else gaussian_distance(real, fake)


class DriftingFrechetDistance(FrechetAudioDistance):
    """The distance of stems, and its drift: that of their continuations minus that of the continued ones alone."""

    clouds = ("real", "fake", "paired", "later")
    later_count: Tensor
    paired_count: Tensor

    def update_pair(self, first_WD: Tensor, later_WD: Tensor | None, song: str | None = None) -> None:
        """Add the embeddings of one stem.

        Args:
            first_WD: of its beginning.
            later_WD: of its continuation; None = it has none and says nothing of the drift.
            song: name of the song that the stem comes from, for intervals.
        """
        self.update(first_WD, real=False, song=song)
        if later_WD is not None:
            for cloud, x_WD in (("paired", first_WD), ("later", later_WD)):
                self._add(cloud, x_WD)
                self._keep(cloud, x_WD, song)

    def drift(self, distance: float) -> float:
        """Later minus earlier of the same stems, nan if one of them is undefined; of all within `sync_context`.

        Args:
            distance: of all beginnings, what `compute` said.
        """
        real, paired, later = (_gaussian_of(*self._sums(cloud)) for cloud in ("real", "paired", "later"))
        everything = int(self.paired_count) == int(self.fake_count)
        return _distance(real, later) - (distance if everything else _distance(real, paired))
