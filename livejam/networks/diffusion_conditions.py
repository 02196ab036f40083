"""The conditions of a diffusion transformer, from context to global embedding, and what guidance leaves out.

Shapes: B batch, T latent frames of the whole window (context, then block), C latent channels, P prompt tokens,
D channels of an embedding, K channels and G controls of a sketch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livejam.errors import UserError

SKETCH = ("sketch_BTK", "sketch_mask_BTG")
"""Fields of the conditions that are a sketch."""


@dataclass(frozen=True)
class DiffusionConditions:
    """Conditions of a batch of windows; None if a model has no such input, or none is given.

    Args:
        context_BTC: clean latents on context frames, 0 on frames to generate. None: nothing is given.
        context_mask_BT: 1 on given context frames, 0 on frames to generate. Dropped context is 0 under a 1.
        mix_BTC: latents of what the musician plays, 0 from the cutoff on.
        mix_mask_BT: 1 on the frames before the cutoff.
        prompt_BPD: embeddings of the prompt's tokens. All zero is the same as None.
        prompt_mask_BP: 0 on padding, which then counts as zero embeddings, as published weights expect.
        global_BD: one embedding that is added to the noise level's, such as that of the duration.
        sketch_BTK: curves to follow, all controls one after the other, 0 where nothing is asked.
        sketch_mask_BTG: 1 where a control is asked for.
    """

    context_BTC: Tensor | None = None
    context_mask_BT: Tensor | None = None
    mix_BTC: Tensor | None = None
    mix_mask_BT: Tensor | None = None
    prompt_BPD: Tensor | None = None
    prompt_mask_BP: Tensor | None = None
    global_BD: Tensor | None = None
    sketch_BTK: Tensor | None = None
    sketch_mask_BTG: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> DiffusionConditions:
        """The conditions with a function applied to every tensor."""
        tensors = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return DiffusionConditions(**{name: None if x is None else change(x) for name, x in tensors.items()})

    def to(self, device: torch.device | str) -> DiffusionConditions:
        return self.map(lambda x: x.to(device))

    def detach(self) -> DiffusionConditions:
        return self.map(Tensor.detach)

    def roll(self, rows: int) -> DiffusionConditions:
        """Every row with the conditions of the row `rows` before it."""
        return self.map(lambda x: x.roll(rows, dims=0))

    def roll_prompt(self, rows: int) -> DiffusionConditions:
        """The prompts of other rows; everything else stays."""
        prompt, mask = self.prompt_BPD, self.prompt_mask_BP
        return dataclasses.replace(
            self,
            prompt_BPD=None if prompt is None else prompt.roll(rows, dims=0),
            prompt_mask_BP=None if mask is None else mask.roll(rows, dims=0),
        )

    def frames(self, first: int, stop: int) -> DiffusionConditions:
        """The conditions of a part of the window."""
        parts = {
            name: None if (x := getattr(self, name)) is None else x[:, first:stop]
            for name in ("context_BTC", "context_mask_BT", "mix_BTC", "mix_mask_BT", *SKETCH)
        }
        return dataclasses.replace(self, **parts)


@dataclass(frozen=True)
class Unconditional:
    """What guidance's unconditional side lacks. It always has the context and the duration.

    LMDM's public code drops only the prompt, so that guidance strengthens the prompt. Without the mix as well, it
    strengthens both. The side that is used must be trained; see `FlowMatching`.

    Args:
        without_prompt: whether it has no prompt.
        without_mix: whether it has no mix.
        without_sketch: whether it has no sketch.

    Raises:
        UserError: it lacks nothing, so that there is nothing to guide away from.
    """

    without_prompt: bool
    without_mix: bool
    without_sketch: bool = False

    def __post_init__(self) -> None:
        if not (self.without_prompt or self.without_mix or self.without_sketch):
            raise UserError(
                "guidance's unconditional side lacks nothing; set without_prompt, without_mix or without_sketch to "
                "true, or guidance to 1"
            )

    def of(self, conditions: DiffusionConditions) -> DiffusionConditions:
        """All rows as the unconditional side has them."""
        names = [name for name in self._dropped if getattr(conditions, name) is not None]
        return dataclasses.replace(conditions, **{name: torch.zeros_like(getattr(conditions, name)) for name in names})

    def in_rows(self, dropped_B: Tensor, conditions: DiffusionConditions) -> DiffusionConditions:
        """Some rows (bool) as the unconditional side has them, for training."""
        other, changed = self.of(conditions), {}
        for name in self._dropped:
            given = getattr(conditions, name)
            if given is not None:
                changed[name] = torch.where(dropped_B.view(-1, *[1] * (given.ndim - 1)), getattr(other, name), given)
        return dataclasses.replace(conditions, **changed)

    def beside(self, conditions: DiffusionConditions) -> DiffusionConditions:
        """Rows of the conditions, then equally many of the unconditional side, for guidance in one call (2B rows)."""
        other, both = self.of(conditions), {}
        for field in dataclasses.fields(conditions):
            first = getattr(conditions, field.name)
            both[field.name] = None if first is None else torch.cat((first, getattr(other, field.name)))
        return DiffusionConditions(**both)

    @property
    def _dropped(self) -> tuple[str, ...]:
        """Fields of the conditions that are 0 here."""
        prompt = ("prompt_BPD", "prompt_mask_BP") if self.without_prompt else ()
        mix = ("mix_BTC", "mix_mask_BT") if self.without_mix else ()
        return (*prompt, *mix, *(SKETCH if self.without_sketch else ()))


NOTHING_ASKED = Unconditional(without_prompt=True, without_mix=True)
"""Neither prompt nor mix: the default of every model that does not name a choice."""

LEAST_SHARE = 0.02
"""Share of training windows below which an answer counts as not trained. Independent dropouts of prompt (.1) and mix
(.05) leave .005 of the windows without both, and the paper's .1 leaves .095 without the prompt alone."""


