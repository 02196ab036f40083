"""Two processes measure what one measures, also when one of them has nothing to measure."""

from __future__ import annotations

import json
from pathlib import Path

import lightning
import pytest
import torch
from playing_recipe import SEGMENT_SECONDS, Energetic, Player, loader

from callbacks.apa_monitor import APAMonitor
from callbacks.audio_logger import AudioLogger
from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.fad_monitor import FADMonitor
from callbacks.harmony_monitor import HarmonyMonitor
from callbacks.kad_monitor import KADMonitor
from callbacks.results_table import ResultsTable
from metrics.cells import Rows
from metrics.embeddings import LogMel
from metrics.frechet_reference import FrechetReference


class FewBands(LogMel):
    """Another embedding with a name of its own."""

    name = "few_bands"


def results(root: Path, devices: int) -> Rows:
    torch.set_num_threads(1)
    callbacks: list[lightning.Callback] = [
        # With two processes the sampler deals drums to the first and bass to the second, which has no item here.
        BeatF1Monitor(Energetic(), categories=["Percussive"], segment_seconds=SEGMENT_SECONDS),
        FADMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS),
        FADMonitor(
            FewBands(bands=2, window_seconds=0.5),
            save_reference=str(root / "reference.safetensors"),
            max_test_items=3,
            segment_seconds=SEGMENT_SECONDS,
        ),
        KADMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS),
        APAMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS),
        # The first three of the run, of which each process has some.
        HarmonyMonitor(max_test_items=3, segment_seconds=SEGMENT_SECONDS),
        AudioLogger(max_test_items=1),
        ResultsTable(),
    ]
    trainer = lightning.Trainer(
        default_root_dir=root,
        callbacks=callbacks,
        logger=False,
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(Player(noise=0.01), loader(items=10, batch_size=10 // devices), verbose=False)
    return json.loads((root / "results.json").read_text())


@pytest.mark.filterwarnings("ignore")
def test_two_processes_equal_one(tmp_path: Path) -> None:
    one, two = results(tmp_path / "one", 1), results(tmp_path / "two", 2)
    assert list(one) == list(two)
    assert one.pop("measured_on") == two.pop("measured_on")
    for row in one:
        assert set(one[row]) == set(two[row])
        for column, cell in one[row].items():
            assert two[row][column]["count"] == cell["count"]
            assert two[row][column]["drift_count"] == cell["drift_count"]
            if row != "trained":  # The made-up player draws its noise per batch, and batches differ.
                for name in ("value", "drift", "interval", "drift_interval"):
                    expected = cell[name] if cell[name] is None else pytest.approx(cell[name], rel=1e-9, abs=1e-9)
                    assert two[row][column][name] == expected, (row, column)
    assert two["ground_truth"]["beat_f1_drums"]["interval"] is not None
    assert all(two["silence"][column]["interval"] is not None for column in ("kad_log_mel", "apa_log_mel"))
    assert two["ground_truth"]["apa_log_mel"]["value"] > two["random_pairing"]["apa_log_mel"]["value"]
    references = [FrechetReference.load(tmp_path / run / "reference.safetensors") for run in ("one", "two")]
    references[0].require_same(references[1])
    assert two["random_pairing"]["loudness_db"]["count"] == 3
