"""A logger that replaces the shipped one inherits the run's folder, and nothing that names a run."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from commands import REPOSITORY, experiments, relative
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from lightning_modules import RunLogger
from lightning_modules.run_errors import as_user_error, say_of_thread

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


@pytest.mark.parametrize("config", [REPOSITORY / "configs/defaults.yaml", *experiments()], ids=relative)
def test_shipped_loggers_name_no_run(config: Path) -> None:
    """The default one names its folder alone; an experiment that says something of it says no more."""
    logger = yaml.safe_load(config.read_text()).get("trainer", {}).get("logger")
    assert logger or config.name != "defaults.yaml"
    if logger:
        assert set(logger["init_args"]) == {"save_dir"}


def test_one_chart_shows_the_model_and_its_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard draws one line per run and tag: anchors are runs of their own, and have the model's tag and steps."""
    for steps in ((1, 2), (3, 4)):  # the second time the run goes on
        # TensorBoard reads files in the order of their names: second, host, process, number (10 before 9)
        monkeypatch.setattr(socket, "gethostname", lambda first=steps[0]: f"host{first}")
        logger = RunLogger(str(tmp_path))
        assert isinstance(logger, TensorBoardLogger)
        for step in steps:
            anchors = {"anchor/ground_truth/fad/log_mel": 0.3, "anchor/silence/fad/log_mel": 90.0}
            logger.log_metrics({"train/loss": 1.0, "val/fad/log_mel": 10.0 / step, **anchors}, step)
            logger.save()
        logger.finalize("success")
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    tags = {run: set(found["scalars"]) for run, found in runs.Runs().items()}
    row = {"val/fad/log_mel"}
    assert tags == {
        "tensorboard/model": row | {"train/loss"},
        "tensorboard/ground_truth": row,
        "tensorboard/silence": row,
    }
    for run in tags:
        assert [event.step for event in runs.Scalars(run, "val/fad/log_mel")] == [1, 2, 3, 4], run
    assert runs.Scalars("tensorboard/silence", "val/fad/log_mel")[-1].value == 90.0


def test_steps_that_are_done_again_stand_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is killed after step 3, and the next one goes on from a checkpoint after step 1."""
    for first, last in ((0, 3), (2, 4)):
        # TensorBoard reads files in the order of their names, as above
        monkeypatch.setattr(socket, "gethostname", lambda first=first: f"host{first}")
        logger = RunLogger(str(tmp_path))
        logger.experiment.add_text("before", "training")
        if first:
            logger.repeat_from(first)
        for step in range(first, last + 1):
            logger.log_metrics({"train/loss": 10.0 * first + step, "anchor/codec/a": 1.0}, step)
        logger.save()  # and no more: it is killed
    runs = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    assert [event.value for event in runs.Scalars("tensorboard/model", "train/loss")] == [0, 1, 22, 23, 24]
    assert [event.step for event in runs.Scalars("tensorboard/codec", "val/a")] == [0, 1, 2, 3, 4]


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A thread of TensorBoard's finds it; the run ends with the next number."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    monkeypatch.setattr(threading, "excepthook", say_of_thread)
    others = set(threading.enumerate())  # such as those of earlier tests, which nothing ends
    logger = RunLogger(str(tmp_path))

    def log() -> None:
        for step in range(100):
            logger.log_metrics({"train/loss": 1.0}, step)
            logger.save()

    with pytest.raises((OSError, ValueError)) as caught:
        log()
    for thread in {one for one in threading.enumerate() if type(one).__name__ == "_AsyncWriterThread"} - others:
        thread.join(10)  # which tells the logger first
    assert "the disk is full" in str(as_user_error(caught.value))
    assert capfd.readouterr().err == "in the background: the disk is full; free some space and start again\n"


def test_only_the_first_process_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    logger = RunLogger(str(tmp_path))
    logger.log_metrics({"val/a": 1.0, "anchor/codec/a": 1.0}, 1)
    logger.experiment.add_custom_scalars({})
    logger.save()
    logger.finalize("success")
    assert not list(tmp_path.iterdir())