@dataclass(frozen=True)
class Dropouts:
    """What training windows lack.

    Args:
        prompt: share of windows, 0 to 1, without a prompt.
        mix: share of windows without any mix.
        unconditional: share of windows that lack what guidance's unconditional side lacks.
        sketch: share of windows without any sketch; None = the model follows none.
    """

    prompt: float
    mix: float
    unconditional: float
    sketch: float | None = None

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Dropouts:
        """Those of a recipe's arguments, as a checkpoint's configuration has them."""
        names = ("prompt_dropout", "mix_dropout", "unconditional_dropout")
        sketch = settings.get("sketch")
        prompt, mix, unconditional = (settings.get(name) or 0.0 for name in names)
        return Dropouts(prompt, mix, unconditional, None if sketch is None else sketch["whole_dropout"])

    def share(self, unconditional: Unconditional, has_prompts: bool, hears_mix: bool) -> float:
        """Share of training windows that lack just what the unconditional side lacks.

        What a model never has, it lacks in every window.
        """
        prompt, mix = (self.prompt if has_prompts else 1.0), (self.mix if hears_mix else 1.0)
        lacking = (prompt if unconditional.without_prompt else 1.0) * (mix if unconditional.without_mix else 1.0)
        sketch = 1.0 if self.sketch is None else self.sketch
        lacking *= sketch if unconditional.without_sketch else 1.0
        # what the side has may be dropped beside what it lacks
        kept = 1.0 if unconditional.without_sketch or self.sketch is None else 1 - sketch
        if has_prompts and not unconditional.without_prompt:
            kept *= 1 - prompt
        if hears_mix and not unconditional.without_mix:
            kept *= 1 - mix
        return (self.unconditional + (1 - self.unconditional) * lacking) * kept


def require_trained_guidance(
    who: str, unconditional: Unconditional, share: float, has_prompts: bool, hears_mix: bool, follows_sketches: bool
) -> None:
    """Refuse guidance away from an answer that training windows hardly ever ask for.

    Args:
        who: guides, for the message.
        unconditional: what its unconditional side lacks.
        share: how many of the training windows are like that side, 0 to 1.
        has_prompts: whether the model takes prompts.
        hears_mix: whether it hears any mix.
        follows_sketches: whether it follows sketches.

    Raises:
        UserError: they are less than `LEAST_SHARE`.
    """
    if share >= LEAST_SHARE:
        return
    parts = {"prompt": unconditional.without_prompt and has_prompts, "mix": unconditional.without_mix and hears_mix}
    parts["sketch"] = unconditional.without_sketch and follows_sketches
    lacking = " and ".join(name for name, lacks in parts.items() if lacks)
    raise UserError(
        f"{who} guides away from a model without {lacking}, but {100 * share:.1f} % of the training windows are like "
        "that; set unconditional_dropout of that training, 0.1 for example, or the guidance to 1"
    )
