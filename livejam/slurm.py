"""The SLURM job that this process is a task of, and the job's way back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

INTERACTIVE = ("bash", "interactive")
"""Names of jobs that somebody types in; SLURM starts nothing again for them."""


class Stopped(SystemExit):
    """A signal ended this process where nothing is lost.

    The exit status is a shell's for this signal, 128 and its number. The first process of a run gives it, the others
    end with 0: a launcher that sees one of them fail would kill the first before it is done.

    Args:
        number: of the signal.
        first: whether this is the first process of the run.
    """

    def __init__(self, number: int, first: bool = True) -> None:
        super().__init__(128 + number if first else 0)


def job_id() -> str | None:
    """The job that `srun` started this process for, the same after a requeue; None outside of batch jobs."""
    started = "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in INTERACTIVE
    return os.environ.get("SLURM_JOB_ID") if started else None


def restarts() -> int:
    """How often this job ran before: its time was up, it was pre-empted, or its node was lost."""
    return int(os.environ.get("SLURM_RESTART_COUNT") or 0)


def requeue() -> str | None:
    """Put this job back into the queue, to run the same command again.

    Returns:
        Why it was refused; None if it was not.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    # the bare number of an array's last task stands for the whole array
    name = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True)
    except OSError as error:
        return f"scontrol: {error.strerror}"
    return None if done.returncode == 0 else " ".join(done.stderr.split()) or f"scontrol's status is {done.returncode}"


def requeue_when_told() -> None:
    """From now on, SIGUSR1 puts a batch job back into the queue, and ends its first task.

    For the time in which there is nothing to save: what is rendered, encoded or decoded is kept file by file.
    """
    if job_id() is not None:
        signal.signal(signal.SIGUSR1, _requeue_at_once)


def requeue_no_more() -> None:
    """Undo `requeue_when_told`: the configuration wants no requeue."""
    if signal.getsignal(signal.SIGUSR1) is _requeue_at_once:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def need_no_requeue() -> None:
    """From now on, SIGUSR1 does nothing to a task of a batch job, whose work is done.

    Python takes handlers of its own away before it has ended, and the signal would kill the task as one that failed.
    """
    if job_id() is not None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


_owner = os.getpid()


def _requeue_at_once(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _owner or int(os.environ.get("SLURM_PROCID") or 0) > 0:
        return  # a worker, or a task that SLURM ends with the first one
    signal.signal(number, signal.SIG_IGN)
    refused = requeue()
    reason = f"the job could not be requeued ({refused}); submit it again" if refused else "the job is requeued"
    sys.stderr.write(f"{signal.Signals(number).name}: training had not begun, {reason}\n")
    raise Stopped(number)
