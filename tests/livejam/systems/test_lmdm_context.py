"""What a dropped context means in playing.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import pytest
import torch
from lmdm_toys import BLOCK, CONTROLS, MASKS, make_accompanist, make_mix, played
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling import PingPong
from livejam.systems.context import ContextMode, DroppedContext, RoutedContext, ShiftedContext, lead_blocks


def after(past_BTC: Tensor, context_mode: ContextMode, name: str, cached: bool = True) -> Tensor:
    """Three blocks of two streams that heard the same, and played this before."""
    accompanist = make_accompanist(MASKS[name], 0, PingPong(2), cached, context_mode)
    mix_BTC, half = make_mix(), 3 * BLOCK
    state = accompanist.primed(mix_BTC[:, :half], past_BTC, accompanist.init_state(2, CONTROLS))
    return played(accompanist, mix_BTC[:, half:], state)[0]


@pytest.mark.parametrize("name", MASKS)
def test_a_dropped_context_never_changes_what_follows(name: str) -> None:
    past_BTC = make_mix(8)[:, -3 * BLOCK :]
    assert torch.equal(after(past_BTC, DroppedContext(), name), after(-past_BTC, DroppedContext(), name))
    assert not torch.allclose(after(past_BTC, RoutedContext(), name), after(-past_BTC, RoutedContext(), name))


@pytest.mark.parametrize("name", MASKS)
def test_it_plays_as_a_routed_context_of_which_nothing_is_known(name: str) -> None:
    """Which is the first block of a stream, and every block of a training window whose context is dropped."""
    accompanists = [make_accompanist(MASKS[name], context_mode=mode) for mode in (RoutedContext(), DroppedContext())]
    first = [played(accompanist, make_mix()[:, :BLOCK])[0] for accompanist in accompanists]
    assert torch.equal(*first)
    routed, dropped = (played(accompanist, make_mix())[0] for accompanist in accompanists)
    assert not torch.allclose(routed[:, BLOCK:], dropped[:, BLOCK:])


@pytest.mark.parametrize("name", ["outpainting", "encdec"])
def test_a_dropped_context_is_cached_as_it_is_recomputed(name: str) -> None:
    past_BTC = make_mix(8)[:, -3 * BLOCK :]
    first, second = (after(past_BTC, DroppedContext(), name, cached) for cached in (True, False))
    assert torch.allclose(first, second, atol=1e-9)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("cutoff", [-2, -1, 0])
def test_a_shifted_context_plays_ahead_what_the_same_network_plays_next(name: str, cutoff: int) -> None:
    """The same numbers as at cutoff 0; the accompanist says that they are for later."""
    next_one = make_accompanist(MASKS[name], 0, PingPong(2), context_mode=DroppedContext())
    ahead = make_accompanist(MASKS[name], cutoff, PingPong(2), context_mode=ShiftedContext())
    assert torch.equal(played(ahead, make_mix())[0], played(next_one, make_mix())[0])
    assert ahead.anticipation_frames == next_one.anticipation_frames - cutoff * BLOCK


def test_at_cutoff_1_a_shifted_context_hears_the_block_that_it_plays() -> None:
    shifted, dropped = (
        make_accompanist(MASKS["blockcausal"], 1, PingPong(2), context_mode=mode)
        for mode in (ShiftedContext(), DroppedContext())
    )
    assert torch.equal(played(shifted, make_mix())[0], played(dropped, make_mix())[0])


def test_a_network_is_trained_for_one_shift() -> None:
    assert lead_blocks(ShiftedContext(), [-2]) == 2
    assert lead_blocks(ShiftedContext(), [0, 1]) == 0
    assert lead_blocks(DroppedContext(), [0, -1, 1]) == 0
    with pytest.raises(UserError, match=r"one of \[-1, 0\]; set cutoff_blocks and play_cutoff_blocks to the same"):
        lead_blocks(ShiftedContext(), [0, -1])
