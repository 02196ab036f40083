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

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.streaming.asking import controls_of
from livejam.streaming.directed import Directed
from livejam.streaming.memories import UNDO_SECONDS as UNDO_SECONDS  # its users find it beside the session
from livejam.streaming.memories import Memories, Snapshot
from livejam.streaming.pipeline import Musician, Pipeline, StepTimes
from livejam.streaming.timing import Timing, counter_of, timing_of

SOFTEST_DB, LOUDEST_DB = -120.0, 24.0


class Session(Directed):
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
        """Begin anew: nothing heard, nothing played; controls, sketch, guidance, anticipation and levels stay.

        A timeline of prompts begins anew as well, fades of references are over, and what was drawn of a sketch holds
        its last values.
        """
        now, who = self._now, self._musician
        references, drawing, prompts = now.pipeline.references, now.pipeline.drawing, now.pipeline.prompts
        controls = who.controls if references is None else references.ended(who.controls)
        with torch.inference_mode():
            memory = who.accompanist.init_state(self.rows, controls)
            self._begin(replace(who, controls=controls, memory=memory, told=()), now.level_db_B, now.muted_B)
        sketch = replace(self._now.pipeline, sketch_TP=now.pipeline.sketch_TP, drawing=drawing and drawing.anew())
        self._now = replace(self._now, pipeline=sketch)
        if prompts is not None:
            self._prompt_by(prompts.anew(self._musician.memory.prompt, self._musician.memory.negative))

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

    def _changed(self, values: tuple[Any, ...], value: Any, row: int | None) -> tuple[Any, ...]:
        rows = self._rows(row)
        return tuple(value if place in rows else old for place, old in enumerate(values))
