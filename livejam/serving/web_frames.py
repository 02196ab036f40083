"""Sound in the binary frames of a WebSocket: sixteen bytes that say what it is, then samples, little-endian.

Shapes: N audio samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from livejam.errors import UserError
from livejam.streaming.rings import Audio

HEADER = struct.Struct("<BBHIq")
"""Kind, row, a zero, sequence number, position."""

HEARD, PLAYED, RECORDED, LEADING = 1, 2, 3, 4
MOST_SAMPLES = 4096
"""Of a block that a musician sends."""

MOST_BYTES = HEADER.size + 4 * MOST_SAMPLES
LAST_POSITION = 2**53 - 1
"""The last whole number that a browser counts exactly to: some millions of years."""

RECORDINGS = 2
"""Recordings between which a musician can move."""

SEQUENCES = 2**32
SAMPLES = np.dtype("<f4")


@dataclass(frozen=True)
class Heard:
    """A block of the musician's sound.

    Args:
        sequence: the block's number modulo 2^32.
        position_samples: the musician's sample that it begins with.
        audio_N: float32 in [-1, 1]; what is beyond is clipped.
    """

    sequence: int
    position_samples: int
    audio_N: Audio


@dataclass(frozen=True)
class Recorded:
    """A piece of a recording that the model shall sound like.

    Args:
        slot: which of the two recordings.
        position_samples: its sample that the piece begins with; 0 begins another recording.
        audio_N: float32 in [-1, 1]; what is beyond is clipped.
    """

    slot: int
    position_samples: int
    audio_N: Audio


@dataclass(frozen=True)
class Played:
    """Accompaniment that has become known: one row of it.

    Args:
        sequence: the number of the answer modulo 2^32, the same for all its rows.
        position_samples: the musician's sample with which its first sample should sound; below 0 before the first one.
        row: which of the instruments.
        audio_N: float32.
    """

    sequence: int
    position_samples: int
    row: int
    audio_N: Audio


def is_recorded(frame: bytes) -> bool:
    """Whether a frame is a piece of a recording, or meant to be one."""
    return frame[:1] == bytes([RECORDED])


def is_leading(frame: bytes) -> bool:
    """Whether a frame is a block of the sound that leads the sketch, or meant to be one."""
    return frame[:1] == bytes([LEADING])


def read_leading(frame: bytes) -> Heard:
    """A block of the sound that leads the sketch as it stood in a frame; samples that are not finite are silence.

    Raises:
        UserError: it is no such block, or too long.
    """
    (kind, row, zero, sequence, position), audio_N = _read(frame, finite=False)
    if (kind, row, zero) != (LEADING, 0, 0):
        raise UserError(
            f"a frame that begins with {kind}, {row}, {zero} leads nothing; it must begin with {LEADING}, 0, 0"
        )
    return Heard(sequence, position, audio_N)


def read_heard(frame: bytes) -> Heard:
    """A musician's block as it stood in a frame.

    Raises:
        UserError: it is no such block, too long, or holds samples that are not finite.
    """
    (kind, row, zero, sequence, position), audio_N = _read(frame)
    if (kind, row, zero) != (HEARD, 0, 0):
        raise UserError(f"a frame that begins with {kind}, {row}, {zero} is no sound; it must begin with {HEARD}, 0, 0")
    return Heard(sequence, position, audio_N)


def read_recorded(frame: bytes) -> Recorded:
    """A piece of a recording as it stood in a frame.

    Raises:
        UserError: it is no such piece, too long, or holds samples that are not finite.
    """
    (kind, slot, zero, _, position), audio_N = _read(frame)
    if kind != RECORDED or slot >= RECORDINGS or zero:
        raise UserError(
            f"a frame that begins with {kind}, {slot}, {zero} is no recording; it must begin with {RECORDED}, 0 or 1, 0"
        )
    return Recorded(slot, position, audio_N)


def _read(frame: bytes, finite: bool = True) -> tuple[tuple[int, int, int, int, int], Audio]:
    """Header and samples of a frame of a musician's.

    Args:
        frame: its bytes.
        finite: whether samples that are not finite are refused; otherwise they are silence.

    Raises:
        UserError: it is no such frame.
    """
    samples, left = divmod(len(frame) - HEADER.size, SAMPLES.itemsize)
    if samples < 1 or left:
        raise UserError(f"a frame of {len(frame)} bytes is no sound: send {HEADER.size} bytes, then whole samples")
    if samples > MOST_SAMPLES:
        raise UserError(f"a frame of {samples} samples is too long; send at most {MOST_SAMPLES} at once")
    kind, row, zero, sequence, position = HEADER.unpack_from(frame)
    if not 0 <= position <= LAST_POSITION:
        raise UserError(f"the position {position} is out of range; it must be from 0 to 2^53 - 1")
    audio_N = np.frombuffer(frame, SAMPLES, offset=HEADER.size).astype(np.float32)
    if not finite:
        audio_N = np.nan_to_num(audio_N, nan=0.0, posinf=0.0, neginf=0.0)
    if not np.isfinite(audio_N).all():
        raise UserError("a frame holds samples that are not finite and was not heard; check where they come from")
    return (kind, row, zero, sequence, position), np.clip(audio_N, -1, 1)


def write_heard(heard: Heard) -> bytes:
    """The frame of a musician's block."""
    header = HEADER.pack(HEARD, 0, 0, heard.sequence % SEQUENCES, heard.position_samples)
    return header + heard.audio_N.astype(SAMPLES).tobytes()


def write_leading(heard: Heard) -> bytes:
    """The frame of a block of the sound that leads the sketch."""
    header = HEADER.pack(LEADING, 0, 0, heard.sequence % SEQUENCES, heard.position_samples)
    return header + heard.audio_N.astype(SAMPLES).tobytes()


def write_recorded(recorded: Recorded) -> bytes:
    """The frame of a piece of a recording."""
    header = HEADER.pack(RECORDED, recorded.slot, 0, 0, recorded.position_samples)
    return header + recorded.audio_N.astype(SAMPLES).tobytes()


def read_played(frame: bytes) -> Played:
    """A row of an answer as it stood in a frame.

    Raises:
        UserError: it is none.
    """
    if len(frame) < HEADER.size or (len(frame) - HEADER.size) % SAMPLES.itemsize or frame[0] != PLAYED:
        raise UserError(f"a frame of {len(frame)} bytes is no answer; is this livejam's server?")
    _, row, _, sequence, position = HEADER.unpack_from(frame)
    return Played(sequence, position, row, np.frombuffer(frame, SAMPLES, offset=HEADER.size).astype(np.float32))


def write_played(played: Played) -> bytes:
    """The frame of a row of an answer."""
    header = HEADER.pack(PLAYED, played.row, 0, played.sequence % SEQUENCES, played.position_samples)
    return header + played.audio_N.astype(SAMPLES).tobytes()
