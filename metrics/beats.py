"""Beat tracking, and the agreement of two sequences of beats.

Beat F1 follows StreamMusicGen and LiveBand: beats are tracked on the mix and on the stem alone, one-to-one matches
within ±70 ms count, and nothing is trimmed (mir_eval drops the first five seconds by default).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import ArrayLike

from livejam.checkpoints.file import read_torch_file
from livejam.codecs.codec import codec_hash
from livejam.errors import UserError
from metrics.beat_networks import BeatNetworks
from metrics.beat_tracking import BeatTracker, Floats
from metrics.embeddings.foreign import optional_module, weights_file
from metrics.madmom_shims import beat_processors, old_names

SILENCE_DBFS = -60.0
"""Audio whose root mean square lies below this level (dB of full scale) counts as silent."""


ROUNDING_SECONDS = 1e-6
"""Trackers' beats lie on grids of hundredths of seconds, so distances of exactly a window are common, and rounding
must not decide them."""

SHORTEST_SAMPLES = 1024
"""Beat This! needs at least one analysis window."""


def is_silent(audio_N: Floats) -> bool:
    """Whether a recording is silent or empty."""
    power = float(np.mean(np.square(audio_N, dtype=np.float64))) if len(audio_N) else 0.0
    return power < 10 ** (SILENCE_DBFS / 10)


class MadmomRNN(BeatTracker):
    """madmom's beat tracker: eight bidirectional LSTMs and a dynamic Bayesian network (Böck et al. 2014).

    It is deterministic, and its models come with madmom. The Bayesian network always finds a grid, even in digital
    silence, so silent recordings have no beats here by definition.

    Raises:
        UserError: madmom is not installed.
    """

    identity = "madmom-0.16.1 RNNBeatProcessor DBNBeatTrackingProcessor(fps=100)"
    sample_rate_hz = 44_100

    def __init__(self) -> None:
        self.features, ensemble, self.decode = beat_processors()
        self.networks = BeatNetworks(list(ensemble.processors[0].processors))

    def __reduce__(self) -> tuple[type[MadmomRNN], tuple[()]]:
        """Worker processes build their own."""
        return type(self), ()

    def __call__(self, audios: Sequence[Floats], sample_rate_hz: int) -> list[Floats]:
        """Beats of every recording; recordings of equal length share the networks' work.

        Args:
            audios: mono recordings in [-1, 1]; louder samples are clipped.
            sample_rate_hz: their sample rate; other rates than 44.1 kHz are resampled.

        Returns:
            Ascending times in seconds per recording, empty where it is silent.

        Raises:
            ValueError: a recording has more than one dimension or samples that are not finite.
        """
        features = [self._features(audio_N, sample_rate_hz) for audio_N in audios]
        beats: list[Floats] = [np.zeros(0) for _ in audios]
        for frames in {len(f) for f in features if f is not None}:
            alike = [i for i, f in enumerate(features) if f is not None and len(f) == frames]
            activation_ET = self.networks(torch.from_numpy(np.stack([features[i] for i in alike])))  # type: ignore[misc]
            for i, activation_T in zip(alike, activation_ET.numpy(), strict=True):
                with old_names():
                    beats[i] = np.asarray(self.decode(activation_T), dtype=np.float64)
        return beats

    def _features(self, audio_N: Floats, sample_rate_hz: int) -> Floats | None:
        """madmom's input features, 100 frames per second; None for silence."""
        from madmom.audio.signal import Signal

        _require_mono(audio_N)
        if is_silent(audio_N):
            return None
        resampled_N = soxr.resample(np.ascontiguousarray(audio_N, np.float32), sample_rate_hz, self.sample_rate_hz)
        pcm_N = np.round(np.clip(resampled_N, -1, 1) * 32767).astype(np.int16)
        with old_names():
            return np.asarray(self.features(Signal(pcm_N, sample_rate=self.sample_rate_hz, num_channels=1)))


class OneByOneBeatTracker(BeatTracker):
    """A tracker that hears one recording after the other. Silent recordings have no beats by definition."""

    sample_rate_hz = 22_050

    def __call__(self, audios: Sequence[Floats], sample_rate_hz: int) -> list[Floats]:
        """Beats of every recording.

        Args:
            audios: mono recordings in [-1, 1].
            sample_rate_hz: their sample rate; other rates than 22.05 kHz are resampled.

        Raises:
            ValueError: a recording has more than one dimension or samples that are not finite.
        """
        for audio_N in audios:
            _require_mono(audio_N)
        return [np.zeros(0) if is_silent(audio_N) else self._beats(audio_N, sample_rate_hz) for audio_N in audios]

    @abstractmethod
    def _beats(self, audio_N: Floats, sample_rate_hz: int) -> Floats:
        """Ascending times in seconds of the beats of one recording that is not silent."""


