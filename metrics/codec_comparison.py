"""Codecs side by side on the same recordings: what is lost, how fast, and how smooth the latents are.

Shapes: A audio channels, N audio samples, B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from livejam.codecs import Codec
from livejam.errors import UserError
from livejam.objectives.latent_regularity import smoothness
from metrics.beat_tracking import BeatTracker
from metrics.beats import beat_f_measure
from metrics.embeddings import LogMel
from metrics.frechet import FrechetAudioDistance
from metrics.reconstruction import chroma_correlation, log_mel_error, si_sdr_db, stft_distance

RATE_HZ = 44_100
"""All codecs are compared at this rate, mixed down to mono; frequencies beyond a codec's own rate count as lost."""
STREAMED_FRAMES = 40


@dataclass(frozen=True)
class CodecScores:
    """One row of the table; nan where undefined.

    Args:
        codec: its name.
        log_mel_l1: mean absolute difference of natural logarithms of mel spectra.
        stft: multi-resolution STFT distance.
        si_sdr_db: scale-invariant ratio of signal and distortion.
        fad_log_mel: Fréchet distance of log-mel windows of all reconstructions from those of the originals.
        beat_f1_kept: F1 of beats tracked in the reconstruction against those tracked in the original.
        chroma: correlation of chroma, MIDI 45 to 96.
        bass_chroma: the same, MIDI 27 to 52.
        smoothness: correlation of latents, minus their means, with those of the next frame.
        encode_rtf: seconds of audio per second of work, offline.
        decode_rtf: the same.
        stream_rtf: the same of encoding plus decoding frame by frame; nan for codecs that hear the future.
    """

    codec: str
    log_mel_l1: float
    stft: float
    si_sdr_db: float
    fad_log_mel: float
    beat_f1_kept: float
    chroma: float
    bass_chroma: float
    smoothness: float
    encode_rtf: float
    decode_rtf: float
    stream_rtf: float


@dataclass(frozen=True)
class Decoded:
    """A recording through a codec.

    Args:
        audio_N: mono, at `RATE_HZ`.
        smoothness: smoothness of its latents.
        encode_seconds: time spent encoding.
        decode_seconds: time spent decoding.
    """

    audio_N: Tensor
    smoothness: float
    encode_seconds: float
    decode_seconds: float


def compare_codec(codec: Codec, recordings: Sequence[Tensor], tracker: BeatTracker | None = None) -> CodecScores:
    """Scores of one codec.

    Args:
        codec: the codec.
        recordings: originals AN at `RATE_HZ`.
        tracker: a beat tracker; None leaves its column undefined.
    """
    originals = [audio_AN.mean(0) for audio_AN in recordings]
    made = [decoded(codec, audio_AN) for audio_AN in recordings]
    pairs = [(item.audio_N, original_N) for item, original_N in zip(made, originals, strict=True)]
    distance = FrechetAudioDistance((embed := LogMel()).dimension)
    for estimate_N, original_N in pairs:
        distance.update(embed(original_N, RATE_HZ), real=True)
        distance.update(embed(estimate_N, RATE_HZ), real=False)
    seconds = sum(len(original_N) for original_N in originals) / RATE_HZ
    return CodecScores(
        codec=codec.spec.name,
        log_mel_l1=_mean([log_mel_error(*pair, RATE_HZ) for pair in pairs]),
        stft=_mean([stft_distance(*pair) for pair in pairs]),
        si_sdr_db=_mean([si_sdr_db(*pair) for pair in pairs]),
        fad_log_mel=float(distance.compute().distance),
        beat_f1_kept=_mean(_beats_kept(pairs, tracker) if tracker else []),
        chroma=_mean([chroma_correlation(*pair, RATE_HZ, bass=False) for pair in pairs]),
        bass_chroma=_mean([chroma_correlation(*pair, RATE_HZ, bass=True) for pair in pairs]),
        smoothness=_mean([item.smoothness for item in made]),
        encode_rtf=seconds / sum(item.encode_seconds for item in made),
        decode_rtf=seconds / sum(item.decode_seconds for item in made),
        stream_rtf=stream_rtf(codec),
    )


@torch.inference_mode()
def decoded(codec: Codec, audio_AN: Tensor) -> Decoded:
    """A recording AN at `RATE_HZ` through the codec, offline."""
    spec = codec.spec
    if audio_AN.shape[0] != spec.audio_channels:
        audio_AN = audio_AN.mean(0, keepdim=True).expand(spec.audio_channels, -1)
    own_AN = _resampled(audio_AN, RATE_HZ, spec.sample_rate_hz)
    own_AN = torch.nn.functional.pad(own_AN, (0, -own_AN.shape[1] % spec.hop_samples))
    begun = time.perf_counter()
    latents_BTC = codec.encode(own_AN[None])
    encoded = time.perf_counter()
    sound_BAN = codec.decode(latents_BTC)
    done = time.perf_counter()
    sound_N = _resampled(sound_BAN[0].mean(0, keepdim=True), spec.sample_rate_hz, RATE_HZ)[0]
    missing = max(0, audio_AN.shape[1] - len(sound_N))
    sound_N = torch.nn.functional.pad(sound_N, (0, missing))[: audio_AN.shape[1]]
    moves_BTC = latents_BTC - latents_BTC.mean(1, keepdim=True)
    smooth = float(smoothness(moves_BTC)) if latents_BTC.shape[1] > 1 else math.nan
    return Decoded(sound_N, smooth, encoded - begun, done - encoded)


@torch.inference_mode()
def stream_rtf(codec: Codec, frames: int = STREAMED_FRAMES) -> float:
    """Seconds of audio per second of encoding plus decoding frame by frame; nan for a codec that cannot stream."""
    try:
        encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
        audio_BAN = 0.1 * torch.randn(1, codec.spec.audio_channels, codec.spec.hop_samples)
        codec.encode_step(audio_BAN, encoder)
    except UserError:
        return math.nan
    begun = time.perf_counter()
    for _ in range(frames):
        latents_BTC, encoder = codec.encode_step(audio_BAN, encoder)
        _, decoder = codec.decode_step(latents_BTC, decoder)
    return codec.spec.seconds_in(frames) / (time.perf_counter() - begun)


def as_markdown(rows: Sequence[CodecScores]) -> str:
    """The table as text; columns are as wide as necessary."""
    names = [field.name for field in fields(CodecScores)]
    cells = [names, *([_shown(getattr(row, name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def as_csv(rows: Sequence[CodecScores]) -> str:
    """The table with all digits."""
    names = [field.name for field in fields(CodecScores)]
    lines = [names, *([str(getattr(row, name)) for name in names] for row in rows)]
    return "".join(",".join(line) + "\n" for line in lines)


def _shown(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return "–" if math.isnan(value) else f"{value:.3g}"


def _mean(values: Sequence[float]) -> float:
    """Mean of the defined values."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _beats_kept(pairs: Sequence[tuple[Tensor, Tensor]], tracker: BeatTracker) -> list[float]:
    after = tracker([estimate_N.numpy() for estimate_N, _ in pairs], RATE_HZ)
    before = tracker([original_N.numpy() for _, original_N in pairs], RATE_HZ)
    return [beat_f_measure(true, found) for true, found in zip(before, after, strict=True)]


def _resampled(audio_AN: Tensor, rate_hz: int, wanted_hz: int) -> Tensor:
    samples_NA: NDArray[np.float32] = np.ascontiguousarray(audio_AN.T.numpy(), dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(samples_NA, rate_hz, wanted_hz).T))
