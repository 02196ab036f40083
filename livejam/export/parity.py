"""Whether what was exported plays what PyTorch plays, step by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

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
        differences: of every tensor that is compared.
        torch_ms: mean time of a step in PyTorch.
        onnx_ms: the same in ONNX Runtime.
    """

    steps: int
    differences: tuple[Difference, ...]
    torch_ms: float
    onnx_ms: float

    def require(self, largest: Mapping[str, float] = MappingProxyType(LARGEST)) -> None:
        """Refuse larger differences.

        Raises:
            UserError: names the tensor and the step.
        """
        for found in self.differences:
            if not found.value <= largest[found.tensor]:
                raise UserError(
                    f"the exported model differs from PyTorch by {found.value:.2g} in {found.tensor} at step "
                    f"{found.step} of {self.steps} (at most {largest[found.tensor]:g} is right); please report this "
                    "with the model"
                )


def checked(model: StepModel, exported: OnnxSteps, steps: int) -> Parity:
    """Compare, and refuse what is no rounding; smaller weights differ, and it is said by how much.

    Raises:
        UserError: a model with all of its weights plays something else.
    """
    parity = compare(model, exported, steps)
    if exported.signature.precision == PRECISIONS[0]:
        parity.require()
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
    worst = {name: Difference(name, 0, 0.0) for name in COMPARED}
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
                value = _apart(torch.from_numpy(made[name]), wanted[name])
                if not value <= worst[name].value and isfinite(worst[name].value):
                    worst[name] = Difference(name, step, value)
    return Parity(steps, tuple(worst.values()), *(1000 * total / steps for total in seconds))


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
