"""Beats beside a bank's latents: where every frame of a crop lies between them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slakh_tree import FrameCodec, write_tree

from datamodules import Slakh2100DataModule
from datamodules.annotations import read_annotations
from datamodules.bank_beats import beats_until
from datamodules.run_sampler import BatchKey
from livejam.batch import Annotations
from livejam.errors import UserError

FRAMES = 12


def module(root: Path, beats: bool = True, mode: str = "bank") -> Slakh2100DataModule:
    data = Slakh2100DataModule(
        str(root),
        FrameCodec(),
        mode,
        crop_frames=FRAMES,
        batch_size=5,
        min_active_ratio=0.1,
        bank_workers=0,
        beats=beats,
    )
    data.prepare_data()
    data.setup("fit")
    return data


def test_batches_hold_the_beats_of_their_frames_and_are_the_same_otherwise(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    data, plain = module(root), module(root, beats=False)
    folders = {song.name: root / song.folder for song in data.songs("train")}
    frame_seconds = data.codec.spec.frame_seconds
    for number in range(4):
        batch, other = (each._training[BatchKey(0, number)] for each in (data, plain))
        assert other.beat_BT is None
        assert batch.beat_BT.shape == (5, FRAMES)
        for item, song in enumerate(batch.song):
            known = np.asarray(read_annotations(folders[song]).beats_seconds)
            for frame, beat in enumerate(batch.beat_BT[item].tolist()):
                middle = batch.start_seconds[item] + (frame + 0.5) * frame_seconds
                if middle > known[-1]:
                    assert np.isnan(beat)
                else:
                    assert known[int(beat)] + (beat % 1) * 0.5 == pytest.approx(middle, abs=1e-4)
        assert torch.equal(batch.mix, other.mix)
        assert torch.equal(batch.target, other.target)
        assert replace(batch, beat_BT=None).song == other.song


@given(
    st.lists(st.floats(0, 100, width=32), max_size=6, unique=True).map(sorted),
    st.lists(st.floats(-5, 105, width=32), min_size=1, max_size=9).map(sorted),
)
def test_beats_rise_with_time_and_are_known_between_beats_alone(beats: list[float], times: list[float]) -> None:
    found = beats_until(np.array(times), Annotations(tuple(beats), ()))
    known = np.isfinite(found)
    inside = [len(beats) > 1 and beats[0] <= time <= beats[-1] for time in times]
    assert known.tolist() == inside
    assert (np.diff(found[known]) >= 0).all()
    whole = beats_until(np.array(beats), Annotations(tuple(beats), ()))
    assert len(beats) < 2 or whole.tolist() == list(range(len(beats)))


def test_no_file_stays_open(tmp_path: Path) -> None:
    """There are more songs than many systems let a process have files open."""
    data = module(write_tree(tmp_path / "songs", train=3))
    assert not data._training.bank._songs
    names = data._training.bank.manifest.names
    assert [data._training.bank.annotations(song) for song in range(3)] == [
        data._training.bank[song].annotations for song in range(3)
    ], names


def test_songs_without_beats(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    paths = sorted(root.glob("train/*/annotations.json"))
    for path in paths[1:]:
        path.unlink()
    batches = module(root)._training
    heard = [batches[BatchKey(0, number)] for number in range(4)]
    rows = [pair for batch in heard for pair in zip(batch.song, batch.beat_BT, strict=True)]
    assert len({song for song, _ in rows}) == 3
    assert {song for song, beat_T in rows if beat_T.isfinite().any()} == {paths[0].parent.name}


def test_without_any_beats_and_without_a_bank_it_is_refused(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "songs", train=3)
    with pytest.raises(UserError, match=r"leave data.beats out, or set data.mode to bank"):
        module(root, mode="audio")
    for path in root.glob("train/*/annotations.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"the beats of no song in .* are known; leave data.beats out"):
        module(root)
