"""A session that sounds like a reference: as offline, row by row, and between two of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from players import REFERENCE, liveband, lmdm, offline, pocket, sound
from torch import Tensor

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
