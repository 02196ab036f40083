"""The console scripts say how threads wait before PyTorch is loaded; what a user says counts for more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from livejam.cli.start import OWN_CHOICES, SPINS

REPOSITORY = Path(__file__).parents[3]
COMMAND = """
import sys
from livejam.cli import start
assert "torch" not in sys.modules
sys.argv[1:] = ["describe", "missing.ckpt"]
status = start.livejam()
assert "torch" in sys.modules
sys.exit(status)
"""


def test_both_commands_begin_there() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert 'lightning = "livejam.cli.start:lightning"\nlivejam = "livejam.cli.start:livejam"\n' in project


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other OpenMPs")
@pytest.mark.parametrize(("own", "said"), [({}, SPINS), ({"OMP_WAIT_POLICY": "passive"}, "0")])
def test_openmp_hears_it(own: dict[str, str], said: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in OWN_CHOICES}
    environment = {**clean, **own, "OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", COMMAND], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 2, "there is no such checkpoint"
    assert f"GOMP_SPINCOUNT = '{said}'" in run.stderr


@pytest.mark.parametrize("words", [["--help"], ["data", "import", "--help"], ["data", "index", "missing"]])
def test_commands_that_need_no_pytorch_load_none(words: list[str]) -> None:
    code = f"import sys; from livejam.cli.main import main\ntry: main({words})\nexcept SystemExit: pass\n"
    code += "import datamodules.importing, datamodules.pocket_slakh.render, datamodules.slakh_archives\n"
    code += "print({'torch', 'lightning', 'scipy'} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
