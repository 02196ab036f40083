"""Disks as clusters have them: full ones, temporary folders elsewhere, and one data set for several jobs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from slurm_cluster import kill, until
from slurm_jobs import Job, Jobs, require_same_run

LONG = {"data.init_args.batches_per_epoch": "80"}


@pytest.fixture
def small_disk(jobs: Jobs) -> Iterator[Path]:
    """A disk of its own for the runs of a second checkout, with room for some of a run."""
    runs = jobs.another("full").folder / "runs"
    runs.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(runs)], check=True)
    yield runs
    subprocess.run(["umount", "--lazy", str(runs)], check=True)


def readable(path: Path) -> bool:
    """Whether a checkpoint is whole."""
    return "state_dict" in torch.load(path, weights_only=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(jobs: Jobs, tasks: int, small_disk: Path) -> None:
    """The job ends with one sentence, also where only one task writes. When there is room again, it goes on."""
    job = jobs.another("full").submit("quickstart", tasks, **LONG)
    job.wait_for_iteration(85)
    filler = small_disk / "others' files"
    with filler.open("wb") as file:
        free = os.statvfs(small_disk)
        file.write(bytes(free.f_bavail * free.f_bsize - 100_000))
    job.wait(state="FAILED")
    assert "disk is full" in job.said
    assert job.restarts == 0
    assert "Traceback" not in job.said or tasks > 1  # srun ends the others in the middle of their work
    assert readable(Path(job.last))
    filler.unlink()
    jobs.cluster.ask("scontrol", "requeue", job.number)
    job.wait_for(lambda: job.restarts == 1, "a restart")
    require_same_run(jobs.uninterrupted("quickstart", tasks, **LONG), job.wait())


@pytest.fixture
def other_disk() -> Iterator[Path]:
    """A folder in memory, gone afterwards."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_kill_while_a_checkpoint_is_written(
    jobs: Jobs, tasks: int, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporary files belong to another disk, as on most clusters, and nothing is left there."""
    monkeypatch.setenv("TMPDIR", str(other_disk))
    job = jobs.submit("quickstart", tasks, **LONG)
    for _ in range(2):
        restarts = job.restarts
        _kill_while_writing(job)
        assert not Path(job.last).exists() or readable(Path(job.last))
        job.wait_for(lambda before=restarts: job.restarts > before or job.over, "a restart")
    require_same_run(jobs.uninterrupted("quickstart", tasks, **LONG), job.wait())
    assert not [path for path in other_disk.rglob("*") if path.is_file() and path.stat().st_size > 100_000]


def _kill_while_writing(job: Job) -> None:
    """Kill the processes of a job at a moment at which a file of its checkpoints grows."""
    folders, begun = (Path(job.last).parent, job.root), job.iteration
    job.wait_for(lambda: job.iteration > begun or job.over, "training")

    def writing() -> bool:
        return any(".ckpt" in path.name for folder in folders for path in folder.glob(".*"))

    assert until(writing, 200, pause_seconds=0.002)
    for pid in job.cluster.tasks(f"SLURM_JOB_ID={job.number}"):
        kill(pid)
