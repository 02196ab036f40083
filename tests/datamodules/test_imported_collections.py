"""Every published layout is imported by the command, and a shipped config trains on what came of it."""

from pathlib import Path

import pytest
import stem_collections

from livejam.cli.main import main

LAYOUTS = {
    "musdb18": stem_collections.musdb18hq,
    "moisesdb": stem_collections.moisesdb,
    "medleydb": stem_collections.medleydb,
    "babyslakh": stem_collections.babyslakh,
    "folders": stem_collections.folders,
}
SONG_SECONDS = 9.0
"""Longer than a crop of the quickstart, which has 76 frames of 93 ms."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_quickstart_trains_on_an_import(layout, tmp_path: Path, monkeypatch, lightning_command, capfd) -> None:
    monkeypatch.setattr(stem_collections, "SECONDS", SONG_SECONDS)
    source, out = LAYOUTS[layout](tmp_path / "source"), tmp_path / "out"
    assert main(["data", "import", str(source), "--layout", layout, "--out", str(out), "--test", "0.25"]) == 0
    data = ("--data.init_args.root", out, "--data.init_args.render_if_missing", "null")
    few = ("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "0")
    status, said = lightning_command(
        "fit", "--config", "quickstart", *data, *few, "--data.init_args.targets", "[Percussive, Bass, Piano, Organ]",
        "--trainer.default_root_dir", tmp_path / "run",
    )  # fmt: skip
    assert status == 0, said
    assert (tmp_path / "run/checkpoints/last.ckpt").stat().st_size > 1e6
    assert list(out.glob(".livejam/banks/*/songs/*.safetensors"))
