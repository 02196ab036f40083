"""The conditions of a diffusion transformer, from context to global embedding, and what guidance leaves out.

Shapes: B batch, T latent frames of the whole window (context, then block), C latent channels, P prompt tokens,
D channels of an embedding, K channels and G controls of a sketch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError

SKETCH = ("sketch_BTK", "sketch_mask_BTG")
"""Fields of the conditions that are a sketch."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("prompt_BPD", "prompt_mask_BP"),
    "mix": ("mix_BTC", "mix_mask_BT"),
    "sketch": SKETCH,
    "past": ("context_BTC",),
}
"""Control → the fields that are 0 without it. Context that is not given counts as given silence, as in training."""


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
    """What guidance's unconditional side lacks. It always has the duration.

    LMDM's public code drops only the prompt, so that guidance strengthens the prompt. Without the mix as well, it
    strengthens both. The side that is used must be trained; see `FlowMatching`.

    Args:
        without_prompt: whether it has no prompt.
        without_mix: whether it has no mix.
        without_sketch: whether it has no sketch.
        without_past: whether it is given nothing of what the model played.

    Raises:
        UserError: it lacks nothing, so that there is nothing to guide away from.
    """

    without_prompt: bool
    without_mix: bool
    without_sketch: bool = False
    without_past: bool = False

    def __post_init__(self) -> None:
        if not self.lacks:
            raise UserError(
                "guidance's unconditional side lacks nothing; set without_prompt, without_mix, without_sketch or "
                "without_past to true, or guidance to 1"
            )

    @property
    def lacks(self) -> frozenset[str]:
        """The controls that it lacks."""
        parts = {"prompt": self.without_prompt, "mix": self.without_mix, "sketch": self.without_sketch}
        return frozenset(name for name, lacks in {**parts, "past": self.without_past}.items() if lacks)

    @staticmethod
    def lacking(controls: Iterable[str]) -> Unconditional:
        """The side that lacks these of prompt, mix, sketch and past."""
        return Unconditional(**{f"without_{name}": name in controls for name in FIELDS})

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
        return beside(conditions, [self.of(conditions)])

    @property
    def _dropped(self) -> tuple[str, ...]:
        """Fields of the conditions that are 0 here."""
        return tuple(field for name, fields in FIELDS.items() if name in self.lacks for field in fields)


def beside(conditions: DiffusionConditions, others: Sequence[DiffusionConditions]) -> DiffusionConditions:
    """The rows of all of them, one after the other."""
    rows = {}
    for field in dataclasses.fields(conditions):
        first = getattr(conditions, field.name)
        rows[field.name] = None if first is None else torch.cat((first, *(getattr(x, field.name) for x in others)))
    return DiffusionConditions(**rows)


NOTHING_ASKED = Unconditional(without_prompt=True, without_mix=True)
"""Neither prompt nor mix: the default of every model that does not name a choice."""

LEAST_SHARE = 0.0075
"""Share of training windows below which an answer counts as not trained. Independent dropouts of prompt (.1) and mix
(.05) leave .005 of the windows without both. `lmdm-pocket` was trained without mix and past in .009, and guidance away
from that gives it back most of its level and adherence (docs/results.md)."""


@dataclass(frozen=True)
class Dropouts:
    """What training windows lack.

    Windows that lack only a part of something, such as the beginning of the mix, count as windows that have it.

    Args:
        prompt_dropout: share of windows, 0 to 1, without a prompt.
        mix_dropout: share of windows without any mix.
        unconditional_dropout: share of windows that lack what one of `together` lacks, each equally often.
        sketch_dropout: share of windows without any sketch.
        past_dropout: share of windows without any past.
        together: the controls that are dropped together.
    """

    prompt_dropout: float
    mix_dropout: float
    unconditional_dropout: float = 0.0
    sketch_dropout: float = 0.0
    past_dropout: float = 0.0
    together: tuple[tuple[str, ...], ...] = ()

    def share(self, lacks: Collection[str], has: Collection[str]) -> float:
        """Share of training windows that lack just this.

        Args:
            lacks: controls; of those that the model never has, it lacks all in every window.
            has: the controls that it has.
        """

        def among(dropped: Collection[str]) -> float:
            """The same among the windows in which these are dropped together."""
            without = {name: 1.0 if name in dropped else float(getattr(self, f"{name}_dropout")) for name in has}
            return math.prod(share if name in lacks else 1 - share for name, share in without.items())

        by_chance = among(())
        if not self.together:
            return by_chance
        together = sum(map(among, self.together)) / len(self.together)
        return (1 - self.unconditional_dropout) * by_chance + self.unconditional_dropout * together


def require_trained_guidance(who: str, lacks: Collection[str], share: float) -> None:
    """Refuse guidance away from an answer that training windows hardly ever ask for.

    Args:
        who: guides, for the message.
        lacks: the controls that a side of it lacks.
        share: how many of the training windows are like that side, 0 to 1.

    Raises:
        UserError: they are less than `LEAST_SHARE`.
    """
    if share >= LEAST_SHARE:
        return
    lacking = " and ".join(name for name in FIELDS if name in lacks)
    raise UserError(
        f"{who} guides away from a model without {lacking}, but {100 * share:.1f} % of the training windows are like "
        "that; set unconditional_dropout of that training, 0.1 for example, or the guidance to 1"
    )
