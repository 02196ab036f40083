"""A session that sounds like a reference: as offline, row by row, and between two of them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from players import REFERENCE, liveband, lmdm, offline, pocket, sound
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.checkpoints.references import reference_analysis
from livejam.errors import UserError
from livejam.networks import EncoderDecoder
from livejam.reference import interpolated
from livejam.streaming import Session, read_reference, reference_of
from livejam.streaming.batons import Baton
from livejam.streaming.sharing import shared

RATE = 22050


def band() -> Player:
    return liveband(pocket("pocket"), references=True)


def played(session: Session, audio_AN: Tensor, chunk: int = 5000) -> Tensor:
    return torch.cat([session.process_rows(part) for part in audio_AN.split(chunk, dim=1)], dim=-1)


def references(player: Player) -> tuple[Tensor, Tensor]:
    return reference_of(player, sound(2, 3 * RATE, 5), RATE), reference_of(player, sound(1, RATE, 6).cumsum(1), RATE)


@pytest.mark.parametrize("chunk", [700, 5001])
def test_what_is_streamed_is_what_is_played_offline(chunk: int) -> None:
    player, mix_AN = band(), sound(1, 2048 * 40)
    one_E, other_E = references(player)
    session = Session(player, instruments=["Drums", "Bass"], seeds=[3, 4])
    session.set_reference(one_E, 0)
    session.set_reference(other_E, 1)
    streamed_BAN, late = played(session, mix_AN, chunk), session.timing.late_samples
    asked = player, mix_AN, RATE, ["Percussive", "Bass"], [3, 4]
    expected_BAN = offline(*asked, reference_BE=torch.stack((one_E, other_E)))
    length = expected_BAN.shape[-1] - late
    assert torch.allclose(streamed_BAN[..., late:], expected_BAN[..., :length], atol=1e-4)
    assert (expected_BAN - offline(*asked)).abs().max() > 1e-3


def test_none_is_the_model_without_and_a_reference_can_be_taken_back() -> None:
    player, mix_AN = band(), sound(1, 2048 * 20)
    one_E, _ = references(player)
    plain = played(Session(player), mix_AN)
    session = Session(player)
    session.set_reference(None)
    session.set_reference(one_E)
    session.set_reference(None)
    assert torch.equal(played(session, mix_AN), plain)
    session.reset()
    session.set_reference(one_E)
    asked = played(session, mix_AN)
    assert (asked - plain).abs().max() > 1e-3
    session.reset()
    assert torch.equal(played(session, mix_AN), asked), "a session that begins anew keeps its reference"


def test_the_ends_of_an_interpolation_are_the_two_references() -> None:
    player, mix_AN = band(), sound(1, 2048 * 20)
    one_E, other_E = references(player)

    def at(reference_E: Tensor) -> Tensor:
        session = Session(player)
        session.set_reference(reference_E)
        return played(session, mix_AN)

    assert torch.equal(at(interpolated(one_E, other_E, 0)), at(one_E))
    assert torch.equal(at(interpolated(one_E, other_E, 1)), at(other_E))
    middle = at(interpolated(one_E, other_E, 0.5))
    assert (middle - at(one_E)).abs().max() > 1e-4
    assert (middle - at(other_E)).abs().max() > 1e-4


@pytest.mark.parametrize(("block", "chunk"), [(0.5, 700), (3.0, 5001)])
def test_a_fade_is_what_is_played_offline_under_its_means(block: float, chunk: int) -> None:
    """Frame by frame as `livejam.accompanist.accompany`, with the reference that is due there."""
    player, mix_AN = band(), sound(1, 2048 * 60)
    one_E, other_E = references(player)
    session = Session(player, instruments=["Drums"], seeds=[3])
    session.set_reference(one_E)
    first_BAN = played(session, mix_AN[:, : 2048 * 20], chunk)
    session.set_reference(other_E, fade_seconds=block)
    streamed_BAN = torch.cat((first_BAN, played(session, mix_AN[:, 2048 * 20 :], chunk)), dim=-1)

    band_, spec, frames = player.accompanist, player.codec.spec, math.ceil(block * player.codec.spec.frame_rate_hz)
    controls = Controls(torch.tensor([NAMES.index("Percussive")]), torch.tensor([3]), reference_BE=one_E[None])
    with torch.inference_mode():
        # what a stream has not decoded yet when the mix ends is decoded from silence offline
        mix_BTC = player.codec.encode(torch.nn.functional.pad(mix_AN, (0, 2048 * 8))[None])
        state, out = band_.init_state(1, controls), [player.silence_C.expand(1, 1 + band_.anticipation_frames, -1)]
        for frame in range(mix_BTC.shape[1]):
            share = min(1.0, max(0.0, (frame - 20 + 1) / frames))
            due_BE = interpolated(one_E, other_E, share)[None] if frame >= 20 else one_E[None]
            state = band_.with_controls(replace(controls, reference_BE=due_BE), state)
            played_BTC, state = band_.step(mix_BTC[:, frame : frame + 1], state)
            out.append(played_BTC)
        expected_BAN = player.codec.decode(torch.cat(out, dim=1))[..., : mix_AN.shape[1]]
    late = session.timing.late_samples
    assert spec.sample_rate_hz == RATE
    assert torch.allclose(streamed_BAN[..., late:], expected_BAN[..., : expected_BAN.shape[-1] - late], atol=1e-4)


def test_a_fade_comes_to_its_end_whatever_is_undone_or_begins_anew() -> None:
    player = band()
    one_E, other_E = references(player)
    session = Session(player, instruments=["Drums", "Bass"])
    session.set_reference(one_E)
    played(session, sound(1, 2048 * 10))
    session.set_reference(other_E, 1, fade_seconds=1.0)
    played(session, sound(1, 2048 * 5))
    first_E, between_E = session._musician.controls.reference_BE  # type: ignore[misc]
    assert torch.equal(first_E, one_E)
    assert not torch.equal(between_E, one_E)
    assert not torch.equal(between_E, other_E)
    ready = session.snapshot()
    session.undo(0.6)
    played(session, sound(1, 2048 * 20))
    assert torch.equal(session._musician.controls.reference_BE, torch.stack((one_E, other_E)))
    session.restore(ready)
    session.reset()
    assert torch.equal(session._musician.controls.reference_BE, torch.stack((one_E, other_E)))


def test_between_a_reference_and_none_there_is_nothing() -> None:
    player = band()
    one_E, _ = references(player)
    session, at_once = Session(player), Session(player)
    session.set_reference(one_E, fade_seconds=5.0)
    at_once.set_reference(one_E)
    assert torch.equal(played(session, sound(1, 2048 * 8)), played(at_once, sound(1, 2048 * 8)))
    session.set_reference(None, fade_seconds=5.0)
    played(session, sound(1, 2048 * 2))
    assert session._musician.controls.reference_BE is None


@pytest.mark.parametrize("seconds", [-1.0, 601.0, math.nan, math.inf])
def test_a_fade_that_is_none_is_refused(seconds: float) -> None:
    player = band()
    with pytest.raises(UserError, match="a fade of"):
        Session(player).set_reference(references(player)[0], fade_seconds=seconds)


def test_a_shared_model_takes_references_too() -> None:
    player, baton = band(), Baton()
    one_E, _ = references(player)
    session, alone = Session(shared(player, baton)), Session(player)
    for each in (session, alone):
        each.set_reference(one_E)
    mix_AN = sound(1, 2048 * 6)
    with baton:
        together = played(session, mix_AN)
    assert torch.allclose(together, played(alone, mix_AN), atol=1e-5)


@pytest.mark.parametrize("bad", [torch.zeros(95) + 1, torch.full((96,), math.nan), torch.zeros(2, 96)])
def test_what_is_no_embedding_is_refused_and_the_session_plays_on(bad: Tensor) -> None:
    player, mix_AN = band(), sound(1, 2048 * 8)
    session = Session(player)
    with pytest.raises(UserError, match="reference"):
        session.set_reference(bad)
    assert torch.equal(played(session, mix_AN), played(Session(player), mix_AN))
    with pytest.raises(UserError, match="no row 3"):
        session.set_reference(references(player)[0], 3)


def test_models_that_take_none_say_so() -> None:
    for player in (liveband(pocket("pocket")), lmdm(pocket("pocket"), EncoderDecoder(9), prompts=False)):
        session = Session(player)
        session.set_reference(None)
        with pytest.raises(UserError, match="takes no reference"):
            session.set_reference(torch.ones(96))
        with pytest.raises(UserError, match="takes no reference"):
            reference_of(player, sound(1, RATE), RATE)


@pytest.mark.parametrize("rate", [16_000, 22050, 48_000])
def test_files_are_what_their_sound_is(tmp_path: Path, rate: int) -> None:
    player, path = band(), tmp_path / "sound.wav"
    audio_AN = sound(2, 3 * rate, 5)
    soundfile.write(path, audio_AN.T.numpy(), rate, subtype="FLOAT")
    assert torch.allclose(read_reference(path, player), reference_of(player, audio_AN, rate), atol=1e-6)


def test_bad_files_give_one_sentence(tmp_path: Path) -> None:
    player, path = band(), tmp_path / "sound.wav"
    with pytest.raises(UserError, match=r"sound\.wav"):
        read_reference(path, player)
    silence, broken, stroke = np.zeros(RATE * 2), np.full(RATE * 2, np.nan), np.ones(9)
    for samples, said in ((silence, "is silent"), (broken, r"not finite|NaN"), (stroke, "shorter")):
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        with pytest.raises(UserError, match=said):
            read_reference(path, player)
    path.write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"sound\.wav"):
        read_reference(path, player)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder": {"class_path": "os.system", "init_args": {}}}, "none of"),
        ({"encoder": {"class_path": "metrics.embeddings.chunks_of"}}, "update it|no class"),
        ({"encoder": {"class_path": "metrics.embeddings.LogMel", "init_args": {"bands": "x", "more": 1}}}, "update it"),
        ({"identity": "log_mel of another kind"}, "another kind"),
        ({"excerpts": 0}, "excerpts"),
        ({"unknown": 1}, "update it"),
    ],
)
def test_what_a_strangers_checkpoint_says_of_its_encoder(settings: dict[str, object], said: str) -> None:
    accompanist = band().accompanist
    accompanist._reference = {**REFERENCE, **settings}
    with pytest.raises(UserError, match=said):
        reference_analysis(accompanist)
