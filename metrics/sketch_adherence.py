"""How closely a sound follows a sketch, frame by frame.

Shapes: T latent frames, P numbers of a packed frame, K notes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from livejam.sketch import CONTROLS, unpacked

SOUNDS = 0.25
"""Loudness above which a frame of the sketch counts for brightness and pitch: 55 dB below full scale, A-weighted."""

FEWEST_FRAMES = 8
"""With fewer frames there is no correlation, because it would mean nothing."""


def agreement(asked_TP: Tensor, found_TP: Tensor) -> dict[str, float]:
    """Loudness and brightness: Pearson's correlation over time. Pitch: mean cosine of the strengths of all notes.

    Brightness counts where sketch and sound both sound, because silence has none: as a number, it is darker than any
    sound, and a few silent frames would hide how all others are followed. Pitch counts where the sketch sounds; a sound
    without pitch there has a cosine of 0.

    Args:
        asked_TP: packed curves that were to be followed (`livejam.sketch`), without NaN.
        found_TP: those of the sound; the shorter of the two decides.

    Returns:
        a number per control, 1 for equal curves; nan where a curve is constant or hardly sounds.
    """
    frames = min(len(asked_TP), len(found_TP))
    asked_TK, found_TK = (unpacked(x[None, :frames].double()).values_BTK[0] for x in (asked_TP, found_TP))
    sounds_T = asked_TK[:, 0] > SOUNDS
    both_T = sounds_T & (found_TK[:, 0] > SOUNDS)
    pitched_T = sounds_T & (asked_TK[:, 2:].amax(dim=1) > 0)
    numbers = (
        _pearson(asked_TK[:, 0], found_TK[:, 0]),
        _brightness(asked_TK[:, 1], found_TK[:, 1], sounds_T, both_T),
        _cosine(asked_TK[pitched_T, 2:], found_TK[pitched_T, 2:]),
    )
    return dict(zip(CONTROLS, numbers, strict=True))


def shifted_agreement(asked_TP: Tensor, found_TP: Tensor, least_frames: int) -> dict[str, float]:
    """The median agreement with the same sketch at other times: what sounds of the same kind share by chance.

    Args:
        asked_TP: the sketch.
        found_TP: the curves of the sound.
        least_frames: it is moved by so many frames and multiples of them, around its end, by as many at least.
    """
    frames = min(len(asked_TP), len(found_TP))
    shifts = range(least_frames, frames - least_frames + 1, least_frames)
    moved = [agreement(asked_TP[:frames].roll(shift, dims=0), found_TP) for shift in shifts]
    return {name: _median([each[name] for each in moved]) for name in CONTROLS}


def _pearson(one_T: Tensor, other_T: Tensor) -> float:
    return _if_enough(one_T, other_T, lambda: float(torch.corrcoef(torch.stack((one_T, other_T)))[0, 1]))


def _brightness(asked_T: Tensor, found_T: Tensor, sounds_T: Tensor, both_T: Tensor) -> float:
    """Of the frames in which both sound; a sound that is silent in nearly all of them follows nothing."""
    asked = _pearson(asked_T[sounds_T], asked_T[sounds_T])
    silent = int(both_T.sum()) < FEWEST_FRAMES
    return (0.0 if math.isfinite(asked) else asked) if silent else _pearson(asked_T[both_T], found_T[both_T])


def _cosine(one_TK: Tensor, other_TK: Tensor) -> float:
    return _if_enough(one_TK, other_TK, lambda: float(torch.cosine_similarity(one_TK, other_TK, dim=1).mean()))


def _if_enough(one: Tensor, other: Tensor, number: Callable[[], float]) -> float:
    """The number, if the asked curve is long enough and moves; a found one that does not move follows nothing."""
    if len(one) < FEWEST_FRAMES or float(one.std(dim=0).max()) == 0:
        return math.nan
    return number() if float(other.std(dim=0).max()) > 0 else 0.0


def _median(numbers: list[float]) -> float:
    known = [number for number in numbers if math.isfinite(number)]
    return float(torch.tensor(known, dtype=torch.float64).quantile(0.5)) if known else math.nan
