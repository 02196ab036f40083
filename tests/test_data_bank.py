"""`python -m benchmarks.data_bank` on a bank of a few songs."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys

import pytest
from commands import REPOSITORY

from benchmarks.data_bank import _load_as_training_does


def test_loaders_start_their_workers_as_training_does() -> None:
    """Those of a spawned process would be spawned, too, and share no memory with it."""
    with multiprocessing.get_context("spawn").Pool(1, _load_as_training_does) as pool:
        assert pool.apply(multiprocessing.get_start_method) == multiprocessing.get_start_method()


@pytest.mark.slow
def test_every_number_is_measured() -> None:
    small = ("--songs", "6", "--channels", "8", "--batch_size", "16", "--batches", "12", "--step_seconds", "0.01")
    words = [sys.executable, "-m", "benchmarks.data_bank", *small]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not done.stderr
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert numbers["warm_items_per_second"] > 0
    assert 0 <= numbers["wait_share"] <= 1
