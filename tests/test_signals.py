"""Signals to the real command, with shipped configs, the bundled codec and real songs, as tasks that `srun` started.

Of SLURM there is only the environment and a `scontrol` that writes down what it was asked; tests/slurm has the rest.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import REPOSITORY
from test_two_processes import Runs
from toy_latents import same

LONG = {
    "trainer.max_epochs": "4",
    "trainer.enable_model_summary": "true",  # which says when training is about to begin
    "data.init_args.batches_per_epoch": "40",
    "data.init_args.eval_items": "3",
    "data.init_args.submixes_per_song": "2",
}


class Job:
    """A job whose tasks are processes of this machine; all of them get a signal, as from SLURM.

    Args:
        tasks: number of tasks.
        folder: for what they say, and the stand-in for `scontrol`.
    """

    def __init__(self, tasks: int, folder: Path) -> None:
        self.tasks, self.folder, self.restarts = tasks, folder, 0
        self.processes: list[subprocess.Popen[bytes]] = []
        scontrol = folder / "bin/scontrol"
        scontrol.parent.mkdir(parents=True)
        scontrol.write_text(f'#!/bin/bash\necho "$@" >> "{folder}/asked.txt"\n')
        scontrol.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        """What `scontrol` was asked."""
        path = self.folder / "asked.txt"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def said(self) -> str:
        """By the first task, since the job was last started."""
        return (self.folder / f"{self.restarts}-0.txt").read_text(errors="replace")

    def start(self, words: list[str]) -> None:
        """`--config` and its config come first: other words count for more than the overlay's."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        environment = {**os.environ, "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "MASTER_PORT": str(port)}
        environment |= {"MASTER_ADDR": "127.0.0.1", "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "ignore"}
        environment |= {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "band", "SLURM_NTASKS": str(self.tasks)}
        environment |= {"SLURM_NTASKS_PER_NODE": str(self.tasks), "SLURM_NODEID": "0", "SLURM_NNODES": "1"}
        environment |= {"SLURM_RESTART_COUNT": str(self.restarts), "SLURM_NODELIST": "localhost"}
        lightning = str(Path(sys.executable).with_name("lightning"))
        command = [lightning, "fit", *words[:2], "--config", "overlays/slurm", *words[2:]]
        for task in range(self.tasks):
            own = {**environment, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)}
            with (self.folder / f"{self.restarts}-{task}.txt").open("wb") as out:
                self.processes.append(
                    subprocess.Popen(command, cwd=REPOSITORY, env=own, stdout=out, stderr=out, start_new_session=True)
                )

    def wait_for(self, word: str) -> None:
        while word not in self.said:
            assert self.processes[0].poll() is None, self.said[-3000:]
            time.sleep(0.05)

    def signal(self, number: int) -> list[int]:
        """Statuses of the tasks, which it ends."""
        for process in self.processes:
            os.killpg(process.pid, number)
        return self.wait()

    def wait(self) -> list[int]:
        statuses = [process.wait(timeout=900) for process in self.processes]
        self.processes = []
        return statuses


@pytest.fixture
def make_job(tmp_path: Path) -> Iterator[Any]:
    jobs: list[Job] = []

    def make(tasks: int) -> Job:
        jobs.append(Job(tasks, tmp_path / f"job{len(jobs)}"))
        return jobs[-1]

    yield make
    for process in [process for job in jobs for process in job.processes if process.poll() is None]:
        os.killpg(process.pid, signal.SIGKILL)


def test_before_training_a_job_is_requeued_at_once(make_job: Any, tmp_path: Path) -> None:
    """While its processes compose songs, which get the signal as well."""
    job, songs = make_job(1), tmp_path / "songs"
    root = ("--trainer.default_root_dir", str(tmp_path / "run"), "--data.init_args.root", str(songs))
    job.start(["--config", "quickstart", "--trainer.accelerator", "cpu", *root])
    job.wait_for("rendering songs")
    assert job.signal(signal.SIGUSR1) == [138]
    assert job.asked == ["requeue 77"]
    assert "Traceback" not in job.said
    assert "SIGUSR1: training had not begun, the job is requeued" in job.said


ENDS = """
import os, signal, sys
from lightning_modules import cli
from livejam.slurm import requeue_when_told
class Last:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.SIGUSR1):
        kill(pid, number)
last = Last()
requeue_when_told()
cli.run = lambda: None
sys.exit(cli.main())
"""
"""A command whose work is done, and which gets the signal while its interpreter ends."""


def test_after_its_work_a_job_ends_as_one_that_is_done() -> None:
    environment = {**os.environ, "SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", ENDS], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tasks", [1, 2])
@pytest.mark.parametrize("config", ["quickstart", "lmdm/base_pocket"])
def test_signals_at_random_moments_change_nothing(
    config: str, tasks: int, make_job: Any, rendered_songs: Path, tmp_path: Path
) -> None:
    """In training and in validation: the run ends as one that nothing happened to, bit for bit."""
    runs, moments = Runs(rendered_songs, tmp_path / "runs"), random.Random(tasks)
    whole = make_job(tasks)
    whole.start(runs.words("whole", config, **LONG))
    assert whole.wait() == [0] * tasks, whole.said[-3000:]
    job, last = make_job(tasks), runs.root("stopped") / "interrupted.ckpt"
    for _ in range(6):
        job.start(runs.words("stopped", config, **LONG))
        job.wait_for("Modules in train mode" if job.restarts == 0 else "Restored all states")
        time.sleep(moments.uniform(0.5, 4))
        assert job.signal(signal.SIGUSR1) == [138, *[0] * (tasks - 1)], job.said[-3000:]
        require_consistent(torch.load(last, weights_only=True))
        job.restarts += 1
    assert job.asked == ["requeue 77"] * job.restarts
    job.start(runs.words("stopped", config, **LONG))
    assert job.wait() == [0] * tasks, job.said[-3000:]
    ends = [runs.root(name) / "checkpoints/last.ckpt" for name in ("whole", "stopped")]
    require_same(*(torch.load(end, weights_only=True) for end in ends))
    assert not last.exists(), "superseded"


def require_consistent(checkpoint: dict[str, Any]) -> None:
    """All counts are of the same iteration."""
    done = int(checkpoint["state_dict"]["iteration"])
    steps = {int(state["step"]) for part in checkpoint["optimizer_states"] for state in part["state"].values()}
    assert steps == {state["last_epoch"] for state in checkpoint["lr_schedulers"]} == {done}
    assert checkpoint["global_step"] == done * len(checkpoint["optimizer_states"])
    assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["processed"] == done


def require_same(one: dict[str, Any], two: dict[str, Any]) -> None:
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "livejam", "loops", "global_step"):
        assert same(one[part], two[part]), part
    # where checkpoints lie, and which run and which start of it they belong to, differs
    own = ("ModelCheckpoint", "InterruptCheckpoint")
    monitors = [name for name in one["callbacks"] if not name.startswith(own)]
    assert all(same(one["callbacks"][name], two["callbacks"][name]) for name in monitors)
