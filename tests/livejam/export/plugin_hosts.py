"""Programs that play an exported model through `hosts/cpp`: Pure Data, and hosts of LV2 plug-ins."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 22050
MORE = 30_000
"""Samples that Pure Data records beyond the song's end."""

PATCH = """#N canvas 0 0 700 500 12;
#X obj 20 20 loadbang;
#X obj 20 45 t b b b b b;
#X msg 400 80 read -resize song.wav song;
#X obj 400 110 soundfiler;
#X obj 400 20 table song;
#X obj 500 20 table played SIZE;
#X msg 320 80 wait 1 \\, seed 3SETTINGS;
#X msg 240 80 \\; pd dsp 1;
#X msg 160 80 reset;
#X obj 20 140 t b b;
#X obj 100 170 tabplay~ song;
#X obj 100 210 livejam_player~ FOLDER INSTRUMENT;
#X obj 100 250 tabwrite~ played;
#X obj 300 250 print livejam;
#X obj 20 280 del MILLISECONDS;
#X msg 20 310 write -wave -bytes 4 -rate RATE played.wav played;
#X obj 20 340 soundfiler;
#X msg 160 340 bang;
#X obj 20 370 t b b;
#X msg 20 400 \\; pd quit;
#X connect 0 0 1 0;
#X connect 1 4 2 0;
#X connect 2 0 3 0;
#X connect 1 3 6 0;
#X connect 6 0 11 0;
#X connect 1 2 7 0;
#X connect 1 1 8 0;
#X connect 8 0 11 0;
#X connect 1 0 9 0;
#X connect 9 0 14 0;
#X connect 9 1 10 0;
#X connect 9 1 12 0;
#X connect 10 0 11 0;
#X connect 11 0 12 0;
#X connect 11 1 13 0;
#X connect 14 0 15 0;
#X connect 15 0 16 0;
#X connect 16 0 18 0;
#X connect 18 1 17 0;
#X connect 17 0 11 0;
#X connect 18 0 19 0;
"""
"""Plays song.wav into the object from the sample on at which it begins anew, and records what comes out."""


def pure_data(programs: Path, patch: Path, rate: int = RATE) -> str:
    """What Pure Data says while it plays a patch."""
    if shutil.which("pd") is None or not (programs / "pd").is_dir():
        pytest.skip("Pure Data is not here (apt install puredata-core puredata-dev)")
    command = ["pd", "-batch", "-noprefs", "-nostdpath", "-r", str(rate), "-path", programs / "pd", "-open", patch]
    run = subprocess.run(command, cwd=patch.parent, capture_output=True, text=True, timeout=200, check=False)
    return run.stdout + run.stderr


def pd_played(
    programs: Path, folder: Path, song: Path, instrument: str, *settings: str, rate: int = RATE
) -> tuple[np.ndarray, int, str]:
    """A song and what follows it, as Pure Data records it; the latency; and all that Pure Data says."""
    samples = soundfile.info(song).frames + MORE
    facts = {"FOLDER": folder, "INSTRUMENT": instrument, "SIZE": samples, "RATE": rate, "song.wav": song.name}
    facts |= {"MILLISECONDS": 1000 * samples // rate + 500, "SETTINGS": "".join(f" \\, {one}" for one in settings)}
    text = PATCH
    for name, value in facts.items():
        text = text.replace(name, str(value))
    patch = song.with_name("performer.pd")
    patch.write_text(text)
    said = pure_data(programs, patch, rate)
    latency = re.findall(r"livejam: latency (\d+)", said)
    return soundfile.read(song.with_name("played.wav"), dtype="float32")[0], int(latency[-1]) if latency else 0, said


def bundles(programs: Path) -> Path:
    """The folder with the plug-ins."""
    missing = [name for name in ("lv2proc", "lv2_validate", "sord_validate") if shutil.which(name) is None]
    if missing or not (programs / "plugins").is_dir():
        pytest.skip("LV2 or a host for it is not here (apt install lv2-dev lv2proc sordi)")
    return programs / "plugins"


def lv2proc(folder: Path, song: Path, plugin: str, **controls: float) -> subprocess.CompletedProcess[str]:
    """Let a host that does not compensate for latency write lv2.wav beside the song."""
    given = [word for port, value in {"freewheel": 1, **controls}.items() for word in ("-c", f"{port}:{value}")]
    command = ["lv2proc", "-i", song, "-o", song.with_name("lv2.wav"), *given, plugin]
    environment = os.environ | {"LV2_PATH": f"{folder}:/usr/lib/lv2"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def lv2_played(programs: Path, song: Path, plugin: str, **controls: float) -> np.ndarray:
    """What that host records."""
    run = lv2proc(bundles(programs), song, plugin, **{"seed": 3, **controls})
    assert run.returncode == 0, run.stdout + run.stderr
    return soundfile.read(song.with_name("lv2.wav"), dtype="float32")[0]


def delay_of(played: np.ndarray, wanted: np.ndarray) -> int:
    """Samples by which it is later."""
    size = 2 * max(len(played), len(wanted))
    spectrum = np.fft.rfft(played, size) * np.fft.rfft(wanted, size).conj()
    return int(np.fft.irfft(spectrum)[: size // 2].argmax())


class _Descriptor(ctypes.Structure):
    """`LV2_Descriptor` of lv2/core/lv2.h."""

    _fields_ = (
        ("uri", ctypes.c_char_p),
        ("instantiate", ctypes.CFUNCTYPE(*2 * [ctypes.c_void_p], ctypes.c_double, ctypes.c_char_p, ctypes.c_void_p)),
        ("connect_port", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)),
        ("activate", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("run", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32)),
        ("deactivate", ctypes.c_void_p),
        ("cleanup", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    )


CONTROLS = ("instrument", "seed", "mix", "level", "latency", "missed", "freewheel")
PIECE = 512


def hosted(bundle: Path, sound: np.ndarray, words: tuple[float, ...] = (), **controls: float) -> tuple[np.ndarray, int]:
    """What a mono plug-in plays to a sound in pieces, and the latency that it reports: no host here shows that.

    Args:
        bundle: the plug-in's folder.
        sound: what it hears.
        words: the values of its prompt and of its negative prompt, if it has them.
        controls: the others, by their symbols.
    """
    library = ctypes.CDLL(str(bundle / "livejam_lv2.so"))
    library.lv2_descriptor.restype = ctypes.POINTER(_Descriptor)
    plugin = library.lv2_descriptor(0).contents
    handle = plugin.instantiate(ctypes.addressof(plugin), float(RATE), f"{bundle}/".encode(), None)
    assert handle
    values = {"instrument": 3.0, "seed": 3.0, "mix": 1.0, "freewheel": 1.0, **controls}
    ports = np.array([values.get(name, 0.0) for name in CONTROLS], dtype=np.float32)
    played = sound.astype(np.float32)  # in and out in the same memory
    for number in range(len(CONTROLS)):
        plugin.connect_port(handle, number, ports[number:].ctypes.data)
    asked = np.array(words, dtype=np.float32)
    for number in range(len(asked)):
        plugin.connect_port(handle, len(CONTROLS) + 2 + number, asked[number:].ctypes.data)
    plugin.activate(handle)
    for start in range(0, len(played), PIECE):
        piece = played[start : start + PIECE]
        for number in (len(CONTROLS), len(CONTROLS) + 1):
            plugin.connect_port(handle, number, piece.ctypes.data)
        plugin.run(handle, len(piece))
    plugin.cleanup(handle)
    return played, int(ports[CONTROLS.index("latency")])
