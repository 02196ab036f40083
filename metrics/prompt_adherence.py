"""Accompaniment prompt adherence: whether a stem and what it accompanies sound like music together.

Shapes: N audio samples.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from metrics.clouds import Cloud, Estimate, songs_of
from metrics.gaussians import SampleGaussian, gaussian_distance
from metrics.intervals import Floats, groups_of
from metrics.loudness import limited

TOGETHER_LUFS = -20.0

Audio = NDArray[np.float32]


def adherence_of(to_true: float, to_wrong: float, apart: float) -> float:
    """1/2 + (d(Y, X') - d(Y, X)) / 2 d(X, X') (Grachten & Nistal 2025), before it is limited to 0 … 1.

    Args:
        to_true: Fréchet distance of the judged pairs Y from the true pairs X.
        to_wrong: their distance from the wrong pairs X', of each mix and a stem of another song.
        apart: distance of true and wrong pairs.

    Returns:
        1 for pairs that are as near to the true as these are, 0 for such as the wrong ones; nan where these do not
        differ.
    """
    return 0.5 + (to_wrong - to_true) / (2 * apart) if apart > 0 else math.nan


def prompt_adherence(true: Cloud, wrong: Cloud, judged: Cloud, leave_out: bool = False) -> Estimate:
    """The adherence of pairs, from embeddings of both parts mixed; not limited to 0 … 1.

    Args:
        true: of mixes with their true stems.
        wrong: of mixes with stems of other songs.
        judged: of mixes with what is judged.
        leave_out: whether to say what it would be without each of the songs.
    """
    clouds = (true, wrong, judged)
    value = _adherence(*clouds)
    if not leave_out:
        return Estimate(value, np.zeros(0))
    groups = groups_of(songs_of(clouds))
    without = [[cloud.where(~np.isin(cloud.songs_W, group)) for cloud in clouds] for group in groups]
    return Estimate(value, np.array([_adherence(*rest) for rest in without]))


def _adherence(true: Cloud, wrong: Cloud, judged: Cloud) -> float:
    if min(map(len, (true, wrong, judged))) < 2:
        return math.nan
    x, x_wrong, y = (SampleGaussian.of_samples(cloud.x_WD) for cloud in (true, wrong, judged))
    return adherence_of(gaussian_distance(y, x), gaussian_distance(y, x_wrong), gaussian_distance(x, x_wrong))


def limited_adherence(value: float) -> float:
    """Between 0 and 1, as the authors limit it; nan stays."""
    return value if math.isnan(value) else min(1.0, max(0.0, value))


def together(mix_N: Audio, stem_N: Audio, sample_rate_hz: int) -> Audio:
    """A mix and a stem as loud as it, at -20 LUFS together, as the authors mix them.

    Args:
        mix_N: mono audio.
        stem_N: mono audio of the same length; if one of both is silent, the other is heard alone.
        sample_rate_hz: rate of both.
    """
    mix_lufs, stem_lufs = integrated_lufs(mix_N, sample_rate_hz), integrated_lufs(stem_N, sample_rate_hz)
    gain = _gain(mix_lufs - stem_lufs) if math.isfinite(mix_lufs) else 1.0
    both_N = mix_N + gain * stem_N
    return limited(_gain(TOGETHER_LUFS - integrated_lufs(both_N, sample_rate_hz)) * both_N).astype(np.float32)


def _gain(db: float) -> float:
    """1 where a level is not known."""
    return float(10 ** (db / 20)) if math.isfinite(db) else 1.0


def integrated_lufs(audio_N: Floats, sample_rate_hz: int) -> float:
    """Integrated loudness; -inf for silence and less than 0.4 s."""
    from pyloudnorm import Meter  # loads SciPy

    if len(audio_N) < 0.4 * sample_rate_hz:
        return -math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the logarithm of nothing
        return float(Meter(sample_rate_hz).integrated_loudness(np.asarray(audio_N, dtype=np.float64)))
