"""Which stems sound together in a song's random sub-mixes.

Shapes: M sub-mixes, S stems.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from livejam.errors import UserError

Membership = NDArray[np.bool_]

FEWEST_SUBMIXES = 2
"""With only one sub-mix, a song could not offer every stem as a target."""

FULL_MIXES = 0
"""The count that stands for "all but s" for every target s, and nothing else."""


def draw_submixes(
    active_frames_S: NDArray[np.int64],
    may_be_target_S: NDArray[np.bool_],
    count: int,
    rng: np.random.Generator,
) -> Membership:
    """Membership_MS of at most `count` different sub-mixes, every one of which sounds.

    The first half holds "all but s" for the targets that sound most, because that is what a band plays to s. The
    others are random subsets, and the last of them leaves out every target that none left out before. So every stem
    that may be a target, in a song with at least two sounding stems, has a sub-mix without it.

    Args:
        active_frames_S: frames in which each stem sounds; stems with 0 are in no sub-mix.
        may_be_target_S: which stems will be played by the model.
        count: number of sub-mixes, at least 2; songs of two or three stems have fewer different ones. `FULL_MIXES` is
            "all but s" for every target and no random ones.
        rng: the only source of randomness.
    """
    if count < FEWEST_SUBMIXES and count != FULL_MIXES:
        raise UserError(f"submixes_per_song must be at least {FEWEST_SUBMIXES}, not {count}")
    sounding = active_frames_S > 0
    targets = np.flatnonzero(may_be_target_S & sounding)
    if sounding.sum() < 2 or not len(targets):
        return np.zeros((0, len(active_frames_S)), dtype=bool)
    targets = targets[np.argsort(-active_frames_S[targets], kind="stable")]
    for_targets = len(targets) if count == FULL_MIXES else (count + 1) // 2
    rows = [_without(sounding, target) for target in targets[:for_targets]]
    while len(rows) < count:
        row = _random_subset(sounding, rng)
        if len(rows) == count - 1:
            row = _leave_out(row, uncovered=_uncovered(rows, targets), sounding=sounding)
        rows.append(row)
    return np.unique(np.stack(rows), axis=0)


def _without(sounding: NDArray[np.bool_], stem: int) -> NDArray[np.bool_]:
    row = sounding.copy()
    row[stem] = False
    return row


def _random_subset(sounding: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A subset of uniform size, from one stem to all but one."""
    members = np.flatnonzero(sounding)
    size = int(rng.integers(1, len(members)))
    row = np.zeros_like(sounding)
    row[rng.choice(members, size, replace=False)] = True
    return row


def _uncovered(rows: list[NDArray[np.bool_]], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    return targets[np.all(np.stack(rows)[:, targets], axis=0)]


def _leave_out(row: NDArray[np.bool_], uncovered: NDArray[np.int64], sounding: NDArray[np.bool_]) -> NDArray[np.bool_]:
    left = row.copy()
    left[uncovered] = False
    if left.any():
        return left
    # the first target is never uncovered, "all but it" is the first sub-mix: so something always remains
    left = sounding.copy()
    left[uncovered] = False
    return left
