"""Fréchet distances to kept references and in several embeddings at once; beats of mix and stem together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import lightning
import pytest
import torch
from playing_recipe import SAMPLE_RATE_HZ, SEGMENT_SECONDS, Energetic, Player, loader

from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.fad_monitor import FADMonitor
from callbacks.monitor import Monitor
from callbacks.results_table import ResultsTable
from livejam.errors import UserError
from metrics.embeddings import LogMel
from metrics.evaluation.evaluate import MODEL
from metrics.frechet_reference import FrechetReference

WINDOW = {"window_seconds": 0.5, "hop_seconds": 0.125}


class FewBands(LogMel):
    """Another embedding with a name of its own."""

    name = "few_bands"


def monitor(embedding: LogMel | None = None, **options: object) -> FADMonitor:
    return FADMonitor(embedding or LogMel(bands=4, **WINDOW), segment_seconds=SEGMENT_SECONDS, **options)


def run_test(root: Path, monitors: list[Monitor], model: Player | None = None, items: int = 6) -> None:
    trainer = lightning.Trainer(
        default_root_dir=root,
        callbacks=[*monitors, ResultsTable()],
        logger=False,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(model or Player(), loader(items=items), verbose=False)


@pytest.mark.filterwarnings("ignore")
def test_a_kept_reference_gives_the_same_distance(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    first = monitor(save_reference=str(path), extrapolate=True)
    run_test(tmp_path, [first])
    reference = FrechetReference.load(path)
    reference.require_like(first.fad.embedding.identity, SAMPLE_RATE_HZ, SEGMENT_SECONDS)
    second = monitor(reference=str(path))
    assert second.fad.identity != first.fad.identity
    run_test(tmp_path / "second", [second])
    for row, results in first.results.items():
        ours, expected = second.results[row]["fad/log_mel"], results["fad/log_mel"]
        assert (ours.value, ours.drift) == pytest.approx((expected.value, expected.drift), rel=1e-9, nan_ok=True)
    assert math.isfinite(first.results[MODEL]["fad/log_mel/infinity"].value)
    assert "fad/log_mel/infinity" not in second.results[MODEL]
    with pytest.raises(UserError, match="cannot be compared"):
        run_test(tmp_path / "third", [monitor(LogMel(bands=4, window_seconds=0.5), reference=str(path))])
    with pytest.raises(UserError, match="no Fréchet reference"):
        monitor(reference=str(tmp_path / "nowhere.safetensors"))


@pytest.mark.filterwarnings("ignore")
def test_several_embeddings_stand_side_by_side(tmp_path: Path) -> None:
    monitors: list[Monitor] = [monitor(), monitor(FewBands(bands=2, **WINDOW))]
    assert monitors[0].state_key != monitors[1].state_key
    run_test(tmp_path, monitors)
    row = json.loads((tmp_path / "results.json").read_text())["trained"]
    assert row["fad"]["value"] != row["fad_few_bands"]["value"]
    assert row["fad"]["count"] == row["fad_few_bands"]["count"] > 0


@pytest.mark.filterwarnings("ignore")
def test_no_item_and_one_item_have_counts_and_no_false_number(tmp_path: Path) -> None:
    none, one = monitor(max_test_items=0), monitor(max_test_items=1)
    long = FADMonitor(LogMel(bands=4, window_seconds=5.0), max_test_items=1, segment_seconds=SEGMENT_SECONDS)
    run_test(tmp_path / "none", [none])
    run_test(tmp_path / "one", [one])
    run_test(tmp_path / "long", [long])
    results = {m: m.results[MODEL]["fad/log_mel"] for m in (none, one, long)}
    assert [results[m].count for m in (none, long)] == [0, 0]
    assert all(math.isnan(results[m].value) for m in (none, long))
    assert results[one].count > 1
    assert math.isfinite(results[one].value)


@pytest.mark.filterwarnings("ignore")
def test_a_test_listens_to_mix_and_stem_together(tmp_path: Path) -> None:
    beats = BeatF1Monitor(Energetic(), segment_seconds=SEGMENT_SECONDS)
    assert list(beats.charts) == ["beat_f1", "beat_f1_truth"]
    # loud enough for a tracker that only hears what is loud
    run_test(tmp_path, [beats], Player(gain=20.0))
    rows = beats.results
    for row, name in ((MODEL, "beat_f1_together"), (MODEL, "beat_f1_together_truth"), ("silence", "beat_f1_together")):
        assert rows[row][name].count > 0, (row, name)
    # with nothing added, the mix still has the mix's beats
    assert rows["silence"]["beat_f1_together"].value == 1.0
    name = "beat_f1_together_truth/Percussive"
    assert rows[MODEL][name].value > 0.8 > rows["silence"][name].value
    assert "beat_f1_together" in json.loads((tmp_path / "results.json").read_text())["trained"]


@pytest.mark.filterwarnings("ignore")
def test_a_validation_is_cheap_and_does_without(tmp_path: Path) -> None:
    tracker = Energetic()
    beats = BeatF1Monitor(tracker, segment_seconds=SEGMENT_SECONDS)
    torch.manual_seed(0)
    trainer = lightning.Trainer(
        default_root_dir=tmp_path, callbacks=[beats], logger=False, accelerator="cpu", enable_progress_bar=False
    )
    logged = trainer.validate(Player(), loader(items=4), verbose=False)[0]
    assert "val/beat_f1" in logged
    assert not any("together" in name for name in logged)
