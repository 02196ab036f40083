"""Training audio of the codec: cached once, reproducible crops, clear errors."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slakh_tree import RATE_HZ, tone, write_tree

from datamodules.audio import read_audio
from datamodules.stem_audio import CACHE_GAIN, StemAudioDataModule, StemCrops, panning
from livejam.errors import UserError
from livejam.spec import CodecSpec


@pytest.fixture(scope="module")
def data(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> StemAudioDataModule:
    module = StemAudioDataModule(
        str(rendered_songs), str(tmp_path_factory.mktemp("cache")), crop_samples=8192, batch_size=4, workers=1
    )
    module.prepare_data()
    module.setup("fit")
    return module


def test_cache_holds_the_resampled_stems(data: StemAudioDataModule, rendered_songs: Path) -> None:
    song = next((rendered_songs / "train").glob("Track*"))
    cached = np.load(next(data.cache.glob("**/train/*.npy")), mmap_mode="r")
    for index, path in enumerate(sorted((song / "stems").iterdir())):
        true = read_audio(path, 22050, 1)
        held = cached[index, :, : true.shape[1]] / (32767 * CACHE_GAIN)
        assert float(np.abs(held - true).max()) < 1e-4


def test_cache_is_built_once(data: StemAudioDataModule) -> None:
    before = {path: path.stat().st_mtime_ns for path in data.cache.glob("**/*.npy")}
    data.prepare_data()
    assert before == {path: path.stat().st_mtime_ns for path in data.cache.glob("**/*.npy")}
    assert len(before) == 2


def test_batches_have_the_shape_and_never_clip(data: StemAudioDataModule) -> None:
    for batch in itertools.islice(data.train_dataloader(), 6):
        assert batch.shape == (4, 1, 8192)
        assert float(batch.abs().max()) <= 1 + 1e-5


def test_crops_follow_the_seed_and_epochs_differ(data: StemAudioDataModule) -> None:
    songs = data.train_crops.songs

    def first(seed: int, epochs: int) -> torch.Tensor:
        crops = StemCrops(songs, 4096, 0.5, -6, 4, 0.0, seed)
        for _ in range(epochs):
            taken = torch.stack(list(itertools.islice(crops, 6)))
        return taken

    assert torch.equal(first(1, 1), first(1, 1))
    assert not torch.equal(first(1, 1), first(2, 1))
    assert not torch.equal(first(1, 1), first(1, 2))


@pytest.mark.parametrize("skip", [0, 1, 5])
def test_a_resumed_pass_goes_on_with_the_next_crop(data: StemAudioDataModule, skip: int) -> None:
    crops = StemCrops(data.train_crops.songs, 4096, 0.5, -6, 4, 0.0, 3)
    _, whole = (list(itertools.islice(crops, 8)) for _ in range(2))
    crops.start_at(epoch=1, crops=skip)
    for ours, theirs in zip(crops, whole[skip:], strict=False):
        assert torch.equal(ours, theirs)
    assert not torch.equal(next(iter(crops)), whole[0])


@settings(max_examples=20, deadline=None)
@given(positions=st.lists(st.floats(-1, 1), min_size=1, max_size=4))
def test_panning_keeps_the_power_and_moves_to_its_side(positions: list[float]) -> None:
    gains = panning(np.array(positions))
    assert np.allclose((gains**2).sum(1), 2, atol=1e-5)
    for position, (left, right) in zip(positions, gains[..., 0], strict=True):
        assert (right > left) == (position > 0) or abs(right - left) < 1e-5
    assert np.allclose(panning(np.zeros(1)), 1)


def test_mono_stems_get_a_side_only_by_panning(rendered_songs: Path, tmp_path: Path) -> None:
    def side(largest_pan: float) -> float:
        module = StemAudioDataModule(
            str(rendered_songs), str(tmp_path), 22050, 2, 8192, largest_pan=largest_pan, validation_crops=8, workers=1
        )
        module.prepare_data()
        module.setup("fit")
        crops = torch.cat(module.held_out_crops.batches)
        return float((crops[:, 0] - crops[:, 1]).square().sum() / crops.square().sum())

    assert side(0.0) < 1e-6
    assert side(0.7) > 0.01
    with pytest.raises(UserError, match="largest_pan"):
        StemAudioDataModule("x", "y", largest_pan=0.5)


def test_held_out_crops_are_fixed(data: StemAudioDataModule) -> None:
    first, second = ([*data.val_dataloader()] for _ in range(2))
    assert all(torch.equal(a.audio_BAN, b.audio_BAN) for a, b in zip(first, second, strict=True))


def test_processes_hear_different_crops(data: StemAudioDataModule) -> None:
    def crop(rank: int) -> torch.Tensor:
        return next(iter(StemCrops(data.train_crops.songs, 4096, 0.5, -6, 4, 0.0, 3, rank)))

    assert not any(torch.equal(crop(a), crop(b)) for a, b in ((0, 1), (1, 2)))


def test_errors_name_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="livejam data render"):
        StemAudioDataModule(str(tmp_path), str(tmp_path / "cache")).prepare_data()
    with pytest.raises(UserError, match="shorter crops"):
        StemCrops([np.zeros((1, 1, 10), np.int16)], 20, 0.5, -6, 4, 0.0, 0)


def opened(root: Path, cache: Path) -> list[np.ndarray]:
    module = StemAudioDataModule(str(root), str(cache), RATE_HZ, crop_samples=4096, validation_crops=1, workers=1)
    module.prepare_data()
    return module._open("train")


def test_a_data_set_of_the_same_song_names_gets_its_own_audio(tmp_path: Path) -> None:
    one, other = write_tree(tmp_path / "one", train=1), write_tree(tmp_path / "other", train=1)
    stem = other / "train/Track00001/stems/S00.flac"
    soundfile.write(stem, np.zeros(len(tone(0, 0))), RATE_HZ, subtype="PCM_16")
    first, second = (opened(root, tmp_path / "cache")[0] for root in (one, other))
    assert np.abs(first[0]).max() > 1000
    assert not np.abs(second[0]).max()


def test_a_stem_that_is_replaced_is_noticed_whatever_its_size(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=1)
    stem = (root / "train/Track00001/stems/S00.flac").with_suffix(".wav")
    for samples in (tone(0, 0), -tone(0, 0)):
        soundfile.write(stem, samples, RATE_HZ, subtype="PCM_16")
        stem.with_suffix(".flac").unlink(missing_ok=True)
        cached = opened(root, tmp_path / "cache")[0][0, 0]
        assert cached / (32767 * CACHE_GAIN) == pytest.approx(samples, abs=1e-3)


def test_a_truncated_stem_is_refused_with_the_line_that_lists_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_tree(tmp_path / "songs", train=2)
    stem = root / "train/Track00001/stems/S01.flac"
    stem.write_bytes(stem.read_bytes()[: stem.stat().st_size // 2])
    songs = opened(root, tmp_path / "cache")
    assert [len(song) for song in songs] == [3, 4]
    (said,) = [record.message for record in caplog.records]
    assert said.startswith(f"{root}: left out are 1 stems or songs that cannot be used: `livejam data index {root}")


def test_damage_that_decoding_finds_is_said_at_every_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_tree(tmp_path / "songs", train=1)
    stem = root / "train/Track00001/stems/S01.wav"
    soundfile.write(stem, np.full(RATE_HZ, np.nan), RATE_HZ, subtype="FLOAT")
    stem.with_suffix(".flac").unlink()
    for _ in range(2):
        caplog.clear()
        assert len(opened(root, tmp_path / "cache")[0]) == 3
        assert "left out are 1 stems" in caplog.records[-1].message
        assert f"`livejam data index {root} --seconds 0.51 --deep` lists them" in caplog.records[-1].message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sample_rate_hz": 44100}, "data.sample_rate_hz is 44100, but codec pocket hears 22050"),
        ({"audio_channels": 2}, "data.audio_channels is 2, but codec pocket hears 1"),
        ({"crop_samples": 32768 + 1}, "a multiple of the codec's 2048"),
        ({}, ""),
    ],
)
def test_crops_are_what_the_codec_hears(options: dict[str, int], says: str) -> None:
    data = StemAudioDataModule("songs", "cache", **options)
    with pytest.raises(UserError, match=says) if says else contextlib.nullcontext():
        data.require_fit(CodecSpec("pocket", 22050, 1, 2048, 96, 0))
