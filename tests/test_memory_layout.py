"""What DDP broadcasts is dense: every parameter and buffer of every shipped experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import REPOSITORY, experiments, relative, tiny_overlay
from memory_layout import unusual_layouts
from torch import nn

from lightning_modules.cli import LivejamCLI
from livejam.codecs.synthesis import Synthesis

Command = Callable[..., tuple[int, str]]

PAPER_SIZES = ("slakh", "small", "text_blockcausal", "text_encdec", "jam_blockcausal", "warmup")
"""Ends of the names of configs that need published weights or a GPU's memory; their overlays have the same parts."""


@pytest.mark.parametrize("config", experiments(), ids=relative)
def test_every_value_lies_in_dense_memory(
    config: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    for name in ("TINY_SONGS", "TINY_CACHE", "TINY_ROOT"):
        monkeypatch.setenv(name, "nowhere")
    models: list[nn.Module] = []
    monkeypatch.setattr(LivejamCLI, "_run_subcommand", lambda cli, _: models.append(cli.model))
    words: list[str | Path] = ["predict" if "bank" in config.parts else "fit", "--config", config]
    words += ["--config", tiny_overlay(config)] if config.stem.endswith(PAPER_SIZES) else []
    words += ["--model.init_args.allow_untrained", "true"] if "allow_untrained" in config.read_text() else []
    assert lightning_command(*words) == (0, "")
    assert not unusual_layouts(models[0])


@pytest.mark.parametrize("audio_channels", [1, 2])
def test_noise_lies_in_dense_memory(audio_channels: int) -> None:
    assert not unusual_layouts(Synthesis(22050, audio_channels, 1024, 1e-3))
