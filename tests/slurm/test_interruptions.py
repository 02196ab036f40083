"""A job that is stopped goes on by itself, and ends as if it had never been stopped, bit for bit."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from slurm_cluster import kill, until
from slurm_jobs import Job, Jobs, require_same_run

SIGNALS = int(os.environ.get("SIGNALS", "50"))
"""At how many moments jobs are stopped, with one and with two tasks each."""

LONG = {"data.init_args.batches_per_epoch": "80"}
"""Long enough to be met at work."""


def require_unharmed(jobs: Jobs, job: Job, tasks: int) -> None:
    """It ends as the run that was never stopped."""
    require_same_run(jobs.uninterrupted("quickstart", tasks, **LONG), job.wait())


def stop(job: Job, how: str, after_seconds: float) -> None:
    """Stop a job a while after it has begun to train; it comes back, or is over.

    The log is what says so: the curve's file grows only with validations.
    """
    restarts = job.restarts
    job.wait_for(lambda: job.starts > restarts or job.over, "training")
    time.sleep(after_seconds)
    if how == "requeue":
        job.cluster.ask("scontrol", "requeue", job.number)
    else:
        job.signal(how)
    job.wait_for(lambda: job.restarts > restarts or job.over, f"a restart after {how}")


def test_its_time_is_up(jobs: Jobs, tasks: int) -> None:
    """Two minutes are too short; the signal comes 40 seconds before their end, and Slurm looks every half a minute."""
    longer = {"data.init_args.batches_per_epoch": "250"}
    job = jobs.submit("quickstart", tasks, ("--time=2", "--signal=SIGUSR1@40"), **longer)
    job.wait_for(lambda: job.restarts > 0 or job.over, "the end of its time")
    assert job.restarts > 0, job.said[-2000:]
    job.wait()
    assert job.iteration == 750


def test_signals(jobs: Jobs, tasks: int) -> None:
    """Three stops of one job."""
    job, moments = jobs.submit("quickstart", tasks, **LONG), random.Random(tasks)
    for _ in range(3):
        stop(job, "USR1", moments.uniform(0, 12))
    assert job.restarts > 0
    require_unharmed(jobs, job, tasks)


@pytest.mark.slow
def test_signals_at_many_moments(jobs: Jobs, tasks: int) -> None:
    """As many jobs as it takes."""
    moments, stops = random.Random(10 + tasks), 0
    while stops < SIGNALS:
        job = jobs.submit("quickstart", tasks, **LONG)
        while stops < SIGNALS and not job.over:
            stop(job, "USR1", moments.uniform(0, 20))
            stops = stops + 1
        require_unharmed(jobs, job, tasks)


def test_a_signal_before_training(jobs: Jobs, tasks: int) -> None:
    """While Python is loading, and while songs are read."""
    for seconds in (0.5, 4, 8):
        job = jobs.submit("quickstart", tasks, **LONG)
        job.wait_for(lambda job=job: job.state == "RUNNING", "its start")
        time.sleep(seconds)
        job.signal()
        job.wait_for(lambda job=job: job.restarts > 0 or job.over, "a restart")
        require_unharmed(jobs, job, tasks)


def test_pre_emption(jobs: Jobs, tasks: int) -> None:
    """`scontrol requeue` asks nobody: SIGTERM, and SIGKILL after a while."""
    job, moments = jobs.submit("quickstart", tasks, **LONG), random.Random(20 + tasks)
    for _ in range(2):
        stop(job, "requeue", moments.uniform(0, 12))
    assert job.restarts == 2
    require_unharmed(jobs, job, tasks)


def test_a_lost_node(jobs: Jobs, tasks: int) -> None:
    """The last of its nodes is gone, and the job goes on where there is room.

    The lost one comes back when the job is over: the controller tells a node that comes back to end what ran there, and
    the job's new step has the name of the old one.
    """
    job = jobs.submit("quickstart", tasks, **LONG)
    job.wait_for_iteration(90)
    node = job.facts["NodeList"].replace("[", "").replace("]", "").replace("-", ",n").split(",")[-1]
    jobs.cluster.lose_node(node)
    try:
        job.wait_for(lambda: job.restarts == 1, "a restart")
        require_unharmed(jobs, job, tasks)
    finally:
        jobs.cluster.start_node(node)
        until(lambda: jobs.cluster.ask("sinfo", "-h", "-n", node, "-o", "%T") == "idle", 60)


def test_a_killed_rank(jobs: Jobs, tasks: int) -> None:
    """As when the memory runs out: the others do not wait for it, and the job goes on."""
    job = jobs.submit("quickstart", tasks, **LONG)
    job.wait_for_iteration(90)
    victim = jobs.cluster.tasks(f"SLURM_JOB_ID={job.number}", f"SLURM_PROCID={tasks - 1}")
    before = time.monotonic()
    for pid in victim:
        kill(pid)
    job.wait_for(lambda: job.state != "RUNNING", "the end of the others")
    assert time.monotonic() - before < 30
    job.wait_for(lambda: job.restarts == 1, "a restart")
    require_unharmed(jobs, job, tasks)


def test_a_rank_killed_before_training(jobs: Jobs, tasks: int) -> None:
    """The others have done nothing yet, and end by srun's SIGTERM."""
    job = jobs.submit("quickstart", tasks, **LONG)
    rank = (f"SLURM_JOB_ID={job.number}", f"SLURM_PROCID={tasks - 1}")
    job.wait_for(lambda: bool(jobs.cluster.tasks(*rank)), "its start")
    time.sleep(2)
    assert job.starts == 0
    for pid in jobs.cluster.tasks(*rank):
        kill(pid)
    job.wait_for(lambda: job.restarts == 1, "a restart")
    require_unharmed(jobs, job, tasks)


