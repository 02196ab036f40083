"""References and sketches over a real socket: the command in a process of its own, with a checkpoint from a file.

Shapes: N audio samples.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch
from osc_process import served_osc
from small_band import band_checkpoint, lmdm_checkpoint

from livejam.checkpoints.player import load_player
from livejam.reference import ReferenceAnalysis, ReferenceTraining, mixed
from livejam.serving.osc_messages import Error
from livejam.serving.osc_sound_messages import Reference, ReferenceBetween, Sketch, SketchCurve
from livejam.sketch import SketchTraining
from livejam.streaming import Session, Stroke, read_reference
from metrics.embeddings import LogMel

RATE = 22050


def noise(seconds: float, rate: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def known(session: Session, heard_N: np.ndarray) -> np.ndarray:
    """What a session knows after hearing sound, from its first sample on."""
    opening_N = session.advance(torch.zeros(1, 0))[0, 0]
    return torch.cat((opening_N, session.advance(torch.from_numpy(heard_N)[None])[0, 0])).numpy()


def agree(answer_N: np.ndarray, expected_N: np.ndarray, plain_N: np.ndarray) -> None:
    """What was answered is what is expected, and not what is played without being asked."""
    samples = min(map(len, (answer_N, expected_N, plain_N)))
    there_N = np.isfinite(answer_N[:samples])
    there_N[: samples // 4] = False  # the opening is faded in
    assert there_N.sum() > samples // 2
    np.testing.assert_allclose(answer_N[:samples][there_N], expected_N[:samples][there_N], atol=1e-4)
    assert np.abs(expected_N[:samples] - plain_N[:samples]).max() > 1e-3


def test_a_served_model_sounds_like_the_recordings_that_were_named(tmp_path: Path) -> None:
    checkpoint = band_checkpoint(
        tmp_path / "band.ckpt", reference=ReferenceTraining(ReferenceAnalysis(LogMel(), 1.0, 3))
    )
    files = {name: tmp_path / f"{name}.wav" for name in ("voice", "hum")}
    soundfile.write(files["voice"], noise(2.0, RATE, 1), RATE)
    soundfile.write(files["hum"], np.cumsum(noise(1.5, 48_000, 2)) / 9, 48_000)
    heard_N = noise(1.5, RATE, 3)
    likes = [option for name, path in files.items() for option in ("--like", f"{name}={path}")]
    with served_osc(checkpoint, "--sample-rate", str(RATE), *likes) as client:
        client.send(ReferenceBetween("voice", "hum", 0.9))
        client.send(Reference("voice:3, hum:1"))
        client.send(b"/reference\0\0,sf\0voic")
        client.send(Reference(str(files["voice"])))
        refused = client.until(Error)
        assert isinstance(refused, Error)
        assert refused.sentence.endswith("there are voice, hum"), "a path is no name"
        client.settled()
        answer_N = client.play(heard_N)
    player = load_player(checkpoint)
    session, plain = (Session(player, sample_rate_hz=RATE, channels=1) for _ in range(2))
    embeddings = [read_reference(path, player) for path in files.values()]
    session.set_reference(mixed(list(zip(embeddings, (3, 1), strict=True))))
    agree(answer_N, known(session, heard_N), known(plain, heard_N))


def test_a_served_model_follows_what_is_drawn(tmp_path: Path) -> None:
    checkpoint = lmdm_checkpoint(tmp_path / "lmdm.ckpt", sketch=SketchTraining())
    heard_N = noise(3.0, RATE, 3)
    with served_osc(checkpoint, "--sample-rate", str(RATE)) as client:
        client.send(Sketch("loudness", -30.0))
        client.send(SketchCurve("brightness", RATE, 1.5, np.array([60, 100, 70], dtype=np.float32)))
        client.send(b"/sketch_curve\0\0\0,siff\0\0\0pitch")
        client.send(SketchCurve("pitch", 2**31 - 1, 0.0, np.array([60], dtype=np.float32)))
        refused = client.until(Error)
        assert isinstance(refused, Error)
        assert "ahead cannot be drawn" in refused.sentence
        client.settled()
        answer_N = client.play(heard_N)
    player = load_player(checkpoint)
    session, plain = (Session(player, sample_rate_hz=RATE, channels=1) for _ in range(2))
    session.draw_sketch(Stroke("loudness", (-30.0,)))
    session.draw_sketch(Stroke("brightness", (60.0, 100.0, 70.0), 1.5), RATE)
    agree(answer_N, known(session, heard_N), known(plain, heard_N))
