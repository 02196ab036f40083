"""Streaming for codecs that hear the future: every block is computed in a window, and is late by the look-ahead.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.codec import Codec, Plain
from livejam.codecs.offline import OfflineCodec
from livejam.errors import UserError

PIECE_FRAMES = 256
"""Offline calls run through the stream in pieces of about this many frames, which bounds their memory."""


@dataclass(frozen=True)
class WindowState:
    """What the next windows begin with.

    Args:
        past: context and look-ahead of the next block: samples BAN of the encoder, frames BTC of the decoder.
        frame: index of the next frame that will be heard (int64).
        tail_BAN: the last window's version of the samples after its block, as long as the next one fades in; the
            encoder has none (N = 0).
    """

    past: Tensor
    frame: Tensor
    tail_BAN: Tensor


class WindowedCodec(Codec[WindowState, WindowState]):
    """An offline codec as a stream, block by block, each in its own window.

    The codec computes a block together with `context_frames` before it and `lookahead_frames` after it. So a block
    depends on its window only, and a stream equals the offline calls, wherever it is cut. Where both sides are as wide
    as the codec's `reach_frames`, windows make no difference; `seam_error` measures the error of narrower ones.

    The look-ahead delays twice. `encode_step` returns latents that are `lookahead_frames` old, the first of them from
    the silence before the song; `decode_step` returns audio that is as many frames older. `spec.delay_samples` is the
    sum. A song is assumed to begin and end in silence.

    Args:
        codec: the codec.
        context_frames: frames before a block that its window holds, 0 or more.
        lookahead_frames: frames after a block that its window holds, 0 or more.
        block_frames: frames per window, 1 or more; steps must be multiples of it. A window costs
            context + block + look-ahead frames of computation.
        fade_samples: length of a linear cross-fade from one window's version of the samples after its block to the
            next window's; at most the block or the look-ahead. It hides seams of windows that are
            narrower than the codec's reach (50 samples in Karchkhadze and Dubnov's server); 0 = none.
    """

    causal = False

    def __init__(
        self,
        codec: OfflineCodec,
        context_frames: int,
        lookahead_frames: int,
        block_frames: int = 1,
        fade_samples: int = 0,
    ) -> None:
        super().__init__()
        if min(context_frames, lookahead_frames) < 0 or block_frames < 1:
            raise UserError(
                f"a window of {context_frames} + {block_frames} + {lookahead_frames} frames cannot be built; use a "
                "context and a look-ahead of 0 or more frames and blocks of 1 or more"
            )
        longest = min(lookahead_frames, block_frames) * codec.spec.hop_samples
        if not 0 <= fade_samples <= longest:
            raise UserError(
                f"fade_samples is {fade_samples}, but a cross-fade lies within block and look-ahead; set it between 0 "
                f"and {longest}, or lookahead_frames higher"
            )
        self.codec, self.licence = codec, codec.licence
        self.fade_samples = fade_samples
        self.eval()
        self.context_frames, self.lookahead_frames, self.block_frames = context_frames, lookahead_frames, block_frames
        self.encoder_delay_frames = lookahead_frames
        self.spec = replace(codec.spec, delay_samples=2 * lookahead_frames * codec.spec.hop_samples)

    @property
    def settings(self) -> dict[str, Plain]:
        """The windows and their fade, and the codec's own."""
        names = ("context_frames", "lookahead_frames", "block_frames", "fade_samples")
        return {**self.codec.settings, **{name: getattr(self, name) for name in names}}

    @property
    def latents_hash(self) -> str:
        """The hash of the codec and its windows: other windows, other latents."""
        sizes = f"{self.context_frames} {self.block_frames} {self.lookahead_frames}"
        return hashlib.sha256(f"{self.codec.latents_hash} {sizes}".encode()).hexdigest()

    @property
    def past_frames(self) -> int:
        """Frames that a state holds."""
        return self.context_frames + self.lookahead_frames

    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents BTC of audio BAN; N must be a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        hop, frames = self.spec.hop_samples, audio_BAN.shape[2] // self.spec.hop_samples
        state, pieces = self.init_encoder_state(audio_BAN.shape[0]), []
        padded_BAN = nn.functional.pad(audio_BAN, (0, self.flush_frames(frames) * hop))
        for piece_BAN in padded_BAN.split(self.piece_frames * hop, dim=2):
            latents_BTC, state = self.encode_step(piece_BAN, state)
            pieces.append(latents_BTC)
        return torch.cat(pieces, dim=1)[:, self.lookahead_frames : self.lookahead_frames + frames]

    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio BAN of T · hop samples, aligned with the audio that was encoded.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        hop, frames = self.spec.hop_samples, latents_BTC.shape[1]
        state, pieces = self.init_decoder_state(latents_BTC.shape[0]), []
        silence_BTC = self.silent_latents(latents_BTC.shape[0]).expand(-1, self.flush_frames(frames), -1)
        for piece_BTC in torch.cat([latents_BTC, silence_BTC], dim=1).split(self.piece_frames, dim=1):
            audio_BAN, state = self.decode_step(piece_BTC, state)
            pieces.append(audio_BAN)
        return torch.cat(pieces, dim=2)[:, :, self.lookahead_frames * hop : (self.lookahead_frames + frames) * hop]

    def init_encoder_state(self, batch_size: int) -> WindowState:
        """Silence before the first sample."""
        shape = (batch_size, self.spec.audio_channels, self.past_frames * self.spec.hop_samples)
        silence_BAN = next(self.codec.parameters()).new_zeros(shape)
        return WindowState(silence_BAN, torch.zeros((), dtype=torch.int64), silence_BAN[:, :, :0])

    def encode_step(self, audio_BAN: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        """Latents BTC that are `lookahead_frames` older than the next N samples, a multiple of the block.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        hop, context = self.spec.hop_samples, self.context_frames
        heard_BAN = torch.cat([state.past, audio_BAN], dim=2)
        blocks = []
        for start, first in self.windows(audio_BAN.shape[2] // hop, state):
            window_BAN = heard_BAN[:, :, start * hop : (start + self.block_frames + self.past_frames) * hop]
            blocks.append(self.codec.encode_window(window_BAN, first)[:, context : context + self.block_frames])
        past_BAN = heard_BAN[:, :, audio_BAN.shape[2] :]
        frame = state.frame + audio_BAN.shape[2] // hop
        return torch.cat(blocks, dim=1), WindowState(past_BAN, frame, state.tail_BAN)

    def init_decoder_state(self, batch_size: int) -> WindowState:
        """Latents of silence before the first frame."""
        past_BTC = self.silent_latents(batch_size).expand(-1, self.past_frames, -1)
        # the first fade lies in the look-ahead, before the song
        tail_BAN = past_BTC.new_zeros(batch_size, self.spec.audio_channels, self.fade_samples)
        return WindowState(past_BTC, torch.zeros((), dtype=torch.int64), tail_BAN)

    def decode_step(self, latents_BTC: Tensor, state: WindowState) -> tuple[Tensor, WindowState]:
        """Audio BAN that is `lookahead_frames` older than the next T frames, a multiple of the block.

        Raises:
            UserError: wrong channels or number of frames, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        hop = self.spec.hop_samples
        begin, length = self.context_frames * hop, self.block_frames * hop
        mix_BTC, tail_BAN = torch.cat([state.past, latents_BTC], dim=1), state.tail_BAN
        blocks = []
        for start, first in self.windows(latents_BTC.shape[1], state):
            window_BTC = mix_BTC[:, start : start + self.block_frames + self.past_frames]
            audio_BAN = self.codec.decode_window(window_BTC, first)[:, :, begin : begin + length + self.fade_samples]
            blocks.append(faded_in(audio_BAN[:, :, :length], tail_BAN))
            tail_BAN = audio_BAN[:, :, length:]
        past_BTC = mix_BTC[:, latents_BTC.shape[1] :]
        return torch.cat(blocks, dim=2), WindowState(past_BTC, state.frame + latents_BTC.shape[1], tail_BAN)

    @property
    def piece_frames(self) -> int:
        """Frames per step of an offline call, a multiple of the block."""
        return self.block_frames * max(1, PIECE_FRAMES // self.block_frames)

    def flush_frames(self, frames: int) -> int:
        """Frames of silence after a song that bring out its end and complete its last block."""
        total = math.ceil((frames + self.lookahead_frames) / self.block_frames) * self.block_frames
        return total - frames

    def windows(self, frames: int, state: WindowState) -> list[tuple[int, int]]:
        """For every window of a step: where it starts in what is held, and in the song.

        Raises:
            UserError: the step is no multiple of the block.
        """
        if frames % self.block_frames:
            raise UserError(f"{frames} frames are no multiple of the block of {self.block_frames}; pass whole blocks")
        before = int(state.frame) - self.past_frames
        return [(start, before + start) for start in range(0, frames, self.block_frames)]

    def silent_latents(self, batch_size: int) -> Tensor:
        """The latent frame of silence, shape B1C."""
        state = self.init_encoder_state(batch_size)
        block = self.block_frames * self.spec.hop_samples
        silence_BAN = state.past.new_zeros(batch_size, self.spec.audio_channels, block)
        return self.encode_step(silence_BAN, state)[0][:, :1]


def faded_in(audio_BAN: Tensor, tail_BAN: Tensor) -> Tensor:
    """Audio that begins as the tail and turns linearly into itself."""
    samples = tail_BAN.shape[2]
    share_N = torch.arange(1, samples + 1, device=tail_BAN.device, dtype=tail_BAN.dtype) / (samples + 1)
    start_BAN = torch.lerp(tail_BAN, audio_BAN[:, :, :samples], share_N)
    return torch.cat([start_BAN, audio_BAN[:, :, samples:]], dim=2)


@dataclass(frozen=True)
class SeamError:
    """Power of what windows change, relative to the offline output, in dB; -inf where nothing is changed.

    Args:
        latents_db: of the latents of some audio.
        audio_db: of the audio decoded from the codec's own latents.
    """

    latents_db: float
    audio_db: float


def seam_error(windowed: WindowedCodec, audio_BAN: Tensor) -> SeamError:
    """The difference between windows and the codec's own offline output, on audio that begins and ends in silence.

    Args:
        windowed: the codec in windows.
        audio_BAN: audio of N samples, a multiple of the hop.
    """
    codec, hop = windowed.codec, windowed.spec.hop_samples
    edge = max(windowed.past_frames, codec.reach_frames)
    whole_BTC = codec.encode(nn.functional.pad(audio_BAN, (edge * hop, edge * hop)))
    latents_BTC = whole_BTC[:, edge:-edge] if edge else whole_BTC
    silence_BTC = windowed.silent_latents(audio_BAN.shape[0]).expand(-1, edge, -1)
    whole_BAN = codec.decode(torch.cat([silence_BTC, latents_BTC, silence_BTC], dim=1))
    sound_BAN = whole_BAN[:, :, edge * hop : whole_BAN.shape[2] - edge * hop]
    return SeamError(
        error_db(windowed.encode(audio_BAN), latents_BTC), error_db(windowed.decode(latents_BTC), sound_BAN)
    )


def error_db(made: Tensor, true: Tensor) -> float:
    """Power of the difference over that of the truth, in dB."""
    ratio = (made - true).square().sum() / true.square().sum()
    return float(10 * torch.log10(ratio))
