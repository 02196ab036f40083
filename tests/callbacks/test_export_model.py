"""A training exports its model when it is over, and says before it if it could not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from slakh_tree import write_tree
from toy_recipe import ToyCodec

from callbacks import ExportModel
from livejam.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def test_another_codec_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="through a CausalCodec, not through ToyCodec"):
        ExportModel(str(tmp_path)).on_fit_start(Mock(), Mock(codec=ToyCodec()))


@pytest.mark.export
def test_a_training_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lightning_command: Callable[..., Any]
) -> None:
    from livejam.export.directory import FILES
    from livejam.export.signature import read_signature

    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("TINY_SONGS", str(write_tree(tmp_path / "songs", train=2, seconds=8.0)))
    monkeypatch.setenv("TINY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TINY_ROOT", str(tmp_path / "run"))
    configs = [f"configs/{name}.yaml" for name in ("quickstart", "overlays/export")]
    words = [word for name in (configs[0], "tests/tiny/R3GAN.yaml", configs[1]) for word in ("--config", name)]
    assert lightning_command("fit", *words)[0] == 0
    folder = tmp_path / "run" / "exported"
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    signature = read_signature(folder)
    assert (signature.model, signature.system, signature.anticipation_frames) == ("run", "LiveBand", 1)
