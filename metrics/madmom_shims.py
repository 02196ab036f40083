"""What madmom 0.16.1 expects of older Python and NumPy, put back before it is imported.

madmom was released for Python ≤ 3.9 and NumPy < 1.20: it imports `collections.MutableSequence` (since Python
3.10 only in `collections.abc`) and uses `numpy.float`, `numpy.int` and `numpy.bool` (removed in NumPy 1.24, where
they were nothing but the builtins). Each alias is set only where it is missing.

One function is replaced by a quicker one of equal result: the short-time Fourier transform, one call per frame there.
"""

from __future__ import annotations

import collections
import collections.abc
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from livejam.errors import UserError

FRAMES_AT_ONCE = 512


def prepare_madmom() -> None:
    """Set the aliases, so that `import madmom` works afterwards, and make its transforms quick (idempotent).

    Raises:
        UserError: madmom is not installed.
    """
    if not hasattr(collections, "MutableSequence"):
        collections.MutableSequence = collections.abc.MutableSequence  # type: ignore[attr-defined]
    for name, builtin in (("float", float), ("int", int), ("bool", bool)):
        if name not in vars(np):
            setattr(np, name, builtin)
    try:
        import madmom.audio.stft
    except ImportError as error:
        raise UserError("beat tracking needs madmom; install it with `make install` or the extra `metrics`") from error
    madmom.audio.stft.stft = stft_of_frames


def stft_of_frames(
    frames: Any,
    window: NDArray[np.floating[Any]] | None,
    fft_size: int | None = None,
    circular_shift: bool = False,
    include_nyquist: bool = False,
    fftw: None = None,
) -> NDArray[np.complex64]:
    """madmom's `stft`, many frames at once: half of beat tracking went into one transform per frame.

    Args:
        frames: madmom's `FramedSignal`, or frames_TN.
        window: window_N; None = none.
        fft_size: points of the transform; None = N.
        circular_shift: must be off; only phases need it.
        include_nyquist: whether the highest bin is returned too.
        fftw: must be None.
    """
    if circular_shift or fftw is not None:
        raise NotImplementedError("circular_shift and fftw are not supported; leave them off")
    size = frames.shape[1] if fft_size is None else fft_size
    bins = size // 2 + include_nyquist
    spectrum_TK = np.empty((len(frames), bins), np.complex64)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        some_TN = np.stack([frames[i] for i in range(start, min(start + FRAMES_AT_ONCE, len(frames)))])
        windowed_TN = some_TN if window is None else some_TN * window
        spectrum_TK[start : start + len(some_TN)] = scipy.fft.rfft(windowed_TN, size, axis=1)[:, :bins]
    return spectrum_TK
