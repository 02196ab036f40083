"""The patches for Pure Data and Max: they are whole, speak livejam's messages, and Max's script does what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dukpy
import numpy as np
import pytest
from commands import REPOSITORY

from livejam.serving.osc_messages import TO_SERVER, Error, Meters, StreamAnswer, Welcome
from livejam.serving.osc_stream import GRID

PATCHES = REPOSITORY / "patches"
CONTROLS = {"instrument", "level", "mute", "undo", "seed", "prompt", "reset", "hello", "anticipation"}
CONTROLS |= {"negative_prompt", "guidance", "guidance_rescale", "reference", "reference_row", "reference_between"}
CONTROLS |= {"sketch", "sketch_curve", "sketch_notes", "sketch_free"}
METERS = ["welcome", "meters", "error", "late", "lost", "delay"]
BLOCK, RING, ROWS = 256, 65536, 4


@dataclass
class Canvas:
    """A Pd patch: its objects' texts, and its cords."""

    texts: list[str] = field(default_factory=list)
    cords: list[tuple[int, int, int, int]] = field(default_factory=list)
    inner: list[Canvas] = field(default_factory=list)

    def all(self) -> Iterator[Canvas]:
        yield self
        for canvas in self.inner:
            yield from canvas.all()


def canvas_of(path: Path) -> Canvas:
    """What Pd reads."""
    open_canvases: list[Canvas] = []
    for line in path.read_text().removesuffix(";\n").split(";\n"):
        kind, *rest = line.split(" ", 2)
        if kind == "#N":
            open_canvases.append(Canvas())
            continue
        what, words = rest
        if what == "connect":
            first, outlet, second, inlet = map(int, words.split())
            open_canvases[-1].cords.append((first, outlet, second, inlet))
        elif what == "restore":
            done = open_canvases.pop()
            open_canvases[-1].inner.append(done)
            open_canvases[-1].texts.append("pd " + words)
        elif kind == "#X":
            open_canvases[-1].texts.append(f"{what} {words}")
    (patch,) = open_canvases
    return patch


@pytest.fixture(scope="module", params=["livejam~.pd", "livejam.pd"])
def pd(request: pytest.FixtureRequest) -> Canvas:
    return canvas_of(PATCHES / request.param)


def test_every_cord_of_pd_has_two_ends(pd: Canvas) -> None:
    for canvas in pd.all():
        for first, _, second, _ in canvas.cords:
            assert max(first, second) < len(canvas.texts)
            for end in (first, second):
                assert not canvas.texts[end].startswith("text")
        joined = {end for first, _, second, _ in canvas.cords for end in (first, second)}
        alone = [text for place, text in enumerate(canvas.texts) if place not in joined]
    drawn = r"block~|table|cnv|vu|hsl|tgl|bng|nbx|hradio"
    quiet = rf"text |obj \d+ \d+ ({drawn})|floatatom|symbolatom|pd \d+ \d+ pd (tables|wiring)"
    assert [text for text in alone if not re.match(quiet, text)] == []


def test_every_name_of_pd_is_sent_and_received(pd: Canvas) -> None:
    texts = [text for canvas in pd.all() for text in canvas.texts]
    knobs = [text for text in texts if re.match(r"obj \d+ \d+ (hsl|tgl|bng|nbx|hradio|vu|tabreceive~|tabsend~)", text)]
    shows = [text for text in texts if re.match("floatatom|symbolatom", text)]
    sent, received = (
        {name for text in texts for name in re.findall(rf"^obj \d+ \d+ {kind} (\\\$0-[\w-]+)$", text)} for kind in "sr"
    )
    drawn, shown = ({name for text in some for name in re.findall(r"\\\$0-[\w-]+", text)} for some in (knobs, shows))
    assert sent <= received | shown | drawn
    assert received <= sent | drawn


def test_the_abstraction_speaks_the_protocol() -> None:
    texts = [text for canvas in canvas_of(PATCHES / "livejam~.pd").all() for text in canvas.texts]
    said = {f"/{text.split()[-1]}" for text in texts if " oscformat" in text}
    assert said == {f"/{name}" for name in CONTROLS} | {"/stream"} <= TO_SERVER.keys()
    (understood,) = (text.split()[4:] for text in texts if "route stream" in text)
    assert {f"/{name}" for name in understood} == {kind.address for kind in (StreamAnswer, Welcome, Meters, Error)}
    assert f"block~ {BLOCK}" in " ".join(texts)
    assert BLOCK % GRID == 0


