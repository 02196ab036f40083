"""Prompts, negative prompts and guidance that musicians change over OSC and on the page.

Shapes: N audio samples.
"""

from __future__ import annotations

import json
import math
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from commands import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st
from osc_desk import BLOCK, RATE, Desk, heard, placed, take_anything
from page_scripts import runner
from players import lmdm, pocket
from sounding import band, follower, guided
from web_stage import JAM, Visitor, app_with, client_of, tune

from livejam.checkpoints.player import Player
from livejam.networks import BlockCausal
from livejam.serving.mono_sessions import mono_session
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import Error, Hello, Stream
from livejam.serving.osc_wire import write_datagram
from livejam.serving.osc_word_messages import Guidance, GuidanceRescale, NegativePrompt, Prompt, PromptRow
from livejam.serving.web_limits import Limits, Places
from livejam.serving.web_messages import Guidance as WebGuidance
from livejam.serving.web_messages import GuidanceRescale as WebRescale
from livejam.serving.web_messages import NegativePrompt as WebNegative
from livejam.serving.web_messages import Prompt as WebPrompt
from livejam.serving.web_server import make_app
from livejam.serving.web_shared import Stage, stage_of
from livejam.streaming import Session
from livejam.streaming.batons import Baton


@cache
def player() -> Player:
    return lmdm(pocket("pocket"), BlockCausal(3, 3), 0, 3)


def line_of(desk: Desk) -> object:
    return desk.desk.musician._session.snapshot().pipeline.prompts


