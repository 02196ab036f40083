"""The General MIDI SoundFont, corrected for a synthesizer that ignores overriding root keys.

SoundFont 2.04, sections 7 and 8.1: a zone may override the root key of its sample (generator 58). The
synthesizer inside symusic reads the key of the sample header only, so most programs of a font that overrides
it sound at a wrong pitch, differently per zone. The corrected copy carries each zone's root key in the header
itself; a sample that zones use with several root keys gets one header per key.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livejam.errors import UserError
from livejam.files import atomic_path

Records = NDArray[np.void]

OVERRIDING_ROOT_KEY = 58
SAMPLE_ID = 53
SAMPLE_HEADER_BYTES = 46
ROOT_KEY_OFFSET = 40

_GENERATOR = np.dtype([("operator", "<u2"), ("amount", "<u2")])
_BAG = np.dtype([("generator", "<u2"), ("modulator", "<u2")])
_INSTRUMENT = np.dtype([("name", "S20"), ("bag", "<u2")])


def corrected_name(source: Path) -> str:
    """An identifier of a SoundFont, from its name and its content.

    Raises:
        UserError: there is no SoundFont at `source`.
    """
    if not source.is_file():
        raise UserError(f"there is no SoundFont {source}; give the path of a General MIDI .sf2 file")
    return f"{source.stem}-rooted-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"


def corrected_soundfont(source: Path | None = None) -> Path:
    """The path of the corrected copy, written on first use into the user's cache folder.

    Args:
        source: the SoundFont to correct; None takes TimGM6mb.sf2 from the installed pretty_midi.

    Raises:
        UserError: there is no SoundFont at `source`, it is damaged, or it cannot be played.
    """
    source = source or bundled_soundfont()
    cached = _cache_folder() / f"{corrected_name(source)}.sf2"
    if not cached.is_file():
        try:
            corrected = with_root_keys_in_headers(source.read_bytes())
        except (UserError, KeyError, IndexError, ValueError, struct.error) as error:
            reason = error if isinstance(error, UserError) else "it is damaged; obtain it again"
            raise UserError(f"{source} cannot be used: {reason}") from error
        with atomic_path(cached) as temporary:
            temporary.write_bytes(corrected)
    return cached


def with_root_keys_in_headers(soundfont: bytes) -> bytes:
    """The same SoundFont, in which every sample header carries the root key its zones ask for.

    Args:
        soundfont: a RIFF file of form sfbk.

    Raises:
        UserError: the bytes are no SoundFont.
    """
    if soundfont[:4] != b"RIFF" or soundfont[8:12] != b"sfbk":
        raise UserError("this file is no SoundFont (RIFF sfbk); give the path of an .sf2 file")
    lists = list(_chunks(soundfont, 12))
    if len(soundfont) < 8 + struct.unpack_from("<I", soundfont, 4)[0]:
        raise UserError("it is cut off; obtain it again")
    _require_playable(lists)
    body = b"".join(_correct_list(name, payload) for name, payload in lists)
    return _chunk(b"RIFF", b"sfbk" + body)


def bundled_soundfont() -> Path:
    """TimGM6mb.sf2 of the installed pretty_midi.

    Raises:
        UserError: pretty_midi is not installed.
    """
    # find_spec does not run the package, whose import is slow
    spec = find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise UserError("pretty_midi is not installed; `pip install pretty_midi` installs the SoundFont")
    return Path(spec.origin).parent / "TimGM6mb.sf2"


def _require_playable(lists: list[tuple[bytes, bytes]]) -> None:
    """Refuse a font that lacks a part, or packs its samples as the synthesizer cannot read them."""
    parts = {payload[:4]: payload for _, payload in lists}
    # the version first: the lists of an .sf3 are not padded, so that those after the first are not found
    version = dict(_chunks(parts.get(b"INFO", b""), 4)).get(b"ifil", b"")[:2]
    if version not in (b"", b"\x02\0"):
        raise UserError("it is no SoundFont 2 (an .sf3 holds compressed samples); give an .sf2 file")
    if not version or not {b"sdta", b"pdta"} <= set(parts):
        raise UserError("a part of it is missing; obtain it again")


def _cache_folder() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "livejam"


def _chunks(data: bytes, start: int) -> Iterator[tuple[bytes, bytes]]:
    while start + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, data[start + 8 : start + 8 + size]
        start += 8 + size + size % 2


def _chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack("<4sI", name, len(payload)) + payload + b"\0" * (len(payload) % 2)


def _correct_list(name: bytes, payload: bytes) -> bytes:
    if payload[:4] != b"pdta":
        return _chunk(name, payload)
    parts = dict(_chunks(payload, 4))
    generators = np.frombuffer(parts[b"igen"], _GENERATOR).copy()
    bags = np.frombuffer(parts[b"ibag"], _BAG)
    instruments = np.frombuffer(parts[b"inst"], _INSTRUMENT)
    headers = [
        bytearray(parts[b"shdr"][at : at + SAMPLE_HEADER_BYTES])
        for at in range(0, len(parts[b"shdr"]), SAMPLE_HEADER_BYTES)
    ]
    _move_root_keys(generators, bags, instruments, headers)
    parts[b"igen"] = generators.tobytes()
    parts[b"shdr"] = b"".join(headers)
    return _chunk(name, b"pdta" + b"".join(_chunk(key, value) for key, value in parts.items()))


def _move_root_keys(generators: Records, bags: Records, instruments: Records, headers: list[bytearray]) -> None:
    """Give each zone a header with its root key; the first key takes the sample's own, others a clone (in place)."""
    terminal = headers.pop()
    originals = [bytes(header) for header in headers]
    header_of: dict[tuple[int, int], int] = {}
    taken: set[int] = set()
    for position, override in _sample_zones(generators, bags, instruments):
        sample = int(generators["amount"][position])
        root_key = originals[sample][ROOT_KEY_OFFSET] if override is None else override
        if (sample, root_key) not in header_of:
            header_of[sample, root_key] = sample if sample not in taken else len(headers)
            if sample in taken:
                headers.append(bytearray(originals[sample]))
            taken.add(sample)
            headers[header_of[sample, root_key]][ROOT_KEY_OFFSET] = root_key
        generators["amount"][position] = header_of[sample, root_key]
    headers.append(terminal)


def _sample_zones(generators: Records, bags: Records, instruments: Records) -> Iterator[tuple[int, int | None]]:
    """Where each zone names its sample, and the root key that it or its instrument's global zone overrides."""
    for first, last in pairwise(instruments["bag"].tolist()):
        inherited: int | None = None
        for bag in range(first, last):
            start, end = int(bags["generator"][bag]), int(bags["generator"][bag + 1])
            position_of = {int(generators["operator"][at]): at for at in range(start, end)}
            own = position_of.get(OVERRIDING_ROOT_KEY)
            root_key = inherited if own is None else int(generators["amount"][own])
            if SAMPLE_ID in position_of:
                yield position_of[SAMPLE_ID], root_key
            elif bag == first:
                inherited = root_key
