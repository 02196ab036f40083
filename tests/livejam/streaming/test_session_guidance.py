"""Weights of guidance and negative prompts that change while a session plays.

Shapes: A audio channels, N samples, B rows.
"""

from __future__ import annotations

import pytest
import torch
from players import liveband, lmdm, pocket, sound
from rounding import SESSION, assert_same_up_to_rounding
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal
from livejam.networks.conditioning import read_words
from livejam.streaming import PromptChange, Session

BLOCK_SAMPLES, RATE = 3 * 2048, 22050
GUIDED = {"mix": 2.0, "prompt": 4.0}


@pytest.fixture(scope="module")
def player() -> Player:
    return lmdm(pocket("pocket"), BlockCausal(3, 3), guidance=GUIDED)


def session_of(player: Player, *changes: PromptChange) -> Session:
    session = Session(player, sample_rate_hz=RATE, instruments=["Percussive", "Bass"])
    session.set_prompts(changes)
    return session


def played(session: Session, blocks: int = 8, chunk: int = 5000) -> Tensor:
    audio_AN = sound(1, blocks * BLOCK_SAMPLES)
    return torch.cat([session.process_rows(part) for part in audio_AN.split(chunk, dim=1)], dim=-1)


def at_block(block: int, negative: str | None, row: int | None = None) -> PromptChange:
    words = None if negative is None else read_words(negative)
    return PromptChange(block * BLOCK_SAMPLES / RATE, read_words("bass"), negative=words, row=row)


def test_a_negative_prompt_in_a_timeline_begins_at_its_moment(player: Player) -> None:
    without_BAN = played(session_of(player, at_block(4, None)))
    avoiding_BAN = played(session_of(player, at_block(4, "loud trumpet", row=1), at_block(4, None, row=0)))
    again_BAN = played(session_of(player, at_block(4, "loud trumpet", row=1), at_block(4, None, row=0)), chunk=701)
    assert_same_up_to_rounding(avoiding_BAN, again_BAN, SESSION)
    begins = 4 * BLOCK_SAMPLES
    assert torch.equal(avoiding_BAN[..., :begins], without_BAN[..., :begins])
    assert torch.allclose(avoiding_BAN[0], without_BAN[0], atol=1e-5)
    assert not torch.allclose(avoiding_BAN[1, :, begins:], without_BAN[1, :, begins:], atol=1e-4)


def test_a_negative_prompt_stays_until_it_is_taken_back(player: Player) -> None:
    session, plain = session_of(player), session_of(player)
    before = session.snapshot()
    session.set_negative_prompt("loud trumpet", row=1)
    avoiding_BAN = played(session)
    session.set_prompts([at_block(0, "loud trumpet", row=1)])
    session.restore(before)
    session.set_negative_prompt("loud trumpet")
    session.set_negative_prompt(None, row=0)
    assert torch.equal(played(session), avoiding_BAN)
    session.reset()
    # it stays where a session begins anew
    assert_same_up_to_rounding(played(session), avoiding_BAN, SESSION)
    session.restore(before)
    session.set_negative_prompt("loud trumpet")
    session.set_negative_prompt(None)
    assert torch.equal(played(session), played(plain))


def test_weights_change_from_the_next_block_on(player: Player) -> None:
    session, other = session_of(player), session_of(player)
    other.set_guidance({"past": 0.5})
    other.set_guidance({"past": 1.0})
    assert torch.equal(played(session), played(other))
    other.set_guidance({"past": 0.5, "prompt": 2.0})
    assert not torch.allclose(played(session), played(other), atol=1e-4)


def test_a_negative_prompt_needs_guidance(player: Player) -> None:
    session = session_of(player)
    session.set_guidance({"prompt": 1.0})
    for ask in (
        lambda: session.set_negative_prompt("drums"),
        lambda: session.set_prompts([at_block(1, "drums")]),
    ):
        with pytest.raises(UserError, match="this model's prompt is not guided; give the prompt a weight"):
            ask()
    for model, said in ((liveband(pocket()), "takes no prompts"),):
        with pytest.raises(UserError, match=said):
            Session(model).set_negative_prompt("drums")
    with pytest.raises(UserError, match="there is no row 5"):
        session.set_negative_prompt(None, row=5)
    with pytest.raises(UserError, match="has no word that the tag encoder knows"):
        session_of(player).set_negative_prompt("xyz")


def test_a_share_of_the_level_is_taken_back_from_the_next_block_on(player: Player) -> None:
    plain_BAN, halves = played(session_of(player)), []
    for chunk in (5000, 701):
        session, audio_AN = session_of(player), sound(1, 8 * BLOCK_SAMPLES)
        parts = [session.process_rows(part) for part in audio_AN[:, : 4 * BLOCK_SAMPLES].split(chunk, dim=1)]
        session.set_guidance_rescale(0.7)
        parts += [session.process_rows(part) for part in audio_AN[:, 4 * BLOCK_SAMPLES :].split(chunk, dim=1)]
        halves.append(torch.cat(parts, dim=-1))
    assert_same_up_to_rounding(*halves, SESSION)
    before = slice(4 * BLOCK_SAMPLES)
    assert_same_up_to_rounding(halves[0][..., before], plain_BAN[..., before], SESSION)
    assert not torch.allclose(halves[0], plain_BAN, atol=1e-4)
    again = session_of(player)
    again.set_guidance_rescale(0.7)
    again.set_guidance({"prompt": 3.0})
    assert again._musician.accompanist.sampler.rescale == 0.7, "other weights keep it"
    with pytest.raises(UserError, match="it is a share of 0 to 1"):
        again.set_guidance_rescale(1.5)
    with pytest.raises(UserError, match="plays without guidance"):
        Session(liveband(pocket())).set_guidance_rescale(0.5)
