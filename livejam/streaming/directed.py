"""What can be asked of a session while it plays; `livejam.streaming.session` has the rest of it.

Shapes: B rows, E channels of a reference, T latent frames, P numbers of a frame of a sketch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from livejam.accompanist import Controls, Weights
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks.conditioning import read_words
from livejam.sketch import CONTROLS
from livejam.streaming.asking import learnt, require_seed, with_negative
from livejam.streaming.drawing import Drawing, Stroke, require_control
from livejam.streaming.memories import Snapshot
from livejam.streaming.pipeline import Musician, Pipeline
from livejam.streaming.prompting import FADES, PromptChange, PromptLine, plan, planned, taking_prompts
from livejam.streaming.references import ReferenceLine, with_reference
from livejam.streaming.sketches import analysis_of, checked_sketch
from livejam.systems.lmdm import LMDMAccompanist


class Directed:
    """The controls of a `Session`, whose sound is not its concern."""

    player: Player
    rows: int
    _pipeline: Pipeline
    _now: Snapshot
    sample_rate_hz: int

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instrument of every row."""
        return tuple(NAMES[index] for index in self._musician.controls.instrument_B.tolist())

    @property
    def _musician(self) -> Musician:
        return self._now.pipeline.musician

    def set_instrument(self, name: str, row: int | None = None) -> None:
        """Let a row, or all, play another instrument from the next block on.

        Raises:
            UserError: there is no such instrument or row, or the model never learnt it.
        """
        index = learnt(self.player, name)
        instrument_B = self._musician.controls.instrument_B.clone()
        for place in self._rows(row):
            instrument_B[place] = index
        self._ask(replace(self._musician.controls, instrument_B=instrument_B))
        if (line := self._now.pipeline.prompts) is not None and self._musician.controls.prompt is None:
            self._prompt_by(replace(line, base=self._musician.memory.prompt))

    def set_prompt(
        self, words: str, row: int | None = None, *, fade_seconds: float = 0.0, eject_blocks: int = 0
    ) -> None:
        """Describe what a row, or all, shall play from the next block on.

        Args:
            words: one prompt, or several with weights, as in `jazz piano:0.7, strings:0.3`.
            row: who is asked; None = all.
            fade_seconds: how long the new prompt takes to replace the old one.
            eject_blocks: how many of the oldest blocks of its own past the model forgets when the new prompt becomes
                dominant.

        Raises:
            UserError: the model takes no prompts or does not understand this one, there is no such row, or a number is
                out of range.
        """
        rows = self._rows(row)
        who, line = self._musician, self._now.pipeline.prompts
        before = who.controls.prompt or self.instruments
        prompts = tuple(words if place in rows else old for place, old in enumerate(before))
        controls = replace(who.controls, prompt=prompts)
        if line is None and not fade_seconds and not eject_blocks:
            self._ask(controls)
            return
        change = PromptChange(0.0, read_words(words), fade_seconds, eject_blocks=eject_blocks, row=row)
        with torch.inference_mode():
            made = planned(change, who.accompanist, self.rows, self._pipeline.next_frame(self._now.pipeline))
            self._prompt_by((line or PromptLine(who.memory.prompt, negative=who.memory.negative)).with_change(made))
        self._become(replace(self._musician, controls=controls))

    def set_prompts(self, changes: Sequence[PromptChange]) -> None:
        """Let the prompts of the rows change by a timeline, from the beginning of the mix; none ends the one before.

        Raises:
            UserError: the model takes no prompts or does not understand one, there is no such row, or the changes are
                too many or not in order.
        """
        accompanist = self._musician.accompanist
        taking_prompts(accompanist)
        with torch.inference_mode():
            self._ask(self._musician.controls)
            memory = self._musician.memory
            line = plan(changes, accompanist, memory.prompt, self.rows, memory.negative)
        self._prompt_by(line if changes else None)

    def _prompt_by(self, line: PromptLine | None) -> None:
        self._now = replace(self._now, pipeline=replace(self._now.pipeline, prompts=line))

    def set_seed(self, seed: int, row: int | None = None) -> None:
        """Let a row, or all, take other random choices from the next block on.

        Raises:
            UserError: a seed outside of 0 … 2^63 - 1, or there is no such row.
        """
        seed_B = self._musician.controls.seed_B.clone()
        for place in self._rows(row):
            seed_B[place] = require_seed(seed)
        self._ask(replace(self._musician.controls, seed_B=seed_B))

    def set_reference(self, embedding_E: Tensor | None, row: int | None = None, *, fade_seconds: float = 0.0) -> None:
        """Let a row, or all, sound like a recording from the next block on.

        Args:
            embedding_E: of the recording (`livejam.streaming.reference_of`), or one of several
                (`livejam.reference.mixed`); None = like nothing in particular.
            row: the row; None = all.
            fade_seconds: how long the new reference takes to replace the old one, by weighted means of both; every
                block is played under the mean that is due at its end. Between a reference and none there is no mean, so
                such a change is always made at once.

        Raises:
            UserError: the model takes no reference, the embedding is of another kind or not finite, there is no such
                row, or the fade is too long.
        """
        if fade_seconds not in FADES:
            raise UserError(f"a fade of {fade_seconds} s cannot be played; it must be {FADES}")
        rows, who, line = self._rows(row), self._musician, self._now.pipeline.references
        asked = who.controls if line is None else replace(who.controls, reference_BE=line.after_BE)
        after_BE = with_reference(self.player.accompanist, asked, embedding_E, rows)
        if after_BE is None:
            if line is None:
                return
            after_BE = torch.zeros_like(line.after_BE)
        with torch.inference_mode():  # refuses what this model cannot take
            who.accompanist.with_controls(replace(who.controls, reference_BE=after_BE), who.memory)
            first = self._pipeline.next_frame(self._now.pipeline)
            fade_frames = math.ceil(fade_seconds * who.accompanist.spec.frame_rate_hz)
            line = (line or ReferenceLine.nothing(after_BE)).with_change(after_BE, rows, first, fade_frames)
        self._now = replace(self._now, pipeline=replace(self._now.pipeline, references=line))

    def set_sketch(self, curves_TP: Tensor | None) -> None:
        """Let all rows follow curves of loudness, brightness and pitch from the next block on; what was drawn before
        (`draw_sketch`) is gone.

        Args:
            curves_TP: packed curves (`livejam.sketch`), as `livejam.streaming.sketch_of` gives them. The first frame is
                the session's first. A control that is not finite in a frame is not asked for there, and after the
                curves' end nothing is. None = no sketch.

        Raises:
            UserError: the model follows no sketch, or the curves have another form.
        """
        if curves_TP is not None:
            curves_TP = checked_sketch(self._musician.accompanist, curves_TP, self.player.silence_C.device)
        self._now = replace(self._now, pipeline=replace(self._now.pipeline, sketch_TP=curves_TP, drawing=None))

    def draw_sketch(self, stroke: Stroke, sample: int | None = None) -> None:
        """Draw one control of the sketch that all rows follow; a last value holds until another is drawn.

        What is drawn takes the place of all that `set_sketch` or earlier strokes ask of this control from there on.
        What comes too late is left out, for what was played cannot be changed: a curve goes on where it is due, and a
        single value holds from the next block on.

        Args:
            stroke: what is drawn.
            sample: the session's sample with which it begins; None = the next block.

        Raises:
            UserError: the model follows no sketch, or the stroke lies wholly in the past or too far ahead.
        """
        analysis, pipeline = analysis_of(self._musician.accompanist), self._now.pipeline
        next_frame, rate = self._pipeline.next_frame(pipeline), self.player.codec.spec.frame_rate_hz
        begins = next_frame if sample is None else sample / self.sample_rate_hz * rate
        drawing = pipeline.drawing or Drawing.nothing(analysis.numbers, self.player.silence_C.device)
        drawing = drawing.with_stroke(stroke, begins, next_frame, rate)
        self._now = replace(self._now, pipeline=replace(pipeline, drawing=drawing))

    def free_sketch(self, control: str | None = None) -> None:
        """Let the rows play from the next block on as if nothing had been drawn of a control, or of all; what
        `set_sketch` asks for counts again.

        Raises:
            UserError: the model follows no sketch, or there is no such control.
        """
        analysis_of(self._musician.accompanist)
        drawing, next_frame = self._now.pipeline.drawing, self._pipeline.next_frame(self._now.pipeline)
        for name in CONTROLS if control is None else (require_control(control),):
            drawing = None if drawing is None else drawing.without(name, next_frame)
        self._now = replace(self._now, pipeline=replace(self._now.pipeline, drawing=drawing))

    def trace_sketch(self, curves_TP: Tensor, first_frame: int, controls: Sequence[str]) -> None:
        """Let all rows follow curves that are made while they play, a piece at a time; each piece takes the place of
        all that was asked of these controls from where it begins.

        Frames that are past are left out, but for the last one, which counts from the next block on. After a piece, its
        last frame holds for a second, and then nothing is asked.

        Args:
            curves_TP: at least one frame of packed curves, as `SketchStream` makes them.
            first_frame: of the accompaniment, from the session's beginning on.
            controls: some of loudness, brightness and pitch.

        Raises:
            UserError: the model follows no sketch, the curves have another form, there is no such control, or the piece
                begins too far ahead.
        """
        pipeline, rate = self._now.pipeline, self.player.codec.spec.frame_rate_hz
        curves_TP = checked_sketch(self._musician.accompanist, curves_TP, self.player.silence_C.device)
        drawing = pipeline.drawing or Drawing.nothing(curves_TP.shape[1], curves_TP.device)
        next_frame = self._pipeline.next_frame(pipeline)
        for control in controls:
            drawing = drawing.with_piece(require_control(control), curves_TP, first_frame, next_frame, rate)
        self._now = replace(self._now, pipeline=replace(pipeline, drawing=drawing))

    def hold_notes(self, notes: Sequence[int]) -> None:
        """Let all rows follow these notes from the next block on, until others are held or drawn: a chord, a note, or
        none at all.

        Args:
            notes: of MIDI, at most as many as a frame of the sketch has (`SketchAnalysis.kept_notes`).

        Raises:
            UserError: the model follows no sketch, there are too many, or one is no note of MIDI.
        """
        analysis, pipeline = analysis_of(self._musician.accompanist), self._now.pipeline
        drawing = pipeline.drawing or Drawing.nothing(analysis.numbers, self.player.silence_C.device)
        drawing = drawing.with_notes(notes, self._pipeline.next_frame(pipeline))
        self._now = replace(self._now, pipeline=replace(pipeline, drawing=drawing))

    def set_guidance(self, guidance: Weights) -> None:
        """Set the weight of guidance from the next block on.

        Args:
            guidance: one weight for all that the model's unconditional side lacks, or those of some of mix, past,
                prompt and sketch, as in `{"prompt": 3.0}`; the others keep theirs.

        Raises:
            UserError: the model has no guidance, or takes no such control, or a weight is outside of its sampler's
                range, or guides away from what was hardly trained.
        """
        who = self._musician
        self._become(replace(who, accompanist=who.accompanist.with_guidance(guidance)))

    def set_guidance_rescale(self, share: float) -> None:
        """Take back a share of what guidance does to the level, from the next block on.

        Args:
            share: 0 to 1 (`livejam.sampling.rescaled`); 0 = guidance as it is.

        Raises:
            UserError: the model has no guidance that can be rescaled, or the share is out of range.
        """
        who = self._musician
        if not isinstance(who.accompanist, LMDMAccompanist):
            raise UserError("this model plays without guidance, so there is nothing to rescale; play an LMDM")
        sampler = who.accompanist.sampler.with_rescale(share)
        self._become(replace(who, accompanist=who.accompanist.with_sampler(sampler)))

    def set_negative_prompt(self, words: str | None, row: int | None = None) -> None:
        """Lead a row, or all, away from these words, instead of from no prompt, from the next block on.

        Args:
            words: as in `set_prompt`; None = away from no prompt.
            row: the row; None = all.

        Raises:
            UserError: the model takes no prompts or does not guide them, does not understand these words, or there is
                no such row.
        """
        controls = with_negative(self._musician.accompanist, self._musician.controls, words, self._rows(row))
        self._ask(controls)
        if (line := self._now.pipeline.prompts) is not None:
            self._prompt_by(replace(line, negative=self._musician.memory.negative))

    def _ask(self, controls: Controls) -> None:
        with torch.inference_mode():
            self._become(self._musician.asked(controls))

    def _become(self, musician: Musician) -> None:
        self._now = replace(self._now, pipeline=self._now.pipeline.played_by(musician))

    def _rows(self, row: int | None) -> range:
        if row is not None and not 0 <= row < self.rows:
            raise UserError(f"there is no row {row}; the session has rows 0 to {self.rows - 1}")
        return range(self.rows) if row is None else range(row, row + 1)
