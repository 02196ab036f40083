"""The overlays that put another logger in TensorBoard's place: curves, sounds and pictures, without any network."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import REPOSITORY, tiny_overlay
from test_configs import short_songs, tiny  # noqa: F401 (fixtures)

Command = Callable[..., tuple[int, str]]

CALLBACKS = "[{class_path: callbacks.TrainingSpeed}, {class_path: callbacks.AudioLogger, init_args: {max_items: 1}}]"
BLOCK, HEADER = 32768, 7
"""Bytes of Weights & Biases' file, which is a log of LevelDB's kind."""

PATIENCE_SECONDS = 30.0

SOUNDS = ("mix", "generated", "both")
SEEN = {"train/loss/generator", "speed/items_per_second", "learning_rate/generator"}
"""Some of what a training logs."""


def fit(logger: str, lightning_command: Command) -> None:
    quickstart = REPOSITORY / "configs/quickstart.yaml"
    overlay = REPOSITORY / f"configs/overlays/logger_{logger}.yaml"
    configs = ("--config", quickstart, "--config", tiny_overlay(quickstart), "--config", overlay)
    often = ("--trainer.log_every_n_steps", "1", "--trainer.check_val_every_n_epoch", "1")
    status, err = lightning_command("fit", *configs, *often, "--trainer.callbacks", CALLBACKS)
    assert status == 0, err


@pytest.mark.filterwarnings("ignore:.*no logger in use takes sounds")
def test_csv(tiny: Path, lightning_command: Command) -> None:  # noqa: F811
    fit("csv", lightning_command)
    with (tiny / "csv/version_0/metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert rows[0].keys() >= SEEN
    assert {row["step"] for row in rows if row["train/loss/generator"]} == {"0", "1"}
    assert (tiny / "csv/version_0/config.yaml").is_file()


def contents(run: Path) -> bytes:
    """What a run of Weights & Biases has logged: a record goes on behind the header of the next block."""
    raw = next(run.glob("*.wandb")).read_bytes()
    return b"".join(raw[start + HEADER : start + BLOCK] for start in range(0, len(raw), BLOCK))


@pytest.mark.filterwarnings("ignore")
def test_wandb(tiny: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("CACHE_DIR", "CONFIG_DIR", "DATA_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tiny.parent / "wandb"))
    fit("wandb", lightning_command)
    wandb.finish()
    (run,) = (tiny / "wandb").glob("offline-run-*")
    # another process writes the file, and on a busy machine it may not be done yet
    ends = time.monotonic() + PATIENCE_SECONDS
    while missing := [name for name in SEEN if name.encode() not in (logged := contents(run))]:
        assert time.monotonic() < ends, f"{missing} in none of {len(logged)} bytes"
        time.sleep(0.5)
    assert b"runs/" not in logged, "the run is called after its own folder"
    media = [str(path) for path in (run / "files/media").rglob("*") if path.is_file()]
    assert sum(path.endswith(".wav") for path in media) == len(SOUNDS)
    assert sum(path.endswith(".png") for path in media) == 1


@pytest.mark.filterwarnings("ignore")
def test_mlflow(tiny: Path, lightning_command: Command) -> None:  # noqa: F811
    mlflow = pytest.importorskip("mlflow")
    fit("mlflow", lightning_command)
    client = mlflow.MlflowClient(f"sqlite:///{tiny}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("livejam").experiment_id])
    assert run.info.run_name == str(tiny)
    assert run.data.metrics.keys() >= SEEN
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss/generator")] == [0, 1]
    kept = sorted(path.relative_to(tiny / "mlflow").parts[-2:] for path in (tiny / "mlflow").rglob("000002.*"))
    assert [part for part, _ in kept if part in SOUNDS] == sorted(SOUNDS)
    assert sum(name == "000002.png" for _, name in kept) == 1
