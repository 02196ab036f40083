"""`--ckpt_path last`, `best` and `hpc` stand for a file, or nothing begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import REPOSITORY
from lightning.pytorch.callbacks import ModelCheckpoint
from toy_latents import make_trainer

from lightning_modules.named_checkpoints import require_named_checkpoint
from livejam.errors import UserError

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(REPOSITORY)
    return tmp_path / "run"


def arguments(subcommand: str, config: str, name: str, root: Path) -> list[str | Path]:
    """A command of a shipped config that would render or decode its songs at the first step."""
    paths = [f"--data.init_args.{key}={root / key}" for key in (["root", "cache"] if "codec" in config else ["root"])]
    return [subcommand, "--config", config, "--ckpt_path", name, "--trainer.default_root_dir", root, *paths]


@pytest.mark.parametrize(
    ("subcommand", "config", "name", "says"),
    [
        ("test", "configs/quickstart.yaml", "last", "no last*.ckpt in"),
        ("fit", "configs/quickstart.yaml", "last", "run/checkpoints; train first"),
        ("validate", "configs/lmdm/blockcausal_pocket.yaml", "best", "only the run that trained knows"),
        ("predict", "configs/quickstart.yaml", "hpc", "no hpc_ckpt_*.ckpt in"),
        ("fit", "configs/codec/pocket.yaml", "last", "run/checkpoints; train first"),
    ],
)
def test_a_name_without_a_checkpoint_is_an_error_before_anything_is_rendered(
    root: Path, lightning_command: Command, subcommand: str, config: str, name: str, says: str
) -> None:
    status, err = lightning_command(*arguments(subcommand, config, name, root))
    assert status == 2
    assert f"--ckpt_path {name} stands for no checkpoint" in err.splitlines()[-1]
    assert says in err
    assert not (root / "root").exists()
    assert not (root / "cache").exists()


def test_what_lies_there_instead_is_named(root: Path, lightning_command: Command) -> None:
    root.mkdir()
    (root / "interrupted.ckpt").touch()
    status, err = lightning_command(*arguments("test", "configs/quickstart.yaml", "last", root))
    assert status == 2
    assert "interrupted.ckpt" in err.splitlines()[-1]


def test_names_that_stand_for_a_file_pass(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path / "checkpoints")])
    (tmp_path / "checkpoints").mkdir()
    for name, path in (("last", "checkpoints/last.ckpt"), ("hpc", "hpc_ckpt_1.ckpt")):
        with pytest.raises(UserError, match=f"--ckpt_path {name} stands for no checkpoint"):
            require_named_checkpoint(name, trainer)
        (tmp_path / path).touch()
        require_named_checkpoint(name, trainer)
