"""docs/cluster.md followed to the letter, at smaller sizes: from the login node to the first curve."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from commands import REPOSITORY
from slurm_cluster import until
from slurm_jobs import SMALL, Job, Jobs, number_of, words

PAGE = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")
SIZES = " ".join(words({name: value for name, value in SMALL.items() if name != "data.init_args.render_if_missing"}))
SIZES += " --data.init_args.render_if_missing.songs 3"
NOT_HERE = ("make env", "source .venv/bin/activate", "livejam weights fetch metrics")
"""Done already, or with the network."""


def said(section: str) -> list[str]:
    """The lines of a section's blocks."""
    text = PAGE[PAGE.index(f"## {section}\n") :].partition("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]


def small(line: str) -> str:
    """The same command for a minute on two cores."""
    line = line.replace("--songs 240", "--songs 3").replace(" --partition=gpu --account=music", "")
    line = line.replace("--config configs/quickstart.yaml", f"--config configs/quickstart.yaml {SIZES}")
    return re.sub("^sbatch ", "sbatch --cpus-per-task=1 --mem=4G ", line)


def typed(jobs: Jobs, line: str) -> str:
    """What a command prints that is typed in the checkout, with its environment activated."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=jobs.folder, env=jobs.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def running(jobs: Jobs, line: str) -> Iterator[None]:
    """A server that a command starts."""
    process = subprocess.Popen(line.split(), cwd=jobs.folder, env=jobs.environment, stderr=subprocess.DEVNULL)
    yield
    process.terminate()
    process.wait()


def answer(path: str) -> bytes:
    """What TensorBoard serves, nothing as long as it is starting."""
    try:
        with urllib.request.urlopen(f"http://localhost:6006/{path}", timeout=5) as response:
            return bytes(response.read())
    except OSError:
        return b""


def test_from_the_login_node_to_the_first_curve(jobs: Jobs) -> None:
    jobs = jobs.another("followed")
    (jobs.folder / "cache").unlink()
    lines = [line for line in said("From the login node to the first curve") if line not in NOT_HERE]
    render, submit, queue, tail, board, named = lines
    typed(jobs, small(render))
    job = Job(jobs.cluster, jobs.folder, number_of(typed(jobs, small(submit))), "livejam")
    assert job.number in typed(jobs, queue)
    job.wait()
    assert typed(jobs, tail.replace("1234", job.number)).strip()
    with running(jobs, board.replace("1234", job.number)):
        assert until(lambda: b"train/" in answer("data/plugin/scalars/tags"), 60)
        assert json.loads(answer("data/runs"))
    other = Job(jobs.cluster, jobs.folder, number_of(typed(jobs, small(named))), "demo").wait()
    assert other.root.name == f"demo-{other.number}"
    assert other.iteration == 60


def test_a_timeout_of_ones_own_is_taken(jobs: Jobs) -> None:
    """The command of the section "At full size", on two nodes with one task each."""
    (line,) = [line for line in said("At full size") if "timeout" in line]
    line = line.replace("configs/liveband/slakh.yaml", "configs/quickstart.yaml")
    shape = "sbatch --nodes=2 --ntasks-per-node=1 --gpus-per-node=1 "
    data = words({"data.init_args.root": str(jobs.songs), "data.init_args.cache_root": str(jobs.folder / "cache")})
    few = ["--trainer.max_epochs", "1", "--data.init_args.batches_per_epoch", "2"]
    command = " ".join([small(line).replace("sbatch ", shape, 1), *data, *few])
    job = Job(jobs.cluster, jobs.folder, number_of(typed(jobs, command)), "livejam").wait()
    assert "timeout: 0:10:00" in next(job.root.rglob("config.yaml")).read_text()
