"""A logger that replaces the shipped one inherits the run's folder, and nothing that names a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from commands import REPOSITORY, experiments, relative
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from lightning_modules import RunLogger

Command = Callable[..., tuple[int, str]]


class Recorder(Logger):
    """Takes what WandbLogger takes, and remembers it.

    Args:
        name: shown for a run.
        save_dir: folder.
        version: id of the run.
        id: the same.
    """

    latest: ClassVar[dict[str, Any]] = {}

    def __init__(
        self, name: str | None = None, save_dir: str = ".", version: str | None = None, id: str | None = None
    ) -> None:
        super().__init__()
        Recorder.latest = {"name": name, "save_dir": save_dir, "version": version, "id": id}

    name = property(lambda self: "recorder")
    version = property(lambda self: 0)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any) -> None: ...


@pytest.mark.parametrize("logger", ["test_run_logger.Recorder", "CSVLogger"])
def test_another_logger_is_configured_without_a_name_and_an_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], logger: str
) -> None:
    from lightning_modules import cli

    monkeypatch.chdir(REPOSITORY)
    words = ["fit", "--config", "configs/quickstart.yaml", f"--trainer.logger={logger}", "--print_config"]
    monkeypatch.setattr("sys.argv", ["lightning", *words])
    with pytest.raises(SystemExit):
        cli.main()
    given = yaml.safe_load(capfd.readouterr().out)["trainer"]["logger"]
    assert given["class_path"].endswith(logger)
    assert given["init_args"]["save_dir"] == "${trainer.default_root_dir}"
    assert given["init_args"]["version"] is None
    assert "tensorboard" not in given["init_args"].values()


def test_another_logger_is_built_without_a_name_and_an_id(
    tmp_path: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logger is built, then the command ends because there is no checkpoint."""
    monkeypatch.chdir(REPOSITORY)
    words = (
        "fit",
        "--config",
        "configs/quickstart.yaml",
        "--ckpt_path",
        "best",
        "--trainer.default_root_dir",
        tmp_path,
    )
    here = ("--trainer.default_root_dir", tmp_path, "--trainer.logger=test_run_logger.Recorder")
    _, err = lightning_command(*words, *here)
    assert "stands for no checkpoint" in err, err
    assert Recorder.latest == {"name": None, "save_dir": str(tmp_path), "version": None, "id": None}


@pytest.mark.parametrize("config", experiments(), ids=relative)
def test_shipped_loggers_name_no_run(config: Path) -> None:
    logger = yaml.safe_load(config.read_text())["trainer"]["logger"]
    if logger:
        assert set(logger["init_args"]) == {"save_dir"}


def test_curves_lie_in_one_folder(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path))
    assert isinstance(logger, TensorBoardLogger)
    logger.log_metrics({"x": 1.0}, 0)
    logger.finalize("success")
    assert any((tmp_path / "tensorboard").glob("events.*"))
