"""`pip install .` without extras: everything can be imported, recipes train, and what is missing has a name.

Where tests run, the extras are installed. A folder of links to the core dependencies, and to what these need, is the
only place of packages of a process that stands for a machine without them.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from commands import REPOSITORY, relative
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from slakh_tree import write_tree
from test_imports import MODULES, SERVERS, imports, roots

tomllib = pytest.importorskip("tomllib")


def core_dependencies() -> set[str]:
    """The distributions that `pip install .` brings."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: set[tuple[str, frozenset[str]]] = set()
    wanted = [Requirement(line) for line in project["dependencies"]]
    while wanted:
        one = wanted.pop()
        key = canonicalize_name(one.name), frozenset(one.extras)
        if key not in found:
            found.add(key)
            wanted += _needs(one)
    return {name for name, _ in found}


def _needs(one: Requirement) -> list[Requirement]:
    """What a distribution requires here, with its extras."""
    try:
        lines = distribution(one.name).requires or []
    except PackageNotFoundError:
        return []  # for another platform
    extras = {"", *one.extras}
    needs = [Requirement(line) for line in lines]
    return [n for n in needs if n.marker is None or any(n.marker.evaluate({"extra": extra}) for extra in extras)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the core dependencies."""
    folder = tmp_path_factory.mktemp("packages")
    for name in core_dependencies():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        tops = {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
    assert (folder / "torch").exists()
    assert not (folder / "madmom").exists()
    return folder


SCRIPT = """
import importlib, sys

for name in {modules}:
    importlib.import_module(name)
print("imported", flush=True)

from lightning_modules.cli import main

def command(*arguments):
    sys.argv = ["lightning", "fit", *arguments]
    return main()

configs = ["--config", "configs/quickstart.yaml", "--config", "tests/tiny/R3GAN.yaml"]
print("status", command(*configs), flush=True)
print("status", command(*configs, "--config", {others!r}), flush=True)
"""
MONITORS = """
trainer:
  check_val_every_n_epoch: 1
  callbacks:
    - class_path: callbacks.HarmonyMonitor
    - class_path: callbacks.FADMonitor
    - class_path: callbacks.COCOLAMonitor
    - class_path: callbacks.AudioLogger
    - class_path: callbacks.ResultsTable
"""


def test_without_extras_everything_is_imported_and_recipes_train(packages: Path, tmp_path: Path) -> None:
    """The quickstart tracks beats, so it names the extra, before anything is trained; without them it runs."""
    # what only a server loads, which is what its extra is for
    plain = [path for path in MODULES if not roots(imports(path, at_module_scope=True)) & (SERVERS | {"anyio"})]
    names = [relative(path.with_suffix("")).replace("/", ".").removesuffix(".__init__") for path in plain]
    others = tmp_path / "monitors.yaml"
    others.write_text(MONITORS)
    songs = write_tree(tmp_path / "songs", train=2, seconds=15.0)
    done = subprocess.run(
        [sys.executable, "-S", "-c", SCRIPT.format(modules=names, others=str(others))],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=REPOSITORY,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "PYTHONPATH": f"{packages}:{REPOSITORY}",
            "OMP_NUM_THREADS": "1",
            "TINY_SONGS": str(songs),
            "TINY_CACHE": str(tmp_path / "cache"),
            "TINY_ROOT": str(tmp_path / "run"),
        },
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(("imported", "status"))]
    assert said == ["imported", "status 2", "status 0"], done.stderr[-2000:]
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert message.startswith("error: beat tracking needs madmom")
    assert "pip install 'livejam[metrics]'" in message
    assert "Traceback" not in done.stderr
    assert "val/fad/log_mel" in (tmp_path / "run/metrics.csv").read_text()
