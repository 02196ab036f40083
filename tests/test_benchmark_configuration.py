"""Benchmarks build what a configuration describes, without a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import REPOSITORY

from benchmarks.configuration import experiment
from callbacks.monitor import Monitor
from datamodules import Slakh2100DataModule
from lightning_modules import R3GAN


def test_an_experiment_has_model_data_and_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = experiment([REPOSITORY / "configs/quickstart.yaml"], tmp_path)
    assert isinstance(made.model, R3GAN)
    assert isinstance(made.data, Slakh2100DataModule)
    assert any(isinstance(callback, Monitor) for callback in made.callbacks)