def test_who_ends_the_job_ends_it(jobs: Jobs) -> None:
    """A signal to the tasks alone is a warning, as before pre-emption; scancel is an end, and nothing is lost."""
    job = jobs.submit("quickstart", **LONG)
    stop(job, "TERM", 3)
    assert job.restarts == 1
    job.wait_for(lambda: job.starts > 1, "training")
    jobs.cluster.ask("scancel", job.number)
    job.wait_for(lambda: job.over, "its end")
    time.sleep(10)
    assert (job.state, job.restarts) == ("CANCELLED", 1)
    assert (job.root / "interrupted.ckpt").is_file()


def test_restarts_that_lead_nowhere_come_to_an_end(jobs: Jobs) -> None:
    """Its set-up takes longer than it has time: after ten restarts without a checkpoint, one sentence."""
    job = jobs.submit("quickstart", **LONG)
    for restart in range(11):
        job.wait_for(lambda restart=restart: (job.state, job.restarts) == ("RUNNING", restart), "a start")
        jobs.cluster.ask("scontrol", "requeue", job.number)
    job.wait(state="FAILED")
    assert job.restarts == 11
    assert "error: this job has been restarted 11 times, and has saved no checkpoint at all" in job.said


def test_a_stuck_rank_is_an_error(jobs: Jobs) -> None:
    """Its neighbour gives up when the collectives' time is over, and srun ends the job."""
    strategy = {
        "trainer.strategy": "lightning.pytorch.strategies.DDPStrategy",
        "trainer.strategy.find_unused_parameters": "true",
        "trainer.strategy.timeout": "0:00:15",
    }
    job = jobs.submit("quickstart", 2, ("--no-requeue",), **LONG, **strategy)
    job.wait_for_iteration(5)
    for pid in jobs.cluster.tasks(f"SLURM_JOB_ID={job.number}", "SLURM_PROCID=1"):
        os.kill(pid, signal.SIGSTOP)
    job.wait(state="FAILED")
    assert "imed out" in job.said
