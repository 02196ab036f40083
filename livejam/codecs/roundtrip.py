"""A recording through a codec and back, of any length, in constant memory.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from livejam.audio_files import audio_writer, opened, require_audio_name, require_finite
from livejam.codecs import Codec, WindowedCodec
from livejam.codecs.chunked import piece_frames
from livejam.codecs.offline import OfflineCodec
from livejam.errors import UserError, require_finite_sound
from livejam.spec import CodecSpec

BLOCK_SAMPLES = 1 << 16
LISTEN_SECONDS = 8.0
EARLY_SECONDS = 20.0

Listener = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class Stream:
    """A codec that takes its input in steps.

    Args:
        codec: a codec that streams with explicit state.
        step_frames: latent frames per step.
    """

    codec: Codec
    step_frames: int


@dataclass
class Roundtrip:
    """The result of a round trip: times in seconds, and the beginnings of input and streamed output.

    Args:
        samples: length of the recording at the codec's rate.
        encode_seconds: time spent encoding.
        decode_seconds: time spent decoding.
        original: pieces AN of the first seconds of the input.
        streamed: pieces AN of the first seconds of the output, with its delay.
    """

    samples: int = 0
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    original: list[Tensor] = field(default_factory=list)
    streamed: list[Tensor] = field(default_factory=list)


def frame_by_frame(codec: Codec) -> Stream:
    """The codec as it plays live."""
    return Stream(codec, codec.block_frames if isinstance(codec, WindowedCodec) else 1)


def in_pieces(codec: Codec) -> Stream:
    """The codec's offline result, in pieces that bound the memory.

    A causal codec streams in long steps. One that hears the future gets windows as wide as it hears.
    """
    if isinstance(codec, OfflineCodec):
        block = min(piece_frames(codec), codec.piece_frames)
        return Stream(WindowedCodec(codec, codec.reach_frames, codec.reach_frames, block), block)
    if isinstance(codec, WindowedCodec):
        return Stream(codec, codec.piece_frames)
    return Stream(codec, piece_frames(codec))


def roundtrip(stream: Stream, source: Path, target: Path, listen: Listener) -> Roundtrip:
    """Encode and decode a recording.

    Args:
        stream: the codec and its step.
        source: a WAV or FLAC of any rate, length and number of channels.
        target: the decoded recording at the codec's rate, aligned with the original and as long.
        listen: a function that receives decoded and original audio AN, in pieces of a few seconds.

    Raises:
        UserError: the recording is missing, unreadable, empty or not finite, or the target is no audio format.
    """
    require_audio_name(target)
    spec, report = stream.codec.spec, Roundtrip()
    pieces = regrouped(_coded(stream, source, report), round(LISTEN_SECONDS * spec.sample_rate_hz))
    with audio_writer(target, spec.sample_rate_hz, spec.audio_channels) as write:
        for both_AN in pieces:
            decoded_AN, original_AN = both_AN.split(spec.audio_channels)
            write(decoded_AN.numpy())
            listen(decoded_AN, original_AN)
        if not report.samples:
            raise UserError(f"{source} is too short for a single sample at {spec.sample_rate_hz} Hz; give a longer one")
    return report


def _coded(stream: Stream, source: Path, report: Roundtrip) -> Iterator[Tensor]:
    """Decoded audio stacked on the original that it belongs to, shape (2A)N, piece by piece."""
    codec, spec = stream.codec, stream.codec.spec
    step = stream.step_frames * spec.hop_samples
    waiting_AN = torch.zeros(spec.audio_channels, 0)
    early = round(EARLY_SECONDS * spec.sample_rate_hz)
    skip, encoder, decoder = spec.delay_samples, codec.init_encoder_state(1), codec.init_decoder_state(1)
    for original_AN in _with_silence(regrouped(read_blocks(source, spec), step), step, spec, report):
        padded_AN = torch.nn.functional.pad(original_AN, (0, step - original_AN.shape[1]))
        with torch.inference_mode():
            begun = time.perf_counter()
            latents_BTC, encoder = codec.encode_step(padded_AN[None], encoder)
            encoded = time.perf_counter()
            decoded_BAN, decoder = codec.decode_step(latents_BTC, decoder)
            decoded = time.perf_counter()
        require_finite_sound(decoded_BAN, f"codec {spec.name}")
        report.encode_seconds += encoded - begun
        report.decode_seconds += decoded - encoded
        if sum(piece.shape[1] for piece in report.original) < early:
            report.original.append(padded_AN)
            report.streamed.append(decoded_BAN[0])
        waiting_AN = torch.cat([waiting_AN, original_AN], dim=1)
        # the output before the delay is over belongs to no input
        heard_AN = decoded_BAN[0, :, skip:]
        skip = max(0, skip - step)
        ready = min(heard_AN.shape[1], waiting_AN.shape[1])
        yield torch.cat([heard_AN[:, :ready], waiting_AN[:, :ready]])
        waiting_AN = waiting_AN[:, ready:]


def _with_silence(steps: Iterable[Tensor], step: int, spec: CodecSpec, report: Roundtrip) -> Iterator[Tensor]:
    """The recording, followed by as many empty steps as it takes to bring out its end."""
    for step_AN in steps:
        report.samples += step_AN.shape[1]
        yield step_AN
    for _ in range(math.ceil(spec.delay_samples / step)):
        yield torch.zeros(spec.audio_channels, 0)


def regrouped(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same audio in pieces AN of `size` samples; the last one is shorter."""
    kept: list[Tensor] = []
    for block_AN in blocks:
        kept.append(block_AN)
        if sum(part.shape[1] for part in kept) >= size:
            *whole, rest_AN = torch.cat(kept, dim=1).split(size, dim=1)
            yield from whole
            kept = [rest_AN]
            if rest_AN.shape[1] == size:
                yield rest_AN
                kept = []
    if kept and (rest_AN := torch.cat(kept, dim=1)).shape[1]:
        yield rest_AN


def read_blocks(path: Path, spec: CodecSpec) -> Iterator[Tensor]:
    """A recording in blocks AN at the codec's rate and with its channels; never more than a block in memory.

    Raises:
        UserError: the recording is missing, unreadable, empty or not finite.
    """
    with opened(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, spec.sample_rate_hz, spec.audio_channels)
        done = 0
        for block_NA in file.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True):
            require_finite(path, block_NA, done / file.samplerate)
            done += len(block_NA)
            if block_NA.shape[1] != spec.audio_channels:
                block_NA = block_NA.mean(axis=1, keepdims=True).repeat(spec.audio_channels, axis=1)
            yield _tensor(resampler.resample_chunk(np.ascontiguousarray(block_NA)))
        yield _tensor(resampler.resample_chunk(np.zeros((0, spec.audio_channels), np.float32), last=True))


def _tensor(block_NA: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(block_NA.T))
