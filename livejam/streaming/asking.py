"""What a session asks its rows for, from names and numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import torch

from livejam.accompanist import Accompanist, Controls
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.instruments import default_instrument, instrument_index, require_learnt
from livejam.networks.conditioning import require_words
from livejam.streaming.prompting import require_guided_prompt, taking_prompts


def controls_of(
    player: Player, instruments: Sequence[str] | None, seeds: Sequence[int] | None, prompts: Sequence[str] | None
) -> Controls:
    """The controls of all rows; see `livejam.streaming.Session`.

    Raises:
        UserError: an instrument or a seed cannot be played, or there are more or fewer of one than of another.
    """
    if instruments is None:
        indices = [default_instrument(player.instruments)] * len(prompts or seeds or (0,))
    else:
        indices = [learnt(player, name) for name in instruments]
    rows = len(indices)
    seeds = tuple(range(rows)) if seeds is None else tuple(seeds)
    for name, given in (("seeds", seeds), ("prompts", prompts)):
        if given is not None and len(given) != rows:
            raise UserError(f"there are {rows} instruments but {len(given)} {name}; give one for each instrument")
    if not rows:
        raise UserError("a session needs at least one instrument; name one, or leave instruments out")
    device = player.silence_C.device
    seed_B = torch.tensor([require_seed(seed) for seed in seeds], device=device)
    return Controls(torch.tensor(indices, device=device), seed_B, None if prompts is None else tuple(prompts))


def with_negative(
    accompanist: Accompanist[Any], controls: Controls, words: str | None, rows: Collection[int]
) -> Controls:
    """The controls in which some rows are led away from these words.

    Raises:
        UserError: the model takes no prompts, or does not guide them.
    """
    who = taking_prompts(accompanist)
    if words is not None:
        require_guided_prompt(who)
        require_words(words)
    before = controls.negative_prompt or ("",) * len(controls.seed_B)
    after = tuple((words or "") if place in rows else old for place, old in enumerate(before))
    return replace(controls, negative_prompt=after if any(after) else None)


def learnt(player: Player, name: str) -> int:
    """Class index of an instrument that the model learnt.

    Raises:
        UserError: there is no such instrument, or the model never learnt it.
    """
    index = instrument_index(name)
    require_learnt(index, player.instruments)
    return index


def require_seed(seed: int) -> int:
    """A seed that fits int64.

    Raises:
        UserError: it does not.
    """
    if not 0 <= seed < 2**63:
        raise UserError(f"the seed {seed} is outside of 0 … 2^63 - 1; choose another one")
    return seed
