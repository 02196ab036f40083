"""A strictly causal neural codec without recursion: linear code, convolutional decoder, clocked phases.

The encoder is one matrix on log spectra and low-band maps (principal components, whitened), bounded by tanh. The
decoder is the transposed matrix plus a causal convolutional residual, and `Synthesis`. Of stereo audio the encoder
hears left, right and their difference; the decoder makes left and right.

Shapes: B batch, T latent frames, C latent channels, A audio channels, V views of them, N audio samples, M = 8 T
sub-frames, F frequency bins, K oscillators, L low pitches, X features per latent frame.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from livejam.codecs.causal_convs import CausalConvs
from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.codec import Codec, Plain, codec_hash
from livejam.codecs.features import LOW_FRAMES, SUBFRAMES, SpectralFeatures
from livejam.codecs.pitch_grid import LOW_PITCHES, OSCILLATORS, grid_hz
from livejam.codecs.stereo import view_count, views
from livejam.codecs.synthesis import NOISE_BANDS, SpectralParts, Synthesis
from livejam.errors import UserError
from livejam.spec import CodecSpec

CHUNK_FRAMES = 64
"""Offline calls run through the stream in pieces of this many frames, which bounds their memory."""

PIECE_FEATURES = 4400
"""Longest sum of products: a single frame is summed number by number, which loses digits in sums of 17 000."""


@dataclass(frozen=True)
class EncoderState:
    """The audio that the windows of the next frame still overlap."""

    past_BAN: Tensor


@dataclass(frozen=True)
class DecoderState:
    """What the next frame needs of the past.

    Args:
        pasts: last two frames of every convolution.
        tail_BAN: overlap of the windows that are not complete yet.
        magnitude_BAF: decoded magnitude of the last sub-frame.
        frame_B: absolute index of the next latent frame per row (int64): the time of oscillators and noise.
    """

    pasts: tuple[Tensor, ...]
    tail_BAN: Tensor
    magnitude_BAF: Tensor
    frame_B: Tensor


class Decoder(nn.Module):
    """Latents to spectral parts: a linear base plus a causal residual.

    Args:
        latent_channels: numbers per latent frame.
        audio_channels: 1 or 2.
        features: what the base reconstructs.
        width: channels of the convolutions at the latent rate.
        subframe_width: channels of the convolutions at the sub-frame rate.
        blocks: residual blocks at the latent rate.
        subframe_blocks: residual blocks at the sub-frame rate.
    """

    nearest_bin: Tensor
    bands_GF: Tensor

    def __init__(
        self,
        latent_channels: int,
        audio_channels: int,
        features: SpectralFeatures,
        width: int,
        subframe_width: int,
        blocks: int,
        subframe_blocks: int,
    ) -> None:
        super().__init__()
        self.audio_channels, self.bins, self.floor = audio_channels, features.bins, features.floor
        self.base = nn.Linear(latent_channels, audio_channels * features.channels)
        self.causal_convs = CausalConvs(latent_channels, width, subframe_width, blocks, subframe_blocks)
        self.sizes = [self.bins, OSCILLATORS, NOISE_BANDS, self.bins, self.bins]
        self.heads = nn.Linear(subframe_width, audio_channels * sum(self.sizes))
        with torch.no_grad():
            # start close to the linear base, with half noise and a little freedom of phase
            self.heads.weight.mul_(0.1)
            self.heads.bias.zero_()
        bin_hz = features.sample_rate_hz / features.window_samples
        nearest = torch.round(grid_hz()[LOW_PITCHES:] / bin_hz).long()
        self.register_buffer("nearest_bin", nearest, persistent=False)
        spread = nn.functional.interpolate(torch.eye(NOISE_BANDS)[None], self.bins, mode="linear", align_corners=True)
        self.register_buffer("bands_GF", spread[0], persistent=False)
        # weights keep the names that they were published with: hashes, banks and tables of results depend on them
        self.register_state_dict_post_hook(_as_published)
        self.register_load_state_dict_pre_hook(_from_published)

    def forward(self, latents_BTC: Tensor, pasts: tuple[Tensor, ...]) -> tuple[SpectralParts, tuple[Tensor, ...]]:
        """Parts of every sub-frame, and the pasts of the next call."""
        hidden_BMD, pasts = self.causal_convs(latents_BTC, pasts)
        return self.parts(latents_BTC, hidden_BMD), pasts

    def parts(self, latents_BTC: Tensor, hidden_BMD: Tensor) -> SpectralParts:
        """Parts of every sub-frame: the linear base of the latents plus what the convolutions add.

        Logarithms and phases need float32; the convolutions do not.
        """
        log_magnitude, log_oscillator, noise_gain, correction = self.real_parts(latents_BTC, hidden_BMD)
        return SpectralParts(log_magnitude, log_oscillator, noise_gain, torch.complex(*correction))

    def real_parts(
        self, latents_BTC: Tensor, hidden_BMD: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The four of `parts` in their order; of the correction, its real and its imaginary part."""
        spectra_BMAF, low_BMAL = self.linear_features(self.base(latents_BTC))
        heads = self.heads(hidden_BMD).unflatten(-1, (self.audio_channels, -1))
        magnitude, oscillator, noise, real, imaginary = torch.split(heads, self.sizes, dim=-1)
        magnitude_BMAF = spectra_BMAF + magnitude
        tones_BMAK = torch.cat([low_BMAL, magnitude_BMAF[..., self.nearest_bin]], dim=-1)
        gain_BMAF = nn.functional.softplus(noise - 0.5) @ self.bands_GF
        return magnitude_BMAF, tones_BMAK + oscillator, gain_BMAF, (real, imaginary)

    def linear_features(self, features_BTX: Tensor) -> tuple[Tensor, Tensor]:
        """Log spectra BMAF and low-band maps BMAL (held over four sub-frames each) of features of the A channels."""
        batch, frames, _ = features_BTX.shape
        per_channel = features_BTX.reshape(batch, frames, self.audio_channels, -1)
        spectra, low = torch.split(per_channel, [SUBFRAMES * self.bins, LOW_FRAMES * LOW_PITCHES], dim=-1)
        spectra_BMAF = spectra.reshape(*per_channel.shape[:3], SUBFRAMES, -1).transpose(2, 3).flatten(1, 2)
        low_BMAL = low.reshape(*per_channel.shape[:3], LOW_FRAMES, -1).transpose(2, 3).flatten(1, 2)
        return spectra_BMAF, low_BMAL.repeat_interleave(SUBFRAMES // LOW_FRAMES, dim=1)


def _as_published(decoder: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    _move(weights, f"{prefix}causal_convs.", f"{prefix}trunk.")


def _from_published(decoder: nn.Module, weights: dict[str, Tensor], prefix: str, *_: object) -> None:
    _move(weights, f"{prefix}trunk.", f"{prefix}causal_convs.")


def _move(weights: dict[str, Tensor], old: str, new: str) -> None:
    """Rename all weights that begin with `old`."""
    for name in [name for name in weights if name.startswith(old)]:
        weights[f"{new}{name.removeprefix(old)}"] = weights.pop(name)


class CausalCodec(Codec[EncoderState, DecoderState]):
    """Audio to bounded latents of about unit variance and back.

    No latent leaves [-bound, bound]: the encoder ends with tanh, and `decode` clamps its input, so an outlier of a
    generator cannot explode through the exponential of the decoder. The decoder was trained with noisy
    latents for the same reason.

    Args:
        name: a name for the weights, shown to users.
        sample_rate_hz: audio sample rate in Hz, 16000 or more.
        audio_channels: 1 for mono, 2 for stereo.
        hop_samples: audio samples per latent frame, a multiple of 16.
        latent_channels: numbers per latent frame.
        bound: largest absolute value of a latent.
        floor: magnitude below which sound is not coded, 1 = full-scale sine.
        width: channels of the decoder at the latent rate.
        subframe_width: channels of the decoder at eight times that rate.
        blocks: residual blocks at the latent rate.
        subframe_blocks: residual blocks at the sub-frame rate.
    """

    causal = True
    licence = "Apache-2.0"

    def __init__(
        self,
        name: str = "pocket",
        sample_rate_hz: int = 22050,
        audio_channels: int = 1,
        hop_samples: int = 2048,
        latent_channels: int = 96,
        bound: float = 3.0,
        floor: float = 6e-4,
        width: int = 256,
        subframe_width: int = 160,
        blocks: int = 4,
        subframe_blocks: int = 2,
    ) -> None:
        super().__init__()
        if audio_channels not in (1, 2) or hop_samples % 16 or sample_rate_hz < 16000:
            raise UserError(
                f"a codec of {audio_channels} channels, hop {hop_samples}, {sample_rate_hz} Hz cannot be built; use 1 "
                "or 2 channels, a hop that is a multiple of 16, at least 16000 Hz"
            )
        self.config: dict[str, str | int | float] = {
            "name": name,
            "sample_rate_hz": sample_rate_hz,
            "audio_channels": audio_channels,
            "hop_samples": hop_samples,
            "latent_channels": latent_channels,
            "bound": bound,
            "floor": floor,
            "width": width,
            "subframe_width": subframe_width,
            "blocks": blocks,
            "subframe_blocks": subframe_blocks,
        }
        self.bound = bound
        self.features = SpectralFeatures(sample_rate_hz, hop_samples, floor)
        self.projection = nn.Linear(view_count(audio_channels) * self.features.channels, latent_channels)
        self.decoder = Decoder(
            latent_channels, audio_channels, self.features, width, subframe_width, blocks, subframe_blocks
        )
        self.synthesis = Synthesis(sample_rate_hz, audio_channels, self.features.window_samples, floor)
        self.spec = CodecSpec(
            name, sample_rate_hz, audio_channels, hop_samples, latent_channels, self.synthesis.tail_samples
        )

    @property
    def settings(self) -> dict[str, Plain]:
        """The constructor's arguments."""
        return dict(self.config)

    @property
    def latents_hash(self) -> str:
        """The hash of the encoder alone: any decoder that was trained for its latents can play them."""
        meaning = f"{codec_hash(self.projection)} {self.features.floor} {self.bound}"
        return hashlib.sha256(meaning.encode()).hexdigest()

    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents BTC of audio BAN; N must be a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        state = self.init_encoder_state(audio_BAN.shape[0])
        latents = []
        require_audio(audio_BAN, self.spec)
        for piece_BAN in torch.split(audio_BAN, CHUNK_FRAMES * self.spec.hop_samples, dim=2):
            latents_BTC, state = self.encode_step(piece_BAN, state)
            latents.append(latents_BTC)
        return torch.cat(latents, dim=1)

    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio BAN of T · hop samples, aligned with the audio that was encoded.

        The last `spec.delay_samples` samples fade out, because the frames that would overlap with them do not exist.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        state = self.init_decoder_state(latents_BTC.shape[0])
        audio = []
        for piece_BTC in torch.split(latents_BTC, CHUNK_FRAMES, dim=1):
            audio_BAN, state = self.decode_step(piece_BTC, state)
            audio.append(audio_BAN)
        audio.append(state.tail_BAN)
        return torch.cat(audio, dim=2)[:, :, self.spec.delay_samples :]

    def init_encoder_state(self, batch_size: int) -> EncoderState:
        """Silence before the first sample."""
        shape = (batch_size, self.spec.audio_channels, self.features.past_samples)
        return EncoderState(self.projection.weight.new_zeros(shape))

    def encode_step(self, audio_BAN: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Latents BTC of the next N samples, a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        heard_BAN = torch.cat([state.past_BAN, audio_BAN], dim=2)
        latents_BTC = self.project(self.view_features(heard_BAN))
        return latents_BTC, EncoderState(heard_BAN[:, :, audio_BAN.shape[2] :])

    def init_decoder_state(self, batch_size: int) -> DecoderState:
        """Before the first latent frame."""
        weight = self.projection.weight
        return DecoderState(
            pasts=self.decoder.causal_convs.initial_pasts(batch_size),
            tail_BAN=weight.new_zeros(batch_size, self.spec.audio_channels, self.spec.delay_samples),
            magnitude_BAF=weight.new_zeros(batch_size, self.spec.audio_channels, self.features.bins),
            frame_B=torch.zeros(batch_size, dtype=torch.int64, device=weight.device),
        )

    def decode_step(self, latents_BTC: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Audio BAN of the next T frames, `spec.delay_samples` late.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        parts, pasts = self.decoder(latents_BTC.clamp(-self.bound, self.bound), state.pasts)
        subframe_BM = self.subframes(state.frame_B, latents_BTC.shape[1])
        spectrum_BMAF = self.synthesis.spectrum(parts, self.synthesis.donor(parts, subframe_BM, state.magnitude_BAF))
        audio_BAN, tail_BAN = self.synthesis.overlap_add(spectrum_BMAF, state.tail_BAN)
        # what comes out before the delay is over would be heard before the first sample of the song
        sample_N = torch.arange(audio_BAN.shape[2], device=audio_BAN.device)
        begun_BN = state.frame_B[:, None] * self.spec.hop_samples + sample_N >= self.spec.delay_samples
        audio_BAN = audio_BAN * begun_BN[:, None]
        magnitude_BAF = self.synthesis.magnitude(parts)[:, -1]
        state = DecoderState(pasts, tail_BAN, magnitude_BAF, state.frame_B + latents_BTC.shape[1])
        return audio_BAN, state

    def view_features(self, heard_BAN: Tensor) -> Tensor:
        """Features BTX of samples preceded by `features.past_samples` old ones, view by view."""
        heard_BVN = views(heard_BAN)
        spectra, low = self.features(heard_BVN.flatten(0, 1))
        shape = (*heard_BVN.shape[:2], low.shape[1] // LOW_FRAMES, -1)
        per_view = torch.cat([part.reshape(shape) for part in (spectra, low)], dim=-1)
        return per_view.transpose(1, 2).flatten(2)

    def heard_channels(self, features_BTX: Tensor) -> Tensor:
        """The part of the features that the decoder's linear base reconstructs: that of the A channels."""
        return features_BTX[..., : self.spec.audio_channels * self.features.channels]

    def project(self, features_BTX: Tensor) -> Tensor:
        """Bounded latents of features."""
        features = features_BTX.split(PIECE_FEATURES, dim=-1)
        weights = self.projection.weight.split(PIECE_FEATURES, dim=1)
        code_BTC = nn.functional.linear(features[0], weights[0], self.projection.bias)
        for piece_BTX, weight_CX in zip(features[1:], weights[1:], strict=True):
            code_BTC = code_BTC + nn.functional.linear(piece_BTX, weight_CX)
        return self.bound * torch.tanh(code_BTC / self.bound)

    def subframes(self, frame_B: Tensor, frames: int) -> Tensor:
        """Absolute indices BM of the sub-frames of the next `frames` latent frames."""
        return frame_B[:, None] * SUBFRAMES + torch.arange(frames * SUBFRAMES, device=frame_B.device)
