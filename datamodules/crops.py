"""Where a crop may begin: one rule about sound and silence, for training, validation and test.

Shapes: T latent frames, S stems, M sub-mixes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livejam.errors import UserError


@dataclass(frozen=True)
class ActivityRule:
    """A crop is used when target and mix sound together often enough (StreamMusicGen: −60 dB, half of the frames).

    Args:
        threshold_dbfs: a frame sounds when its RMS lies above this level, in dB below full scale, −120 to 0.
        min_active_ratio: share of the crop's frames in which target and mix both sound, 0 to 1.
    """

    threshold_dbfs: float = -60.0
    min_active_ratio: float = 0.5

    def __post_init__(self) -> None:
        if not -120 <= self.threshold_dbfs <= 0 or not 0 <= self.min_active_ratio <= 1:
            raise UserError(
                f"threshold_dbfs {self.threshold_dbfs} must lie in −120 … 0 and min_active_ratio "
                f"{self.min_active_ratio} in 0 … 1"
            )

    def sounds(self, levels: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """The frames that sound."""
        return levels > self.threshold_dbfs

    def usable(
        self, target_active_T: NDArray[np.bool_], mix_active_T: NDArray[np.bool_], crop_frames: int
    ) -> NDArray[np.bool_]:
        """At which frames a crop that may be used begins, (…, T − crop_frames + 1); at least one frame sounds in it."""
        both_T = target_active_T & mix_active_T
        if both_T.shape[-1] < crop_frames:
            return np.zeros((*both_T.shape[:-1], 0), dtype=bool)
        count = np.zeros((*both_T.shape[:-1], both_T.shape[-1] + 1), np.int32)
        np.cumsum(both_T, axis=-1, out=count[..., 1:])
        return count[..., crop_frames:] - count[..., :-crop_frames] >= self.fewest(crop_frames)

    def starts(
        self, target_active_T: NDArray[np.bool_], mix_active_T: NDArray[np.bool_], crop_frames: int
    ) -> NDArray[np.int32]:
        """First frames of all the crops that may be used, ascending."""
        return np.flatnonzero(self.usable(target_active_T, mix_active_T, crop_frames)).astype(np.int32)

    def fewest(self, crop_frames: int) -> int:
        """In how many of a crop's frames target and mix must sound together."""
        return max(1, math.ceil(self.min_active_ratio * crop_frames))