def max_patch() -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    patcher = json.loads((PATCHES / "livejam.maxpat").read_text())["patcher"]
    boxes = [entry["box"] for entry in patcher["boxes"]]
    by_id = {box["id"]: box for box in boxes}
    assert len(by_id) == len(boxes)
    return by_id, [entry["patchline"] for entry in patcher["lines"]]


def test_every_cord_of_max_has_two_ends() -> None:
    boxes, cords = max_patch()
    for cord in cords:
        (source, outlet), (destination, inlet) = cord["source"], cord["destination"]
        assert outlet < boxes[source]["numoutlets"]
        assert inlet < boxes[destination]["numinlets"]
    joined = {cord[end][0] for cord in cords for end in ("source", "destination")}
    alone = [box for name, box in boxes.items() if name not in joined and box["maxclass"] != "comment"]
    assert {box["text"].split()[0] for box in alone} == {"buffer~"}


def test_max_and_pd_have_the_same_knobs_and_meters() -> None:
    boxes, _ = max_patch()
    front = [text for canvas in canvas_of(PATCHES / "livejam.pd").all() for text in canvas.texts]
    messages = {box["text"] for box in boxes.values() if box["maxclass"] == "message"} - {"", "hello"}
    asked = {" ".join(text.split()[3:]).replace("\\", "") for text in front if text.startswith("msg")}
    instruments = {text for text in asked if text.startswith("instrument")}
    (menu,) = (box["items"] for box in boxes.values() if box["maxclass"] == "umenu")
    assert instruments == {f"instrument {name}" for name in menu if name != ","}
    assert {" ".join(text.split()) for text in asked - instruments if "dsp" not in text} == {
        text for text in messages if "dsp" not in text
    }
    shown = {box["text"] for box in boxes.values() if box["maxclass"] == "comment"}
    words = {" ".join(text.split()[3:]).replace(" \\,", ",") for text in front if text.startswith("text")}
    meters = {text for text in words if text.startswith("ms ") or " lost" in text or "late " in text}
    assert len(meters) == 6
    assert meters <= shown
    texts = [*front, *(box.get("text", "") for box in boxes.values())]
    routes = [text.split("route ")[1].split() for text in texts if "route " in text]
    assert routes == [METERS, METERS]


PRELUDE = """
var said = [], clock = 0, messagename = "", buffers = {};
function Buffer(name) { return buffers[name] = buffers[name] || new Memory(); }
function Memory() { this.rows = {}; }
Memory.prototype.row = function (row) {
    if (!this.rows[row]) { this.rows[row] = []; for (var i = 0; i < 65536; i++) this.rows[row].push(0); }
    return this.rows[row];
};
Memory.prototype.peek = function (row, start, count) { return this.row(row).slice(start, start + count); };
Memory.prototype.poke = function (row, start, values) {
    for (var i = 0; i < values.length; i++) this.row(row)[start + i] = values[i];
};
function outlet(place) { said.push([place].concat(Array.prototype.slice.call(arguments, 1))); }
function arrayfromargs(given) { return Array.prototype.slice.call(given); }
function Date() { return { getTime: function () { return clock; } }; }
"""


class Max:
    """Max's js object with livejam's script: memory, clock and outlets."""

    def __init__(self) -> None:
        self.engine = dukpy.JSInterpreter()
        script = (PATCHES / "livejam.js").read_text()
        self.engine.evaljs(PRELUDE + script + "; null")

    def tick(self, position: int, heard_N: np.ndarray) -> list[list[Any]]:
        """Sound up to a position was heard: what left the outlets."""
        at, samples = (position - len(heard_N)) % RING, heard_N.tolist()
        return self.engine.evaljs(
            "Buffer('lj-in').poke(1, dukpy.at, dukpy.samples); clock = dukpy.ms; msg_float(dukpy.index);"
            "var out = said; said = []; out",
            at=at, samples=samples, index=position % RING, ms=1000 * position / 44100,
        )  # fmt: skip

    def receive(self, address: str, *words: Any) -> None:
        calling = "messagename = dukpy.address; anything.apply(null, dukpy.words); null"
        self.engine.evaljs(calling, address=address, words=words)

    def call(self, name: str, *words: Any) -> list[list[Any]]:
        return self.engine.evaljs(f"{name}.apply(null, dukpy.words); var out = said; said = []; out", words=words)

    def playing(self, start: int, samples: int, row: int = 0) -> np.ndarray:
        """What `index~` reads from a place on."""
        places = [(start + i) % RING for i in range(samples)]
        return np.array(
            self.engine.evaljs(
                "var row = Buffer('lj-out').row(dukpy.row); dukpy.places.map(function (i) { return row[i]; })",
                places=places, row=row + 1,
            )
        )  # fmt: skip


