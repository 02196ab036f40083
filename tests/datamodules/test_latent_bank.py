"""The latent bank: what its items contain, how it is built, and what it refuses.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_same_up_to_rounding
from slakh_tree import HOP, RATE_HZ, FrameCodec, tone, tone_hz, write_metadata, write_song, write_tree

from datamodules import bank_building, latent_bank
from datamodules.bank_batches import BankBatches
from datamodules.bank_building import BankBuilder, encode_song
from datamodules.crops import ActivityRule
from datamodules.latent_bank import BankSettings, song_path
from datamodules.local_bank import LatentBank
from datamodules.run_sampler import BatchKey
from datamodules.slakh_index import SlakhIndex
from datamodules.submixes import FULL_MIXES, draw_submixes
from livejam.errors import UserError

TARGETS = (0, 4, 6, 14)


def bank_settings(codec, **changes):
    values = BankSettings(codec.spec, codec.latents_hash, "train", 0, 6, TARGETS, -60.0)
    return replace(values, **changes)


def builder(tmp_path, codec, name="bank", **changes):
    root = tmp_path / "data"
    if not root.is_dir():
        write_tree(root)
    songs = tuple(song for song in SlakhIndex.open(root).songs if song.split_folder == "train")
    return BankBuilder(tmp_path / name, root, songs, bank_settings(codec, **changes))


def sounding_tones(codec, latents_TC):
    """Which stems' tones an item's latents hold, by the spectrum of the decoded audio."""
    audio_N = codec.decode(latents_TC[None].float())[0, 0]
    spectrum = torch.fft.rfft(audio_N.reshape(-1, HOP)).abs().mean(0) / (HOP / 2)
    return spectrum > 0.05


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=9),
    st.integers(2, 9),
    st.integers(0, 2**31),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_every_target_is_left_out_of_a_sub_mix_that_sounds(active, count, seed, data):
    may_be_target = np.array(data.draw(st.lists(st.booleans(), min_size=len(active), max_size=len(active))))
    sounding = np.array(active) > 0
    for wanted in (count, FULL_MIXES):
        membership = draw_submixes(np.array(active), may_be_target, wanted, np.random.default_rng(seed))
        again = draw_submixes(np.array(active), may_be_target, wanted, np.random.default_rng(seed))
        np.testing.assert_array_equal(membership, again)
        assert (membership & sounding).any(axis=1).all()
        assert not (membership & ~sounding).any()
        assert len(np.unique(membership, axis=0)) == len(membership) <= max(wanted, len(active))
        if sounding.sum() >= 2:
            assert all((~membership[:, s]).any() for s in np.flatnonzero(may_be_target & sounding))


def test_the_most_active_targets_also_hear_everybody_else():
    active, may_be_target = np.array([5, 9, 7, 3, 1]), np.array([True, True, False, True, True])
    membership = draw_submixes(active, may_be_target, 6, np.random.default_rng(0)).tolist()
    for target in (1, 0, 3):
        assert [s != target for s in range(5)] in membership


def test_one_sub_mix_is_too_few():
    with pytest.raises(UserError, match="at least 2"):
        draw_submixes(np.array([1, 1]), np.array([True, True]), 1, np.random.default_rng(0))


def test_items_hold_their_target_alone_and_never_in_the_mix(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    batches = BankBatches(bank, TARGETS, 16, 32, ActivityRule(), seed=1)
    seen = set()
    for number in range(8):
        batch = batches[BatchKey(0, number)]
        for i in range(len(batch)):
            song = int(batch.song[i].removeprefix("Track"))
            stem = TARGETS_OF_STEMS[int(batch.instrument_B[i])]
            bins = [round(tone_hz(song, s) * HOP / RATE_HZ) for s in range(4)]
            in_target, in_mix = (sounding_tones(codec, latents[i])[bins] for latents in (batch.target, batch.mix))
            assert in_target.tolist() == [s == stem for s in range(4)]
            assert not in_mix[stem]
            assert in_mix.any()
            seen.add((stem, tuple(in_mix.tolist())))
    assert {stem for stem, _ in seen} == {0, 1, 2, 3}
    assert len(seen) > 8, "sub-mixes vary"


TARGETS_OF_STEMS = {14: 0, 4: 1, 0: 2, 6: 3}


def test_stems_that_are_no_targets_are_heard_but_not_banked(tmp_path):
    codec = FrameCodec()
    everything = builder(tmp_path, codec).build(codec, workers=0)
    drums = builder(tmp_path, codec, "drums", targets=(14,), submixes_per_song=FULL_MIXES).build(codec, workers=0)
    for song in range(len(drums)):
        banked = drums[song]
        assert [stem.category for stem in banked.stems] == [14]
        assert banked.stems_STC.shape[0] == banked.membership_MS.shape[1] == 1
        whole = everything[song]
        position = [stem.category for stem in whole.stems].index(14)
        # encoded in a batch of another size, so a value may be rounded to float16's neighbour
        assert_same_up_to_rounding(banked.stems_STC[0], whole.stems_STC[position], roundings=1)
        number = int(banked.name.removeprefix("Track"))
        bins = [round(tone_hz(number, s) * HOP / RATE_HZ) for s in range(4)]
        assert sounding_tones(codec, banked.submixes_MTC[0])[bins].tolist() == [False, True, True, True]


def test_latents_are_those_of_the_audio_at_the_item_s_time(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    batch = BankBatches(bank, (14,), 16, 4, ActivityRule(), seed=0)[BatchKey(0, 0)]
    for i in range(4):
        path = tmp_path / "data" / "train" / batch.song[i] / "stems" / "S00.flac"
        start = round(batch.start_seconds[i] * RATE_HZ)
        audio_N = soundfile.read(path, start=start, frames=16 * HOP, dtype="float32")[0]
        expected_TC = codec.encode(torch.from_numpy(audio_N)[None, None])[0]
        torch.testing.assert_close(batch.target[i], expected_TC, atol=2e-3, rtol=2e-3)
        assert batch.target.dtype == torch.float32


def test_crops_sound_and_activity_follows_the_threshold(tmp_path):
    root, codec = tmp_path / "data", FrameCodec()
    half = np.zeros(4 * RATE_HZ, np.float32)
    half[2 * RATE_HZ :] = np.sin(np.arange(2 * RATE_HZ))
    write_song(root / "train" / "Track00001", {"S00": half * 0.5, "S01": half[::-1] * 0.5 + half * 0.1})
    bank = builder(tmp_path, codec).build(codec, workers=0)
    batches = BankBatches(bank, (14,), 20, 16, ActivityRule(min_active_ratio=0.5), seed=0)
    for number in range(4):
        batch = batches[BatchKey(0, number)]
        assert (batch.active_BT.float().mean(1) >= 0.5).all()
        sounds_BT = batch.target.square().sum(-1) / HOP > 10 ** (-60 / 10)
        assert torch.equal(batch.active_BT, sounds_BT)
    with pytest.raises(UserError, match="crop_frames"):
        BankBatches(bank, (14,), 500, 16, ActivityRule(), seed=0)


def test_statistics_are_those_of_all_latents(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    flat = [
        t.float().flatten(0, 1) for song in map(bank.__getitem__, range(3)) for t in (song.stems_STC, song.submixes_MTC)
    ]
    all_frames = torch.cat(flat)
    torch.testing.assert_close(bank.manifest.statistics.mean_C, all_frames.mean(0), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(bank.manifest.statistics.std_C, all_frames.std(0, correction=0), atol=1e-4, rtol=1e-3)
    counts = bank.manifest.counts
    assert (counts["songs"], counts["stems"]) == (3, 12)
    assert counts["submixes"] == sum(len(bank[i].membership_MS) for i in range(3))


@pytest.fixture
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    """Workers encode in one thread, so this process does too: more threads may add up in another order."""
    codec = FrameCodec()
    for name, workers, seed in (("a", 0, 0), ("b", 2, 0), ("c", 0, 1)):
        builder(tmp_path, codec, name, seed=seed).build(codec, workers=workers)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert files_of(tmp_path / "a") != files_of(tmp_path / "c")


def test_batches_are_a_function_of_seed_rank_and_number(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    make = lambda seed: BankBatches(bank, TARGETS, 16, 8, ActivityRule(), seed)  # noqa: E731
    keys = [BatchKey(rank, number) for rank in (0, 1) for number in (0, 1, 10**9)]
    mixes = {key: make(5)[key].mix for key in keys}
    for key in reversed(keys):
        assert torch.equal(make(5)[key].mix, mixes[key])
        assert not torch.equal(make(6)[key].mix, mixes[key])
    sums = {float(mix.double().sum()) for mix in mixes.values()}
    assert len(sums) == len(keys)


def test_a_killed_build_goes_on_where_it_was(tmp_path, monkeypatch):
    codec = FrameCodec()
    whole = builder(tmp_path, codec, "whole")
    whole.build(codec, workers=0)
    encoded = []

    def killed_after_two(codec, song):
        if len(encoded) == 2:
            raise KeyboardInterrupt
        encoded.append(song.name)
        return encode_song(codec, song)

    monkeypatch.setattr(bank_building, "encode_song", killed_after_two)
    killed = builder(tmp_path, codec, "killed")
    with pytest.raises(KeyboardInterrupt):
        killed.build(codec, workers=0)
    with pytest.raises(UserError, match="no latent bank"):
        LatentBank(tmp_path / "killed")
    assert [song.name for song in killed.pending()] == ["Track00003"]
    encoded.clear()
    killed.build(codec, workers=0)
    assert encoded == ["Track00003"]
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_a_second_build_encodes_nothing_and_new_or_changed_songs_only_themselves(tmp_path, monkeypatch):
    codec = FrameCodec()
    first = builder(tmp_path, codec)
    before = first.build(codec, workers=0).manifest
    encoded = []
    monkeypatch.setattr(bank_building, "encode_song", lambda c, s: encoded.append(s.name) or encode_song(c, s))
    assert first.build(codec, workers=0).manifest.hashes == before.hashes
    assert not encoded
    write_song(tmp_path / "data" / "train" / "Track00010", {"S00": np.ones(8000) * 0.1, "S01": np.ones(8000) * 0.1})
    shutil.rmtree(tmp_path / "data" / "train" / "Track00002")
    (tmp_path / "data" / "train" / "Track00001" / "stems" / "S03.flac").unlink()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    assert sorted(encoded) == ["Track00001", "Track00010"]
    assert bank.manifest.names == ("Track00001", "Track00003", "Track00010")
    assert len(bank[0].stems) == 3
    bank.verify()


def test_two_cold_starts_encode_every_song_once(tmp_path, monkeypatch, caplog):
    """The second waits, says so, and finds the bank of the first."""
    codec, encoded, begun = FrameCodec(), [], multiprocessing.Event()

    def slowly(codec, song):
        begun.set()
        time.sleep(0.3)
        encoded.append(song.name)
        return encode_song(codec, song)

    monkeypatch.setattr(bank_building, "encode_song", slowly)
    bank = builder(tmp_path, codec)

    def build_first():
        torch.set_num_threads(1)  # OpenMP's other threads did not come along with the fork
        bank.build(codec, 0)

    first = multiprocessing.get_context("fork").Process(target=build_first)
    first.start()
    assert begun.wait(30)
    assert len(bank.build(codec, workers=0)) == 3
    first.join()
    assert (first.exitcode, encoded) == (0, [])
    assert f"another process is encoding songs into {bank.folder}: waiting" in caplog.text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda s: replace(s, latents_hash="0" * 64), "latents_hash"),
        (lambda s: replace(s, codec=replace(s.codec, name="other")), "codec.name"),
        (lambda s: replace(s, codec=replace(s.codec, hop_samples=512)), "codec.hop_samples"),
        (lambda s: replace(s, seed=9), "seed"),
        (lambda s: replace(s, submixes_per_song=4), "submixes_per_song"),
        (lambda s: replace(s, targets=(0,)), "targets"),
    ],
)
def test_a_bank_of_something_else_is_refused_by_name_and_stays(tmp_path, change, field):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    built.build(codec, workers=0)
    content = files_of(tmp_path / "bank")
    other = replace(built, settings=change(built.settings))
    with pytest.raises(UserError, match=field.replace(".", r"\.")) as error:
        other.build(codec, workers=0)
    assert str(error.value).count(": bank ") == 1, "only what differs is named"
    assert files_of(tmp_path / "bank") == content


def test_damage_is_noticed(tmp_path):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    built.build(codec, workers=0)
    path = song_path(tmp_path / "bank", "Track00002")
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(UserError, match=r"Track00002.*content changed"):
        LatentBank(tmp_path / "bank").verify()
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=r"Track00002.*bytes instead of"):
        LatentBank(tmp_path / "bank")
    # the next start repairs what is not whole
    built.build(codec, workers=0).verify()
    assert path.read_bytes() == whole
    path.unlink()
    with pytest.raises(UserError, match=r"Track00002.*missing"):
        LatentBank(tmp_path / "bank")


@pytest.mark.parametrize("content", ["", "{}", '{"schema": 99}', "[]"])
def test_a_damaged_manifest_is_one_sentence(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json is no manifest"):
        LatentBank(tmp_path)


def test_a_stem_that_breaks_later_is_listed_and_the_song_stays(tmp_path):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    path = tmp_path / "data" / "train" / "Track00001" / "stems" / "S01.flac"
    path.write_bytes(path.read_bytes()[:2000])
    bank = built.build(codec, workers=0)
    (refusal,) = bank.manifest.refusals
    assert (refusal.song, refusal.stem) == ("Track00001", "S01")
    assert "truncated" in refusal.reason
    assert [stem.name for stem in bank[0].stems] == ["S00", "S02", "S03"]


def test_a_song_without_two_readable_stems_offers_nothing(tmp_path):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    for name in ("S00", "S01", "S02", "S03"):
        (tmp_path / "data" / "train" / "Track00001" / "stems" / f"{name}.flac").write_bytes(b"fLaC nothing")
    bank = built.build(codec, workers=0)
    assert len(bank.manifest.refusals) == 4
    batches = BankBatches(bank, TARGETS, 16, 32, ActivityRule(), seed=0)
    assert "Track00001" not in batches[BatchKey(0, 0)].song


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path, monkeypatch):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    real, written = Path.write_bytes, []

    def full_at_the_second(path, content):
        written.append(path)
        if len(written) < 2:
            return real(path, content)
        real(path, content[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_at_the_second)
    with pytest.raises(UserError, match="disk is full"):
        built.build(codec, workers=0)
    assert [path.name for path in files_of(tmp_path / "bank")] == ["Track00001.safetensors"]
    monkeypatch.undo()
    built.build(codec, workers=0).verify()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    codec = FrameCodec()
    (tmp_path / "bank").write_text("a file")
    with pytest.raises(UserError, match=r"name another folder with data\.bank_root"):
        builder(tmp_path, codec).build(codec, workers=0)


def test_latents_that_are_not_finite_are_refused(tmp_path):
    codec = FrameCodec()
    built = builder(tmp_path, codec)
    codec.matrix_CC *= float("inf")
    with pytest.raises(UserError, match="not finite"):
        built.build(codec, workers=0)


def test_a_bank_travels_to_another_process_without_its_maps(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    assert bank[0].name == "Track00001"
    copy = pickle.loads(pickle.dumps(bank))
    assert not copy._songs
    assert torch.equal(copy[2].stems_STC, bank[2].stems_STC)
    assert len(pickle.dumps(bank)) < 10_000


def test_the_manifest_says_what_the_bank_is(tmp_path):
    codec = FrameCodec()
    builder(tmp_path, codec).build(codec, workers=0)
    manifest = json.loads((tmp_path / "bank" / "manifest.json").read_text())
    assert manifest["settings"]["codec"] == codec.spec.to_dict()
    assert manifest["settings"]["latents_hash"] == codec.latents_hash
    assert manifest["counts"]["songs"] == len(manifest["songs"]) == 3
    assert all(len(row["sha256"]) == 64 for row in manifest["songs"])


def test_a_stem_replaced_by_one_of_the_same_size_is_encoded_anew(tmp_path):
    codec = FrameCodec()
    builder(tmp_path, codec).build(codec, workers=0)
    stem = tmp_path / "data/train/Track00001/stems/S00.wav"
    stem.with_suffix(".flac").unlink()
    for samples in (tone(1, 0), -tone(1, 0)):
        soundfile.write(stem, samples, RATE_HZ, subtype="PCM_16")
        pending = builder(tmp_path, codec)
        assert [song.name for song in pending.pending()] == ["Track00001"]
        pending.build(codec, workers=0)
        assert not builder(tmp_path, codec).pending()


def test_facts_about_a_song_are_a_part_of_what_it_was_made_from(tmp_path):
    codec = FrameCodec()
    builder(tmp_path, codec).build(codec, workers=0)
    write_metadata(tmp_path / "data/train/Track00002", {"S00": 128, "S01": 33, "S02": 25, "S03": 48})
    assert [song.name for song in builder(tmp_path, codec).pending()] == ["Track00002"]


def forget_digests(folder):
    """The manifest as older versions wrote it."""
    manifest = json.loads((folder / latent_bank.MANIFEST).read_text())
    for row in manifest["songs"]:
        del row["digest"]
    (folder / latent_bank.MANIFEST).write_text(json.dumps(manifest))


def test_a_bank_with_a_manifest_is_checked_without_opening_its_songs(tmp_path, monkeypatch):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    with monkeypatch.context() as closed:
        closed.setattr(latent_bank, "read_song", lambda path: pytest.fail(f"opened {path}"))
        assert not builder(tmp_path, codec).pending()
        later = song_path(bank.folder, "Track00001").stat().st_mtime + 10
        os.utime(tmp_path / "data/train/Track00001/stems/S02.flac", (later, later))
        assert not builder(tmp_path, codec).pending(), "the same content at another time"
        write_metadata(tmp_path / "data/train/Track00002", {"S00": 128, "S01": 33, "S02": 25, "S03": 48})
        assert [song.name for song in builder(tmp_path, codec).pending()] == ["Track00002"]
    path = song_path(bank.folder, "Track00003")
    path.write_bytes(path.read_bytes()[:-1])
    assert [song.name for song in builder(tmp_path, codec).pending()] == ["Track00002", "Track00003"]
    shutil.rmtree(path.parent)
    assert len(builder(tmp_path, codec).pending()) == 3
    builder(tmp_path, codec).build(codec, workers=0)
    forget_digests(bank.folder)
    assert not builder(tmp_path, codec).pending()


def test_banks_that_know_only_names_and_sizes_stay_valid(tmp_path):
    codec = FrameCodec()
    bank = builder(tmp_path, codec).build(codec, workers=0)
    songs = {song.name: song for song in builder(tmp_path, codec).songs}
    for position in range(len(bank)):
        old = replace(bank[position], digest=songs[bank[position].name].name_digest)
        latent_bank.write_song(bank.folder, old, bank.manifest.settings)
    forget_digests(bank.folder)
    assert not builder(tmp_path, codec).pending()
    later = song_path(bank.folder, "Track00001").stat().st_mtime + 10
    os.utime(tmp_path / "data/train/Track00001/stems/S02.flac", (later, later))
    assert [song.name for song in builder(tmp_path, codec).pending()] == ["Track00001"]
