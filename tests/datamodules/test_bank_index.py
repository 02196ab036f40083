"""What training knows of a bank's songs without opening them, and that its items are those of the songs' own files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slakh_tree import FrameCodec, write_tree

from datamodules.bank_batches import BankBatches
from datamodules.bank_building import BankBuilder
from datamodules.bank_index import INDEX
from datamodules.bank_pairs import has_crop
from datamodules.crops import ActivityRule
from datamodules.latent_bank import BankSettings, song_path
from datamodules.local_bank import LatentBank
from datamodules.run_sampler import BatchKey
from datamodules.slakh_index import SlakhIndex
from livejam.errors import UserError

TARGETS = (0, 4, 6, 14)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    codec, root = FrameCodec(), write_tree(tmp_path_factory.mktemp("data"), train=4)
    songs = tuple(song for song in SlakhIndex.open(root).songs if song.split_folder == "train")
    settings = BankSettings(codec.spec, codec.latents_hash, "train", 0, 6, TARGETS, -60.0)
    folder = tmp_path_factory.mktemp("bank")
    BankBuilder(folder, root, songs, settings).build(codec, workers=0)
    return folder


def plain_items(bank, categories, crop_frames, batch_size, rule, seed, key):
    """The items of a batch by the rule that every bank was read with: each song opened, every crop tried."""
    choices = []
    for song in (bank[position] for position in range(len(bank))):
        stems, submixes = rule.sounds(song.stem_levels_ST.numpy()), rule.sounds(song.submix_levels_MT.numpy())
        for s in [s for s, stem in enumerate(song.stems) if stem.category in categories]:
            starts = {
                m: rule.starts(stems[s], submixes[m], crop_frames)
                for m in np.flatnonzero(~song.membership_MS[:, s].numpy())
            }
            choices.append((song, s, {m: found for m, found in starts.items() if len(found)}))
    choices = [choice for choice in choices if choice[2]]
    for target, submix, start in np.random.default_rng([seed, *key]).random((batch_size, 3)).tolist():
        song, s, starts = choices[int(target * len(choices))]
        m = list(starts)[int(submix * len(starts))]
        begin = int(starts[m][int(start * len(starts[m]))])
        crop = slice(begin, begin + crop_frames)
        sounds_T = song.stem_levels_ST[s, crop] > rule.threshold_dbfs
        yield song.name, song.submixes_MTC[m, crop].float(), song.stems_STC[s, crop].float(), sounds_T


@pytest.mark.parametrize(
    ("rule", "crop_frames"), [(ActivityRule(), 16), (ActivityRule(-31.3, 1.0), 5), (ActivityRule(-40.05, 0.0), 33)]
)
def test_items_are_those_of_the_songs_files(folder, rule, crop_frames):
    bank = LatentBank(folder)
    batches = BankBatches(bank, (4, 14), crop_frames, 12, rule, seed=3)
    for key in (BatchKey(0, 0), BatchKey(1, 7)):
        batch, plain = batches[key], plain_items(bank, (4, 14), crop_frames, 12, rule, 3, key)
        for i, (name, mix_TC, target_TC, active_T) in enumerate(plain):
            assert batch.song[i] == name
            # the same bytes, converted by the same rule
            assert torch.equal(batch.mix[i], mix_TC)
            assert torch.equal(batch.target[i], target_TC)
            assert torch.equal(batch.active_BT[i], active_T)


def test_a_bank_opens_no_song_and_reads_only_its_crops(folder, monkeypatch):
    monkeypatch.setattr("datamodules.bank_index.read_song", lambda path: pytest.fail(f"opened {path}"))
    monkeypatch.setattr("datamodules.local_bank.read_song", lambda path: pytest.fail(f"opened {path}"))
    BankBatches(LatentBank(folder), TARGETS, 16, 8, ActivityRule(), seed=0)[BatchKey(0, 0)]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense"])
def test_a_bank_without_an_index_opens_and_gives_the_same_items(folder, content, tmp_path):
    """As banks of earlier versions do; and an index of other songs is not used."""
    (tmp_path / "songs").symlink_to(folder / "songs")
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    if content is not None:
        (tmp_path / INDEX).write_bytes(content)
    with_index, without = (
        BankBatches(LatentBank(place), TARGETS, 16, 8, ActivityRule(), seed=0)[BatchKey(0, 3)]
        for place in (folder, tmp_path)
    )
    assert torch.equal(with_index.mix, without.mix)
    assert with_index.prompt == without.prompt


def test_an_index_of_other_songs_is_made_anew(folder, tmp_path):
    codec = FrameCodec()
    root = write_tree(tmp_path / "data", train=3)
    songs = tuple(song for song in SlakhIndex.open(root).songs if song.split_folder == "train")
    build = BankBuilder(tmp_path / "bank", root, songs[:2], LatentBank(folder).manifest.settings)
    build.build(codec, workers=0)
    assert len(BankBatches(LatentBank(build.folder), TARGETS, 16, 8, ActivityRule(), seed=0).index) == 2
    stale = (build.folder / INDEX).read_bytes()
    replace(build, songs=songs).build(codec, workers=0)
    assert (build.folder / INDEX).read_bytes() != stale
    assert len(BankBatches(LatentBank(build.folder), TARGETS, 16, 8, ActivityRule(), seed=0).index) == 3


def test_an_index_that_cannot_be_kept_is_made_at_every_start(folder, tmp_path, caplog):
    (tmp_path / "songs").symlink_to(folder / "songs")
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    (tmp_path / INDEX).mkdir()
    from datamodules.bank_index import keep_index

    keep_index(tmp_path, LatentBank(tmp_path).manifest)
    assert "every start makes it again" in caplog.text


def test_a_song_that_ends_too_early_is_one_sentence(folder, tmp_path):
    bank = LatentBank(folder)
    batches = BankBatches(bank, TARGETS, 16, 64, ActivityRule(), seed=0)
    bank._paths = [str(tmp_path / "short") for _ in bank._paths]
    (tmp_path / "short").write_bytes(song_path(folder, bank.manifest.names[0]).read_bytes()[:1000])
    with pytest.raises(UserError, match="ends too early"):
        _ = batches[BatchKey(0, 0)]


@given(st.integers(0, 2**32), st.integers(1, 90), st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
@settings(max_examples=150, deadline=None)
def test_whether_a_crop_may_be_used_is_what_the_rule_says(seed, frames, crop_frames, ratio):
    rng, rule = np.random.default_rng(seed), ActivityRule(-60.0, ratio)
    both_QT = rng.random((6, frames)) < np.linspace(0.0, 1.0, 6)[:, None]
    both_QT[:, : frames // 3] &= rng.random() < 0.5
    expected = [len(rule.starts(both_T, both_T, crop_frames)) > 0 for both_T in both_QT]
    assert has_crop(np.packbits(both_QT, axis=1), frames, crop_frames, rule).tolist() == expected
