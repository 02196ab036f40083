"""The batch files as shipped, on a real Slurm: every job starts, trains and leaves its results."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import REPOSITORY
from slurm_cluster import Cluster
from slurm_jobs import Job, Jobs, checkout, number_of, require_same_run

BASE, JUDGE = "model.init_args.base_checkpoint", "model.init_args.discriminator_checkpoint"


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_fresh_clone_trains(jobs: Jobs, tasks: int, tmp_path: Path) -> None:
    """Nothing but the clone: no folder for runs, no bank. Another run gives the same, bit for bit."""
    fresh = Jobs(jobs.cluster, checkout(tmp_path), jobs.songs)
    assert not (fresh.folder / "runs").exists()
    job = fresh.submit("quickstart", tasks).wait()
    assert job.iteration == 60
    assert "error" not in job.said.lower()
    require_same_run(jobs.uninterrupted("quickstart", tasks), job)


@pytest.mark.parametrize(("file", "nodes", "tasks"), [("single", 1, 1), ("multi", 2, 8)])
def test_a_task_gets_what_the_batch_file_asks_for(
    file: str, nodes: int, tasks: int, cluster: Cluster, tmp_path: Path
) -> None:
    """Its sizes as they are, and the installation on the path: a folder of one's own with a copy of the batch file."""
    shutil.copy(REPOSITORY / f"configs/slurm/{file}.sbatch", tmp_path)
    stand_in = tmp_path / "bin/lightning"
    stand_in.parent.mkdir()
    facts = "$SLURMD_NODENAME $SLURM_CPUS_PER_TASK $OMP_NUM_THREADS $CUDA_VISIBLE_DEVICES $HF_HUB_OFFLINE"
    cores = "[ $SLURM_PROCID != 0 ] || scontrol -o show step $SLURM_JOB_ID.0 | grep -o ' CPUs=[0-9]*'"
    stand_in.write_text(f'#!/bin/bash\necho "{facts} $*"\n{cores}\n')
    stand_in.chmod(0o755)
    environment = {**os.environ, **cluster.environment, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    typed = ["sbatch", f"{file}.sbatch", "--config", "quickstart"]
    done = subprocess.run(typed, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    job = Job(cluster, tmp_path, number_of(done.stdout), "livejam").wait()
    gpus = ",".join(str(gpu) for gpu in range(tasks // nodes))
    assert sorted(job.said.splitlines()) == [
        f" CPUs={8 * tasks}",
        *(
            f"n{node + 1} 8 8 {gpus} 1 fit --config quickstart --config overlays/slurm"
            for node in range(nodes)
            for _ in range(tasks // nodes)
        ),
    ]


def test_two_jobs_of_one_config_do_not_meet(jobs: Jobs) -> None:
    """At the same time, each in its own folder, with the same result."""
    both = [jobs.submit("quickstart") for _ in range(2)]
    for job in both:
        require_same_run(jobs.uninterrupted("quickstart"), job.wait())
    assert both[0].root != both[1].root


def test_pocket_models_train_on_two_nodes(jobs: Jobs) -> None:
    """Block-Causal and ARC-Forcing with what they start from: four jobs, each after those that it needs."""
    sizes = {"trainer.max_epochs": "1", "data.init_args.batches_per_epoch": "4"}

    def submit(config: str, after: list[Job], **starts: str) -> Job:
        wait = f"--dependency=afterok:{':'.join(job.number for job in after)}" if after else "--dependency="
        return jobs.submit(f"lmdm/{config}", 2, (wait,), **sizes, **starts)

    base = submit("base_pocket", [])
    blockcausal = submit("blockcausal_pocket", [base], **{BASE: base.last})
    warmup = submit("arc_forcing_discriminator_warmup_pocket", [base], **{BASE: base.last})
    arc = submit("arc_forcing_pocket", [blockcausal, warmup], **{BASE: blockcausal.last, JUDGE: warmup.last})
    for job in (base, blockcausal, warmup, arc):
        job.wait()
        assert job.iteration == 4, job.said[-2000:]
