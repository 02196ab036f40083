"""Seeds and grids as docs/cluster.md runs them: the array job, and submitit's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import REPOSITORY

from lightning_modules import cli

SAID = (REPOSITORY / "docs/cluster.md").read_text(encoding="utf-8")


def written(name: str) -> str:
    """The loop of the page that writes a file."""
    blocks = re.findall(r"```bash\n(.*?)```", SAID, flags=re.DOTALL)
    (block,) = [block for block in blocks if f"> {name}" in block]
    return block[: block.index("sbatch")]


@pytest.fixture
def on_the_path(tmp_path: Path) -> dict[str, str]:
    """Stand-ins that say what they were given: `srun`, and `lightning` for the processes that submitit starts."""
    for name in ("srun", "lightning"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/bash\necho "{name}" "$@" >> "{tmp_path}/said.txt"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("name", "task", "lines", "folder"),
    [
        ("seeds.txt", 2, 3, "runs/quickstart_seed_2"),
        ("grid.txt", 12, 12, "runs/quickstart_no_sink_lr_5.0e-4_seed_3"),
    ],
)
def test_a_task_of_the_array_trains_and_tests_its_line_in_its_own_folder(
    name: str,
    task: int,
    lines: int,
    folder: str,
    tmp_path: Path,
    on_the_path: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run(["bash", "-c", written(name)], check=True)
    assert len(Path(name).read_text().splitlines()) == lines
    job = {**on_the_path, "SLURM_ARRAY_TASK_ID": str(task)}
    script = ["bash", str(REPOSITORY / "configs/slurm/sweep.sbatch"), name, "--config", "quickstart"]
    subprocess.run(script, check=True, env=job)
    fit, test = (shlex.split(line)[2:] for line in Path("said.txt").read_text().splitlines())
    assert (fit[0], test[0], test[-2:]) == ("fit", "test", ["--ckpt_path", "last"])
    monkeypatch.setattr("sys.argv", ["lightning", *fit, "--print_config"])
    with pytest.raises(SystemExit):
        cli.main()
    config = yaml.safe_load(capfd.readouterr().out)
    assert config["trainer"]["default_root_dir"] == folder
    assert config["trainer"]["plugins"][0]["init_args"]["auto_requeue"] is True
    assert config["seed_everything"] == config["model"]["init_args"]["seed"] == int(folder[-1])
    done = subprocess.run(script, env={**job, "SLURM_ARRAY_TASK_ID": "99"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"{name} has no line 99\n")


def test_submitit_runs_the_grid_of_the_page(
    tmp_path: Path, on_the_path: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's own code, with the executor that runs jobs in this process, one after the other."""
    submitit: Any = pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", on_the_path["PATH"])
    automatic: Callable[..., Any] = submitit.AutoExecutor
    monkeypatch.setattr(submitit, "AutoExecutor", lambda folder: automatic(folder, cluster="debug"))
    (block,) = re.findall(r"```python\n(.*?)```", SAID, flags=re.DOTALL)
    exec(compile(block, "docs/cluster.md", "exec"), {})
    said = [shlex.split(line)[1:] for line in Path("said.txt").read_text().splitlines()]
    assert [words[0] for words in said] == ["fit", "test"] * 6
    assert {words[words.index("--variant+") + 1] for words in said} == {"seed_1", "seed_2", "seed_3"}
