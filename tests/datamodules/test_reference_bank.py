"""References beside a bank's latents: other excerpts of the targets' stems than their crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from slakh_tree import FrameCodec, write_tree
from torch import Tensor

from datamodules import Slakh2100DataModule
from datamodules.audio import read_audio
from datamodules.reference_bank import NOWHERE
from datamodules.run_sampler import BatchKey
from livejam.embedding import Embedding
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis

FRAMES = 12


class Spectrum(Embedding):
    """The shape of a spectrum, at any rate."""

    name = "spectrum"
    identity = "spectrum 16"
    dimension = 16

    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        power = torch.fft.rfft(audio_N).abs()
        return power[: len(power) // 16 * 16].view(16, -1).sum(dim=1)[None] / 100


ANALYSIS = ReferenceAnalysis(Spectrum(), excerpt_seconds=0.25, excerpts=5)


def module(root: Path, reference: ReferenceAnalysis | None = ANALYSIS, workers: int = 0) -> Slakh2100DataModule:
    data = Slakh2100DataModule(
        str(root),
        FrameCodec(),
        crop_frames=FRAMES,
        batch_size=5,
        min_active_ratio=0.1,
        bank_workers=workers,
        reference=reference,
    )
    data.prepare_data()
    data.setup("fit")
    return data


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_means_of_other_excerpts_of_their_stems(tmp_path: Path, workers: int) -> None:
    data = module(write_tree(tmp_path / "songs", train=3), workers=workers)
    batches, rate = data._training, data.codec.spec.sample_rate_hz
    songs = {song.name: song for song in data.songs("train")}
    length = ANALYSIS.excerpt_samples(rate)
    for number in range(4):
        batch = batches[BatchKey(0, number)]
        for row, name in enumerate(batch.song):
            first = round(batch.start_seconds[row] * rate)
            matches = []
            for stem in (stem for stem in songs[name].stems if stem.category == batch.instrument_B[row]):
                audio_N = torch.from_numpy(read_audio(data.root / songs[name].folder / stem.file, rate, 1)[0])
                starts = [s for s in ANALYSIS.starts(audio_N, rate)]
                free = [s for s in starts if s + length <= first or s >= first + FRAMES * data.codec.spec.hop_samples]
                pool = torch.stack([ANALYSIS.embedded(audio_N, rate, start) for start in free])
                masks = [[int(b) for b in f"{m:0{len(free)}b}"] for m in range(1, 2 ** len(free))]
                means = [(pool * torch.tensor(m)[:, None]).sum(0) / sum(m) for m in masks]
                matches.append(min(float((mean - batch.reference_BE[row]).abs().max()) for mean in means))
            assert min(matches) < 1e-2


def test_an_excerpt_never_overlaps_its_crop(tmp_path: Path) -> None:
    data = module(write_tree(tmp_path / "songs", train=3))
    bank, hop = data._training.references, data.codec.spec.hop_samples
    rng = np.random.default_rng(0)
    rows = np.arange(len(bank._starts_RX))
    seen = 0
    for _ in range(50):
        start_B = rng.integers(0, 60, len(rows))
        allowed_BX = bank.others(rows, start_B, FRAMES)
        begin_BX, end_BX = bank._starts_RX[rows], bank._starts_RX[rows] + bank._length
        overlaps_BX = (end_BX > start_B[:, None] * hop) & (begin_BX < (start_B[:, None] + FRAMES) * hop)
        assert not (allowed_BX & overlaps_BX).any()
        assert ((allowed_BX | overlaps_BX) == (begin_BX != NOWHERE)).all()
        seen += allowed_BX.any(axis=1).all()
    assert seen, "long stems have another excerpt"
    drawn = bank.draw(np.zeros(1, int), np.zeros(1, int), np.zeros(1, int), 10**6, rng)
    assert not drawn.any(), "no other excerpt, no reference"


def test_the_same_items_with_references_and_without(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    plain, data = module(root, None), module(root)
    assert plain.reference_statistics is None
    one, other = (each._training[BatchKey(0, 3)] for each in (plain, data))
    assert one.reference_BE is None
    assert torch.equal(one.target, other.target)
    assert torch.equal(data._training[BatchKey(0, 3)].reference_BE, other.reference_BE), "drawn by the key"
    assert torch.equal(other.roll(2).reference_BE, other.reference_BE.roll(2, dims=0))
    mean_E, deviation_E = data.reference_statistics
    assert mean_E.shape == deviation_E.shape == (16,)
    assert (deviation_E > 0).all()


def test_what_was_made_otherwise_is_refused_and_made_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=2)
    data = module(root)
    folder = data.bank_root / "references"
    good = {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}
    first = min(folder.glob("*.safetensors"))
    first.write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"{first.name} holds no references.*next start"):
        data._bank_batches()
    module(root)
    assert {path.name: path.read_bytes() for path in folder.glob("*.safetensors")} == good
    other = ReferenceAnalysis(Spectrum(), excerpt_seconds=0.25, excerpts=3)
    module(root, other)
    with pytest.raises(UserError, match="another way"):
        data._bank_batches()
