"""The prompts of a diffusion model, from controls and from words.

Shapes: B rows, K mixes, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

from livejam.accompanist import TAKES_NO_PROMPTS, Controls
from livejam.batch import CATEGORIES, NULL_CATEGORY
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import Prompt
from livejam.words import Words, read_words


def prompt_of(generator: ConditionedTransformer, controls: Controls) -> Prompt | None:
    """The prompt if there is one, else the instrument's name, else nothing.

    Raises:
        UserError: there is a prompt, but the model takes none.
    """
    if controls.prompt is not None:
        return encoded(generator, [read_words(text) for text in controls.prompt])
    unasked_B = controls.instrument_B == NULL_CATEGORY
    prompt = generator.prompt([CATEGORIES[i] for i in controls.instrument_B.masked_fill(unasked_B, 0).tolist()])
    return None if prompt is None else prompt.without(unasked_B.to(prompt.mask_BP.device))


def encoded(generator: ConditionedTransformer, words: Sequence[Words]) -> Prompt:
    """Prompts and mixes of prompts, one row each.

    Raises:
        UserError: the model takes no prompts, or does not understand these.
    """
    parts = [(row, text, share) for row, each in enumerate(words) for text, share in each.parts]
    prompt = generator.prompt([text for _, text, _ in parts])
    if prompt is None:
        raise UserError(TAKES_NO_PROMPTS)
    if len(parts) == len(words):
        return prompt
    weight_KB = prompt.embedding_BPD.new_zeros(len(words), len(parts))
    for place, (row, _, share) in enumerate(parts):
        weight_KB[row, place] = share
    return prompt.mixed(weight_KB)
