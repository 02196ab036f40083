"""`livejam doctor --config` of every shipped config at a tiny size, when its songs and its bank are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import experiments, relative, tiny_overlay
from test_configs import Command, short_songs, tiny, trains

from lightning_modules import examination

__all__ = ["short_songs", "tiny"]


@pytest.mark.slow
@pytest.mark.parametrize("config", [config for config in experiments() if trains(config)], ids=relative)
def test_the_doctor_examines_it(
    config: Path, tiny: Path, tmp_path: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its data and its bank, so that steps are measured."""
    words = ["--config", relative(config), "--config", str(tiny_overlay(config))]
    status, err = lightning_command("fit", *words, "--trainer.fast_dev_run", "1", "--trainer.limit_val_batches", "0")
    assert status == 0, err
    results = tmp_path / "findings"
    monkeypatch.setattr("sys.argv", ["examination", str(results), "quick", "fit", *words])
    assert examination.main() == 0
    findings = {row["subject"]: row for row in map(json.loads, results.read_text().splitlines())}
    assert not [row for row in findings.values() if not row["good"]]
    assert {"experiment", "weights", "memory", "time", "disk of the run"} <= findings.keys()
