"""OSC messages that ask for a sound: that of recordings, and one that follows a sketch."""

from __future__ import annotations

from dataclasses import dataclass, field

from livejam.serving.osc_fields import LONGEST_BLOCK, MOST_ROWS, Message, number, rest, text, whole
from livejam.streaming.drawing import LENGTHS, MOST_POINTS
from livejam.streaming.prompting import FADES
from livejam.streaming.rings import Audio

MOST_NOTES = 16
RECORDINGS = text("the names; `none` = like nothing in particular")
FADE = number("seconds in which it replaces the one before", FADES.low, FADES.high, optional=True)
CONTROL = text("`loudness`, `brightness` or `pitch`")
VALUE = (
    "its value: A-weighted dB of full scale, -100 to 20; the spectral centroid's note of MIDI, 0 to 127; a note of "
    "MIDI, -1 = none"
)


@dataclass(frozen=True)
class Reference(Message):
    """Lets it sound like a recording that `--like` has named, or like several with weights, as in
    `voice:0.7, strings:0.3`."""

    address = "/reference"
    names: str = field(metadata=RECORDINGS)
    fade_seconds: float | None = field(default=None, metadata=FADE)


@dataclass(frozen=True)
class ReferenceRow(Message):
    """The same for one row."""

    address = "/reference_row"
    row: int = field(metadata=whole("row", 0, MOST_ROWS - 1))
    names: str = field(metadata=RECORDINGS)
    fade_seconds: float | None = field(default=None, metadata=FADE)


@dataclass(frozen=True)
class ReferenceBetween(Message):
    """The same for a fader between two recordings."""

    address = "/reference_between"
    one: str = field(metadata=text("one name"))
    other: str = field(metadata=text("another name"))
    share: float = field(metadata=number("share of the other", 0, 1))
    fade_seconds: float | None = field(default=None, metadata=FADE)


@dataclass(frozen=True)
class Sketch(Message):
    """Moves a control of the sketch, for models that follow one, from now on in a straight line to a value, which then
    holds."""

    address = "/sketch"
    control: str = field(metadata=CONTROL)
    value: float = field(metadata=number(VALUE, -100, 127))
    seconds: float | None = field(
        default=None, metadata=number("seconds that it takes", LENGTHS.low, LENGTHS.high, optional=True)
    )


@dataclass(frozen=True)
class SketchCurve(Message):
    """A curve of a control that is sent ahead, with values at even distances and straight lines between them (steps for
    pitch); the last one holds. Of a curve that comes late, what is past is left out; a single value is as `/sketch`,
    from the position on."""

    address = "/sketch_curve"
    control: str = field(metadata=CONTROL)
    position: int = field(metadata=whole("your position with which it begins"))
    seconds: float = field(metadata=number("seconds from there to its last value", LENGTHS.low, LENGTHS.high))
    values_N: Audio = field(metadata=rest("f…", f"values, 1 to {MOST_POINTS}", 1, MOST_POINTS))


@dataclass(frozen=True)
class SketchNotes(Message):
    """Holds notes of a sketch from now on, until others come."""

    address = "/sketch_notes"
    notes: tuple[int, ...] = field(
        metadata=rest("i…", "notes of MIDI, as many as the model takes; no number = none", 0, MOST_NOTES)
    )


@dataclass(frozen=True)
class SketchFree(Message):
    """Lets it play again as without this control of the sketch."""

    address = "/sketch_free"
    control: str | None = field(
        default=None, metadata=text("`loudness`, `brightness` or `pitch`; left out = all of them", optional=True)
    )


@dataclass(frozen=True)
class SketchLead(Message):
    """Lets the sound of `/sketch_sound` lead these controls of the sketch as it comes, and no others."""

    address = "/sketch_lead"
    single: int = field(
        metadata=whole("1 = it sounds one note at a time, as voices do: a tracker hears it; 0 = not", 0, 1)
    )
    controls: tuple[str, ...] = field(
        metadata=rest("s…", "`loudness`, `brightness`, `pitch`, or some of them; none = it leads no more", 0, 3)
    )


@dataclass(frozen=True)
class SketchSound(Message):
    """A block of the sound that leads the sketch. Send it before the `/stream` of the same position."""

    address = "/sketch_sound"
    position: int = field(metadata=whole("your position of its first sample, in samples"))
    samples_N: Audio = field(metadata=rest("f…", f"samples, up to {LONGEST_BLOCK}", 1, LONGEST_BLOCK))


SOUNDS: tuple[type[Message], ...] = (
    Reference, ReferenceRow, ReferenceBetween, Sketch, SketchCurve, SketchNotes, SketchFree,
    SketchLead, SketchSound,
)  # fmt: skip
"""All of them."""
