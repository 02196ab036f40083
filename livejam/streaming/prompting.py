"""Prompts that change while a session plays: when, how slowly, and what is forgotten.

Shapes: B rows, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from livejam.errors import UserError
from livejam.networks.conditioned_transformer import TAKES_NO_PROMPTS
from livejam.networks.conditioning import Words
from livejam.option_ranges import LONGEST_SPAN, Range
from livejam.systems.lmdm import LMDMAccompanist

if TYPE_CHECKING:
    from livejam.accompanist import Accompanist
    from livejam.networks.conditioning import Prompt

MOST_CHANGES = 1000
MOMENTS = Range(0, 1e6)
FADES = Range(0, 600)
BLOCKS = Range(0, LONGEST_SPAN)

DOMINANT = 0.5
"""A prompt with more than this share has taken over."""

Told = tuple[tuple[int, float], ...]
"""Number and share of every change that has begun: what a musician was last told."""


@dataclass(frozen=True)
class PromptChange:
    """Other words from a moment on.

    Without a fade, the first block that begins at that moment or later is played under the new prompt alone. In a fade,
    every block is played under the mix that is due at its end. Context is encoded again in the first block in which the
    new prompt has more than half, as LMDM does when another prompt becomes dominant.

    Args:
        seconds: the moment, from the beginning of the mix.
        words: what shall be played.
        fade_seconds: how long the new prompt takes to replace the old one.
        fade_blocks: the same in blocks of the model; one of the two is 0.
        eject_blocks: how many of the oldest blocks of its own past the model forgets when the context is encoded again.
        reencode: whether the context is encoded again; otherwise a sliding window keeps it as it was encoded.
        row: who is asked; None = all rows.
        negative: what guidance leads away from, in place of no prompt; None = as before.

    Raises:
        UserError: a number is out of range, or two contradict each other.
    """

    seconds: float
    words: Words
    fade_seconds: float = 0.0
    fade_blocks: int = 0
    eject_blocks: int = 0
    reencode: bool = True
    row: int | None = None
    negative: Words | None = None

    def __post_init__(self) -> None:
        ranges = {"seconds": MOMENTS, "fade_seconds": FADES, "fade_blocks": BLOCKS, "eject_blocks": BLOCKS}
        for name, allowed in ranges.items():
            if getattr(self, name) not in allowed:
                raise UserError(f"{name} is {getattr(self, name)}; it must be {allowed}")
        if self.fade_seconds and self.fade_blocks:
            raise UserError("a fade has a length in seconds and one in blocks; keep one of them")
        if self.eject_blocks and not self.reencode:
            raise UserError(
                "what the model forgets it must encode again; leave reencode out where eject_blocks is given"
            )


@dataclass(frozen=True)
class PlannedChange:
    """A change in frames of one model.

    Args:
        first_frame: the first block that begins there or later is changed.
        fade_frames: length of the fade.
        rows: who is asked.
        prompt: the encoded words, one row.
        eject_blocks: as in `PromptChange`.
        reencode: as in `PromptChange`.
        number: its own in its line.
        negative: the encoded words to lead away from, one row; None = as before.
    """

    first_frame: int
    fade_frames: int
    rows: tuple[int, ...]
    prompt: Prompt
    eject_blocks: int
    reencode: bool
    number: int = 0
    negative: Prompt | None = None

    def share(self, first_frame: int, block_frames: int) -> float:
        """Share of the new prompt in a block that begins there: the one that is due at its end."""
        if first_frame < self.first_frame:
            return 0.0
        return min(1.0, (first_frame + block_frames - self.first_frame) / max(1, self.fade_frames))


@dataclass(frozen=True)
class PromptLine:
    """What the rows are told block by block: a function of the frame alone, so that undo and any chunks change nothing.

    Args:
        base: the prompts before the first change, one per row.
        changes: in the order of their frames.
        timeline: those of them that come again when the session begins anew, with those that are over.
        made: how many changes there have been.
        negative: the negative prompts before the first change, one per row; None = nobody has one.
    """

    base: Prompt
    changes: tuple[PlannedChange, ...] = ()
    timeline: tuple[PlannedChange, ...] = ()
    made: int = 0
    negative: Prompt | None = None

    def told(self, accompanist: Accompanist[Any], memory: Any, told: Told, first_frame: int) -> tuple[Any, Told]:
        """The memory of a musician who knows what is due, and what that is.

        Args:
            accompanist: takes prompts.
            memory: its state.
            told: what it was told before.
            first_frame: the first frame that the next block emits.
        """
        who = taking_prompts(accompanist)
        block, before = who.block_frames, dict(told)
        shares = [(change, change.share(first_frame, block)) for change in self.changes]
        due = tuple((change.number, share) for change, share in shares if share)
        if due == told:
            return memory, told
        turned = [change for change, share in shares if share > DOMINANT >= before.get(change.number, 0.0)]
        # what turned before the block before was forgotten then, if a musician who was gone back to knows it or not
        ejecting = [change for change in turned if change.share(first_frame - block, block) <= DOMINANT]
        if any(change.eject_blocks for change in ejecting):
            rows = range(len(self.base.mask_BP))
            blocks = [max((c.eject_blocks for c in ejecting if row in c.rows), default=0) for row in rows]
            memory = who.ejected(blocks, memory)
        reencode = any(change.reencode for change in turned)
        if (negative := self.avoided_at(first_frame, block)) is not None:
            memory = who.avoiding(negative, memory, reencode)
        return who.asked(self.at(first_frame, block), memory, reencode), due

    def at(self, first_frame: int, block_frames: int) -> Prompt:
        """The prompt of a block that begins there."""
        prompt = self.base
        for change in self.changes:
            prompt = _changed(prompt, change.prompt, change, first_frame, block_frames)
        return prompt

    def avoided_at(self, first_frame: int, block_frames: int) -> Prompt | None:
        """The negative prompt of a block that begins there; None = nobody has had one."""
        if self.negative is None and not any(change.negative for change in self.changes):
            return None
        nothing = self.base.without(torch.ones_like(self.base.mask_BP[:, 0]))
        prompt = nothing if self.negative is None else self.negative
        for change in self.changes:
            if change.negative is not None:
                prompt = _changed(prompt, change.negative, change, first_frame, block_frames)
        return prompt

    def with_change(self, change: PlannedChange) -> PromptLine:
        """A change at the next block as well; those that are over by then become the base."""
        over = [share == 1 for share in (each.share(change.first_frame, 0) for each in self.changes)]
        first = over.index(False) if False in over else len(over)
        before = replace(self, changes=self.changes[:first])
        base, negative = before.at(change.first_frame, 0), before.avoided_at(change.first_frame, 0)
        later = [each.first_frame > change.first_frame for each in self.changes]
        place = later.index(True) if True in later else len(later)
        new = replace(change, number=self.made)
        changes = (*self.changes[first:place], new, *self.changes[place:])
        return replace(self, base=base, changes=changes, made=self.made + 1, negative=negative)

    def anew(self, base: Prompt, negative: Prompt | None) -> PromptLine | None:
        """The line of a session that begins anew; None if nothing changes in it."""
        return replace(self, base=base, changes=self.timeline, negative=negative) if self.timeline else None


def _changed(prompt: Prompt, asked: Prompt, change: PlannedChange, first_frame: int, block_frames: int) -> Prompt:
    """The prompts of all rows in a block that begins there, with as much of a change as is due."""
    share = change.share(first_frame, block_frames)
    new = prompt.in_rows(change.rows, asked) if share else prompt
    return new if share in (0.0, 1.0) else prompt.faded(new, share)


def takes_prompts(accompanist: Accompanist[Any]) -> bool:
    """Whether a model can be asked in words."""
    return isinstance(accompanist, LMDMAccompanist) and accompanist.generator.prompt_encoder is not None


def taking_prompts(accompanist: Accompanist[Any]) -> LMDMAccompanist:
    """A model that takes prompts.

    Raises:
        UserError: it takes none.
    """
    if not isinstance(accompanist, LMDMAccompanist) or not takes_prompts(accompanist):
        raise UserError(TAKES_NO_PROMPTS)
    return accompanist


def require_guided_prompt(who: LMDMAccompanist) -> None:
    """Refuse a negative prompt where nothing is led away from it.

    Raises:
        UserError: the model's prompt has no weight of guidance.
    """
    if who.weights.get("prompt", 1.0) == 1:
        raise UserError(
            "a negative prompt is what guidance leads away from, and this model's prompt is not guided; give the "
            "prompt a weight of guidance above 1, as --guidance prompt=3"
        )


def planned(
    change: PromptChange, accompanist: Accompanist[Any], rows: int, first_frame: int | None = None
) -> PlannedChange:
    """A change in frames of a model.

    Args:
        change: what shall change.
        accompanist: the model.
        rows: of the session.
        first_frame: the frame of a change that is asked for while playing; None = that of its moment.

    Raises:
        UserError: the model takes no prompts or does not understand these, it has no such row, or less of a past.
    """
    who = taking_prompts(accompanist)
    if change.row is not None and not 0 <= change.row < rows:
        raise UserError(f"there is no row {change.row}; the session has rows 0 to {rows - 1}")
    if change.eject_blocks > who.context_blocks:
        raise UserError(f"{change.eject_blocks} blocks cannot be forgotten; the model remembers {who.context_blocks}")
    rate = who.spec.frame_rate_hz
    frame = math.ceil(change.seconds * rate - 1e-3) if first_frame is None else first_frame
    fade = change.fade_blocks * who.block_frames or math.ceil(change.fade_seconds * rate)
    asked = tuple(range(rows)) if change.row is None else (change.row,)
    prompt = who.generator.mixed_prompt([change.words])
    negative = None if change.negative is None else who.generator.mixed_prompt([change.negative])
    if negative is not None:
        require_guided_prompt(who)
    parts = frame, fade, asked, prompt, change.eject_blocks, change.reencode
    return PlannedChange(*parts, negative=negative)


def plan(
    changes: Sequence[PromptChange],
    accompanist: Accompanist[Any],
    base: Prompt,
    rows: int,
    negative: Prompt | None = None,
) -> PromptLine:
    """A timeline for a session.

    Args:
        changes: in the order of their moments.
        accompanist: the model.
        base: the prompts before the first of them.
        rows: of the session.
        negative: the negative prompts before the first of them.

    Raises:
        UserError: as `planned`, with the number of the change; or they are too many, or not in order.
    """
    if len(changes) > MOST_CHANGES:
        raise UserError(f"{len(changes)} changes of prompt are too many; use at most {MOST_CHANGES}")
    made: list[PlannedChange] = []
    for number, change in enumerate(changes, 1):
        try:
            made.append(replace(planned(change, accompanist, rows), number=number - 1))
        except UserError as error:
            raise UserError(f"change {number} of the prompt, at {change.seconds:g} s: {error}") from error
        if number > 1 and change.seconds < changes[number - 2].seconds:
            raise UserError(
                f"change {number} of the prompt is at {change.seconds:g} s, before the one above it; sort them by time"
            )
    return PromptLine(base, tuple(made), tuple(made), len(made), negative)