def wave(start: int, samples: int) -> np.ndarray:
    return 0.25 + 0.5 * np.sin(np.arange(start, start + samples) / 50)


def test_the_script_of_max_sends_what_was_heard_and_plays_answers_where_they_are_due() -> None:
    """Over the ring's end; answers come 512 samples ahead, two of them later than they should, and in two rows."""
    script, step, heard = Max(), 128, []
    delay, arriving, late = 0, list[tuple[int, int]](), {270, 271}
    first = RING // BLOCK - 20  # Max was away: begin there
    for position in range(first * BLOCK, RING + 56 * BLOCK, step):
        if (first + 4) * BLOCK <= position <= min(late) * BLOCK:
            assert np.allclose(script.playing(position - step, step), wave(position - step, step))
        for outlet, *what in script.tick(position, -wave(position - step, step)):
            if outlet == 0:
                address, sequence, start, *samples = what[0]
                assert (address, start) == ("/stream", sequence * BLOCK)
                heard.append((sequence, samples))
                arriving.append((position + (4096 if sequence in late else 0), sequence))
            elif outlet == 1:
                delay = what[0]
        for due, sequence in [entry for entry in arriving if entry[0] <= position]:
            arriving.remove((due, sequence))
            ahead = (sequence + 2) * BLOCK
            for row in range(2):
                script.receive("/stream", 2 * sequence + row, ahead, row, *((1 + row) * wave(ahead, BLOCK)).tolist())
    assert [sequence for sequence, _ in heard] == list(range(first, first + len(heard)))
    for sequence, samples in heard:
        assert np.allclose(samples, -wave(sequence * BLOCK, BLOCK))
    assert 4096 - 3 * BLOCK <= delay <= 4096 + BLOCK
    due = position - delay
    assert np.allclose(script.playing(due, 1024), wave(due, 1024))
    assert np.allclose(script.playing(due, 1024, row=1), 2 * wave(due, 1024))
    assert not script.playing(due - 4096, 1024).any()


def test_the_script_of_max_passes_controls_on_and_shows_meters() -> None:
    script = Max()
    assert script.call("instrument", "drums", "bass") == [[0, ["/instrument", "drums", "bass"]]]
    for name, words in {
        "level": [-6],
        "mute": [1],
        "undo": [4],
        "seed": [7],
        "prompt": ["jazz piano", 4],
        "negative_prompt": ["drums", 1],
        "guidance": ["mix", 2, "prompt", 3],
        "guidance_rescale": [0.7],
        "reference": ["voice:0.7, strings:0.3", 4],
        "reference_row": [1, "voice"],
        "reference_between": ["voice", "strings", 0.3],
        "sketch": ["loudness", -30, 0.5],
        "sketch_curve": ["pitch", 44100, 2, 60, 64, 67],
        "sketch_notes": [60, 64, 67],
        "sketch_free": [],
        "reset": [],
        "anticipation": [4],
    }.items():
        assert script.call(name, *words) == [[0, [f"/{name}", *words]]]
        assert f"/{name}" in TO_SERVER
    assert script.call("ahead", 20) == [[1, -768], [2, "delay", -768]]
    script.receive("/error", "no such instrument")
    script.receive("/stream", 0, 10_000, 0, 0.5)
    script.receive("/stream", 3, 10_256, 0, 0.5)
    assert script.call("sending", 0) == [[2, ["error", "no such instrument"]], [2, "lost", 2]]
