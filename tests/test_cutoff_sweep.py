"""A model at every cutoff that it was trained for, in one table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_band import band_checkpoint, lmdm_checkpoint

from benchmarks.cutoff_sweep import Items, Playing, curve, data_of, draw, folder_of, model_of, sweep
from callbacks.harmony_monitor import HarmonyMonitor
from livejam.errors import UserError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lmdm_checkpoint(tmp_path_factory.mktemp("models") / "lmdm.ckpt", cutoff_blocks=(0, 1, -1))


def test_every_trained_cutoff_is_a_row_that_is_measured_once(
    rendered_songs: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(rendered_songs, tmp_path / "songs")
    model, items = model_of(str(checkpoint)), Items(str(root), 2, 4.0)
    rows = sweep(model, items, tmp_path / "sweep", [HarmonyMonitor(segment_seconds=2.0)])
    names = ["t_f -0.28 s", "t_f +0.00 s", "t_f +0.28 s"]
    assert {*names, *(f"{name}: lag copy" for name in names), "ground_truth", "random_pairing"} <= set(rows)
    seconds, values, intervals = curve(model, rows, "loudness_db")
    assert seconds == pytest.approx([-3 / 10.77, 0, 3 / 10.77], abs=1e-3)
    assert len(set(values)) == 3, "another cutoff plays something else"
    assert len(intervals) == 3
    draw(model, rows, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr("benchmarks.cutoff_sweep.Trainer", lambda **_: pytest.fail("measured again"))
    assert sweep(model, items, tmp_path / "sweep") == rows


def test_it_plays_what_its_accompanist_plays(rendered_songs: Path, checkpoint: Path, tmp_path: Path) -> None:
    """At its own cutoff, the row is the one of the checkpoint as it is; fewer steps or no guidance sound otherwise."""
    root = shutil.copytree(rendered_songs, tmp_path / "songs")
    path = str(checkpoint)
    model = model_of(path)
    data = data_of(model, Items(str(root), 1, 2.0))
    data.setup("test")
    batch = next(iter(data.test_dataloader()))
    with torch.inference_mode():
        made = [
            Playing(other.player, other.accompanist.with_cutoff(0)).test_step(batch, 0).generated_BAN
            for other in (
                model,
                model_of(path),
                model_of(path, 1),
                model_of(path, 2, 1.0),
            )
        ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert not torch.equal(made[0], made[3])


def test_other_models_items_and_samplers_have_folders_of_their_own(checkpoint: Path, tmp_path: Path) -> None:
    model, items = model_of(str(checkpoint)), Items(None, 2, 4.0)
    folders = {
        folder_of(model, items, tmp_path),
        folder_of(model_of(str(checkpoint), steps=1), items, tmp_path),
        folder_of(model_of(str(checkpoint), guidance=1.0), items, tmp_path),
        folder_of(model, Items(None, 3, 4.0), tmp_path),
        folder_of(model_of(str(lmdm_checkpoint(tmp_path / "other.ckpt", (0,)))), items, tmp_path),
    }
    assert len(folders) == 5
    assert folder_of(model_of(str(checkpoint)), items, tmp_path) in folders


def test_what_has_no_cutoff_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no cutoff; name a checkpoint of FlowMatching"):
        model_of(str(band_checkpoint(tmp_path / "liveband.ckpt")))


def test_a_bundled_model_is_swept_by_its_name() -> None:
    model = model_of("lmdm-pocket", steps=2)
    assert model.cutoff_blocks == (0,)
    assert model.accompanist.sampler.steps == 2
