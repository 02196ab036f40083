"""The unconditional side of classifier-free guidance: what the model is not told there.

Shapes: B batch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.networks.diffusion_conditions import DiffusionConditions


@dataclass(frozen=True)
class Unconditional:
    """What guidance's unconditional side does without. It always knows what was played, and the duration.

    LMDM's public code drops the prompt alone, so that guidance strengthens the prompt. Without the mix as well it
    strengthens both. Train what is used: `FlowMatching` says how.

    Args:
        without_prompt: it is not told what to play.
        without_mix: it does not hear the mix.

    Raises:
        UserError: it is told everything, so that there is nothing to guide away from.
    """

    without_prompt: bool
    without_mix: bool

    def __post_init__(self) -> None:
        if not (self.without_prompt or self.without_mix):
            raise UserError(
                "guidance's unconditional side is told everything; set without_prompt or without_mix to true, "
                "or guidance to 1"
            )

    def of(self, conditions: DiffusionConditions) -> DiffusionConditions:
        """All rows as the unconditional side is told them."""
        names = [name for name in self._dropped if getattr(conditions, name) is not None]
        return dataclasses.replace(conditions, **{name: torch.zeros_like(getattr(conditions, name)) for name in names})

    def in_rows(self, dropped_B: Tensor, conditions: DiffusionConditions) -> DiffusionConditions:
        """Some rows (bool) as the unconditional side is told them, as training draws them."""
        other, changed = self.of(conditions), {}
        for name in self._dropped:
            told = getattr(conditions, name)
            if told is not None:
                changed[name] = torch.where(dropped_B.view(-1, *[1] * (told.ndim - 1)), getattr(other, name), told)
        return dataclasses.replace(conditions, **changed)

    def beside(self, conditions: DiffusionConditions) -> DiffusionConditions:
        """Rows of the conditions, then as many of the unconditional side, for guidance in one call (2B rows)."""
        other, both = self.of(conditions), {}
        for field in dataclasses.fields(conditions):
            first = getattr(conditions, field.name)
            both[field.name] = None if first is None else torch.cat((first, getattr(other, field.name)))
        return DiffusionConditions(**both)

    @property
    def _dropped(self) -> tuple[str, ...]:
        """Fields of the conditions that are 0 here."""
        prompt = ("prompt_BPD", "prompt_mask_BP") if self.without_prompt else ()
        return (*prompt, "mix_BTC", "mix_mask_BT") if self.without_mix else prompt


NOTHING_ASKED = Unconditional(without_prompt=True, without_mix=True)
"""Neither prompt nor mix: what every model was guided with that does not say otherwise."""
