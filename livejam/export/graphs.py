"""A graph of one step: tensors in, tensors out, and every state among both.

Shapes: of every tensor in its graph's docstring; the batch is always 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn

NEXT = "next_"
"""`next_x` is the state `x` after the step."""


class StepGraph(nn.Module, ABC):
    """One stage of a step, in operations that every runtime has: no complex numbers, and no integers above 32 bits.

    `forward` takes `inputs`, then the controls and then the states, and gives the output and then the next states.

    Args:
        name: the stage.
        inputs: an example of every input by its name, in order.
        output: name of what it gives.
        states: the states before the first step by their names, in order.
        begun: for every class index of instruments, states that differ from those if it is the first one to play;
            empty = none does.
        controls: what else may be asked of it in every step, by its name, in order: the values that ask for nothing.
    """

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Tensor],
        output: str,
        states: Mapping[str, Tensor],
        begun: Sequence[Mapping[str, Tensor]] = (),
        controls: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.begun, self.controls = begun, dict(controls)
        self.name, self.inputs, self.output, self.states = name, dict(inputs), output, dict(states)

    @abstractmethod
    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """One step."""

    @property
    def input_names(self) -> list[str]:
        """Names of all that it takes."""
        return [*self.inputs, *self.controls, *self.states]

    @property
    def output_names(self) -> list[str]:
        """Names of all that it gives."""
        return [self.output, *(NEXT + name for name in self.states)]

    def examples(self) -> tuple[Tensor, ...]:
        """Something that it can take."""
        return (*self.inputs.values(), *self.controls.values(), *self.states.values())

    def step(self, values: dict[str, Tensor]) -> None:
        """Take the inputs, controls and states from `values`, and put the output and the next states there."""
        given = self(*(values[name] for name in self.input_names))
        values |= dict(zip([self.output, *self.states], given, strict=True))


def in_order(graphs: Sequence[StepGraph], values: dict[str, Tensor]) -> None:
    """One step of all graphs."""
    for graph in graphs:
        graph.step(values)


def finite(x: Tensor) -> Tensor:
    """0 in the place of NaN and infinity."""
    return torch.where(x.abs() <= torch.finfo(x.dtype).max, x, 0.0)
