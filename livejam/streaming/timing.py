"""The bookkeeping of time: how much of the output is known after how much of the input.

All counts are whole samples or frames since the stream began, so nothing drifts, however long it lasts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from livejam.accompanist import Accompanist
from livejam.codecs.codec import Codec
from livejam.streaming.resampling import Resampler

SCANNED_BLOCKS = 4096
"""Blocks in which the smallest lead is looked for: more than the phases of usual pairs of rates."""


@dataclass(frozen=True)
class Timing:
    """The times of a session, in samples of its own rate.

    Args:
        sample_rate_hz: rate of input and output.
        block_samples: samples between two steps of the model, rounded.
        anticipation_samples: how far ahead of what it has heard the model plays, rounded.
        codec_delay_samples: what the codec needs of that, rounded up.
        resampling_delay_samples: what both resamplers need of it, rounded up.
        lead_samples: after n samples heard, at least n + lead samples of the output are known. It is all the time there
            is to compute, for buffers and for the sound card. Negative: the model cannot be played ahead of the beat.
    """

    sample_rate_hz: int
    block_samples: int
    anticipation_samples: int
    codec_delay_samples: int
    resampling_delay_samples: int
    lead_samples: int

    @property
    def late_samples(self) -> int:
        """How late `Session.process` plays; 0 for a model that plays ahead."""
        return max(0, -self.lead_samples)

    @property
    def budget_seconds(self) -> float:
        """Time for a step of the model, if buffers and devices took none; 0 or less: it cannot be played in time."""
        return self.lead_samples / self.sample_rate_hz

    def milliseconds(self, samples: int) -> float:
        """Duration of so many samples."""
        return 1000 * samples / self.sample_rate_hz


@dataclass(frozen=True)
class Counter:
    """What is known after what, through resampler, encoder, model, decoder and resampler.

    Args:
        hop_samples: samples per latent frame, at the codec's rate.
        encoder_delay_frames: frames by which the encoder's latents are late.
        decoder_delay_samples: samples by which the decoder's audio is late, at the codec's rate.
        codec_block: frames that the codec takes at once.
        model_block: frames that the model hears and plays at once.
        offset_frames: 1 + δ, the frames that sound before the first one that the model plays.
        inward: from the session's rate to the codec's.
        outward: from the codec's rate to the session's.
    """

    hop_samples: int
    encoder_delay_frames: int
    decoder_delay_samples: int
    codec_block: int
    model_block: int
    offset_frames: int
    inward: Resampler
    outward: Resampler

    def known_codec_samples(self, encoded_frames: int) -> int:
        """Output samples at the codec's rate that are known when so many frames were encoded."""
        heard = max(0, encoded_frames - self.encoder_delay_frames)
        played = self.offset_frames + heard // self.model_block * self.model_block
        decoded = played // self.codec_block * self.codec_block
        return max(0, decoded * self.hop_samples - self.decoder_delay_samples)

    def known_samples(self, heard_samples: int) -> int:
        """Output samples that are known after so many input samples."""
        frames = self.inward.made(heard_samples) // self.hop_samples
        return self.outward.made(self.known_codec_samples(frames // self.codec_block * self.codec_block))

    def samples_to_next_block(self, heard_samples: int) -> int:
        """Input samples after which the codec has its next block; before that, nothing more becomes known."""
        block = self.codec_block * self.hop_samples
        complete = self.inward.made(heard_samples) // block
        return self.inward.needed((complete + 1) * block) - heard_samples

    @property
    def step_samples(self) -> float:
        """Input samples of a block of the codec; not a whole number at every pair of rates."""
        return self.codec_block * self.hop_samples * self.inward.down / self.inward.up

    @property
    def lead_samples(self) -> int:
        """The smallest lead: the one just before a block of input is complete."""
        block = self.codec_block * self.hop_samples
        moments = (self.inward.needed(number * block) - 1 for number in range(1, SCANNED_BLOCKS))
        return min(self.known_samples(moment) - moment for moment in moments)

    @property
    def answer_delay_samples(self) -> int:
        """How much later than they sound rows hear each other, at the codec's rate: as little as causality allows."""
        period = math.lcm(self.codec_block, self.model_block)
        first = self.encoder_delay_frames // self.codec_block * self.codec_block
        ends = range(first + self.codec_block, first + 3 * period + 1, self.codec_block)
        return max(0, *(end * self.hop_samples - self.known_codec_samples(end - self.codec_block) for end in ends))


def counter_of(accompanist: Accompanist[object], codec: Codec, sample_rate_hz: int) -> Counter:
    """The bookkeeping of a model and its codec at a session's rate."""
    spec = codec.spec
    return Counter(
        hop_samples=spec.hop_samples,
        encoder_delay_frames=codec.encoder_delay_frames,
        decoder_delay_samples=spec.delay_samples - codec.encoder_delay_frames * spec.hop_samples,
        codec_block=codec.block_frames,
        model_block=accompanist.block_frames,
        offset_frames=1 + accompanist.anticipation_frames,
        inward=Resampler(sample_rate_hz, spec.sample_rate_hz),
        outward=Resampler(spec.sample_rate_hz, sample_rate_hz),
    )


def timing_of(counter: Counter, codec: Codec, sample_rate_hz: int) -> Timing:
    """The times that a musician or a host wants to know."""
    spec, ratio = codec.spec, sample_rate_hz / codec.spec.sample_rate_hz
    return Timing(
        sample_rate_hz=sample_rate_hz,
        block_samples=round(counter.model_block * spec.hop_samples * ratio),
        anticipation_samples=round((counter.offset_frames - 1) * spec.hop_samples * ratio),
        codec_delay_samples=math.ceil(spec.delay_samples * ratio),
        resampling_delay_samples=counter.inward.half_width + math.ceil(counter.outward.half_width * ratio),
        lead_samples=counter.lead_samples,
    )
