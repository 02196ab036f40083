"""A bank in an object store gives the items that it gives on a disk, whatever this machine keeps of it.

The quick tests read `file://` by the same code. The slow ones read S3 from a server on this machine.
"""

import signal
import threading

import pytest
import torch
from object_store import copied_to_s3, s3_server
from slakh_tree import FrameCodec, write_tree

from datamodules import BankStore, LatentBank, Slakh2100DataModule, SongsToEncode
from datamodules.bank_batches import BankBatches
from datamodules.bank_building import BankBuilder
from datamodules.bank_index import INDEX
from datamodules.crops import ActivityRule
from datamodules.latent_bank import MANIFEST, BankSettings
from datamodules.run_sampler import BatchKey, ResumableLoader, RunSampler
from datamodules.slakh_index import SlakhIndex
from livejam.errors import UserError

obstore = pytest.importorskip("obstore")
TARGETS = (0, 4, 6, 14)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("data"), train=5)


@pytest.fixture(scope="module")
def bank(root, tmp_path_factory):
    codec, folder = FrameCodec(), tmp_path_factory.mktemp("bank")
    songs = tuple(song for song in SlakhIndex.open(root).songs if song.split_folder == "train")
    settings = BankSettings(codec.spec, codec.latents_hash, "train", 0, 6, TARGETS, -60.0)
    return BankBuilder(folder, root, songs, settings).build(codec, workers=0)


@pytest.fixture(scope="module")
def server():
    with s3_server() as running:
        yield running


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow)])
def url(request, bank, monkeypatch):
    if request.param == "file":
        return bank.folder.as_uri()
    return copied_to_s3(bank.folder, request.getfixturevalue("server")[1], monkeypatch)


def batches(bank):
    return BankBatches(bank, TARGETS, 16, 24, ActivityRule(), seed=2)


def assert_same_items(one, other):
    assert (one.song, one.prompt, one.start_seconds) == (other.song, other.prompt, other.start_seconds)
    for name in ("mix", "target", "active_BT", "instrument_B"):
        # the same bytes from two places
        assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("songs", [0, 2, 5])
def test_items_are_those_of_the_disk_and_the_cache_has_its_bound(url, bank, tmp_path, songs):
    bound = sum(bank.manifest.sizes[:songs])
    far = batches(BankStore(url, str(tmp_path), (bound + 1) / 1e9).open())
    for key in (BatchKey(0, 0), BatchKey(1, 3), BatchKey(0, 10**6)):
        assert_same_items(batches(bank)[key], far[key])
    kept = list(tmp_path.rglob("songs/Track*"))
    assert len(kept) == songs
    assert sum(path.stat().st_size for path in kept) <= bound


@pytest.mark.slow  # every worker imports PyTorch
def test_workers_that_share_a_cache_give_the_same_run_and_resume_it(url, bank, tmp_path):
    """Two processes meet an empty cache; a second loader goes on in the middle."""
    store = BankStore(url, str(tmp_path), sum(bank.manifest.sizes[:3]) / 1e9)
    far = batches(store.open())
    _ = far[BatchKey(0, 0)]  # this process has been connected before its workers start
    for first in (0, 2):
        sampler = RunSampler(lambda first=first: first, 4, rank=0)
        loader = ResumableLoader(far, batch_size=None, sampler=sampler, num_workers=2, multiprocessing_context="spawn")
        for number, batch in enumerate(loader, first):
            assert_same_items(batches(bank)[BatchKey(0, number)], batch)
    assert len(list(tmp_path.rglob("songs/Track*"))) == 3


def test_a_second_start_fetches_no_song_again(url, bank, tmp_path, monkeypatch):
    store = BankStore(url, str(tmp_path), 1.0)
    first = batches(store.open())[BatchKey(0, 0)]
    monkeypatch.setattr("datamodules.bank_store.RemoteBank._whole", lambda *_: pytest.fail("fetched again"))
    assert_same_items(first, batches(store.open())[BatchKey(0, 0)])


