"""The C++ player inside Pure Data and an LV2 host: both play what livejam-wav plays."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from livejam.checkpoints.player import load_player
from livejam.export.model import example_mix, step_model

pytestmark = pytest.mark.export
RATE, SAMPLES = 22050, 200_000

PATCH = """#N canvas 0 0 700 500 12;
#X obj 20 20 loadbang;
#X obj 20 45 t b b b b b;
#X msg 400 80 read -resize song.wav song;
#X obj 400 110 soundfiler;
#X obj 400 20 table song;
#X obj 500 20 table played 230000;
#X msg 320 80 wait 1 \\, seed 3;
#X msg 240 80 \\; pd dsp 1;
#X msg 160 80 reset;
#X obj 20 140 t b b;
#X obj 100 170 tabplay~ song;
#X obj 100 210 livejam_player~ FOLDER drums;
#X obj 100 250 tabwrite~ played;
#X obj 300 250 print livejam;
#X obj 20 280 del 11000;
#X msg 20 310 write -wave -bytes 4 -rate 22050 played.wav played;
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


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    mix = example_mix(step_model(load_player("liveband-pocket")), 98)[0, 0].numpy()
    soundfile.write(path, mix[:SAMPLES], RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def wanted(programs: Path, exported: Path, song: Path) -> np.ndarray:
    """What livejam-wav plays."""
    out = song.with_name("wanted.wav")
    command = [programs / "livejam-wav", "--model", exported, "--mix", song, "--out", out]
    subprocess.run([*command, "--instrument", "drums", "--seed", "3"], check=True, capture_output=True)
    return soundfile.read(out, dtype="float32")[0]


def pure_data(programs: Path, patch: Path) -> str:
    """What Pure Data says while it plays a patch."""
    if shutil.which("pd") is None or not (programs / "pd").is_dir():
        pytest.skip("Pure Data is not here (apt install puredata-core puredata-dev)")
    command = ["pd", "-batch", "-noprefs", "-nostdpath", "-r", str(RATE), "-path", programs / "pd", "-open", patch]
    run = subprocess.run(command, cwd=patch.parent, capture_output=True, text=True, timeout=200, check=False)
    return run.stdout + run.stderr


def test_pure_data(programs: Path, exported: Path, song: Path, wanted: np.ndarray) -> None:
    patch = song.with_name("performer.pd")
    patch.write_text(PATCH.replace("FOLDER", str(exported)))
    said = pure_data(programs, patch)
    played, rate = soundfile.read(song.with_name("played.wav"), dtype="float32")
    latency = int(re.findall(r"livejam: latency (\d+)", said)[-1])
    assert rate == RATE
    assert "livejam: missed 0" in said
    assert np.abs(wanted).max() > 0.05
    assert np.abs(played[latency : latency + SAMPLES] - wanted).max() <= 1e-6


def test_pure_data_with_no_model(programs: Path, tmp_path: Path) -> None:
    """One sentence in Pd's window, and silence."""
    patch = tmp_path / "wrong.pd"
    text = "#N canvas 0 0 9 9 12;\n#X obj 9 9 livejam_player~ nothing drums;\n#X obj 9 50 loadbang;\n"
    patch.write_text(
        text + "#X msg 9 90 \\; pd dsp 1;\n#X obj 9 130 del 100;\n#X msg 9 170 \\; pd quit;\n"
        "#X connect 1 0 2 0;\n#X connect 1 0 3 0;\n#X connect 3 0 4 0;\n"
    )
    assert f"livejam_player~: {tmp_path}/nothing has no signature.json" in pure_data(programs, patch)


@pytest.fixture(scope="module")
def plugins(programs: Path) -> Path:
    """The folder with the LV2 bundle."""
    missing = [name for name in ("lv2proc", "lv2_validate", "sord_validate") if shutil.which(name) is None]
    if missing or not (programs / "plugins").is_dir():
        pytest.skip("LV2 or a host for it is not here (apt install lv2-dev lv2proc sordi)")
    return programs / "plugins"


def test_lv2_describes_itself(plugins: Path) -> None:
    files = sorted(plugins.rglob("*.ttl"))
    run = subprocess.run(["lv2_validate", *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(files) == 2
    assert "Found 0 errors" in run.stdout + run.stderr


def lv2_played(plugins: Path, song: Path, **controls: float) -> np.ndarray:
    """What a host records that does not compensate for the latency."""
    out = song.with_name("lv2.wav")
    given = [
        word for port, value in {"freewheel": 1, "seed": 3, **controls}.items() for word in ("-c", f"{port}:{value}")
    ]
    command = ["lv2proc", "--with-latency", "-i", song, "-o", out, *given, "urn:livejam:liveband-pocket"]
    environment = os.environ | {"LV2_PATH": f"{plugins}:/usr/lib/lv2"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return soundfile.read(out, dtype="float32")[0]


def delay_of(played: np.ndarray, wanted: np.ndarray) -> int:
    """Samples by which it is later."""
    spectrum = np.fft.rfft(played, 2 * SAMPLES) * np.fft.rfft(wanted, 2 * SAMPLES).conj()
    return int(np.fft.irfft(spectrum)[:SAMPLES].argmax())


def test_lv2_plays_what_livejam_wav_plays(plugins: Path, song: Path, wanted: np.ndarray) -> None:
    played = lv2_played(plugins, song, instrument=3, level=-6)
    late = delay_of(played, wanted)
    # the gains begin at 0, and are there within a moment
    assert np.abs(played[late + 5000 :] - 10 ** (-6 / 20) * wanted[5000 : SAMPLES - late]).max() <= 1e-5


def test_lv2_delays_the_dry_sound_with_the_wet(plugins: Path, song: Path, wanted: np.ndarray) -> None:
    mix = soundfile.read(song, dtype="float32")[0]
    dry = lv2_played(plugins, song, instrument=3, mix=0)
    late = delay_of(dry, mix)
    assert np.abs(dry[late + 5000 :] - mix[5000 : SAMPLES - late]).max() <= 1e-5
