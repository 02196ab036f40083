"""A wheel needs no repository: it holds the configs, and the command finds them by name from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from commands import REPOSITORY

PACKAGES = ("livejam", "lightning_modules", "datamodules", "callbacks", "metrics", "configs")

FROM_NOWHERE = """
import sys
import livejam
from datamodules.splits import SplitByFile
from lightning_modules.cli import main
from livejam.cli.main import main as livejam_main

print("from", livejam.__file__, file=sys.stderr)
print("split", SplitByFile("configs/cocola/pocket_songs.json").split_of("Track00002", None), file=sys.stderr)
print("copy", livejam_main(["configs", "copy", "slurm/single.sbatch", "copied"]), file=sys.stderr)
sys.argv = ["lightning", "fit", "--config", "lmdm/blockcausal_pocket", "--config", "overlays/best", "--print_config"]
sys.exit(main())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip unpacks of the wheel that it builds."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    build = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(source)]
    subprocess.run(build, check=True, capture_output=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def files(root: Path) -> set[str]:
    found = [path for name in PACKAGES for path in (root / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(root)) for path in found if "__pycache__" not in path.parts}


def test_it_holds_all_that_the_repository_has(installed: Path) -> None:
    assert not files(REPOSITORY) - files(installed)


def test_configs_are_found_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FROM_NOWHERE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert f"from {installed}" in done.stderr
    assert "split validation\ncopy 0\n" in done.stderr
    assert (tmp_path / "copied/single.sbatch").is_file()
    config = yaml.safe_load(done.stdout.partition("\n")[2])
    assert config["trainer"]["default_root_dir"] == "runs/lmdm_blockcausal_pocket"
    mask = config["model"]["init_args"]["generator"]["init_args"]["transformer"]["init_args"]["mask"]
    assert mask["init_args"]["context_blocks"] == 5
