"""Low-rank adaptation (LoRA, Hu et al. 2022): a trained network is tuned by small matrices beside its large ones.

Shapes: I inputs and O outputs of a linear map, R rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch.nn.functional as F
from torch import Tensor, nn

from livejam.errors import UserError


class AdaptedLinear(nn.Module):
    """A linear map W that is frozen, and α/R · up · down beside it (equation 3). It begins as W: up is zero.

    `livejam.checkpoints.file.merged` knows its parts by their names.

    Args:
        linear: W and its bias.
        rank: R, from 1 to the smaller side of W.
        alpha: α, above 0: the strength of the update, independent of the rank.
    """

    lora_scale: Tensor

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        weight_OI = linear.weight
        self.lora_down_RI = nn.Parameter(weight_OI.new_empty(rank, linear.in_features))
        self.lora_up_OR = nn.Parameter(weight_OI.new_zeros(linear.out_features, rank))
        # merging the weights of a checkpoint needs nothing else
        self.register_buffer("lora_scale", weight_OI.new_tensor(alpha / rank))
        nn.init.kaiming_uniform_(self.lora_down_RI, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        update: Tensor = F.linear(F.linear(x, self.lora_down_RI), self.lora_up_OR)
        out: Tensor = self.linear(x) + self.lora_scale * update
        return out


@dataclass(frozen=True)
class LoRA:
    """Which linear maps of a network are adapted, and how.

    Args:
        rank: R of every update, at least 0; with 0 nothing is adapted, and `also` alone is trained.
        alpha: α, above 0; the update is scaled by α/R, so that the learning rate need not change with the rank.
        targets: patterns of the names of linear maps, as in a shell: `*` stands for anything.
        also: patterns of the names of modules that are trained as a whole: one that begins at zero has nothing worth
            keeping.
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ("*blocks.*.project_*",)
    also: tuple[str, ...] = ("*project_given",)

    def __post_init__(self) -> None:
        if self.rank < 0 or not 0 < self.alpha < math.inf:
            raise UserError(
                f"LoRA has rank {self.rank} and alpha {self.alpha}; rank must be 0 or more, alpha a number above 0"
            )

    def adapt(self, network: nn.Module) -> None:
        """Freeze a network, put updates beside the chosen linear maps, and train only these.

        Args:
            network: a trained network; changed in place, but still the same function.

        Raises:
            UserError: a pattern matches nothing, or the rank is larger than a map.
        """
        network.requires_grad_(False)
        modules = dict(network.named_modules())
        linears = {name: module for name, module in modules.items() if isinstance(module, nn.Linear)}
        for name in _meant(self.also, modules, "also"):
            modules[name].requires_grad_(True)
        for name in _meant(self.targets, linears, "targets") if self.rank else ():
            linear, (owner, _, own_name) = linears[name], name.rpartition(".")
            if min(linear.weight.shape) < self.rank:
                raise UserError(f"LoRA's rank {self.rank} is larger than {name} ({_sides(linear)}); lower it")
            setattr(modules[owner], own_name, AdaptedLinear(linear, self.rank, self.alpha))


def _meant(patterns: Sequence[str], names: Mapping[str, nn.Module], option: str) -> list[str]:
    """All names that match one of the patterns."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            known = ", ".join(sorted({name.rpartition(".")[2] for name in names if name})[:12])
            raise UserError(f"LoRA's {option} name {pattern}, but nothing here is called so; there are {known}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _sides(linear: nn.Linear) -> str:
    return f"{linear.out_features} × {linear.in_features}"
