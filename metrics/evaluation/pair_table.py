"""The table of pairs that were measured in parts, read one part after the other.

Shapes: U songs, G groups of songs, W embeddings, D width.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from metrics.evaluation.clips import Place
from metrics.evaluation.evaluate import Outcome
from metrics.evaluation.measure import Result
from metrics.evaluation.pair_parts import ROWS, Part
from metrics.gaussians import SampleGaussian, gaussian_distance
from metrics.intervals import MOST_GROUPS, UNKNOWN, Floats, Interval, jackknife_interval, positive_interval
from metrics.kernel import MOST_EMBEDDINGS, evenly, kernel_sums, median_distance
from metrics.prompt_adherence import adherence_of, limited_adherence
from metrics.scores import without_each


@dataclass
class SongMeans:
    """The mean of scores, and of their differences between segments, with one sum per song.

    Args:
        songs: their number.
    """

    songs: int
    totals_U: Floats = field(init=False)
    counts_U: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.totals_U, self.counts_U = np.zeros(self.songs), np.zeros(self.songs)

    def add(self, song: int, score: float) -> None:
        """Add the score of one pair, unless it is undefined."""
        if not math.isnan(score):
            self.totals_U[song] += score
            self.counts_U[song] += 1

    def read(self) -> tuple[float, int, Interval]:
        """Mean, number of pairs, and interval over songs."""
        count = int(self.counts_U.sum())
        mean = float(self.totals_U.sum()) / count if count else math.nan
        return mean, count, jackknife_interval(mean, without_each(self.totals_U, self.counts_U))


class GroupedCloud:
    """Sums of a cloud of embeddings for each of up to fifty groups of songs, in constant memory.

    Args:
        groups: their number.
        dimension: width D of the embeddings.
    """

    def __init__(self, groups: int, dimension: int) -> None:
        self.count_G = torch.zeros(groups, dtype=torch.float64)
        self.sum_GD = torch.zeros(groups, dimension, dtype=torch.float64)
        self.outer_GDD = torch.zeros(groups, dimension, dimension, dtype=torch.float64)

    def add(self, x_WD: Tensor, group_W: Tensor) -> None:
        """Add embeddings with their groups."""
        for group in group_W.unique().tolist():
            own_WD = x_WD[group_W == group].double()
            self.count_G[group] += len(own_WD)
            self.sum_GD[group] += own_WD.sum(0)
            self.outer_GDD[group] += own_WD.T @ own_WD

    def gaussian(self, without: int | None = None) -> SampleGaussian | None:
        """Of all embeddings, or of all but one group's; None of fewer than two."""
        sums = [self.count_G.sum(0), self.sum_GD.sum(0), self.outer_GDD.sum(0)]
        if without is not None:
            parts = (self.count_G, self.sum_GD, self.outer_GDD)
            sums = [whole - part[without] for whole, part in zip(sums, parts, strict=True)]
        count = int(sums[0])
        return SampleGaussian.of_sums(count, sums[1], sums[2]) if count >= 2 else None


@dataclass(frozen=True)
class Summary:
    """What parts say.

    Args:
        outcomes: one per measure.
        measured: names of the pairs that were measured.
        skipped: name of each other pair → why it was not.
    """

    outcomes: list[Outcome]
    measured: list[str]
    skipped: dict[str, str]


def summarised(parts: Sequence[Part], methods: Mapping[str, str], dimensions: Mapping[str, int],
               segment_seconds: float) -> Summary:  # fmt: skip
    """The numbers of all pairs.

    Args:
        parts: parts that are done.
        methods: name of the first score of every measure → how it judges.
        dimensions: name of every embedding → its width.
        segment_seconds: length of a segment in seconds.
    """
    songs = {song: place for place, song in enumerate(sorted({pair.song for part in parts for pair in part.pairs}))}
    measured, skipped, places = _names(parts)
    rows = _scores(parts, songs)
    for name, dimension in dimensions.items():
        for row, results in _distances(parts, name, dimension, songs).items():
            rows[row] |= results
    scored = list(dict.fromkeys(chart for results in rows.values() for chart in results))
    outcomes = [
        Outcome({row: _of(results, charts) for row, results in rows.items()}, charts, method, segment_seconds, places)
        for charts, method in _charts(scored, methods)
    ]
    return Summary(outcomes, measured, skipped)


def _names(parts: Sequence[Part]) -> tuple[list[str], dict[str, str], list[Place]]:
    measured, skipped, places = [], {}, []
    for part in parts:
        for pair, held in zip(part.pairs, part.read()["pairs"], strict=True):
            if "skipped" in held:
                skipped[pair.name] = str(held["skipped"])
            else:
                measured.append(pair.name)
                place: Place = [pair.name, pair.song, pair.category]
                places.append(place)
    return measured, skipped, places


