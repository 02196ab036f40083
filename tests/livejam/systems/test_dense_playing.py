"""A crop's blocks in dense passes are those that the deployed path plays, one after the other, from the mix alone.

Shapes: B batch, T frames of the crop, N frames to generate, C latent channels.
"""

from __future__ import annotations

import pytest
import torch
from lmdm_toys import BLOCK, CONTEXT, CONTROLS, MASKS, SPEC, STATISTICS, C, make_accompanist, make_mix, played
from torch import Tensor

from livejam.errors import UserError
from livejam.networks import NOTHING_ASKED, Unconditional
from livejam.sampling import Euler, PingPong, Sampler, row_noise
from livejam.systems.context import DroppedContext
from livejam.systems.dense import play_densely
from livejam.systems.lmdm import LMDMAccompanist, prompt_of

WITHOUT_MIX = Unconditional(without_prompt=False, without_mix=True)
BLOCKS_PLAYED = 5
FRAMES = CONTEXT + BLOCKS_PLAYED * BLOCK


def accompanist(mask: str, sampler: Sampler, unconditional: Unconditional = NOTHING_ASKED) -> LMDMAccompanist:
    return make_accompanist(
        MASKS[mask], sampler=sampler, context_mode=DroppedContext(), unconditional=unconditional
    )  # fmt: skip


def densely(model: LMDMAccompanist, mix_BTC: Tensor, sampler: Sampler, unconditional: Unconditional) -> Tensor:
    generator, batch = model.generator, len(mix_BTC)
    conditions = generator.conditions(prompt_of(generator, CONTROLS), SPEC.seconds_in(CONTEXT + BLOCK))
    position_BN = torch.arange(CONTEXT, mix_BTC.shape[1]).expand(batch, -1)
    noise = row_noise(CONTROLS.seed_B, position_BN, C, mix_BTC.dtype)
    heard_BT = torch.ones(mix_BTC.shape[:2], dtype=torch.bool)
    parts = STATISTICS.normalise(mix_BTC), heard_BT, conditions
    return play_densely(generator.transformer, *parts, sampler, unconditional, noise)


@pytest.mark.parametrize("unconditional", [NOTHING_ASKED, WITHOUT_MIX], ids=["prompt and mix", "mix"])
@pytest.mark.parametrize("sampler", [Euler(3), Euler(2, guidance=2.0), PingPong(3)], ids=str)
def test_dense_passes_play_what_the_deployed_path_plays(sampler: Sampler, unconditional: Unconditional) -> None:
    """What was played before is another story in both rows: nobody is given it."""
    model = accompanist("blockcausal", sampler, unconditional)
    mix_BTC = make_mix(FRAMES // BLOCK)
    heard = CONTEXT - BLOCK
    past_BTC = torch.randn(2, heard, C, generator=torch.Generator().manual_seed(4), dtype=mix_BTC.dtype)
    state = model.primed(mix_BTC[:, :heard], past_BTC, model.init_state(2, CONTROLS))
    expected_BNC, _ = played(model, mix_BTC[:, heard:-BLOCK], state)
    found_BNC = densely(model, mix_BTC, sampler, unconditional)
    torch.testing.assert_close(STATISTICS.denormalise(found_BNC), expected_BNC, atol=1e-9, rtol=0)


def test_the_future_of_the_mix_changes_nothing() -> None:
    model, mix_BTC = accompanist("blockcausal", Euler(2)), make_mix(FRAMES // BLOCK)
    changed_BTC = mix_BTC.clone()
    changed_BTC[:, CONTEXT + 2 * BLOCK :] += 1
    first, second = (densely(model, x_BTC, Euler(2), NOTHING_ASKED) for x_BTC in (mix_BTC, changed_BTC))
    torch.testing.assert_close(first[:, : 3 * BLOCK], second[:, : 3 * BLOCK], atol=1e-12, rtol=0)
    assert (first[:, 3 * BLOCK :] - second[:, 3 * BLOCK :]).abs().min() > 0


def test_another_mask_is_refused() -> None:
    with pytest.raises(UserError, match="needs the mask BlockCausal"):
        densely(accompanist("encdec", Euler(2)), make_mix(FRAMES // BLOCK), Euler(2), NOTHING_ASKED)
