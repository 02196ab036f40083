"""One exported model for all tests of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_band import lmdm_checkpoint

from livejam.cli.main import main
from livejam.sketch import SketchTraining


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled LiveBand, by the command, which compares it with PyTorch."""
    folder = tmp_path_factory.mktemp("export") / "pocket"
    assert main(["export", "--checkpoint", "liveband-pocket", "--out", str(folder), "--parity-steps", "200"]) == 0
    return folder


@pytest.fixture(scope="session")
def delay_checkpoint(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped pocket LMDM, trained for a moment: a generator of its real size, which plays at a usual level."""
    run = tmp_path_factory.mktemp("lmdm")
    settings = {"data.init_args.root": rendered_songs, "data.init_args.batches_per_epoch": 20, "trainer.max_epochs": 1}
    settings |= {"trainer.limit_val_batches": 0, "trainer.default_root_dir": run}
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "lightning_modules.cli", "fit", "--config", "configs/lmdm/encdec_pocket.yaml"]
    done = subprocess.run([*command, *words], cwd=CPP.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="session")
def delay(delay_checkpoint: Path) -> Path:
    """That LMDM as a generative delay, by the command."""
    folder = delay_checkpoint.parents[1] / "delay"
    command = ["export", "--checkpoint", str(delay_checkpoint), "--out", str(folder), "--cutoff", "1"]
    assert main([*command, "--parity-steps", "20"]) == 0
    return folder


@pytest.fixture(scope="session")
def sketch_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained LMDM that takes words and follows sketches."""
    return lmdm_checkpoint(tmp_path_factory.mktemp("controls") / "sketch.ckpt", sketch=SketchTraining())


@pytest.fixture(scope="session")
def sketch_model(sketch_checkpoint: Path) -> Path:
    """That LMDM, by the command, which asks for words and sketches while it compares it with PyTorch."""
    folder = sketch_checkpoint.parent / "exported"
    command = ["export", "--checkpoint", str(sketch_checkpoint), "--out", str(folder), "--prompt", "Jazz Piano"]
    assert main([*command, "--parity-steps", "48"]) == 0
    return folder


CPP = Path(__file__).parents[3] / "hosts" / "cpp"
NEEDED = {"cmake": "cmake", "c++": "g++", "nlohmann/json.hpp": "nlohmann-json3-dev", "sndfile.h": "libsndfile1-dev"}
INCLUDES = ("/usr/include", "/usr/include/pd", "/usr/local/include", "/opt/homebrew/include")


def has(name: str) -> bool:
    """Whether a program or a header is installed."""
    return shutil.which(name) is not None or any(Path(folder, name).is_file() for folder in INCLUDES)


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    """Compile the C++ player in a folder, with CMake's options."""
    missing = [package for name, package in NEEDED.items() if not has(name)]
    if missing:
        pytest.skip(f"the C++ player cannot be compiled here (apt install {' '.join(missing)})")

    def compiled(folder: Path, *options: str) -> Path:
        configure = ["cmake", "-S", CPP, "-B", folder, "-DLIVEJAM_TESTS=ON", f"-DPython3_EXECUTABLE={sys.executable}"]
        for command in ([*configure, *options], ["cmake", "--build", folder, "-j2"]):
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stdout + run.stderr
            assert "warning:" not in run.stdout + run.stderr
        return folder

    return compiled


@pytest.fixture(scope="session")
def programs(
    build: Callable[..., Path],
    exported: Path,
    delay: Path,
    sketch_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """livejam-wav, what its tests run, and the objects for the other programs that are here."""
    options = ["-DLIVEJAM_PD=ON"] if has("m_pd.h") else []
    if has("lv2/core/lv2.h"):
        options.append(f"-DLIVEJAM_MODEL={exported};{delay};{sketch_model}")
    return build(tmp_path_factory.mktemp("cpp"), *options)