def _charts(scored: Sequence[str], methods: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    """The scores of every measure: those from its first one to the next measure's."""
    charts: dict[str, list[str]] = {}
    owner = ""
    for name in scored:
        owner = name if name in methods else owner
        charts.setdefault(owner, []).append(name)
    for owner, names in charts.items():
        yield names, methods.get(owner, owner)


def _of(results: Mapping[str, Result], charts: Sequence[str]) -> dict[str, Result]:
    return {name: results[name] for name in charts if name in results}


def _scores(parts: Sequence[Part], songs: Mapping[str, int]) -> dict[str, dict[str, Result]]:
    """Means over pairs, per row and score."""
    values: dict[tuple[str, str], SongMeans] = defaultdict(lambda: SongMeans(len(songs)))
    drifts: dict[tuple[str, str], SongMeans] = defaultdict(lambda: SongMeans(len(songs)))
    for part in parts:
        for pair, held in zip(part.pairs, part.read()["pairs"], strict=True):
            for row, scores in held.get("scores", {}).items():
                for name, (first, second) in scores.items():
                    values[row, name].add(songs[pair.song], first)
                    drifts[row, name].add(songs[pair.song], second - first)
    rows: dict[str, dict[str, Result]] = {row: {} for row in ROWS if any(row == found for found, _ in values)}
    for (row, name), means in values.items():
        (value, count, interval), (drift, drift_count, drift_interval) = means.read(), drifts[row, name].read()
        rows[row][name] = Result(value, drift, count, drift_count, interval, drift_interval)
    return rows


def _pieces(
    parts: Sequence[Part], songs: Mapping[str, int], names: Sequence[str]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, embeddings and groups of songs of all clouds, part by part."""
    groups = _groups(songs)
    for part in parts:
        of_pair = torch.tensor([songs[pair.song] % groups for pair in part.pairs])
        for name, x_WD, pair_W in part.clouds(names):
            yield name, x_WD, of_pair[pair_W.long()]


def _groups(songs: Mapping[str, int]) -> int:
    return min(len(songs), MOST_GROUPS)


def _distances(
    parts: Sequence[Part], embedding: str, dimension: int, songs: Mapping[str, int]
) -> dict[str, dict[str, Result]]:
    """Fréchet and kernel distances and prompt adherence of every row; none without true stems."""
    names = [f"{embedding}/{mixed}/{row}" for row in ("true", "wrong", *ROWS) for mixed in ("alone", "together")]
    clouds: dict[str, GroupedCloud] = {}
    counts: dict[str, int] = defaultdict(int)
    for name, x_WD, group_W in _pieces(parts, songs, names):
        clouds.setdefault(name, GroupedCloud(_groups(songs), dimension)).add(x_WD, group_W)
        counts[name] += len(x_WD)
    true = f"{embedding}/alone/true"
    if true not in clouds:
        return {}
    chosen = _chosen(parts, songs, {name: count for name, count in counts.items() if "/alone/" in name})
    kernel = _Kernel(chosen[true], _groups(songs))
    results: dict[str, dict[str, Result]] = {}
    for row in ROWS:
        alone = f"{embedding}/alone/{row}"
        if alone in clouds:
            count = counts[alone]
            value, interval = kernel.distance(chosen[alone])
            own = {f"fad/{embedding}": _frechet(clouds[true], clouds[alone], count)}
            own[f"kad/{embedding}"] = Result(value, math.nan, count, 0, interval)
            results[row] = own | _adherence(clouds, embedding, row, count)
    return results


def _chosen(
    parts: Sequence[Part], songs: Mapping[str, int], counts: Mapping[str, int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """An even selection of every cloud, with groups."""
    wanted = {name: evenly(count, MOST_EMBEDDINGS) for name, count in counts.items()}
    seen: dict[str, int] = defaultdict(int)
    found: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    for name, x_WD, group_W in _pieces(parts, songs, list(counts)):
        first, last = np.searchsorted(wanted[name], [seen[name], seen[name] + len(x_WD)])
        own = torch.from_numpy(wanted[name][first:last] - seen[name])
        found[name].append((x_WD[own].double(), group_W[own]))
        seen[name] += len(x_WD)
    return {
        name: (torch.cat([x for x, _ in pieces]), torch.cat([g for _, g in pieces])) for name, pieces in found.items()
    }


class _Kernel:
    """Kernel distances of several clouds to one reference, whose own sums take a third of the time of each.

    Args:
        true: embeddings of the reference and the group of each.
        groups: their number.
    """

    def __init__(self, true: tuple[Tensor, Tensor], groups: int) -> None:
        self.true, self.groups = true, groups
        self.bandwidth = median_distance(true[0])
        self._real_GG: Floats | None = None

    def distance(self, judged: tuple[Tensor, Tensor]) -> tuple[float, Interval]:
        """Distance and interval."""
        if not self.bandwidth > 0:
            return math.nan, UNKNOWN
        sums = kernel_sums(*self.true, *judged, self.groups, self.bandwidth, self._real_GG)
        self._real_GG, value = sums.real_GG, sums.distance()
        return value, jackknife_interval(value, sums.left_out())


def _frechet(true: GroupedCloud, judged: GroupedCloud, count: int) -> Result:
    value, left_out_G = _left_out(lambda *gaussians: gaussian_distance(*gaussians), [true, judged])
    return Result(value, math.nan, count, 0, positive_interval(value, left_out_G))


def _adherence(clouds: Mapping[str, GroupedCloud], embedding: str, row: str, count: int) -> dict[str, Result]:
    names = [f"{embedding}/together/{cloud}" for cloud in ("true", "wrong", row)]
    if not all(name in clouds for name in names):
        return {}

    def adherence(x: SampleGaussian, x_wrong: SampleGaussian, y: SampleGaussian) -> float:
        return adherence_of(gaussian_distance(y, x), gaussian_distance(y, x_wrong), gaussian_distance(x, x_wrong))

    value, left_out_G = _left_out(adherence, [clouds[name] for name in names])
    interval = Interval(*map(limited_adherence, jackknife_interval(value, left_out_G)))
    return {f"apa/{embedding}": Result(limited_adherence(value), math.nan, count, 0, interval)}


def _left_out(number: Callable[..., float], clouds: Sequence[GroupedCloud]) -> tuple[float, Floats]:
    """A number of Gaussians, and the same without each of the groups."""

    def of(without: int | None) -> float:
        gaussians = [cloud.gaussian(without) for cloud in clouds]
        return math.nan if any(gaussian is None for gaussian in gaussians) else number(*gaussians)

    return of(None), np.array([of(group) for group in range(len(clouds[0].count_G))])
