"""OSC messages that ask in words, and say how closely a model keeps to what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field

from livejam.option_ranges import LONGEST_SPAN
from livejam.sampling.guidance import CONTROLS
from livejam.serving.asked_weights import MOST_WEIGHT
from livejam.serving.osc_fields import MOST_ROWS, Message, number, pairs, text, whole
from livejam.streaming.prompting import FADES

WORDS = text("the description")
_NAMES = ", ".join(f"`{name}`" for name in CONTROLS)
FADE = "seconds in which it replaces the one before"


@dataclass(frozen=True)
class Prompt(Message):
    """Describes what it shall play, for models that take words: one prompt, or several with weights, as in
    `jazz piano:0.7, strings:0.3`."""

    address = "/prompt"
    words: str = field(metadata=WORDS)
    fade_seconds: float | None = field(default=None, metadata=number(FADE, FADES.low, FADES.high, optional=True))


@dataclass(frozen=True)
class PromptRow(Message):
    """The same for one row, which can also forget the oldest blocks of its own past as the new prompt takes over."""

    address = "/prompt_row"
    row: int = field(metadata=whole("row, -1 = all", -1, MOST_ROWS - 1))
    words: str = field(metadata=WORDS)
    fade_seconds: float = field(metadata=number(FADE, FADES.low, FADES.high))
    eject_blocks: int = field(metadata=whole("blocks that it forgets", 0, LONGEST_SPAN))


@dataclass(frozen=True)
class NegativePrompt(Message):
    """Describes what guidance leads away from, for models that take words and guide them, from the next block on."""

    address = "/negative_prompt"
    words: str = field(metadata=text("the description; `none` = away from nothing in particular"))
    row: int | None = field(default=None, metadata=whole("row, all if left out", 0, MOST_ROWS - 1, optional=True))


@dataclass(frozen=True)
class Guidance(Message):
    """Sets how closely it keeps to what it is told, for models with guidance, from the next block on: `/guidance 3`, or
    `/guidance mix 2 prompt 3`, where what is not named keeps its weight."""

    address = "/guidance"
    weights: tuple[tuple[str, float], ...] = field(
        metadata=pairs(
            f"names among {_NAMES} with a weight each, or one weight for all; 0 to {MOST_WEIGHT:g}, 1 = no guidance",
            1,
            4,
        )
    )


@dataclass(frozen=True)
class GuidanceRescale(Message):
    """Takes back a share of what guidance does to the level, from the next block on."""

    address = "/guidance_rescale"
    share: float = field(metadata=number("share, 0 = guidance as it is", 0, 1))


ASKING: tuple[type[Message], ...] = (Prompt, PromptRow, NegativePrompt, Guidance, GuidanceRescale)
"""All of them."""
