"""One cluster, one checkout and one data set for all jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
from slurm_cluster import Cluster
from slurm_jobs import Jobs, checkout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs a cluster, and minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = slurm_cluster.missing()
    if reason:
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def jobs(cluster: Cluster, rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    return Jobs(cluster, checkout(tmp_path_factory.mktemp("clone")), rendered_songs)
