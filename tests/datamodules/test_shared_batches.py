"""Batches of workers, in memory that is used again: the same numbers, and never while somebody still holds them."""

import gc
import os
import pickle
from dataclasses import replace

import pytest
import torch
from slakh_tree import FrameCodec, write_tree

from datamodules.bank_batches import BankBatches
from datamodules.bank_building import BankBuilder
from datamodules.crops import ActivityRule
from datamodules.latent_bank import BankSettings
from datamodules.run_sampler import BatchKey, ResumableLoader, RunSampler
from datamodules.shared_batches import SLOTS, SharedBatch, SharedMemory
from datamodules.slakh_index import SlakhIndex
from livejam.batch import AccompanimentBatch

TARGETS, WORKERS, BATCHES = (0, 4, 6, 14), 2, 4 * SLOTS


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    codec, root = FrameCodec(), write_tree(tmp_path_factory.mktemp("data"), train=4)
    songs = tuple(song for song in SlakhIndex.open(root).songs if song.split_folder == "train")
    settings = BankSettings(codec.spec, codec.latents_hash, "train", 0, 6, TARGETS, -60.0)
    return BankBuilder(tmp_path_factory.mktemp("bank"), root, songs, settings).build(codec, workers=0)


def batches_of(bank, workers=0):
    return BankBatches(bank, TARGETS, 16, 24, ActivityRule(), seed=2, workers=workers)


def loader_of(batches, workers=WORKERS):
    sampler = RunSampler(lambda: 0, BATCHES, rank=0)
    return ResumableLoader(
        batches, batch_size=None, sampler=sampler, num_workers=workers, multiprocessing_context="fork"
    )


def same(one, other):
    assert (one.song, one.start_seconds, one.prompt) == (other.song, other.start_seconds, other.prompt)
    tensors = ("mix", "target", "active_BT", "instrument_B")
    # copies of the same bytes
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in tensors)


def a_batch(value):
    latents = torch.full((2, 3, 4), value, dtype=torch.float16)
    ones = torch.ones(2, dtype=torch.int64)
    facts = (("x", "y"), ("a", "b"), (0.0, 1.0), (None, None))
    return AccompanimentBatch(latents, latents + 1, False, ones, torch.ones(2, 3, dtype=torch.bool), *facts)


def test_batches_that_are_all_kept_are_those_of_one_process(bank):
    kept = list(loader_of(batches_of(bank, WORKERS)))
    plain = batches_of(bank)
    assert len(kept) == BATCHES > WORKERS * SLOTS, "more than there are slots"
    for number, batch in enumerate(kept):
        assert type(batch) is AccompanimentBatch
        assert batch.mix.dtype == torch.float32
        assert same(batch, plain[BatchKey(0, number)])


def test_a_dropped_batch_makes_room_and_a_part_of_one_does_not(bank):
    batches, plain = batches_of(bank, WORKERS), batches_of(bank)
    part = None
    for number, batch in enumerate(loader_of(batches)):
        assert same(batch, plain[BatchKey(0, number)])
        part = batch.target[3] if number == 1 else part
    del batch
    gc.collect()
    assert torch.equal(part, plain[BatchKey(0, 1)].target[3])
    assert batches._memory._taken.sum() == 1
    del part
    assert batches._memory._taken.sum() == 0


def test_without_a_free_slot_a_batch_has_memory_of_its_own():
    memory = SharedMemory((2, 3, 4), workers=2)
    sent = [memory.put(a_batch(value), worker=1) for value in range(SLOTS + 1)]
    assert [type(batch) for batch in sent] == [SharedBatch] * SLOTS + [AccompanimentBatch]
    assert [batch.slot for batch in sent[:SLOTS]] == list(range(SLOTS, 2 * SLOTS))
    for value, batch in enumerate(sent):
        arrived = pickle.loads(pickle.dumps(batch))
        assert same(arrived, replace(a_batch(value), mix=arrived.mix, target=arrived.target))
        assert (arrived.mix == value).all()
        assert (arrived.target == value + 1).all()


def test_another_process_that_drops_its_copy_frees_nothing():
    memory = SharedMemory((2, 3, 4), workers=1)
    held = pickle.loads(pickle.dumps(memory.put(a_batch(5), worker=0)))
    assert memory._taken.sum() == 1
    child = os.fork()
    if not child:
        del held
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert memory._taken.sum() == 1
    assert (held.mix == 5).all()
    del held
    assert memory._taken.sum() == 0


def test_a_process_that_is_not_forked_shares_nothing(bank):
    batches = batches_of(bank, WORKERS)
    assert pickle.loads(pickle.dumps(batches))._memory is None
