"""Exported models, measured: `python -m benchmarks.export [--model NAME] [--steps N] [--precisions float32 int8]`.

`--songs DATA` adds `music`: all precisions play the test songs of a data set, and per precision there are beat F1 of
the drums, chord tones and Fréchet distance (log-mel embeddings) with their difference from PyTorch, its 95 % interval
over songs, and whether it is within 0.01, 0.01 and 5 % (`kept`).

`players` are programs that play a minute of sound to a file, with the time to load the model: `livejam-player` of
`hosts/python`, and those that `--players NAME=COMMAND` names, such as `cpp=build/cpp/livejam-wav`. `largest` is there
the largest difference of a sample from PyTorch's.

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
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch

from livejam.checkpoints.player import load_player
from livejam.cli.export_music import Begin, TestSongs, music_facts, music_lines
from livejam.export.directory import export, open_steps
from livejam.export.model import StepModel, example_mix
from livejam.export.onnx_files import Array, OnnxSteps
from livejam.export.playing import Step, accompaniment, onnx_steps, torch_steps
from livejam.export.precisions import reduce_weights
from livejam.export.signature import PRECISIONS
from livejam.systems.playing import for_playing
from metrics.musical_parity import compared

TURN_STEPS, WARM_STEPS = 20, 20
MEGABYTE, MINUTE = 1e6, 60.0
HOST = Path(__file__).parents[1] / "hosts" / "python"


class Runner:
    """One runtime: what it played, and how long every step took.

    Args:
        step: before its first step.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.seconds: list[float] = []
        self.played: list[Array] = []

    def turn(self, blocks: list[tuple[int, Array]]) -> None:
        """Play some blocks."""
        for number, mix in blocks:
            started = time.perf_counter()
            self.played.append(self.step(torch.from_numpy(mix), number).numpy())
            self.seconds.append(time.perf_counter() - started)

    @property
    def milliseconds(self) -> float:
        """Median of a step after the warm-up."""
        return 1000 * median(self.seconds[WARM_STEPS:])

    @property
    def sound(self) -> Array:
        """All that was played."""
        return np.concatenate(self.played, axis=-1)


def exported(name: str, precisions: list[str], root: Path) -> tuple[StepModel, dict[str, OnnxSteps]]:
    """A model in every precision, each in a folder of its own."""
    model = export(name, root / "whole")
    for precision in precisions:
        shutil.copytree(root / "whole", root / precision)
        for path in (root / precision).glob("*.onnx"):
            reduce_weights(path, precision)
    return model, {precision: open_steps(root / precision) for precision in precisions}


def music(model: StepModel, opened: dict[str, OnnxSteps], songs: Path, items: int) -> dict[str, Any]:
    """How well every precision plays test songs, beside PyTorch."""
    ways: dict[str, Begin] = {"PyTorch": partial(torch_steps, model.player)}
    ways |= {name: partial(onnx_steps, model, one) for name, one in opened.items()}
    reference, *scores = TestSongs(songs, model, items).scores(ways).values()
    facts = {}
    for name, score in zip(opened, scores, strict=True):
        differences = compared(reference, score)
        print("\n".join([name, *music_lines(differences)]), flush=True)
        facts[name] = music_facts(songs, differences)
    return facts


def speed(name: str, model: StepModel, opened: dict[str, OnnxSteps], steps: int, root: Path) -> dict[str, Any]:
    """Step times, sizes and errors."""
    seed = 0
    instrument = model.default_instrument()
    runners = {
        "torch": Runner(torch_steps(model.player, instrument, seed)),
        "torch_packed": Runner(torch_steps(for_playing(load_player(name)), instrument, seed)),
    } | {f"onnx_{name}": Runner(onnx_steps(model, one, instrument, seed)) for name, one in opened.items()}
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


def players(model: StepModel, folder: Path, named: Sequence[str], root: Path) -> dict[str, dict[str, float]]:
    """Times real time and largest difference of every program that plays a file."""
    rate, instrument = model.player.codec.spec.sample_rate_hz, model.default_instrument()
    mix_AN = example_mix(model, round(MINUTE * rate / model.block_samples))[0]
    wanted_AN = accompaniment(model, torch_steps(model.player, instrument, 0), mix_AN).numpy()
    soundfile.write(root / "mix.wav", mix_AN.numpy().T, rate, subtype="FLOAT")
    commands = {"livejam-player": f"{sys.executable} -m livejam_player.cli"} | dict(one.split("=", 1) for one in named)
    facts: dict[str, dict[str, float]] = {}
    for name, command in commands.items():
        out = root / f"{len(facts)}.wav"
        given = ["--model", str(folder), "--mix", str(root / "mix.wav"), "--out", str(out), "--seed", "0"]
        started = time.perf_counter()
        subprocess.run([*shlex.split(command), *given], check=True, env=os.environ | {"PYTHONPATH": str(HOST)})
        seconds = time.perf_counter() - started
        made_AN = soundfile.read(out, dtype="float32", always_2d=True)[0].T
        largest = float(np.abs(made_AN - wanted_AN).max())
        facts[name] = {"real_time_factor": round(mix_AN.shape[1] / rate / seconds, 1), "largest": largest}
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
    parser.add_argument(
        "--players", nargs="+", default=[], metavar="NAME=COMMAND", help="other programs that play files"
    )
    parser.add_argument("--songs", type=Path, help="data set whose test songs are played too (takes long)")
    parser.add_argument("--items", type=int, default=96, help="stems of these songs that are played, 20 s each")
    given = parser.parse_args()
    torch.set_num_threads(1)
    steps = max(given.steps, 2 * WARM_STEPS) // TURN_STEPS * TURN_STEPS
    with tempfile.TemporaryDirectory() as folder:
        model, opened = exported(given.model, given.precisions, Path(folder))
        facts = speed(given.model, model, opened, steps, Path(folder))
        if "float32" in opened:
            facts["players"] = players(model, Path(folder) / "float32", given.players, Path(folder))
        if given.songs:
            facts["music"] = music(model, opened, given.songs, given.items)
    print(json.dumps({"model": given.model, "steps": steps, **facts}))


if __name__ == "__main__":
    main()
