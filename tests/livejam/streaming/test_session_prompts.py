"""Prompts that change while a session plays: as by hand, in any chunks, and nothing but from their moment on.

Shapes: A audio channels, B rows, T latent frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, pocket, sound
from torch import Tensor

from livejam.accompanist import Controls
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.networks.conditioning import Prompt, Words, read_words, weighted
from livejam.networks.diffusion_masks import AttentionMask
from livejam.streaming import PromptChange, Session
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState

BLOCK, BLOCKS, HOP, RATE = 3, 3, 2048, 22050
MASKS: dict[str, AttentionMask] = {"encdec": EncoderDecoder(BLOCKS * BLOCK), "blockcausal": BlockCausal(BLOCK, BLOCKS)}
BLOCK_SECONDS = BLOCK * HOP / RATE


def player_of(mask: str, cutoff: int = 0) -> Player:
    player = lmdm(pocket("pocket"), MASKS[mask], cutoff, BLOCK)
    assert isinstance(player.accompanist, LMDMAccompanist)
    # an untrained network hardly hears its prompt
    for parameter in player.accompanist.generator.transformer.named_parameters():
        if "prompt" in parameter[0]:
            parameter[1].mul_(2.5)
    return player


def session_of(mask: str, *changes: PromptChange, rows: int = 1, cutoff: int = 0) -> Session:
    names = ["Percussive", "Bass"][:rows]
    session = Session(player_of(mask, cutoff), sample_rate_hz=RATE, instruments=names)
    session.set_prompts(changes)
    return session


def played(session: Session, audio_AN: Tensor, chunk: int = 5000) -> Tensor:
    return torch.cat([session.process_rows(part) for part in audio_AN.split(chunk, dim=1)], dim=-1)


def at_block(block: int, text: str, **more: object) -> PromptChange:
    """A change at the block that begins so many blocks after the mix."""
    return PromptChange(block * BLOCK_SECONDS, read_words(text), **more)  # type: ignore[arg-type]


def mix(blocks: int = 14) -> Tensor:
    return sound(1, blocks * BLOCK * HOP)


def by_hand(player: Player, audio_AN: Tensor, prompts: dict[int, tuple[float, bool]], new: Prompt) -> Tensor:
    """The whole mix at once; per block of the output, the share of another prompt and whether to encode again."""
    who = player.accompanist
    assert isinstance(who, LMDMAccompanist)
    mix_BTC = player.codec.encode(torch.nn.functional.pad(audio_AN, (0, 8 * BLOCK * HOP))[None])
    state = who.init_state(1, Controls(torch.tensor([14]), torch.tensor([0])))
    base = state.prompt
    assert base is not None
    lead, blocks = 1 + who.anticipation_frames, []
    for number, block_BTC in enumerate(mix_BTC.split(BLOCK, dim=1)):
        share, reencode = prompts.get(number + lead // BLOCK, (None, False))
        if share is not None:
            state = who.asked(base.faded(new, share), state, reencode)
        out_BTC, state = who.step(block_BTC, state)
        blocks.append(out_BTC)
    silence_BTC = player.silence_C.expand(1, lead, -1)
    stems_BAN = player.codec.decode(torch.cat((silence_BTC, *blocks), dim=1)[:, : mix_BTC.shape[1]])
    return stems_BAN[..., : audio_AN.shape[1]]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("cutoff", "chunk"), [(0, 700), (-1, 5001), (0, 40_000)])
def test_a_fade_in_any_chunks_is_the_one_by_hand(mask: str, cutoff: int, chunk: int) -> None:
    player, audio_AN = player_of(mask, cutoff), mix()
    session = session_of(mask, at_block(4, "piano:0.7, strings:0.3", fade_blocks=4), cutoff=cutoff)
    with torch.inference_mode():
        assert isinstance(player.accompanist, LMDMAccompanist)
        new = player.accompanist.generator.mixed_prompt([weighted({"piano": 0.7, "strings": 0.3})])
        shares = {4: (0.25, False), 5: (0.5, False), 6: (0.75, True), 7: (1.0, False)}
        expected_BAN = by_hand(player, audio_AN, shares, new)
    out_BAN = played(session, audio_AN, chunk)
    late = session.timing.late_samples
    assert torch.allclose(out_BAN[..., late:], expected_BAN[..., : expected_BAN.shape[-1] - late], atol=1e-4)


@settings(deadline=None, max_examples=8)
@given(
    mask=st.sampled_from(sorted(MASKS)),
    entries=st.lists(
        st.tuples(
            st.floats(0, 12), st.sampled_from(["drums", "piano:2, bass:1"]), st.integers(0, 3), st.integers(0, 3)
        ),
        max_size=4,
    ),
    chunk=st.sampled_from([999, 6145, 100_000]),
)
def test_no_chunks_and_no_timeline_make_a_difference_or_stop_it(
    mask: str, entries: list[tuple[float, str, int, int]], chunk: int
) -> None:
    changes = [at_block(0, text, fade_blocks=fade, eject_blocks=eject) for _, text, fade, eject in entries]
    moments = sorted(block for block, *_ in entries)
    changes = [replace(each, seconds=block * BLOCK_SECONDS) for each, block in zip(changes, moments, strict=True)]
    one, other, audio_AN = session_of(mask, *changes), session_of(mask, *changes), mix(10)
    one_BAN, other_BAN = played(one, audio_AN), played(other, audio_AN, chunk)
    assert torch.allclose(one_BAN, other_BAN, atol=1e-4)
    assert one_BAN.isfinite().all()
    assert one.failures == 0


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("more", [{}, {"eject_blocks": 2}, {"fade_blocks": 3}])
def test_before_the_change_nothing_changes(mask: str, more: dict[str, int]) -> None:
    plain_BAN = played(session_of(mask), mix())
    changed_BAN = played(session_of(mask, at_block(6, "piano", **more)), mix())
    first = 6 * BLOCK * HOP
    delay = pocket("pocket").spec.delay_samples
    assert torch.equal(changed_BAN[..., : first - delay], plain_BAN[..., : first - delay])
    assert not torch.allclose(changed_BAN[..., first:], plain_BAN[..., first:], atol=1e-3)


def test_a_fade_to_the_same_prompt_changes_nothing() -> None:
    for mask, reencode in (("encdec", True), ("blockcausal", False)):
        plain_BAN = played(session_of(mask), mix())
        same = at_block(3, "Percussive", fade_blocks=4, reencode=reencode)
        assert torch.allclose(played(session_of(mask, same), mix()), plain_BAN, atol=1e-5)


@pytest.mark.parametrize("mask", MASKS)
def test_words_at_the_beginning_are_those_of_the_session(mask: str) -> None:
    asked = Session(player_of(mask), sample_rate_hz=RATE, instruments=["Bass"], prompts=["warm piano"])
    assert torch.equal(played(session_of(mask, at_block(0, "warm piano")), mix()), played(asked, mix()))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("eject", [0, 1, BLOCKS])
def test_after_a_hard_change_it_is_a_fresh_model_with_the_same_past(mask: str, eject: int) -> None:
    who = player_of(mask).accompanist
    assert isinstance(who, LMDMAccompanist)
    rng = torch.Generator().manual_seed(5)
    mix_BTC = torch.randn(1, 8 * BLOCK, who.spec.latent_channels, generator=rng)
    controls = Controls(torch.tensor([14]), torch.tensor([3]))
    with torch.inference_mode():
        state, past = who.init_state(1, controls), []
        for block_BTC in mix_BTC[:, : 6 * BLOCK].split(BLOCK, dim=1):
            out_BTC, state = who.step(block_BTC, state)
            past.append(out_BTC)
        fresh = who.init_state(1, replace(controls, prompt=("piano",)))
        fresh = who.primed(mix_BTC[:, : 6 * BLOCK], torch.cat(past, dim=1), fresh)
        if eject:
            kept = (BLOCKS - eject) * BLOCK
            fresh = replace(fresh, played_B=torch.full_like(fresh.played_B, kept))
            state = who.ejected([eject], state)
        state = who.asked(who.generator.mixed_prompt([read_words("piano")]), state)
        for block_BTC in mix_BTC[:, 6 * BLOCK :].split(BLOCK, dim=1):
            (changed_BTC, state), (expected_BTC, fresh) = who.step(block_BTC, state), who.step(block_BTC, fresh)
            assert torch.allclose(changed_BTC, expected_BTC, atol=1e-5)


def test_what_is_forgotten_is_heard_for_as_long_as_the_window() -> None:
    audio_AN, change = mix(), at_block(6, "piano")
    kept_BAN = played(session_of("encdec", change), audio_AN)
    forgot_BAN = played(session_of("encdec", replace(change, eject_blocks=BLOCKS)), audio_AN)
    assert not torch.allclose(forgot_BAN, kept_BAN, atol=1e-6)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, [(4, True, 0)]),
        ({"eject_blocks": 2}, [(4, True, 2)]),
        ({"fade_blocks": 4}, [(4, False, 0), (5, False, 0), (6, True, 0), (7, False, 0)]),
        ({"fade_blocks": 3, "eject_blocks": 1}, [(4, False, 0), (5, True, 1), (6, False, 0)]),
        ({"fade_blocks": 2, "reencode": False}, [(4, False, 0), (5, False, 0)]),
    ],
)
def test_context_is_encoded_again_and_forgotten_once(
    more: dict[str, int], expected: list[tuple[int, bool, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the new prompt becomes dominant."""
    said: list[tuple[int, bool, int]] = []
    session, forgotten = session_of("blockcausal", at_block(4, "piano", **more)), [0]
    ask, eject = LMDMAccompanist.asked, LMDMAccompanist.ejected

    def asked(who: LMDMAccompanist, prompt: Prompt, state: LMDMState, reencode: bool = True) -> LMDMState:
        said.append((1 + int(state.position_B) // BLOCK, reencode, forgotten.pop()))
        forgotten.append(0)
        return ask(who, prompt, state, reencode)

    def ejected(who: LMDMAccompanist, blocks_B: Sequence[int], state: LMDMState) -> LMDMState:
        forgotten[0] = blocks_B[0]
        return eject(who, blocks_B, state)

    monkeypatch.setattr(LMDMAccompanist, "asked", asked)
    monkeypatch.setattr(LMDMAccompanist, "ejected", ejected)
    played(session, mix(10))
    assert said == expected


def test_undo_reset_and_snapshots_keep_the_timeline() -> None:
    session = session_of("blockcausal", at_block(4, "piano", fade_blocks=3), at_block(12, "bass", eject_blocks=1))
    before = session.snapshot()
    out_BAN = played(session, mix())
    session.reset()
    assert torch.equal(played(session, mix()), out_BAN)
    session.restore(before)
    assert torch.equal(played(session, mix()), out_BAN)
    # gone back to before the change, it is told again what is due
    session.restore(before)
    played(session, mix(8))
    session.undo(5 * BLOCK_SECONDS)
    played(session, mix(1))
    told = session.snapshot().pipeline.musician
    new = told.accompanist.generator.mixed_prompt([read_words("piano")])
    assert torch.allclose(told.memory.prompt.embedding_BPD[:, :1], new.embedding_BPD[:, :1])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("more", [{}, {"eject_blocks": 2}, {"fade_seconds": 3 * BLOCK_SECONDS}])
def test_what_is_asked_while_it_plays_is_what_a_timeline_asks(mask: str, more: dict[str, float]) -> None:
    audio_AN = mix()
    first_AN, rest_AN = audio_AN[:, : 5 * BLOCK * HOP], audio_AN[:, 5 * BLOCK * HOP :]
    live = session_of(mask)
    live_BAN = [played(live, first_AN)]
    frame = live._pipeline.next_frame(live.snapshot().pipeline)
    live.set_prompt("piano:3, strings:1", **more)  # type: ignore[arg-type]
    live_BAN.append(played(live, rest_AN))
    planned = PromptChange(frame * HOP / RATE, read_words("piano:3, strings:1"), **more)  # type: ignore[arg-type]
    assert torch.allclose(torch.cat(live_BAN, dim=-1), played(session_of(mask, planned), audio_AN), atol=1e-5)


def test_prompts_asked_one_after_the_other_leave_no_trace_but_the_last() -> None:
    session = session_of("encdec")
    for text in ("piano", "bass", "strings", "organ"):
        session.set_prompt(text, fade_seconds=BLOCK_SECONDS)
        played(session, mix(3))
    line = session.snapshot().pipeline.prompts
    assert line is not None
    assert len(line.changes) == 1
    session.reset()
    anew = Session(player_of("encdec"), sample_rate_hz=RATE, instruments=["Percussive"], prompts=["organ"])
    assert torch.equal(played(session, mix()), played(anew, mix()))


def test_a_row_changes_alone() -> None:
    plain_BAN = played(session_of("encdec", rows=2), mix())
    changed_BAN = played(session_of("encdec", at_block(5, "piano", fade_blocks=2, row=1), rows=2), mix())
    assert torch.allclose(changed_BAN[0], plain_BAN[0], atol=1e-5)
    assert not torch.allclose(changed_BAN[1], plain_BAN[1], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([at_block(0, "zzz")], "change 1 of the prompt, at 0 s: .*no word that the tag encoder knows"),
        ([at_block(0, "")], "the prompt is empty"),
        ([at_block(0, "piano", row=1)], "there is no row 1"),
        ([at_block(0, "piano", eject_blocks=4)], "4 blocks cannot be forgotten; the model remembers 3"),
        ([at_block(2, "piano"), at_block(1, "bass")], "change 2 of the prompt is at .* before the one above it"),
        ([at_block(0, "piano")] * 1001, "1001 changes of prompt are too many"),
    ],
)
def test_a_timeline_that_cannot_be_played_changes_nothing(changes: list[PromptChange], said: str) -> None:
    session = session_of("encdec")
    before = session.snapshot().pipeline.prompts
    with pytest.raises(UserError, match=said):
        session.set_prompts(changes)
    assert session.snapshot().pipeline.prompts is before


def test_a_model_without_prompts_says_so() -> None:
    for player in (liveband(pocket("pocket")), lmdm(pocket("pocket"), MASKS["encdec"], block=BLOCK, prompts=False)):
        session = Session(player)
        for ask in (
            lambda session=session: session.set_prompts([at_block(0, "piano")]),
            lambda session=session: session.set_prompt("piano", fade_seconds=1.0),
        ):
            with pytest.raises(UserError, match="takes no prompts"):
                ask()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"fade_seconds": float("inf")},
        {"fade_seconds": 1e9},
        {"fade_blocks": -1},
        {"eject_blocks": -2},
        {"fade_seconds": 1.0, "fade_blocks": 1},
        {"eject_blocks": 1, "reencode": False},
    ],
)
def test_a_change_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        PromptChange(**{"seconds": 0.0, "words": Words((("piano", 1.0),)), **wrong})  # type: ignore[arg-type]
