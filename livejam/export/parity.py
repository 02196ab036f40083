"""Whether what was exported plays what PyTorch plays, step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, isfinite

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.export.model import COMPARED, Reference, StepModel, example_controls, example_mix
from livejam.export.onnx_files import OnnxSteps
from livejam.export.signature import PRECISIONS

LARGEST = {"mix_latents": 5e-3, "accompaniment_latents": 1e-3, "accompaniment": 1e-4}
"""Differences in float32 that are no fault: of samples, and of latents, whose standard deviation is about 1.

The encoder takes the square root of the energy that falls on a pitch. Where that is hardly any, its rounding shows, and
two processors differ as much in PyTorch. So every graph is compared by itself.
"""

NUDGE = 1e-6
"""A model that listens to its own past and is guided strongly may make much of little: what it hears is changed by this
share to see how much, which is some of float32's steps."""

ROUNDINGS = 10.0
"""A graph may differ by so many times as much as PyTorch does from itself then, up to the step in question."""


@dataclass(frozen=True)
class Difference:
    """The largest difference of a tensor.

    Args:
        tensor: its name.
        step: where it is.
        value: of the numbers, in terms of the largest one of the step if that is beyond 1.
    """

    tensor: str
    step: int
    value: float


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Args:
        steps: that were played, each side on its own memory.
        course: of every tensor that is compared, the differences of all steps.
        torch_ms: mean time of a step in PyTorch.
        onnx_ms: the same in ONNX Runtime.
    """

    steps: int
    course: Mapping[str, tuple[float, ...]]
    torch_ms: float
    onnx_ms: float

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The largest of every tensor; one that is not a number is the largest."""
        worst = (
            (name, max(range(self.steps), key=lambda n: _ordered(course[n]))) for name, course in self.course.items()
        )
        return tuple(Difference(name, step, self.course[name][step]) for name, step in worst)

    @property
    def is_rounding(self) -> bool:
        """Whether no difference is larger than those that are no fault."""
        return all(found.value <= LARGEST[found.tensor] for found in self.differences)

    def require(self, own: Mapping[str, Sequence[float]]) -> None:
        """Refuse differences that are no rounding.

        Args:
            own: of every tensor, by how much PyTorch differs from itself in every step.

        Raises:
            UserError: names the tensor and the step.
        """
        for name, course in self.course.items():
            for step, (value, widest) in enumerate(zip(course, accumulate(own[name], max), strict=True)):
                largest = LARGEST[name] + ROUNDINGS * widest
                if not value <= largest:
                    raise UserError(
                        f"the exported model differs from PyTorch by {value:.2g} in {name} at step {step} of "
                        f"{self.steps} (at most {largest:.2g} is right); please report this with the model"
                    )


def checked(model: StepModel, exported: OnnxSteps, steps: int) -> Parity:
    """Compare, and refuse what is no rounding; smaller weights differ, and it is said by how much.

    Raises:
        UserError: a model with all of its weights plays something else.
    """
    parity = compare(model, exported, steps)
    if exported.signature.precision == PRECISIONS[0] and not parity.is_rounding:
        parity.require(roundings(model, steps))
    return parity


def compare(model: StepModel, exported: OnnxSteps, steps: int, seed: int = 0) -> Parity:
    """Let both play to the same mix, each on its own memory, while every graph hears what PyTorch's stage hears.

    Models that take words or sketches are asked for others from time to time, and for none.

    Args:
        model: in PyTorch.
        exported: the same in ONNX Runtime, in any state.
        steps: how many.
        seed: of the noise.
    """
    instrument = model.default_instrument()
    reference = Reference(model.player, instrument, seed)
    exported.begin(instrument)
    course: dict[str, list[float]] = {name: [] for name in COMPARED}
    seconds = [0.0, 0.0]
    with torch.inference_mode():
        for step, mix_BAN in enumerate(_blocks(model, steps)):
            controls = example_controls(model, step, seed)
            asked = {name: control.numpy() for name, control in controls.items()}
            reference.ask(controls)
            started = time.perf_counter()
            wanted = reference.step(mix_BAN)
            middle = time.perf_counter()
            heard = {name: wanted[name].numpy() for name in COMPARED[:-1]}
            made = exported.step(mix_BAN.numpy(), instrument, model.noise_of(seed, step).numpy(), heard, asked)
            seconds = [seconds[0] + middle - started, seconds[1] + time.perf_counter() - middle]
            for name in COMPARED:
                course[name].append(_apart(torch.from_numpy(made[name]), wanted[name]))
    courses = {name: tuple(values) for name, values in course.items()}
    return Parity(steps, courses, *(1000 * total / steps for total in seconds))


def roundings(model: StepModel, steps: int, seed: int = 0) -> dict[str, list[float]]:
    """By how much PyTorch differs from itself in every step if all that it hears is changed by next to nothing.

    Args:
        model: in PyTorch.
        steps: how many, of those of `compare`.
        seed: of the noise.
    """
    instrument = model.default_instrument()
    one, other = (Reference(model.player, instrument, seed) for _ in range(2))
    course: dict[str, list[float]] = {name: [] for name in COMPARED}
    with torch.inference_mode():
        for step, mix_BAN in enumerate(_blocks(model, steps)):
            controls = example_controls(model, step, seed)
            one.ask(controls)
            other.ask(controls)
            wanted, found = one.step(mix_BAN), other.step(mix_BAN * (1 + NUDGE))
            for name in COMPARED:
                course[name].append(_apart(found[name], wanted[name]))
    return course


def _ordered(value: float) -> float:
    return value if isfinite(value) else inf


def _apart(made: Tensor, wanted: Tensor) -> float:
    """The largest difference; of numbers beyond 1, as of an untrained model's sound, in terms of the largest."""
    return float((made - wanted).abs().max() / wanted.abs().max().clamp(min=1))


def _blocks(model: StepModel, steps: int) -> Iterator[Tensor]:
    """The mix of every step, with a bar if it takes long."""
    from tqdm import tqdm

    piece = 64
    with tqdm(total=steps, unit="step", desc="comparing", delay=2, leave=False, disable=None, file=sys.stderr) as bar:
        for start in range(0, steps, piece):
            count = min(piece, steps - start)
            mix_BAN = example_mix(model, count, seed=start)
            for block_BAN in mix_BAN.split(model.block_samples, dim=-1):
                yield block_BAN.contiguous()
                bar.update()
