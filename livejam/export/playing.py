"""A whole recording through an exported model, or through the model that it was made of.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.export.model import Reference, StepModel
from livejam.export.onnx_files import OnnxSteps

Step = Callable[[Tensor, int], Tensor]
"""Mix of a block (1AN) and the number of the step → what is played (1AN)."""


def torch_steps(player: Player, instrument: int, seed: int) -> Step:
    """PyTorch's steps, from the first one."""
    reference = Reference(player, instrument, seed)
    return lambda mix_BAN, step: reference.step(mix_BAN)["accompaniment"]


def onnx_steps(model: StepModel, exported: OnnxSteps, instrument: int, seed: int) -> Step:
    """ONNX Runtime's steps, from the first one; the time to draw noise is theirs."""
    exported.begin(instrument)
    return lambda mix_BAN, step: torch.from_numpy(
        exported.step(mix_BAN.numpy(), instrument, model.noise_of(seed, step).numpy())["accompaniment"]
    )


@torch.inference_mode()
def accompaniment(model: StepModel, step: Step, mix_AN: Tensor) -> Tensor:
    """What is played to a recording (AN), where it belongs.

    Args:
        model: says where that is.
        step: before its first step.
        mix_AN: the recording.
    """
    samples, block, first = mix_AN.shape[1], model.block_samples, model.first_output_sample
    steps = -(-max(samples, samples - first) // block)
    padded_AN = torch.nn.functional.pad(mix_AN, (0, steps * block - samples))
    blocks = padded_AN[None].split(block, dim=-1)
    played_AN = torch.cat([step(mix_BAN.contiguous(), number) for number, mix_BAN in enumerate(blocks)], dim=-1)[0]
    return torch.nn.functional.pad(played_AN, (first, 0))[:, :samples]
