"""A trained model as an instrument: sound in, accompaniment out, at once.

A session has no threads, no clock and no sound card; `RealTimeEngine` and the commands put it on stage.

Shapes: A audio channels, N samples, B rows (accompanists that play together).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import Controls, Weights
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks.conditioning import read_words
from livejam.streaming.asking import controls_of, learnt, require_seed, with_negative
from livejam.streaming.memories import UNDO_SECONDS as UNDO_SECONDS  # its users find it beside the session
from livejam.streaming.memories import Memories, Snapshot
from livejam.streaming.pipeline import Musician, Pipeline, StepTimes
from livejam.streaming.prompting import PromptChange, PromptLine, plan, planned, taking_prompts
from livejam.streaming.references import with_reference
from livejam.streaming.sketches import checked_sketch
from livejam.streaming.timing import Timing, counter_of, timing_of

SOFTEST_DB, LOUDEST_DB = -120.0, 24.0


class Session:
    """A model that hears what a musician plays and accompanies it.

    Output sample k is what should sound while input sample k sounds. A model that cannot play ahead is late by
    `timing.late_samples`.

    Args:
        player: model and codec; `livejam.load` gives one.
        sample_rate_hz: rate of input and output; None = the codec's.
        channels: channels of input and output; None = the codec's.
        instruments: the instrument of every row, by name; None = one row with the model's default. Rows hear the same
            mix and play together.
        seeds: seed of every row's noise; None = 0, 1, …. Equal seeds and equal mixes give equal notes.
        prompts: a description in words for every row, for models that take prompts; None = the instrument's name.
        hear_each_other: whether every row hears the other rows besides the mix.
        on_step: called with the times of every step of the model, in the thread that calls the session.
        anticipation_frames: δ, for models that learnt several; None = the model's own.

    Raises:
        UserError: a rate, an instrument or a prompt cannot be played.
    """

    def __init__(
        self,
        player: Player,
        *,
        sample_rate_hz: int | None = None,
        channels: int | None = None,
        instruments: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
        prompts: Sequence[str] | None = None,
        hear_each_other: bool = False,
        on_step: Callable[[StepTimes], None] | None = None,
        anticipation_frames: int | None = None,
    ) -> None:
        spec, accompanist = player.codec.spec, player.accompanist
        if anticipation_frames is not None:
            accompanist = accompanist.with_anticipation(anticipation_frames)
        self.player = player
        self.sample_rate_hz = spec.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
        self.channels = spec.audio_channels if channels is None else channels
        if self.channels < 1:
            raise UserError(f"a session of {self.channels} audio channels cannot be played; use 1 or more")
        counter = counter_of(accompanist, player.codec, self.sample_rate_hz)
        self._timings = {accompanist.anticipation_frames: timing_of(counter, player.codec, self.sample_rate_hz)}
        controls = controls_of(player, instruments, seeds, prompts)
        self.rows = len(controls.seed_B)
        self._pipeline = Pipeline(player, counter, self.channels, hear_each_other, on_step)
        self._memories = Memories(self.sample_rate_hz)
        with torch.inference_mode():
            memory = accompanist.init_state(self.rows, controls)
            self._begin(Musician(accompanist, controls, memory), (0.0,) * self.rows, (False,) * self.rows)

    def _begin(self, musician: Musician, level_db_B: tuple[float, ...], muted_B: tuple[bool, ...]) -> None:
        pipeline = self._pipeline.init_state(musician, self._gains(level_db_B, muted_B))
        late = self.timing_at(musician.anticipation_frames).late_samples
        due_BAN = torch.zeros(self.rows, self.channels, late)
        self._now = Snapshot(pipeline, level_db_B, muted_B, 0, 0, due_BAN, late, ((0, musician),))

    def _gains(self, level_db_B: tuple[float, ...], muted_B: tuple[bool, ...]) -> Tensor:
        gains = [0.0 if muted else 10 ** (level / 20) for level, muted in zip(level_db_B, muted_B, strict=True)]
        return torch.tensor(gains, device=self.player.silence_C.device)

    @property
    def anticipation_frames(self) -> int:
        """δ from the next block on."""
        return self._musician.anticipation_frames

    @property
    def anticipations(self) -> range:
        """All δ that the session can be switched to: those that the model learnt and that are not too late for it."""
        learnt = self.player.accompanist.anticipations
        in_time = (frames for frames in learnt if self.timing_at(frames).late_samples <= self._now.late_samples)
        return range(next(in_time), learnt.stop)

    @property
    def timing(self) -> Timing:
        """The session's times at its present anticipation."""
        return self.timing_at(self.anticipation_frames)

    def timing_at(self, anticipation_frames: int) -> Timing:
        """The session's times at an anticipation.

        Raises:
            UserError: the model cannot play at it.
        """
        if anticipation_frames not in self._timings:
            accompanist = self.player.accompanist.with_anticipation(anticipation_frames)
            counter = counter_of(accompanist, self.player.codec, self.sample_rate_hz)
            self._timings[anticipation_frames] = timing_of(counter, self.player.codec, self.sample_rate_hz)
        return self._timings[anticipation_frames]

    @property
    def heard_samples(self) -> int:
        """Input samples heard so far."""
        return self._now.heard_samples

    @property
    def known_samples(self) -> int:
        """Output samples known so far, at least `heard_samples + timing.lead_samples`."""
        return self._now.known_samples

    def samples_to_next_block(self, heard_samples: int) -> int:
        """Input samples that are missing, after so many, until more output can become known."""
        return self._pipeline.counter.samples_to_next_block(heard_samples)

    @property
    def step_samples(self) -> float:
        """Input samples from one block of the codec to the next, on average."""
        return self._pipeline.counter.step_samples

    @property
    def failures(self) -> int:
        """Blocks in which the model gave no finite output, was silenced and began anew."""
        return self._now.pipeline.failures

    @property
    def instruments(self) -> tuple[str, ...]:
        """The instrument of every row."""
        return tuple(NAMES[index] for index in self._musician.controls.instrument_B.tolist())

    @property
    def _musician(self) -> Musician:
        return self._now.pipeline.musician

    def process(self, audio_AN: Tensor) -> Tensor:
        """The sum of all rows; see `process_rows`."""
        return self.process_rows(audio_AN).sum(dim=0)

    def process_rows(self, audio_AN: Tensor) -> Tensor:
        """Hear the next samples, and play as many.

        Args:
            audio_AN: sound in [-1, 1], any number of samples; a tensor of one dimension is mono.

        Returns:
            Output BAN, on the CPU whatever computes: its first sample is what should sound with the first sample of the
            input, or is `timing.late_samples` old.

        Raises:
            UserError: wrong number of channels, or samples that are not finite; the session is as it was before.
        """
        new_BAN = self.advance(audio_AN)
        samples = audio_AN.shape[-1]
        due_BAN = torch.cat((self._now.due_BAN, new_BAN), dim=-1)
        self._now = replace(self._now, due_BAN=due_BAN[..., samples:])
        return due_BAN[..., :samples]

    def advance(self, audio_AN: Tensor) -> Tensor:
        """Hear the next samples, and return what they make known, which an engine plays when it is due.

        Args:
            audio_AN: as in `process_rows`.

        Returns:
            Output BAN, the samples number `known_samples` (before this call) and following; often none, as the model
            plays in blocks.

        Raises:
            UserError: as in `process_rows`.
        """
        audio_AN = self._checked(audio_AN)
        now = self._now
        with torch.inference_mode():
            gain_B = self._gains(now.level_db_B, now.muted_B)
            new_BAN, pipeline = self._pipeline.advance(audio_AN, gain_B, now.pipeline)
            new_BAN = new_BAN.cpu()
        heard = now.heard_samples + audio_AN.shape[-1]
        self._now = replace(
            now,
            pipeline=pipeline,
            heard_samples=heard,
            known_samples=now.known_samples + new_BAN.shape[-1],
            history=self._memories.remembered(now.history, heard, pipeline.musician),
        )
        return new_BAN

    def _checked(self, audio_AN: Tensor) -> Tensor:
        """The audio with two dimensions.

        Raises:
            UserError: wrong number of channels, or samples that are not finite.
        """
        audio_AN = audio_AN[None] if audio_AN.dim() == 1 else audio_AN
        if audio_AN.dim() != 2 or len(audio_AN) != self.channels:
            raise UserError(
                f"the audio has shape {tuple(audio_AN.shape)}, but this session needs ({self.channels} channels, "
                "samples); mix it down, or begin a session with as many channels"
            )
        if not audio_AN.isfinite().all():
            raise UserError("the audio contains NaN or infinite samples and was not heard; check where it comes from")
        return audio_AN.float()

    def stream(self, source: Iterable[Tensor]) -> Iterator[Tensor]:
        """The output of `process` for every chunk of a source, as soon as it is there."""
        for audio_AN in source:
            yield self.process(audio_AN)

    def reset(self) -> None:
        """Begin anew: nothing heard, nothing played; controls, sketch, guidance, anticipation and levels stay, and a
        timeline of prompts begins anew as well."""
        now, who = self._now, self._musician
        with torch.inference_mode():
            memory = who.accompanist.init_state(self.rows, who.controls)
            self._begin(replace(who, memory=memory, told=()), now.level_db_B, now.muted_B)
        self.set_sketch(now.pipeline.sketch_TP)
        if now.pipeline.prompts is not None:
            self._prompt_by(now.pipeline.prompts.anew(self._musician.memory.prompt, self._musician.memory.negative))

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

    def set_reference(self, embedding_E: Tensor | None, row: int | None = None) -> None:
        """Let a row, or all, sound like a recording from the next block on.

        Args:
            embedding_E: of the recording (`livejam.streaming.reference_of`), or one between two
                (`livejam.reference.interpolated`); None = like nothing in particular.
            row: the row; None = all.

        Raises:
            UserError: the model takes no reference, the embedding is of another kind or not finite, or there is no such
                row.
        """
        reference_BE = with_reference(self.player.accompanist, self._musician.controls, embedding_E, self._rows(row))
        self._ask(replace(self._musician.controls, reference_BE=reference_BE))

    def set_sketch(self, curves_TP: Tensor | None) -> None:
        """Let all rows follow curves of loudness, brightness and pitch from the next block on.

        Args:
            curves_TP: packed curves (`livejam.sketch`), as `livejam.streaming.sketch_of` gives them. The first frame is
                the session's first. A control that is not finite in a frame is not asked for there, and after the
                curves' end nothing is. None = no sketch.

        Raises:
            UserError: the model follows no sketch, or the curves have another form.
        """
        if curves_TP is not None:
            curves_TP = checked_sketch(self._musician.accompanist, curves_TP, self.player.silence_C.device)
        self._now = replace(self._now, pipeline=replace(self._now.pipeline, sketch_TP=curves_TP))

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

    def set_anticipation(self, frames: int) -> None:
        """Play further ahead from the next block on, or less far.

        What is known of the output stays. Further ahead, the next block plays all frames in between, to the same sound
        heard; less far, the model first lets pass what is known already.

        Raises:
            UserError: the model never learnt this anticipation, or it is later than the session was when it began.
        """
        late = self.timing_at(frames).late_samples
        if late > self._now.late_samples:
            raise UserError(
                f"at {frames} frames of anticipation the accompaniment would be {late} samples late; begin a session "
                "with that anticipation, or choose a larger one"
            )
        with torch.inference_mode():
            self._become(self._musician.ahead(frames))

    def set_level(self, decibels: float, row: int | None = None) -> None:
        """Set the loudness of a row, or of all, from the next block on; 0 dB is what the model plays.

        Raises:
            UserError: a level outside of -120 … 24 dB, or there is no such row.
        """
        if not SOFTEST_DB <= decibels <= LOUDEST_DB:
            raise UserError(f"a level of {decibels} dB cannot be set; use {SOFTEST_DB:g} to {LOUDEST_DB:g} dB")
        self._now = replace(self._now, level_db_B=self._changed(self._now.level_db_B, decibels, row))

    def mute(self, silent: bool = True, row: int | None = None) -> None:
        """Silence a row, or all, from the next block on, or let it sound again; the model plays on unheard.

        Raises:
            UserError: there is no such row.
        """
        self._now = replace(self._now, muted_B=self._changed(self._now.muted_B, silent, row))

    def snapshot(self) -> Snapshot:
        """All of the session, to `restore` later; it costs nothing."""
        return self._now

    def restore(self, snapshot: Snapshot) -> None:
        """Go on exactly as after that snapshot of this session."""
        self._now = snapshot

    def undo(self, seconds: float) -> float:
        """Let the model forget what it heard and played in the last seconds; sound and clocks go on.

        Args:
            seconds: how far to go back, at most 30 s; before the beginning it remembers nothing.

        Returns:
            Seconds that it went back: at least as many, and at most a quarter of a second or a block more.

        Raises:
            UserError: the time is negative or too long ago.
        """
        now = self._now
        musician, history, gone = self._memories.undone(now.history, now.heard_samples, seconds)
        self._now = replace(now, pipeline=now.pipeline.played_by(musician), history=history)
        return gone

    def warm_up(self, steps: int = 2) -> None:
        """Play some blocks of silence and forget them, so that the first real one is as fast as the others."""
        before, block = self._now, self.timing.block_samples
        for _ in range(steps):
            self.advance(torch.zeros(self.channels, block + 1))
        self._now = before

    def _ask(self, controls: Controls) -> None:
        with torch.inference_mode():
            self._become(self._musician.asked(controls))

    def _become(self, musician: Musician) -> None:
        self._now = replace(self._now, pipeline=self._now.pipeline.played_by(musician))

    def _rows(self, row: int | None) -> range:
        if row is not None and not 0 <= row < self.rows:
            raise UserError(f"there is no row {row}; the session has rows 0 to {self.rows - 1}")
        return range(self.rows) if row is None else range(row, row + 1)

    def _changed(self, values: tuple[Any, ...], value: Any, row: int | None) -> tuple[Any, ...]:
        rows = self._rows(row)
        return tuple(value if place in rows else old for place, old in enumerate(values))
