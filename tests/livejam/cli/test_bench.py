"""The command, with the shipped quickstart at its own size and random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from livejam.cli.busy import busy
from livejam.cli.main import main


def run(*words: object) -> int:
    return main(["bench", *map(str, words)])


def test_numbers_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--config", "quickstart", "--seconds", 1, "--threads", 1, "--out", tmp_path / "measured")
    assert run(*words, "--sample-rate", 48_000) == 0
    said = capsys.readouterr().out
    result = json.loads((tmp_path / "measured/bench.json").read_text())
    assert {"eager", "packed"} <= result["measured"].keys()
    for row in result["measured"].values():
        stages = row["stages_ms"]
        assert all(stages[stage]["p50"] <= stages[stage]["p99"] <= stages[stage]["max"] for stage in stages)
        assert row["budget_ms"] == pytest.approx(row["lead_ms"] - 20)
        assert row["codec_delay_ms"] == pytest.approx(34.8, abs=0.1)
    assert "× real time" in said
    assert (tmp_path / "measured/bench.png").read_bytes().startswith(b"\x89PNG")
    assert run(*words) == 2
    assert "exists" in capsys.readouterr().err


def test_a_diffusion_model_is_measured_by_its_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--config", "lmdm/blockcausal_pocket", "--seconds", 0.1, "--threads", 1, "--no-blocks") == 0
    assert "eager" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "either --checkpoint or --config"),
        (("--config", "quickstart", "--checkpoint", "x.ckpt"), "either --checkpoint or --config"),
        (("--config", "quickstrat"), "quickstart"),
        (("--config", "codec/pocket"), "does not play along"),
        (("--config", "quickstart", "--seconds", "0"), "--seconds is 0"),
        (("--config", "lmdm/encdec_pocket", "--precision", "int8", "--threads", "1"), "only LiveBand"),
        (("--checkpoint", "nothing.ckpt"), "nothing.ckpt"),
    ],
)
def test_what_cannot_be_measured(words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


def test_other_programs_end_with_the_measurement() -> None:
    with busy(2):
        pass
    with pytest.raises(KeyboardInterrupt), busy(1):
        raise KeyboardInterrupt
