"""A model that learnt several anticipations is asked for another one while it plays over OSC, or to the page."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from osc_desk import RATE, Desk, placed
from players import liveband, pocket
from web_stage import JAM, Visitor, client_of, stage_with, tune

from livejam.checkpoints.player import Player
from livejam.serving.mono_sessions import mono_session
from livejam.serving.osc_messages import Anticipation, Error, Hello, Instrument, Ready, Stream, Welcome
from livejam.serving.web_limits import Limits
from livejam.serving.web_messages import Anticipation as WebAnticipation
from livejam.serving.web_server import make_app
from livejam.streaming import Session

ANTICIPATIONS = 6
SECOND = RATE // 512 * 512


@cache
def told() -> Player:
    return liveband(pocket(), 1, ANTICIPATIONS)


def expected(audio_N: np.ndarray, names: list[str], seeds: list[int]) -> np.ndarray:
    """What a session plays that is asked for 4 frames after a second, from its first sample on."""
    session = Session(told(), sample_rate_hz=RATE, channels=1, instruments=names, seeds=seeds)
    mix_AN = torch.from_numpy(audio_N)[None]
    pieces = [session.advance(mix_AN[:, :0]), session.advance(mix_AN[:, :SECOND])]
    session.set_anticipation(4)
    pieces.append(session.advance(mix_AN[:, SECOND:]))
    return torch.cat(pieces, dim=-1)[:, 0].numpy()


def blocks(audio_N: np.ndarray, first: int = 0) -> list[Stream]:
    return [
        Stream(at // 512, at, audio_N[at - first : at - first + 512]) for at in range(first, first + len(audio_N), 512)
    ]


def test_over_osc() -> None:
    audio_N = tune(3.0)
    with torch.inference_mode():
        desk = Desk(told())
        ready, welcome = desk(Hello())
        assert isinstance(ready, Ready)
        assert isinstance(welcome, Welcome)
        assert (welcome.anticipation, welcome.least, welcome.most) == (1, 1, ANTICIPATIONS - 1)
        answers = [answer for block in blocks(audio_N[:SECOND]) for answer in desk(block)]
        (changed,) = desk(Anticipation(4))
        assert changed == replace(welcome, anticipation=4, lead_samples=changed.lead_samples)
        hop = told().codec.spec.hop_samples * RATE / told().codec.spec.sample_rate_hz
        assert abs(changed.lead_samples - welcome.lead_samples - 3 * hop) <= 2
        answers += [answer for block in blocks(audio_N[SECOND:], SECOND) for answer in desk(block)]
        wanted_BN = expected(audio_N, ["Percussive"], [5])[:, RATE // 2 : len(audio_N)]
        answer_BN = placed(answers, 1, len(audio_N))[:, RATE // 2 :]
        np.testing.assert_allclose(answer_BN[:, : wanted_BN.shape[1]], wanted_BN, atol=1e-5)
        for refused in (0, 6):
            (error,) = desk(Anticipation(refused))
            assert isinstance(error, Error)
        (two,) = desk(Instrument(("bass", "drums")))
        assert isinstance(two, Welcome)
        assert (two.rows, two.anticipation, two.lead_samples) == (2, 4, changed.lead_samples), "it is kept"


def test_to_the_page() -> None:
    audio_N = tune(2.0)
    stage = replace(stage_with(Limits()), make_session=partial(mono_session, told(), RATE, False))
    with client_of(make_app(stage, (), "")) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        begun = visitor.begin("Percussive", seed=3)
        assert [begun[name] for name in ("anticipation", "least_anticipation", "most_anticipation")] == [1, 1, 5]
        visitor.play(audio_N[:SECOND])
        visitor.hear(1, SECOND)  # so it has heard all of it
        frames = list(visitor.frames)
        visitor.say(WebAnticipation(4))
        assert visitor.until("done")["of"] == "anticipation"
        visitor.play(audio_N[SECOND:], start=SECOND)
        end = len(audio_N) + begun["lead_samples"]
        visitor.frames = frames
        rest_BN = visitor.hear(1, end)[:, SECOND + begun["lead_samples"] + begun["block_samples"] :]
        wanted_BN = expected(audio_N, ["Percussive"], [3])[:, end - rest_BN.shape[1] : end]
        assert np.abs(wanted_BN).max() > 0.001
        np.testing.assert_allclose(rest_BN, wanted_BN, atol=1e-5)
        visitor.say(WebAnticipation(0))
        assert "samples late" in visitor.until("problem")["sentence"]
