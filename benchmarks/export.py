"""Exported models, measured: `python -m benchmarks.export [--model NAME] [--steps N] [--precisions float32 int8]`.

Exports a model in every precision, and lets PyTorch and ONNX Runtime take turns of a few steps on the same sound in one
thread, so that all meet the same machine. The last line is one JSON object. `step_ms` is the median of a whole step
from sound to sound, by runtime and precision. `onnx_speedup` is
PyTorch's eager step over ONNX Runtime's in float32, `packed_speedup` the same of the layout that `livejam play` uses;
`int8_speedup` is ONNX Runtime's step in float32 over that in int8. `error` is the root mean square difference of the
sound from PyTorch's over the sound's, `largest` the largest difference of a sample. `megabytes` are the three graphs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from livejam.checkpoints.player import load_player
from livejam.export.directory import export, open_steps
from livejam.export.model import Reference, StepModel, example_mix
from livejam.export.onnx_files import Array, OnnxSteps
from livejam.export.precisions import reduce_weights
from livejam.export.signature import PRECISIONS
from livejam.systems.playing import for_playing

TURN_STEPS, WARM_STEPS = 20, 20
MEGABYTE = 1e6


class Runner:
    """One runtime: what it played, and how long every step took.

    Args:
        step: mix of a block, and its number → what is played.
    """

    def __init__(self, step: Any) -> None:
        self.step = step
        self.seconds: list[float] = []
        self.played: list[Array] = []

    def turn(self, blocks: list[tuple[int, Array]]) -> None:
        """Play some blocks."""
        for number, mix in blocks:
            started = time.perf_counter()
            self.played.append(self.step(mix, number))
            self.seconds.append(time.perf_counter() - started)

    @property
    def milliseconds(self) -> float:
        """Median of a step after the warm-up."""
        return 1000 * median(self.seconds[WARM_STEPS:])

    @property
    def sound(self) -> Array:
        """All that was played."""
        return np.concatenate(self.played, axis=-1)


def torch_runner(reference: Reference) -> Runner:
    """PyTorch as it is."""
    return Runner(lambda mix, number: reference.step(torch.from_numpy(mix))["accompaniment"].numpy())


def onnx_runner(model: StepModel, steps: OnnxSteps, instrument: int, seed: int) -> Runner:
    """ONNX Runtime; the time to draw noise counts."""
    steps.begin(instrument)
    return Runner(
        lambda mix, number: steps.step(mix, instrument, model.noise_of(seed, number).numpy())["accompaniment"]
    )


def measured(name: str, precisions: list[str], steps: int, root: Path) -> dict[str, Any]:
    """All numbers of a model."""
    seed = 0
    model = export(name, root / "whole")
    for precision in precisions:
        shutil.copytree(root / "whole", root / precision)
        for path in (root / precision).glob("*.onnx"):
            reduce_weights(path, precision)
    opened = {precision: open_steps(root / precision) for precision in precisions}
    instrument = model.default_instrument()
    runners = {
        "torch": torch_runner(Reference(model.player, instrument, seed)),
        "torch_packed": torch_runner(Reference(for_playing(load_player(name)), instrument, seed)),
    } | {f"onnx_{name}": onnx_runner(model, one, instrument, seed) for name, one in opened.items()}
    mix = example_mix(model, steps).numpy()
    blocks = list(enumerate(np.split(mix, steps, axis=-1)))
    with torch.inference_mode():
        for start in range(0, steps, TURN_STEPS):
            for runner in runners.values():
                runner.turn(
                    [(number, np.ascontiguousarray(block)) for number, block in blocks[start : start + TURN_STEPS]]
                )
    return _facts(model, runners, opened, root)


def _facts(model: StepModel, runners: dict[str, Runner], opened: dict[str, OnnxSteps], root: Path) -> dict[str, Any]:
    wanted = runners["torch"].sound
    step_ms = {name: round(runner.milliseconds, 3) for name, runner in runners.items()}
    spec = model.player.codec.spec
    block_ms = 1000 * model.block_samples / spec.sample_rate_hz
    facts: dict[str, Any] = {
        "block_ms": round(block_ms, 2),
        "step_ms": step_ms,
        "real_time_factor": {name: round(block_ms / value, 1) for name, value in step_ms.items()},
        "megabytes": {name: round(_megabytes(root / name), 2) for name in opened},
        "largest": {name: float(np.abs(runners[f"onnx_{name}"].sound - wanted).max()) for name in opened},
        "error": {name: _relative(runners[f"onnx_{name}"].sound, wanted) for name in opened},
    }
    if "float32" in opened:
        own = step_ms["onnx_float32"]
        facts["onnx_speedup"] = round(step_ms["torch"] / own, 2)
        facts["packed_speedup"] = round(step_ms["torch_packed"] / own, 2)
        if "int8" in opened:
            facts["int8_speedup"] = round(own / step_ms["onnx_int8"], 2)
    return facts


def _relative(made: Array, wanted: Array) -> float:
    return float(np.sqrt(np.mean((made - wanted) ** 2) / np.mean(wanted**2)))


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.glob("*.onnx")) / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="liveband-pocket", help="a checkpoint, or the name of a bundled model")
    parser.add_argument("--steps", type=int, default=400, help="that every runtime plays")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps = max(given.steps, 2 * WARM_STEPS) // TURN_STEPS * TURN_STEPS
    with tempfile.TemporaryDirectory() as folder:
        facts = measured(given.model, given.precisions, steps, Path(folder))
    print(json.dumps({"model": given.model, "steps": steps, **facts}))


if __name__ == "__main__":
    main()
