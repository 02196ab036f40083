"""Prompts that musicians change over OSC and on the page, at once and in a fade.

Shapes: N audio samples.
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from commands import REPOSITORY
from osc_desk import RATE, Desk
from page_scripts import runner
from players import lmdm, pocket
from web_stage import JAM, Visitor, app_with, client_of, tune

from livejam.checkpoints.player import Player
from livejam.networks import BlockCausal
from livejam.serving.mono_sessions import mono_session
from livejam.serving.osc_messages import Error, Prompt, PromptRow, Stream
from livejam.serving.web_limits import Limits, Places
from livejam.serving.web_messages import Prompt as WebPrompt
from livejam.serving.web_server import make_app
from livejam.serving.web_shared import Stage
from livejam.streaming.batons import Baton

BLOCK = 256


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
        'import { asked } from "./words.js";'
        'console.log(JSON.stringify([asked(" piano ", "", "4"), asked("a:1, b:2", "1", ""), asked("x", "0", "1e9")]));'
    )
    assert found == [
        {"kind": "prompt", "words": "piano", "row": None, "fade_seconds": 4},
        {"kind": "prompt", "words": "a:1, b:2", "row": 1, "fade_seconds": 0},
        {"kind": "prompt", "words": "x", "row": 0, "fade_seconds": 60},
    ]
