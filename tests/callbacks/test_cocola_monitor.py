"""The COCOLA monitor measures what the score says, remembers what it has heard, and keeps its anchors."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from playing_recipe import SAMPLE_RATE_HZ, SEGMENT_SECONDS, Player, loader

from callbacks.cocola_monitor import COCOLAMonitor
from livejam.errors import UserError
from metrics.anchor_rows import ANCHORS
from metrics.cocola import PARTS, Cocola, PocketEncoder
from metrics.cocola_score import cocola_score
from metrics.cocola_weights import save_cocola
from metrics.evaluation import cocola_measure
from metrics.evaluation.evaluate import MODEL

TAGS = [f"cocola/{part}" for part in PARTS]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(3)
    path = tmp_path / "small.safetensors"
    save_cocola(Cocola(PocketEncoder(dimension=16, channels=8, curves=8, harmonics=10), 16), path, {})
    return str(path)


def trainer(root: Path, monitor: COCOLAMonitor) -> lightning.Trainer:
    return lightning.Trainer(
        default_root_dir=root,
        callbacks=[monitor],
        logger=False,
        max_epochs=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )


def test_test_measures_every_row(tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []
    embeddings = cocola_measure.embeddings
    monkeypatch.setattr(cocola_measure, "embeddings", lambda *args: heard.append(1) or embeddings(*args))
    monitor = COCOLAMonitor(weights, segment_seconds=SEGMENT_SECONDS)
    trainer(tmp_path, monitor).test(Player(gain=0.5), loader(4), verbose=False)
    for row in (MODEL, *ANCHORS):
        for tag in TAGS:
            assert monitor.results[row][tag].count == 4
            assert {f"{tag}/Percussive", f"{tag}/Bass"} <= {t for t, r in monitor.results[row].items() if r.count}
    # a score hears no loudness: half as loud is the truth itself
    for tag in TAGS:
        assert monitor.results[MODEL][tag].value == pytest.approx(monitor.results["ground_truth"][tag].value, abs=0.1)
        assert monitor.results["silence"][tag].value != monitor.results["ground_truth"][tag].value
    # model, mix, truth, codec, noise and silence; a random pairing deals out the true stems once more
    assert len(heard) < 4 * 2 * (2 + len(ANCHORS))

    heard.clear()
    again = COCOLAMonitor(weights, segment_seconds=SEGMENT_SECONDS)
    trainer(tmp_path, again).test(Player(gain=0.5), loader(4), verbose=False)
    assert all(again.results[MODEL][tag] == monitor.results[MODEL][tag] for tag in TAGS)
    assert len(heard) <= 4 * 2 * 2  # anchors come from disk: the model and the mix are left


def test_value_is_the_mean_score(tmp_path: Path, weights: str) -> None:
    monitor = COCOLAMonitor(weights, segment_seconds=SEGMENT_SECONDS)
    trainer(tmp_path, monitor).test(Player(gain=1.0), loader(2), verbose=False)
    (batch,) = loader(2)
    length = round(SEGMENT_SECONDS * SAMPLE_RATE_HZ)
    scores = [
        cocola_score(monitor.measure.cocola, mix_AN[0, :length], stem_AN[0, :length], SAMPLE_RATE_HZ)
        for mix_AN, stem_AN in zip(batch.mix, batch.target, strict=True)
    ]
    for part in PARTS:
        expected = sum(score[part] for score in scores) / len(scores)
        assert monitor.results["ground_truth"][f"cocola/{part}"].value == pytest.approx(expected, abs=1e-4)


def test_validation_logs_curves(tmp_path: Path, weights: str) -> None:
    monitor = COCOLAMonitor(weights, max_items=3, segment_seconds=SEGMENT_SECONDS)
    fit = trainer(tmp_path, monitor)
    fit.fit(Player(), loader(2), loader(4))
    logged = set(fit.callback_metrics)
    for tag in TAGS:
        assert {f"val/{tag}", f"val/{tag}/drift", *(f"anchor/{row}/{tag}" for row in ANCHORS)} <= logged
        assert fit.callback_metrics[f"val/{tag}/count"] == 3


def test_identity_names_the_weights(tmp_path: Path, weights: str) -> None:
    other = tmp_path / "other.safetensors"
    save_cocola(Cocola(PocketEncoder(dimension=16, channels=8, curves=8, harmonics=10), 16), other, {})
    identities = [COCOLAMonitor(file).measure.identity for file in (weights, weights, str(other))]
    assert identities[0] == identities[1] != identities[2]


def test_missing_weights_are_one_sentence() -> None:
    with pytest.raises(UserError, match="nothing"):
        COCOLAMonitor("nothing")
