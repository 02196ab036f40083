"""madmom 0.16.1 on today's Python and NumPy, without side effects on other code.

madmom was released for Python ≤ 3.9 and NumPy < 1.20: it imports `collections.MutableSequence` (since Python
3.10 only in `collections.abc`) and uses `numpy.float`, `numpy.int` and `numpy.bool` (removed in NumPy 1.24, where
they were nothing but the builtins). These names exist only while we call madmom, and only where they are missing.

Its short-time Fourier transform, one call per frame, is slow. A tracker's own processors get a faster one with the same
result; madmom's modules stay as they are.
"""

from __future__ import annotations

import collections
import collections.abc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from livejam.errors import UserError
from metrics.embeddings.foreign import EXTRA

FRAMES_AT_ONCE = 512

OLD_NAMES = (
    (collections, "MutableSequence", collections.abc.MutableSequence),
    (np, "float", float),
    (np, "int", int),
    (np, "bool", bool),
)

_at_work = RLock()


@contextmanager
def old_names() -> Iterator[None]:
    """Provide the missing names meanwhile, even when another thread ends sooner."""
    with _at_work:
        missing = [(module, name, value) for module, name, value in OLD_NAMES if name not in vars(module)]
        for module, name, value in missing:
            setattr(module, name, value)
        try:
            yield
        finally:
            for module, name, _ in missing:
                delattr(module, name)


def beat_processors() -> tuple[Any, Any, Any]:
    """madmom's features (a faster version), its ensemble of networks, and the decoder of their activation.

    Raises:
        UserError: madmom is not installed.
    """
    # warnings that today's packages give madmom concern its own developers
    with old_names(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from madmom.features.beats import DBNBeatTrackingProcessor, RNNBeatProcessor
        except ImportError as error:
            raise UserError(
                f"beat tracking needs madmom, which cannot be imported ({error}); {EXTRA}, or take the BeatF1Monitor "
                "out of trainer.callbacks"
            ) from error
        features, ensemble = RNNBeatProcessor().processors
        decoder = DBNBeatTrackingProcessor(fps=100)
    _, resolutions, _ = features.processors
    for chain in resolutions.processors:
        chain.processors = [QuickTransform.in_place_of(processor) for processor in chain.processors]
    return features, ensemble, decoder


class QuickTransform:
    """madmom's `ShortTimeFourierTransformProcessor` for magnitudes, many frames at once.

    Half of beat tracking went into one transform per frame.

    Args:
        window: window function of a length.
    """

    def __init__(self, window: Any) -> None:
        self.window = window

    @classmethod
    def in_place_of(cls, processor: Any) -> Any:
        """The faster version of madmom's transform; any other processor unchanged."""
        from madmom.audio.stft import ShortTimeFourierTransformProcessor

        is_transform = isinstance(processor, ShortTimeFourierTransformProcessor)
        return cls(processor.window) if is_transform else processor

    def __call__(self, frames: Any) -> Any:
        """madmom's `ShortTimeFourierTransform` of its `FramedSignal` of integer samples."""
        from madmom.audio.stft import ShortTimeFourierTransform

        size = frames.shape[1]
        window_N = self.window(size) / float(np.iinfo(frames.signal.dtype).max)
        transform = spectrum_of(frames, window_N).view(ShortTimeFourierTransform)
        transform.frames, transform.window, transform.fft_window = frames, self.window, window_N
        transform.fft_size, transform.include_nyquist = size, False
        return transform


def spectrum_of(frames: Any, window_N: NDArray[np.floating[Any]]) -> NDArray[np.complex64]:
    """Spectrum_TK of all frames, without its highest bin.

    Args:
        frames: madmom's `FramedSignal`, or frames_TN.
        window_N: as long as a frame.
    """
    spectrum_TK = np.empty((len(frames), len(window_N) // 2), np.complex64)
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        some_TN = np.stack([frames[i] for i in range(start, min(start + FRAMES_AT_ONCE, len(frames)))])
        spectrum_TK[start : start + len(some_TN)] = scipy.fft.rfft(some_TN * window_N, axis=1)[:, :-1]
    return spectrum_TK
