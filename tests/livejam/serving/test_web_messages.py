"""The page's messages and frames: what is written is read, what is out of bounds is refused, and all is documented."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.serving import web_messages
from livejam.serving.web_frames import HEADER, Heard, Played, read_heard, read_played, write_heard, write_played
from livejam.serving.web_messages import FROM_PAGE, FROM_SERVER, Begin, Control, Level, Message, Mute, read_message
from livejam.serving.web_values import value_of

DOC = REPOSITORY / "docs/web.md"
PAGE: Path = REPOSITORY / "livejam/serving/web"


def table(kinds: dict[str, type[Message]]) -> str:
    """The table of messages in docs/web.md."""
    lines = ["| message | field | what it is | what it may be |", "|---|---|---|---|"]
    for name, kind in kinds.items():
        meaning = " ".join((kind.__doc__ or "").split())
        lines.append(f"| `{name}` | | {meaning} | |")
        lines += [f"| | `{e.name}` | {value_of(e).words} | {value_of(e).bounds} |" for e in fields(kind)]
    return "\n".join(lines)


@pytest.mark.parametrize(("mark", "kinds"), [("from the page", FROM_PAGE), ("from the server", FROM_SERVER)])
def test_the_tables_of_the_page_are_up_to_date(mark: str, kinds: dict[str, type[Message]]) -> None:
    text = DOC.read_text(encoding="utf-8")
    found = text.split(f"<!-- {mark}:begin -->")[1].split(f"<!-- {mark}:end -->")[0].strip()
    assert found == table(kinds), f"put this between the marks:\n{table(kinds)}"


def test_every_message_is_in_a_table() -> None:
    kinds = {kind for kind in vars(web_messages).values() if isinstance(kind, type) and issubclass(kind, Message)}
    assert kinds - {Message, Control} == {*FROM_PAGE.values(), *FROM_SERVER.values()}


@pytest.mark.parametrize(
    "message", [Begin(("Percussive", "Bass"), 3), Level(-6.5, None), Level(0.0, 1), Mute(True, 0)], ids=repr
)
def test_what_is_written_is_read(message: Message) -> None:
    assert read_message(message.text(), FROM_PAGE) == message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"kind": "level", "decibels": true}', "decibels is True"),
        ('{"kind": "level", "decibels": 25}', "from -120 to 24"),
        ('{"kind": "level", "decibels": 1' + "0" * 400 + "}", "decibels"),
        ('{"kind": "level", "decibels": NaN}', "no JSON"),
        ('{"kind": "mute", "silent": true, "row": 4}', "row is 4"),
        ('{"kind": "mute", "silent": true, "row": 0.5}', "row is 0.5"),
        ('{"kind": "begin", "instruments": [], "seed": 0}', "list of 1 to 4 texts"),
        ('{"kind": "begin", "instruments": "Bass", "seed": 0}', "instruments is 'Bass'"),
        ('{"kind": "begin", "instruments": ["Bass"], "seed": -1}', "seed is -1"),
        ('{"kind": "begin", "instruments": ["' + "x" * 201 + '"], "seed": 0}', "list of"),
        ('{"kind": "welcome"}', "there is no message of the kind 'welcome'"),
        ('{"kind": ["mute"]}', "there is no message"),
        ('{"kind": "mute", "silent": true, "x": 1}', "there is no 'x'"),
        ("{" * 4000, "no JSON"),
        ("[" * 5000, "too long"),
        ('"mute"', "no JSON object"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        read_message(text, FROM_PAGE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300)
@given(kind=st.sampled_from(list(FROM_PAGE)), drawn=st.data())
def test_any_value_is_read_or_refused(kind: str, drawn: st.DataObject) -> None:
    given_fields: dict[str, Any] = {entry.name: drawn.draw(JSON) for entry in fields(FROM_PAGE[kind])}
    try:
        message = read_message(json.dumps({"kind": kind, **given_fields}), FROM_PAGE)
    except UserError:
        return
    assert read_message(message.text(), FROM_PAGE) == message


def test_frames_are_as_they_are_documented() -> None:
    audio_N = np.array([0.5, -0.25, 2.0], dtype=np.float32)
    frame = write_heard(Heard(2**32 + 5, 2**40 + 1, audio_N))
    assert frame[:16].hex() == "01000000" + "05000000" + "0100000000010000"
    assert frame[16:].hex() == "0000003f" + "000080be" + "00000040"
    heard = read_heard(frame)
    assert (heard.sequence, heard.position_samples) == (5, 2**40 + 1)
    np.testing.assert_array_equal(heard.audio_N, [0.5, -0.25, 1.0])
    played = read_played(write_played(Played(9, -512, 3, audio_N)))
    assert (played.sequence, played.position_samples, played.row) == (9, -512, 3)
    np.testing.assert_array_equal(played.audio_N, audio_N)


@settings(max_examples=300)
@given(st.binary(max_size=64) | st.binary(max_size=40).map(lambda rest: HEADER.pack(1, 0, 0, 0, 7) + rest))
def test_any_frame_is_read_or_refused(frame: bytes) -> None:
    try:
        heard = read_heard(frame)
    except UserError:
        return
    assert np.isfinite(heard.audio_N).all()
    assert np.abs(heard.audio_N).max() <= 1


@pytest.mark.parametrize("script", sorted(PAGE.glob("*.js")), ids=lambda path: path.name)
def test_the_pages_scripts_parse(script: Path, node: str) -> None:
    command = [node, "--check", "--input-type=module", "-"]
    done = subprocess.run(command, input=script.read_bytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
