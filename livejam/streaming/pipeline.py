"""From the musician's sound to the accompaniment: resample, encode, play, decode, resample, with explicit state.

Everything is a pure function of the state and the sound; states are never changed, so any of them can be gone back to.

Shapes: A the session's channels, B rows (accompanists), C latent channels, T latent frames, N samples, P numbers of a
frame of a sketch.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import Accompanist, Controls, follow
from livejam.checkpoints.player import Player
from livejam.streaming.drawing import Drawing, sketch_until
from livejam.streaming.prompting import PromptLine, Told
from livejam.streaming.references import ReferenceLine
from livejam.streaming.resampling import ResamplerState
from livejam.streaming.timing import Counter

LOUDEST = 10.0
"""Samples beyond ± this are clipped, before they overflow in a filter."""


@dataclass(frozen=True)
class Musician:
    """A model, what it was asked for, and all that it remembers.

    Args:
        accompanist: the model, with its guidance and anticipation.
        controls: instrument, seed and prompt per row.
        memory: the model's state.
        told: how far the changes of its prompts have come that it was told of.
    """

    accompanist: Accompanist[Any]
    controls: Controls
    memory: Any
    told: Told = ()

    def asked(self, controls: Controls) -> Musician:
        """The same musician, asked for something else from the next block on."""
        memory = self.accompanist.with_controls(controls, self.memory)
        return replace(self, controls=controls, memory=memory, told=())

    @property
    def anticipation_frames(self) -> int:
        """δ from the next block on."""
        return self.accompanist.anticipation_frames

    def ahead(self, frames: int) -> Musician:
        """The same musician at another anticipation from the next block on.

        Raises:
            UserError: the model cannot play at this anticipation.
        """
        return replace(self, accompanist=self.accompanist.with_anticipation(frames)).asked(self.controls)


@dataclass(frozen=True)
class StepTimes:
    """The seconds that one step of the model took, stage by stage.

    Args:
        encode: the encoder, for the frames heard since the step before.
        generate: the model.
        decode: the decoder.
    """

    encode: float
    generate: float
    decode: float

    @property
    def total(self) -> float:
        """All stages together."""
        return self.encode + self.generate + self.decode


@dataclass(frozen=True)
class PipelineState:
    """Everything that a session is made of, as tensors and counts.

    Args:
        musician: who plays.
        inward: of the resampler to the codec's rate.
        unheard_BAN: sound at the codec's rate that waits for a whole frame, from sample `encoded_frames` · hop on.
        encoder: the encoder's state.
        encoded_frames: frames encoded so far.
        mix_BTC: latents that wait for a whole block of the model.
        played_BTC: latents that wait for a whole block of the codec.
        decoder: the decoder's state.
        decoded_samples: samples that came out of the decoder, its delay included.
        answers_BAN: what the rows hear of each other, from sample `encoded_frames` · hop on; without samples if they do
            not listen to each other.
        gain_B: gain with which the last decoded sample sounds.
        outward: of the resampler to the session's rate.
        failures: steps whose output was not finite and was replaced by silence.
        surplus_frames: frames that are known beyond the present anticipation, which became smaller; negative: frames
            that are missing, because it became larger.
        sketch_TP: packed curves that all rows follow, from the first frame that sounds; None = none.
        drawing: what is drawn of their sketch besides; None = nothing yet.
        prompts: how their prompts change; None = as the musician's controls say.
        references: how what they shall sound like changes; None = as the musician's controls say.
    """

    musician: Musician
    inward: ResamplerState
    unheard_BAN: Tensor
    encoder: Any
    encoded_frames: int
    mix_BTC: Tensor
    played_BTC: Tensor
    decoder: Any
    decoded_samples: int
    answers_BAN: Tensor
    gain_B: Tensor
    outward: ResamplerState
    failures: int = 0
    surplus_frames: int = 0
    sketch_TP: Tensor | None = None
    drawing: Drawing | None = None
    prompts: PromptLine | None = None
    references: ReferenceLine | None = None

    def played_by(self, musician: Musician) -> PipelineState:
        """Another musician from the next block on; what is known of the output stays as it is."""
        more = musician.anticipation_frames - self.musician.anticipation_frames
        return replace(self, musician=musician, surplus_frames=self.surplus_frames - more)


class Pipeline:
    """The fixed parts of a session.

    Args:
        player: codec and silence.
        counter: the bookkeeping of time.
        channels: the session's audio channels.
        listening: whether the rows hear each other besides the mix.
        on_step: called with the times of every step.
    """

    def __init__(
        self,
        player: Player,
        counter: Counter,
        channels: int,
        listening: bool,
        on_step: Callable[[StepTimes], None] | None,
    ) -> None:
        self.codec, self.silence_C = player.codec, player.silence_C
        self.counter, self.channels, self.listening, self.on_step = counter, channels, listening, on_step
        self.device = player.silence_C.device
        self.answer_delay = counter.answer_delay_samples if listening else 0

    def init_state(self, musician: Musician, gain_B: Tensor) -> PipelineState:
        """Nothing heard, and nothing played but the silence before the first block."""
        rows, spec = len(gain_B), self.codec.spec
        channels = spec.audio_channels
        empty_BTC = self.silence_C.new_zeros(rows, 0, spec.latent_channels)
        empty_BAN = self.silence_C.new_zeros(rows, channels, 0)
        return PipelineState(
            musician=musician,
            inward=self.counter.inward.init_state(channels, device=self.device),
            unheard_BAN=empty_BAN,
            encoder=self.codec.init_encoder_state(rows),
            encoded_frames=0,
            mix_BTC=empty_BTC,
            played_BTC=self.silence_C.expand(rows, 1 + musician.anticipation_frames, -1),
            decoder=self.codec.init_decoder_state(rows),
            decoded_samples=0,
            answers_BAN=self.silence_C.new_zeros(rows, channels, self.answer_delay),
            gain_B=gain_B,
            outward=self.counter.outward.init_state(rows, channels, device=self.device),
        )

    def advance(self, audio_AN: Tensor, gain_B: Tensor, state: PipelineState) -> tuple[Tensor, PipelineState]:
        """Hear the next samples.

        Args:
            audio_AN: sound at the session's rate, of any length.
            gain_B: gain of every row from the next block on.
            state: the state before that.

        Returns:
            The output BAN that is known from now on, at the session's rate, and the state after that.
        """
        inside_AN = as_channels(audio_AN.to(self.device).clamp(-LOUDEST, LOUDEST), self.codec.spec.audio_channels)
        resampled_AN, inward = self.counter.inward.step(inside_AN, state.inward)
        unheard_BAN = torch.cat((state.unheard_BAN, resampled_AN.expand(len(gain_B), -1, -1)), dim=-1)
        state = replace(state, inward=inward, unheard_BAN=unheard_BAN)
        decoded, state = self._decode(gain_B, state)
        pieces = [decoded]
        while frames := self._frames_to_encode(state):
            decoded, state = self._step(frames, gain_B, state)
            pieces.append(decoded)
        out_BAN, outward = self.counter.outward.step(torch.cat(pieces, dim=-1), state.outward)
        return as_channels(out_BAN, self.channels), replace(state, outward=outward)

    def _step(self, frames: int, gain_B: Tensor, state: PipelineState) -> tuple[Tensor, PipelineState]:
        """Encode some frames, and play and decode what they complete."""
        started = self._clock()
        state = self._encode(frames, state)
        encoded = self._clock()
        played, state = self._play(state)
        generated = self._clock()
        decoded_BAN, state = self._decode(gain_B, state)
        if played and self.on_step is not None:
            self.on_step(StepTimes(encoded - started, generated - encoded, self._clock() - generated))
        return decoded_BAN, state

    def _clock(self) -> float:
        """Seconds, after all that a GPU was told to do if somebody wants to know."""
        if self.on_step is not None and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _frames_to_encode(self, state: PipelineState) -> int:
        """Whole frames that were heard, up to the end of the model's next block, and as far as rows know each other."""
        hop, block = self.codec.spec.hop_samples, self.counter.codec_block
        samples = state.unheard_BAN.shape[-1]
        if self.listening:
            samples = min(samples, state.answers_BAN.shape[-1])
        late = max(0, self.counter.encoder_delay_frames - state.encoded_frames)
        missing = late + self.counter.model_block - state.mix_BTC.shape[1]
        return min(samples // hop // block, -(-missing // block)) * block

    def _encode(self, frames: int, state: PipelineState) -> PipelineState:
        samples = frames * self.codec.spec.hop_samples
        heard_BAN = state.unheard_BAN[..., :samples]
        if self.listening:
            answers_BAN = state.answers_BAN[..., :samples]
            heard_BAN = heard_BAN + answers_BAN.sum(dim=0) - answers_BAN
        latents_BTC, encoder = self.codec.encode_step(heard_BAN, state.encoder)
        # a codec that looks ahead begins with the silence before the song
        early = max(0, self.counter.encoder_delay_frames - state.encoded_frames)
        return replace(
            state,
            unheard_BAN=state.unheard_BAN[..., samples:],
            answers_BAN=state.answers_BAN[..., samples:],
            encoder=encoder,
            encoded_frames=state.encoded_frames + frames,
            mix_BTC=torch.cat((state.mix_BTC, latents_BTC[:, early:]), dim=1),
        )

    def _play(self, state: PipelineState) -> tuple[bool, PipelineState]:
        """Let the model play on all blocks that it has heard, and say whether there was one."""
        block, blocks = self.counter.model_block, state.mix_BTC.shape[1] // self.counter.model_block
        before = self._heard_frames(state)
        for number in range(blocks):
            mix_BTC, heard = state.mix_BTC[:, number * block : (number + 1) * block], before + number * block
            missing_BTC = self._missing(mix_BTC, heard, state)
            out_BTC, musician, failures = self._block(mix_BTC, heard, state)
            surplus = max(0, state.surplus_frames)
            played_BTC = torch.cat((state.played_BTC, *missing_BTC, out_BTC[:, surplus:]), dim=1)
            state = replace(
                state,
                musician=musician,
                failures=failures,
                played_BTC=played_BTC,
                surplus_frames=max(0, surplus - out_BTC.shape[1]),
            )
        return blocks > 0, replace(state, mix_BTC=state.mix_BTC[:, blocks * block :])

    def next_frame(self, state: PipelineState) -> int:
        """The first frame that the model's next block emits."""
        return self._heard_frames(state) + 1 + state.musician.anticipation_frames

    def _heard_frames(self, state: PipelineState) -> int:
        """Frames of the mix that the model has heard."""
        return max(0, state.encoded_frames - self.counter.encoder_delay_frames) - state.mix_BTC.shape[1]

    def _missing(self, mix_BTC: Tensor, heard: int, state: PipelineState) -> list[Tensor]:
        """The frames between what is known and what a larger anticipation plays next, all of them played to this block,
        each at the anticipation that it needs."""
        who, made = state.musician, []
        for frames in range(who.anticipation_frames + min(0, state.surplus_frames), who.anticipation_frames):
            between = replace(state, musician=who.ahead(frames))
            made.append(self._block(mix_BTC, heard, between)[0])
        return made

    def _block(self, mix_BTC: Tensor, heard: int, state: PipelineState) -> tuple[Tensor, Musician, int]:
        """One step of the model, which has heard so many frames before; where its output is not finite, silence, and a
        model that remembers nothing."""
        who, block = state.musician, self.counter.model_block
        first = heard + 1 + who.anticipation_frames
        if state.references is not None:
            controls = state.references.told(who.controls, first, block)
            who = who if controls is who.controls else who.asked(controls)
        if state.prompts is not None:
            memory, told = state.prompts.told(who.accompanist, who.memory, who.told, first)
            who = replace(who, memory=memory, told=told)
        memory = who.memory
        if (asked := sketch_until(state.sketch_TP, state.drawing, first + block)) is not None:
            curves_TP, begins = asked
            memory = follow(who.accompanist, curves_TP[None], first - begins, memory)
        out_BTC, memory = who.accompanist.step(mix_BTC, memory)
        if out_BTC.isfinite().all():
            return out_BTC, replace(who, memory=memory), state.failures
        memory = who.accompanist.init_state(len(mix_BTC), who.controls)
        return self.silence_C.expand_as(out_BTC), replace(who, memory=memory, told=()), state.failures + 1

    def _decode(self, gain_B: Tensor, state: PipelineState) -> tuple[Tensor, PipelineState]:
        """Sound of all whole blocks of the codec; what the decoder's delay puts before the song is left out."""
        frames = state.played_BTC.shape[1] // self.counter.codec_block * self.counter.codec_block
        if not frames:
            return state.unheard_BAN[..., :0], state
        audio_BAN, decoder = self.codec.decode_step(state.played_BTC[:, :frames], state.decoder)
        samples = audio_BAN.shape[-1]
        audio_BAN = audio_BAN * faded(state.gain_B, gain_B, samples)
        early = max(0, self.counter.decoder_delay_samples - state.decoded_samples)
        audio_BAN = audio_BAN[..., early:]
        answers_BAN = torch.cat((state.answers_BAN, audio_BAN), dim=-1) if self.listening else state.answers_BAN
        state = replace(
            state,
            played_BTC=state.played_BTC[:, frames:],
            decoder=decoder,
            decoded_samples=state.decoded_samples + samples,
            answers_BAN=answers_BAN,
            gain_B=gain_B,
        )
        return audio_BAN, state


def faded(before_B: Tensor, after_B: Tensor, samples: int) -> Tensor:
    """Gains B1N of a block: constant, or linear from one gain to another, so that a change does not click."""
    if torch.equal(before_B, after_B):
        return after_B[:, None, None]
    share_N = torch.arange(1, samples + 1, device=after_B.device) / samples
    return torch.lerp(before_B[:, None], after_B[:, None], share_N)[:, None]


def as_channels(audio: Tensor, channels: int) -> Tensor:
    """Audio (…, A, N) with another number of channels: mixed down, or on the first two of them."""
    given = audio.shape[-2]
    if given == channels:
        return audio
    if channels == 1:
        return audio.mean(dim=-2, keepdim=True)
    pair = audio.mean(dim=-2, keepdim=True) if given != 2 else audio
    pair = pair.expand(*pair.shape[:-2], 2, -1)
    silent = pair.new_zeros(*pair.shape[:-2], channels - 2, pair.shape[-1])
    return torch.cat((pair, silent), dim=-2)
