"""Curves beside a bank's latents: those of the targets, made once, and refused when they are others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from slakh_tree import FrameCodec, write_tree

from datamodules import Slakh2100DataModule
from datamodules.audio import fit_length, read_audio
from datamodules.latent_bank import song_path
from datamodules.run_sampler import BatchKey
from datamodules.sketch_bank import SketchFacts
from livejam.errors import UserError
from livejam.sketch import SketchAnalysis

ANALYSIS = SketchAnalysis(windows=4, window_seconds=0.02)
FRAMES = 12


def module(root: Path, sketch: SketchAnalysis | None = ANALYSIS, workers: int = 0) -> Slakh2100DataModule:
    data = Slakh2100DataModule(
        str(root),
        FrameCodec(),
        crop_frames=FRAMES,
        batch_size=5,
        min_active_ratio=0.1,
        bank_workers=workers,
        sketch=sketch,
    )
    data.prepare_data()
    data.setup("fit")
    return data


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_batches_hold_the_curves_of_their_targets(tmp_path: Path) -> None:
    data = module(write_tree(tmp_path / "songs", train=3))
    batches, spec = data._training, data.codec.spec
    songs = {song.name: song for song in data.songs("train")}
    for number in range(4):
        batch = batches[BatchKey(0, number)]
        assert batch.sketch_BTP is not None
        assert batch.sketch_BTP.shape == (5, FRAMES, 10)
        for row, name in enumerate(batch.song):
            stems = [stem for stem in songs[name].stems if stem.category == batch.instrument_B[row]]
            start, found = round(batch.start_seconds[row] / spec.frame_seconds), []
            for stem in stems:
                audio_AN = read_audio(data.root / songs[name].folder / stem.file, spec.sample_rate_hz, 1)
                whole_AN = fit_length(audio_AN, -(-audio_AN.shape[1] // spec.hop_samples) * spec.hop_samples)
                found.append(ANALYSIS.at(spec)(torch.from_numpy(whole_AN)[None])[0, start : start + FRAMES])
            assert any(torch.equal(one.half(), batch.sketch_BTP[row]) for one in found)


def test_a_bank_that_exists_gets_its_curves_and_stays_as_it_is(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    plain = module(root, sketch=None)
    before = contents(plain.bank_root / "songs")
    assert not (plain.bank_root / "sketches").exists()
    assert plain._training[BatchKey(0, 0)].sketch_BTP is None
    data = module(root)
    assert data.bank_root == plain.bank_root
    assert contents(data.bank_root / "songs") == before
    one, other = (each._training[BatchKey(0, 3)] for each in (plain, data))
    assert torch.equal(one.target, other.target), "the same items"
    made = {path: path.stat().st_mtime_ns for path in (data.bank_root / "sketches").iterdir()}
    assert len(made) == 3
    module(root)
    assert {path: path.stat().st_mtime_ns for path in made} == made, "once"


def test_what_is_damaged_or_made_otherwise_is_made_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    data = module(root)
    folder = data.bank_root / "sketches"
    good = contents(folder)
    first, second, third = sorted(folder.glob("*.safetensors"))
    first.write_bytes(b"damaged")
    second.unlink()
    third.write_bytes(song_path(data.bank_root, third.stem).read_bytes())
    with pytest.raises(UserError, match=f"{first.name}.*next start"):
        data._bank_batches()
    module(root, workers=2)
    assert contents(folder) == good
    other = module(root, SketchAnalysis(windows=4, window_seconds=0.02, kept_notes=2))
    assert other._training[BatchKey(0, 0)].sketch_BTP.shape == (5, FRAMES, 6)
    with pytest.raises(UserError, match="another way"):
        data._bank_batches()


def test_batches_carry_their_curves_along(tmp_path: Path) -> None:
    batch = module(write_tree(tmp_path / "songs", train=2))._training[BatchKey(0, 0)]
    assert torch.equal(batch.roll(2).sketch_BTP, batch.sketch_BTP.roll(2, dims=0))
    assert batch.to("cpu").sketch_BTP is not None
    assert SketchFacts(ANALYSIS).path(Path("bank"), "Track1") == Path("bank/sketches/Track1.safetensors")
    assert np.isfinite(batch.sketch_BTP.float().numpy()).all()