def test_osc() -> None:
    desk, sound_N = Desk(player(), ("Percussive", "Bass")), tune(2.0)
    for number, start in enumerate(range(0, len(sound_N) - BLOCK, BLOCK)):
        desk(Stream(number, start, sound_N[start : start + BLOCK]))
    assert not desk(Prompt("piano:0.7, strings:0.3"))
    assert line_of(desk) is None  # at once, and all that is remembered is encoded again
    assert not desk(PromptRow(1, "organ", 2.0, 1))
    assert not desk(Prompt("bass", 0.5))
    line = line_of(desk)
    assert [(c.rows, c.eject_blocks) for c in line.changes] == [((1,), 1), ((0, 1), 0)]  # type: ignore[attr-defined]
    assert not desk(PromptRow(-1, "piano", 0.0, 0))
    for message, said in (
        (Prompt("zzz", 1.0), "no word that the tag encoder knows"),
        (Prompt("piano:1, bass"), "has no weight"),
        (PromptRow(3, "piano", 1.0, 0), "there is no row 3"),
        (PromptRow(0, "piano", 0.0, 4), "the model remembers 3"),
    ):
        desk.clock.sleep(0.2)
        (error,) = desk(message)
        assert isinstance(error, Error)
        assert said in error.sentence
    for number, start in enumerate(range(0, len(sound_N) - BLOCK, BLOCK), len(sound_N) // BLOCK):
        desk(Stream(number, len(sound_N) // BLOCK * BLOCK + start, sound_N[start : start + BLOCK]))
    assert desk.desk.musician._session.failures == 0


def test_the_page() -> None:
    make, limits = partial(mono_session, player(), RATE, False), Limits()
    stage = Stage("lmdm", player().instruments, RATE, make, Baton(), limits, Places(limits.musicians), print, True)
    with client_of(make_app(stage, (), "")) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive", "Bass")
        assert visitor.told[0]["prompts"] is True
        visitor.play(tune(1.0))
        for prompt in (WebPrompt("piano"), WebPrompt("organ:2, bass:1", 1, 4.0), WebPrompt("strings", None, None, 2)):
            visitor.say(prompt)
            assert visitor.until("done")["of"] == "prompt"
        for prompt, said in ((WebPrompt("zzz", 0, 1.0), "knows"), (WebPrompt("piano", 0, 0.0, 9), "remembers 3")):
            visitor.say(prompt)
            assert said in visitor.until("problem")["sentence"]
        visitor.play(tune(1.0), start=RATE)
        assert np.isfinite(visitor.hear(2, 2 * RATE)).all()
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        assert visitor.until("welcome")["prompts"] is False  # LiveBand


def test_what_the_page_asks(tmp_path: object, node: str) -> None:
    run = runner(REPOSITORY / "livejam/serving/web", tmp_path, node)  # type: ignore[arg-type]
    found = run(
        'import { asked, avoided } from "./words.js"; import { guided, weightsOf } from "./guiding.js";'
        'console.log(JSON.stringify([asked(" piano ", "", "4"), asked("a:1, b:2", "1", ""), asked("x", "0", "1e9"),'
        'avoided(" drums ", "1"), avoided(" ", ""), weightsOf("mix=1,prompt=3.5"), weightsOf(""), weightsOf(),'
        'guided("past", 2.5), guided("share", 0.7)]));'
    )
    assert found == [
        {"kind": "prompt", "words": "piano", "row": None, "fade_seconds": 4},
        {"kind": "prompt", "words": "a:1, b:2", "row": 1, "fade_seconds": 0},
        {"kind": "prompt", "words": "x", "row": 0, "fade_seconds": 60},
        {"kind": "negative_prompt", "words": "drums", "row": 1},
        {"kind": "negative_prompt", "words": None, "row": None},
        {"mix": 1, "prompt": 3.5},
        {},
        {},
        {"kind": "guidance", "past": 2.5},
        {"kind": "guidance_rescale", "share": 0.7},
    ]


def known(session: Session, audio_N: np.ndarray) -> np.ndarray:
    """What a session plays to a beginning, as far as that makes it known (BN)."""
    parts = [session.advance(torch.zeros(1, 0)), session.advance(torch.from_numpy(audio_N)[None])]
    return torch.cat(parts, dim=-1)[:, 0].numpy()


def greeted(player: Player) -> Desk:
    desk = Desk(player)
    desk(Hello())
    return desk


def refused(desk: Desk, message: Message | bytes) -> str:
    desk.clock.sleep(0.2)
    (error,) = desk(message)
    assert isinstance(error, Error)
    return error.sentence


def test_negative_prompts_and_guidance_over_osc_are_those_of_a_session() -> None:
    desk, audio_N = Desk(guided(), ("Percussive", "Bass")), tune(1.5)
    desk(Hello())
    asked = (
        NegativePrompt("loud trumpet"), NegativePrompt("piano:0.7, strings:0.3", 1),
        Guidance((("prompt", 3.0), ("mix", 1.5))), GuidanceRescale(0.5),
    )  # fmt: skip
    for message in asked:
        assert not desk(message)
    answers = heard(desk, audio_N)
    alone, plain = (desk.session(("Percussive", "Bass")) for _ in range(2))
    alone.set_negative_prompt("loud trumpet", 0)
    alone.set_negative_prompt("piano:0.7, strings:0.3", 1)
    alone.set_guidance({"prompt": 3.0, "mix": 1.5})
    alone.set_guidance_rescale(0.5)
    samples = len(audio_N) // BLOCK * BLOCK
    wanted_BN, plain_BN = (known(session, audio_N[:samples]) for session in (alone, plain))
    got_BN = placed(answers, 2, wanted_BN.shape[1])
    there = np.isfinite(got_BN)
    there[:, :2048] = False  # the opening is faded in
    assert there.mean() > 0.5
    np.testing.assert_allclose(got_BN[there], wanted_BN[there], atol=1e-5)
    assert not np.allclose(wanted_BN[there], plain_BN[there], atol=1e-4)
    for message in (NegativePrompt("none"), Guidance((("", 3.0),))):
        assert not desk(message)
    playing = desk.desk.musician._session._musician
    assert playing.controls.negative_prompt is None
    assert playing.accompanist.sampler.guidance == 3.0


WRONG: tuple[tuple[Message | bytes, str], ...] = (
    (NegativePrompt("zzz"), "no word that the tag encoder knows"),
    (NegativePrompt("piano:1, bass"), "has no weight"),
    (NegativePrompt(""), "empty"),
    (NegativePrompt("piano", 3), "there is no row 3"),
    (write_datagram("/negative_prompt", [("s", "piano " * 10_000)]), "less than 1000 letters"),
    (Guidance((("tempo", 2.0),)), "no weight of 'tempo'"),
    (Guidance((("sketch", 2.0),)), "this model follows no sketch"),
    (Guidance((("prompt", 1e30),)), "must be from 0 to 30"),
    (Guidance((("", -1.0),)), "must be from 0 to 30"),
    (Guidance((("mix", 1.0), ("mix", 2.0))), "a control has two weights"),
    (write_datagram("/guidance", [("s", "prompt"), ("f", math.nan)]), "is not one finite number"),
    (write_datagram("/guidance_rescale", [("f", math.nan)]), "is not a finite number"),
    (write_datagram("/guidance_rescale", [("f", 1.5)]), "is 1.5"),
)


def test_what_cannot_be_asked_gets_one_sentence_and_changes_nothing() -> None:
    desk = Desk(guided())
    heard(desk, tune(0.5))
    before = desk.desk.musician._session.snapshot()
    for message, said in WRONG:
        assert said in refused(desk, message)
        assert desk.desk.musician._session.snapshot() is before
    for words in ("piano", "none"):
        assert "takes no prompts" in refused(greeted(follower()), NegativePrompt(words))
        assert "takes no prompts" in refused(greeted(band()), NegativePrompt(words))
    for message in (Guidance((("", 3.0),)), GuidanceRescale(0.5)):
        assert "without guidance" in refused(greeted(band()), message)
    assert "takes no prompts" in refused(greeted(follower()), Guidance((("prompt", 3.0),)))
    assert "this model's prompt is not guided" in refused(greeted(player()), NegativePrompt("piano"))


TEXTS = st.sampled_from(("piano", "none", "", "zzz", "piano:0.7, bass:0.3", "mix", "prompt", "past", "sketch"))
NUMBERS = st.floats(width=32) | st.floats(-1, 40, width=32)
ARGUMENTS = st.one_of(
    st.tuples(st.just("s"), TEXTS | st.text("a:,1. é", max_size=12)), st.tuples(st.just("f"), NUMBERS),
    st.tuples(st.just("i"), st.integers(-(2**31), 2**31 - 1)), st.tuples(st.just("T"), st.booleans()),
)  # fmt: skip
PAIRS = st.lists(st.tuples(st.tuples(st.just("s"), TEXTS), st.tuples(st.just("f"), NUMBERS)), max_size=5)
ADDRESSES = ("/negative_prompt", "/guidance", "/guidance_rescale", "/prompt")
LIKELY = st.one_of(
    st.tuples(st.just("/negative_prompt"), st.tuples(
        st.tuples(st.just("s"), TEXTS), st.tuples(st.just("i"), st.integers(-1, 2)))),
    st.tuples(st.just("/guidance"), st.tuples(st.tuples(st.just("f"), NUMBERS))),
    st.tuples(st.just("/guidance"), PAIRS.map(lambda pairs: [one for pair in pairs for one in pair])),
    st.tuples(st.sampled_from(ADDRESSES), st.lists(ARGUMENTS, max_size=6)),
)  # fmt: skip


@settings(deadline=None, max_examples=12)
@given(
    st.sampled_from((guided, follower, band)),
    st.lists(st.tuples(LIKELY, st.none() | st.binary(min_size=1, max_size=3), st.integers(0, 3)), max_size=8),
)
def test_whatever_comes_gets_at_most_one_error_and_stops_nothing(make: Any, packets: list[Any]) -> None:
    """Good, wrong, infinite and damaged packets, between blocks of sound."""
    desk, audio_N = Desk(make()), tune(0.3)
    position = take_anything(desk, packets, audio_N)
    answers = heard(desk, audio_N, position)
    assert np.isfinite(np.concatenate([answer.samples_N for answer in answers if hasattr(answer, "samples_N")])).all()
    assert desk.desk.musician._session.failures == 0
    assert desk(Hello())


def stage(make: Any) -> Stage:
    one = partial(mono_session, make(), RATE, False)
    return stage_of(Path("toy"), make(), RATE, one, Baton(), Limits(), print)


def test_the_page_leads_away_and_guides() -> None:
    assert [stage(make).guidance for make in (guided, band)] == ["mix=2,past=1,prompt=4", ""]
    assert [stage(make).guidance_rescale for make in (guided, band)] == [0.0, None]
    audio_N = tune(1.0)
    with client_of(make_app(stage(guided), (), "")) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive", "Bass")
        assert visitor.told[0]["guidance"] == "mix=2,past=1,prompt=4"
        assert visitor.told[0]["guidance_rescale"] == 0
        asked = WebNegative("trumpet", 1), WebGuidance(prompt=3.0), WebGuidance(mix=1.5), WebRescale(0.7)
        for message in asked:
            visitor.say(message)
            assert visitor.until("done")["of"] == message.kind
        for wrong, said in (
            ({"kind": "guidance", "prompt": 31}, "from 0 to 30"),
            ({"kind": "guidance", "prompt": "3"}, "prompt is '3'"),
            ({"kind": "guidance", "tempo": 3}, "there is no 'tempo'"),
            ({"kind": "guidance", "sketch": 2}, "follows no sketch"),
            ({"kind": "guidance_rescale", "share": 1.5}, "from 0 to 1"),
            ({"kind": "guidance_rescale"}, "share is None"),
            ({"kind": "negative_prompt", "words": "zzz"}, "knows"),
            ({"kind": "negative_prompt", "words": "piano " * 100}, "at most 200 letters"),
            ({"kind": "negative_prompt", "words": "piano", "row": 3}, "there is no row 3"),
        ):
            socket.send_text(json.dumps(wrong))
            problem = visitor.until("problem")
            assert said in problem["sentence"]
            assert problem["sentence"].startswith(f"{wrong['kind']}: ")
            assert not problem["ended"]
        visitor.play(audio_N)
        answer_BN = visitor.hear(2, len(audio_N) // 2)
        visitor.say(WebNegative(None))
        assert visitor.until("done")["of"] == "negative_prompt"
    session = mono_session(guided(), RATE, False, ["Percussive", "Bass"], 0)
    session.set_negative_prompt("trumpet", 1)
    session.set_guidance({"prompt": 3.0, "mix": 1.5})
    session.set_guidance_rescale(0.7)
    np.testing.assert_allclose(answer_BN, known(session, audio_N)[:, : answer_BN.shape[1]], atol=1e-5)
    with client_of(make_app(stage(band), (), "")) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        for message, said in (
            (WebNegative("piano"), "takes no prompts"),
            (WebGuidance(prompt=3.0), "without guidance"),
            (WebRescale(0.7), "without guidance"),
        ):
            visitor.say(message)
            assert said in visitor.until("problem")["sentence"]
