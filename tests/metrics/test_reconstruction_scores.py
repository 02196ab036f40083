"""Scores of reconstructions: identities, invariances, and the table of codecs."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.cli import main as cli
from metrics.reconstruction import WaveformScore, log_mel_error, si_sdr_db, stft_distance

RATE = 22_050


def noise(samples: int = RATE, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=15, deadline=None)
@given(gain_db=st.floats(-30, 30), snr_db=st.floats(-20, 60))
def test_si_sdr_ignores_the_gain_and_snr_is_the_ratio(gain_db: float, snr_db: float) -> None:
    true_N, error_N = noise(), noise(seed=1)
    error_N = error_N - true_N * (error_N @ true_N) / (true_N @ true_N)
    error_N = error_N * (true_N.norm() / error_N.norm()) * 10 ** (-snr_db / 20)
    made_N = true_N + error_N
    assert si_sdr_db(made_N * 10 ** (gain_db / 20), true_N) == pytest.approx(snr_db, abs=0.05)
    score = WaveformScore()
    for made, true in zip(made_N.split(3000), true_N.split(3000), strict=True):
        score.update(made, true)
    assert float(score.compute()["snr_db"]) == pytest.approx(snr_db, abs=0.05)


def test_perfect_silent_and_short() -> None:
    true_N, silence_N = noise(), torch.zeros(RATE)
    assert si_sdr_db(true_N, true_N) > 100
    assert math.isnan(si_sdr_db(true_N, silence_N))
    assert log_mel_error(true_N, true_N, RATE) == 0
    assert stft_distance(true_N, true_N) == pytest.approx(0, abs=1e-4)
    assert math.isnan(stft_distance(true_N[:100], true_N[:100]))


def test_the_table_of_codecs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.wav"
    tone_N = np.sin(2 * np.pi * 220 * np.arange(3 * RATE) / RATE)
    soundfile.write(path, 0.3 * np.stack([tone_N, tone_N], axis=1), RATE)
    arguments = [
        "codec",
        "compare",
        "--codec",
        "pocket",
        "--codec",
        "livejam.codecs.CausalCodec",
        "--codec.width",
        "16",
    ]
    outputs = ["--csv", str(tmp_path / "t.csv"), "--markdown", str(tmp_path / "t.md")]
    assert cli.main([*arguments, "--codec.name", "untrained", str(path), "--no-beats", *outputs]) == 0
    assert capsys.readouterr().out == (tmp_path / "t.md").read_text()
    with (tmp_path / "t.csv").open() as file:
        trained, untrained = csv.DictReader(file)
    assert (trained["codec"], untrained["codec"]) == ("pocket", "untrained")
    assert float(trained["log_mel_l1"]) < float(untrained["log_mel_l1"])
    assert float(trained["fad_log_mel"]) < float(untrained["fad_log_mel"])
    assert float(trained["chroma"]) > 0.9
    assert math.isnan(float(trained["beat_f1_kept"]))
    assert all(float(trained[name]) > 0 for name in ("encode_rtf", "decode_rtf", "stream_rtf"))


@pytest.mark.parametrize("seconds", ["0.1", "nan"])
def test_too_short_an_excerpt_is_one_error(tmp_path: Path, seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros(RATE), RATE)
    assert cli.main(["codec", "compare", "--codec", "pocket", "--seconds", seconds, str(path)]) == 2
    assert "1 or more" in capsys.readouterr().err
