"""Guidance only away from what was trained: the side without prompt or mix must be known to the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import Unconditional

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
    """

    prompt: float
    mix: float
    unconditional: float

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Dropouts:
        """Those of a recipe's arguments, as a checkpoint's configuration has them."""
        names = ("prompt_dropout", "mix_dropout", "unconditional_dropout")
        return Dropouts(*(settings.get(name) or 0.0 for name in names))

    def share(self, unconditional: Unconditional, has_prompts: bool, hears_mix: bool) -> float:
        """Share of training windows that lack just what the unconditional side lacks.

        What a model never has, it lacks in every window.
        """
        prompt, mix = (self.prompt if has_prompts else 1.0), (self.mix if hears_mix else 1.0)
        lacking = (prompt if unconditional.without_prompt else 1.0) * (mix if unconditional.without_mix else 1.0)
        # what the side has may be dropped beside what it lacks
        kept = 1.0
        if has_prompts and not unconditional.without_prompt:
            kept *= 1 - prompt
        if hears_mix and not unconditional.without_mix:
            kept *= 1 - mix
        return (self.unconditional + (1 - self.unconditional) * lacking) * kept


def require_trained_guidance(
    who: str, unconditional: Unconditional, dropouts: Dropouts, generator: ConditionedTransformer, hears_mix: bool
) -> None:
    """Refuse guidance away from an answer that training windows hardly ever ask for.

    Args:
        who: guides, for the message.
        unconditional: what its unconditional side lacks.
        dropouts: of the training in which the model learnt that side.
        generator: the model.
        hears_mix: whether it hears any mix.

    Raises:
        UserError: less than `LEAST_SHARE` of the training windows are like that side.
    """
    has_prompts = generator.prompt_encoder is not None
    share = dropouts.share(unconditional, has_prompts, hears_mix)
    if share >= LEAST_SHARE:
        return
    parts = {"prompt": unconditional.without_prompt and has_prompts, "mix": unconditional.without_mix and hears_mix}
    lacking = " and ".join(name for name, lacks in parts.items() if lacks)
    raise UserError(
        f"{who} guides away from a model without {lacking}, but {100 * share:.1f} % of the training windows are like "
        "that; set unconditional_dropout of that training, 0.1 for example, or the guidance to 1"
    )
