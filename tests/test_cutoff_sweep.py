"""A model at every cutoff that it was trained for, in one table."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_band import band_checkpoint, lmdm_checkpoint

from benchmarks.cutoff_sweep import (
    Curve,
    Items,
    Playing,
    data_of,
    draw,
    folder_of,
    measured,
    model_of,
    one_table,
    sweep,
)
from callbacks.harmony_monitor import HarmonyMonitor
from livejam.errors import UserError
from metrics.results import Table, read_table


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
    found = Curve("this model", model.seconds_of_rows, Table(rows))
    seconds, values, intervals = found.points("loudness_db")
    assert seconds == pytest.approx([-3 / 10.77, 0, 3 / 10.77], abs=1e-3)
    assert len(set(values)) == 3, "another cutoff plays something else"
    assert len(intervals) == 3
    draw([found], tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")

    monkeypatch.setattr("benchmarks.cutoff_sweep.Trainer", lambda **_: pytest.fail("measured again"))
    assert sweep(model, items, tmp_path / "sweep") == rows


def test_seeds_are_one_row_and_models_have_their_names(
    rendered_songs: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(rendered_songs, tmp_path / "songs")
    judge = HarmonyMonitor(segment_seconds=2.0)
    monkeypatch.setattr("benchmarks.cutoff_sweep.monitors", lambda: [judge])
    saved = torch.load(checkpoint, weights_only=True)
    weights = {name: 1.2 * w if "generator" in name else w for name, w in saved["state_dict"].items()}
    other = tmp_path / "other.ckpt"
    torch.save({**saved, "state_dict": weights}, other)
    models, items = [model_of(str(checkpoint)), model_of(str(other))], Items(str(root), 2, 4.0)
    both = measured("seeds", models, items, tmp_path / "sweep")
    row = models[0].row(0)
    each = [
        read_table(folder_of(m, items, tmp_path / "sweep") / "results.json").rows[row]["loudness_db"]["value"]
        for m in models
    ]
    assert each[0] != each[1]
    assert both.table.rows[row]["loudness_db"]["value"] == pytest.approx(sum(each) / 2)
    assert {f"seeds, {row}", "ground_truth"} <= set(one_table([both]))
    few = model_of(str(lmdm_checkpoint(tmp_path / "few.ckpt", cutoff_blocks=(0,))))
    with pytest.raises(UserError, match="different cutoffs; give each a --model"):
        measured("mixed", [models[0], few], items, tmp_path / "sweep")


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


def test_some_of_the_cutoffs_that_it_was_trained_with(checkpoint: Path) -> None:
    assert model_of(str(checkpoint), cutoff_blocks=[1, 0]).cutoff_blocks == (0, 1)
    with pytest.raises(UserError, match=r"cutoff_blocks \[-1, 0, 1\], not \[-2\]; choose of those"):
        model_of(str(checkpoint), cutoff_blocks=[-2])


def test_a_bundled_model_is_swept_by_its_name() -> None:
    model = model_of("lmdm-pocket", steps=2)
    assert model.cutoff_blocks == (0,)
    assert model.accompanist.sampler.steps == 2