def test_the_data_module_trains_from_a_store_without_building_anything(url, root, bank, tmp_path):
    codec = FrameCodec()
    options = {"targets": ["Piano", "Bass", "Ensemble", "Percussive"], "cache_root": str(tmp_path / "cache")}
    modules = [
        Slakh2100DataModule(
            str(root), codec, crop_frames=16, batch_size=24, eval_items=2, eval_seconds=1.0, **options, **place
        )
        for place in ({"bank_store": BankStore(url, str(tmp_path), 1.0)}, {"bank_root": str(bank.folder)})
    ]
    for module in modules:
        module.prepare_data()
        module.setup("fit")
    assert not list((tmp_path / "cache").rglob("songs"))
    assert torch.equal(modules[0].latent_statistics.mean_C, modules[1].latent_statistics.mean_C)
    for one, other in zip(*(iter(module.train_dataloader()) for module in modules), strict=True):
        assert_same_items(one, other)


def test_a_song_that_is_not_the_manifest_s_is_refused(bank, tmp_path):
    for path in bank.folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / "bank" / path.relative_to(bank.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            flipped = content[:-1] + bytes([content[-1] ^ 1])
            copy.write_bytes(flipped if path.parent.name == "songs" else content)
    damaged = BankStore((tmp_path / "bank").as_uri(), str(tmp_path / "cache"), 1.0).open()
    with pytest.raises(UserError, match=r"is not the song of the bank's manifest"):
        _ = batches(damaged)[BatchKey(0, 0)]
    assert not list((tmp_path / "cache").rglob("songs/Track*"))


@pytest.mark.parametrize(("missing", "says"), [(MANIFEST, r"manifest\.json cannot be read"), (INDEX, "index")])
def test_what_is_missing_in_the_store_is_one_sentence(bank, tmp_path, missing, says):
    place = tmp_path / "bank"
    place.mkdir()
    for name in {MANIFEST, INDEX} - {missing}:
        (place / name).write_bytes((bank.folder / name).read_bytes())
    with pytest.raises(UserError, match=says):
        batches(BankStore(place.as_uri(), str(tmp_path / "cache"), 1.0).open())


def test_an_index_of_other_songs_is_refused(bank, tmp_path):
    (tmp_path / MANIFEST).write_bytes((bank.folder / MANIFEST).read_bytes())
    (tmp_path / INDEX).write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(UserError, match="does not belong to the bank's songs"):
        batches(BankStore(tmp_path.as_uri(), str(tmp_path / "cache"), 1.0).open())


def test_mistakes_are_one_sentence(root, tmp_path, bank):
    store, codec = BankStore(bank.folder.as_uri(), str(tmp_path)), FrameCodec()
    with pytest.raises(UserError, match="not both"):
        Slakh2100DataModule(str(root), codec, bank_root="x", bank_store=store)
    with pytest.raises(UserError, match="built on a disk"):
        SongsToEncode(str(root), codec, bank_store=store).prepare_data()
    with pytest.raises(UserError, match="cache_gb"):
        BankStore("s3://x", str(tmp_path), -1.0).open()
    with pytest.raises(UserError, match="cannot be read"):
        BankStore("nonsense://x", str(tmp_path)).open()
    assert LatentBank(bank.folder).place == str(bank.folder)


@pytest.mark.slow
def test_a_server_that_stops_for_a_while_is_waited_for(server, bank, tmp_path, monkeypatch):
    process, endpoint = server
    far = batches(BankStore(copied_to_s3(bank.folder, endpoint, monkeypatch), str(tmp_path), 0.0).open())
    process.send_signal(signal.SIGSTOP)
    threading.Timer(3.0, process.send_signal, [signal.SIGCONT]).start()
    assert_same_items(batches(bank)[BatchKey(0, 0)], far[BatchKey(0, 0)])
