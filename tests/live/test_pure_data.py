"""Pure Data itself, without a window, plays a song to a real server, and so does a foreign OSC program."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY

import livejam
from livejam.streaming import Session

pytestmark = pytest.mark.live
RATE, SECONDS, PORT, REPLY_PORT = 44100, 12, 7341, 7342
PERFORMER = f"""#N canvas 0 0 560 400 12;
#X obj 20 60 readsf~ 1;
#X obj 20 120 livejam~ 127.0.0.1 {PORT} {REPLY_PORT};
#X obj 20 200 writesf~ 3;
#X obj 200 60 r song;
#X obj 200 160 r record;
#X obj 300 60 r control;
#X obj 300 200 print livejam;
#X obj 400 60 r duration;
#X obj 400 85 del;
#X obj 400 110 t b b;
#X msg 450 140 stop;
#X obj 400 170 del 300;
#X msg 400 200 \\; pd quit;
#X connect 0 0 1 0;
#X connect 0 0 2 0;
#X connect 1 0 2 1;
#X connect 1 1 2 2;
#X connect 1 4 6 0;
#X connect 3 0 0 0;
#X connect 4 0 2 0;
#X connect 5 0 1 1;
#X connect 7 0 8 0;
#X connect 8 0 9 0;
#X connect 9 0 11 0;
#X connect 9 1 10 0;
#X connect 10 0 2 0;
#X connect 11 0 12 0;
"""
"""Plays song.wav into livejam~, and records it and the first two instruments."""

REBLOCKING = 256 - 64
"""Samples by which Pd is late with sound that goes into larger blocks, and comes out of them."""


@contextmanager
def serving(*instruments: str) -> Iterator[subprocess.Popen[str]]:
    """`livejam serve osc` with the bundled model, from its first line on."""
    asked = [word for name in instruments for word in ("--instrument", name)]
    livejam_command = str(Path(sys.executable).with_name("livejam"))
    command = [livejam_command, "serve", "osc", "--checkpoint", "liveband-pocket", *asked]
    ports = ["--port", str(PORT), "--reply-port", str(REPLY_PORT)]
    server = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert server.stdout is not None
        assert "plays" in server.stdout.readline()
        yield server
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


@pytest.mark.skipif(shutil.which("pd") is None, reason="needs Pure Data (apt install puredata-core)")
def test_pure_data_plays_a_song_and_records_what_the_session_plays(tmp_path: Path, rendered_songs: Path) -> None:
    """The two instruments are the session's own samples, later than the mix by the delay that the patch says."""
    mix, rate = soundfile.read(sorted(rendered_songs.rglob("mix.flac"))[0], dtype="float32", always_2d=True)
    mix_N = np.repeat(mix.mean(axis=1), -(-RATE // rate))[: SECONDS * RATE]  # any sound does
    soundfile.write(tmp_path / "song.wav", mix_N, RATE, subtype="FLOAT")
    for patch in ("livejam~.pd", "livejam.pd"):
        shutil.copy(REPOSITORY / "patches" / patch, tmp_path)
    (tmp_path / "performer.pd").write_text(PERFORMER)
    said = f"; pd dsp 1; song open song.wav; record open -bytes 4 out.wav; record start; song 1; duration {SECONDS}000"
    options = ["-nogui", "-noaudio", "-r", str(RATE), "-open", "performer.pd", "-send", said]
    with serving("drums", "bass") as server:
        pd = subprocess.run(["pd", *options], cwd=tmp_path, capture_output=True, text=True, timeout=4 * SECONDS)
        server.send_signal(signal.SIGINT)
        assert server.stdout is not None
        summary = server.stdout.read()
    printed = pd.stdout + pd.stderr
    assert "welcome 44100" in printed
    assert re.search(r"0 ms in 0 gaps .* 0 blocks came too late and 0 twice", summary), summary
    recorded, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    heard_N, played_2N = np.pad(recorded[:, 0], (REBLOCKING, 0)), recorded[:, 1:].T
    session = Session(livejam.load("liveband-pocket"), sample_rate_hz=RATE, channels=1, instruments=["drums", "bass"])
    expected_2N = session.process_rows(torch.from_numpy(heard_N)[None]).numpy()[:, 0]
    delays = {int(word) - REBLOCKING for word in re.findall(r"livejam: delay (-?\d+)", printed)}
    assert same_share(played_2N, expected_2N, sorted({0, *delays})) > 0.9, printed


def same_share(played_2N: np.ndarray, expected_2N: np.ndarray, delays: list[int]) -> float:
    """The share of blocks of sound that are the expected ones, later by one of some delays."""
    same = total = 0
    for start in range(RATE, played_2N.shape[1] - RATE, 256):
        block_2N = played_2N[:, start : start + 256]
        around = (expected_2N[:, start - delay : start - delay + 256] for delay in delays)
        same += any(np.abs(block_2N - expected).max() < 1e-4 for expected in around)
        total += 1
    return same / total


@pytest.mark.skipif(shutil.which("oscsend") is None, reason="needs liblo's programs (apt install liblo-tools)")
def test_a_foreign_program_is_answered(tmp_path: Path) -> None:
    with (
        serving("drums"),
        subprocess.Popen(["oscdump", "-L", str(REPLY_PORT)], stdout=subprocess.PIPE, text=True) as ear,
    ):
        try:
            for words in (["/hello"], ["/level", "f", "-6"], ["/level", "f", "600"], ["/nonsense", "s", "x"]):
                subprocess.run(["oscsend", "127.0.0.1", str(PORT), *words], check=True, timeout=20)
            assert ear.stdout is not None
            heard = [ear.stdout.readline() for _ in range(4)]
        finally:
            ear.kill()
    together = "".join(heard)
    assert "/welcome iiiifsiii 44100" in together
    assert "/error s" in together