class LibrosaBeats(OneByOneBeatTracker):
    """librosa's beat tracker: onsets, one tempo, and the beats that fit both best (Ellis 2007).

    Signal processing without any model, under the ISC licence: unlike madmom's models (CC BY-NC-SA) it may be used
    commercially.

    Raises:
        UserError: librosa is not installed.
    """

    def __init__(self) -> None:
        self.track = optional_module("librosa.beat").beat_track
        self.identity = f"librosa-{version('librosa')} beat_track"

    def __reduce__(self) -> tuple[type[LibrosaBeats], tuple[()]]:
        """Worker processes find the function themselves."""
        return type(self), ()

    def _beats(self, audio_N: Floats, sample_rate_hz: int) -> Floats:
        resampled_N = soxr.resample(np.ascontiguousarray(audio_N, np.float32), sample_rate_hz, self.sample_rate_hz)
        _, beats = self.track(y=resampled_N, sr=self.sample_rate_hz, units="time", trim=False)
        return np.asarray(beats, dtype=np.float64)


class BeatThis(OneByOneBeatTracker):
    """Beat This! (Foscarin et al. 2024), the papers' tracker: a transformer and its peaks, without a Bayesian network.

    Beats come on a grid of 20 ms. Samples beyond full scale are clipped.

    Args:
        weights: a checkpoint of beat_this; None = `final0`, where `livejam weights fetch beat_this` puts it.
        device: where the network runs.

    Raises:
        UserError: beat-this is not installed, or the weights are missing or damaged.
    """

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        path = weights_file("beat_this", weights)
        self.weights, self.device = weights, device
        inference = optional_module("beat_this.inference")
        read_torch_file(path, "fetch it again")  # beat_this would explain how to load unsafe files
        try:
            self.track = inference.Audio2Beats(str(path), device, dbn=False)
        except (RuntimeError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} is no checkpoint of beat_this ({reason}); fetch it again") from error
        self.identity = f"beat_this {codec_hash(self.track.model)} minimal"
        self.published = weights is None

    def __reduce__(self) -> tuple[type[BeatThis], tuple[str | Path | None, str]]:
        """Worker processes read the file themselves."""
        return type(self), (self.weights, self.device)

    def _beats(self, audio_N: Floats, sample_rate_hz: int) -> Floats:
        clipped_N = np.clip(np.ascontiguousarray(audio_N, np.float32), -1, 1)
        resampled_N = soxr.resample(clipped_N, sample_rate_hz, self.sample_rate_hz)
        if len(resampled_N) < SHORTEST_SAMPLES:
            return np.zeros(0)
        beats, _ = self.track(resampled_N, self.sample_rate_hz)
        return np.asarray(beats, dtype=np.float64)


def _require_mono(audio_N: Floats) -> None:
    if audio_N.ndim != 1:
        raise ValueError(f"beats are tracked on mono audio of one dimension, got shape {audio_N.shape}")
    if not np.isfinite(audio_N).all():
        raise ValueError("beats cannot be tracked on audio that is not finite")


def beat_f_measure(reference_seconds: ArrayLike, estimated_seconds: ArrayLike, window_seconds: float = 0.07) -> float:
    """F-measure of two sequences of beats; symmetric (Dixon 2007).

    Equal to `mir_eval.beat.f_measure` without trimming and to madmom's `BeatEvaluation.fmeasure`, except that
    two empty sequences are undefined here, and that a distance of exactly the window counts. In those packages rounding
    decides such cases, because most hundredths of a second cannot be represented exactly.

    Args:
        reference_seconds: beat times in seconds, in any order.
        estimated_seconds: beat times in seconds, in any order.
        window_seconds: greatest distance of two matching beats in seconds (inclusive).

    Returns:
        A number in [0, 1]; 0 if one sequence is empty, nan if both are.
    """
    reference, estimated = np.sort(np.asarray(reference_seconds)), np.sort(np.asarray(estimated_seconds))
    if not len(reference) and not len(estimated):
        return float("nan")
    matches = i = j = 0
    # Both are sorted and all windows are equally wide, so pairing the earliest that fit gives the most pairs.
    while i < len(reference) and j < len(estimated):
        distance = estimated[j] - reference[i]
        if abs(distance) <= window_seconds + ROUNDING_SECONDS:
            matches, i, j = matches + 1, i + 1, j + 1
        elif distance < 0:
            j += 1
        else:
            i += 1
    return 2 * matches / (len(reference) + len(estimated))
