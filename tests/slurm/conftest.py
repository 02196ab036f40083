"""One cluster, one checkout and one data set for all jobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import slurm_cluster
from slurm_cluster import Cluster
from slurm_jobs import Jobs, checkout

SHORT = (
    "test_a_task_gets_what_the_batch_file_asks_for",
    "test_a_fresh_clone_trains[1]",
    "test_signals[one task]",
    "test_pre_emption[one task]",
)
"""What `make test-slurm-short`, and with it continuous integration, runs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a cluster, and minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(3600))
            if not item.name.startswith(SHORT):
                item.add_marker(pytest.mark.slow)


def _give_up(reason: str) -> NoReturn:
    """The short form is skipped where there can be no Slurm; a cluster of ours that does not start is a fault."""
    end = pytest.skip if os.environ.get("SLURM_OPTIONAL") else pytest.fail
    end(reason)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = slurm_cluster.missing()
    if reason:
        _give_up(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        try:
            cluster.start()
        except (AssertionError, OSError) as error:
            _give_up(f"no Slurm can be started here: {' '.join(str(error).split())[-500:]}")
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def jobs(cluster: Cluster, rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return Jobs(cluster, checkout(tmp_path_factory.mktemp("clone")), rendered_songs)


@pytest.fixture(autouse=True)
def _no_job_goes_on(cluster: Cluster) -> Iterator[None]:
    """The job of a test that failed would take its time from the next."""
    yield
    cluster.cancel_jobs()


@pytest.fixture(params=[1, 2], ids=["one task", "two tasks"])
def tasks(request: pytest.FixtureRequest) -> int:
    return int(request.param)
