"""What the OSC messages that change a session do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from livejam.errors import UserError
from livejam.serving.asked_weights import asked_weights
from livejam.serving.named_references import NONE
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import Level, Mute, Reset, Seed, Undo
from livejam.serving.osc_sound_messages import Sketch, SketchFree, SketchNotes
from livejam.serving.osc_word_messages import Guidance, GuidanceRescale, NegativePrompt, Prompt, PromptRow
from livejam.streaming import Session, Stroke

ALL_ROWS = -1
"""The row of `/prompt_row` that stands for all of them."""


def control_of(message: Message) -> Callable[[Session], object]:
    """What a control does to a session.

    Raises:
        UserError: it contradicts itself, or is none.
    """
    match message:
        case Level(decibels, row):
            return lambda session: session.set_level(decibels, row)
        case Mute(silent, row):
            return lambda session: session.mute(bool(silent), row)
        case Undo(seconds):
            return lambda session: session.undo(seconds)
        case Prompt(words, fade):
            return lambda session: session.set_prompt(words, fade_seconds=fade or 0.0)
        case PromptRow():
            return partial(_take_prompt, prompt=message)
        case NegativePrompt(words, row):
            return lambda session: session.set_negative_prompt(None if words.strip() == NONE else words, row)
        case Guidance(weights):
            asked = asked_weights(weights)
            return lambda session: session.set_guidance(asked)
        case GuidanceRescale(share):
            return lambda session: session.set_guidance_rescale(share)
        case Sketch(control, value, length):
            stroke = Stroke(control, (value,), length or 0.0)
            return lambda session: session.draw_sketch(stroke)
        case SketchNotes(notes):
            return lambda session: session.hold_notes(notes)
        case SketchFree(control):
            return lambda session: session.free_sketch(control)
        case Seed(seed):
            return lambda session: _take_seeds(session, seed)
        case Reset():
            return Session.reset
    raise UserError(f"{message.address} is sent by livejam, not to it")


def _take_prompt(session: Session, prompt: PromptRow) -> None:
    row = None if prompt.row == ALL_ROWS else prompt.row
    session.set_prompt(prompt.words, row, fade_seconds=prompt.fade_seconds, eject_blocks=prompt.eject_blocks)


def _take_seeds(session: Session, first: int) -> None:
    for row in range(session.rows):
        session.set_seed(first + row, row)


def take_instruments(session: Session, names: Sequence[str]) -> None:
    """Let every row play another instrument."""
    for row, name in enumerate(names):
        session.set_instrument(name, row)
