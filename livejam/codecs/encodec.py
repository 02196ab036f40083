"""EnCodec at 24 kHz, as in transformers, with its continuous latents and as a stream.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples, D hidden channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.chunked import decode_in_steps, encode_in_steps
from livejam.codecs.codec import Codec
from livejam.codecs.published import Published, load_folder, optional_package
from livejam.codecs.seanet import advance, initial_pasts
from livejam.codecs.weight_norm import fold_weight_norms
from livejam.errors import UserError
from livejam.spec import CodecSpec

ENCODEC_24KHZ = Published(
    "facebook/encodec_24khz", ("config.json", "model.safetensors"), CodecSpec("encodec-24khz", 24000, 1, 320, 128, 0)
)
SILENT_FRAMES = 8
"""The silence before every song, in frames: the least that the padding by reflection can mirror."""


@dataclass(frozen=True)
class EnCodecState:
    """What the next samples or frames still need of the past, layer by layer."""

    pasts: tuple[Tensor, ...]


class EnCodec(Codec[EnCodecState, EnCodecState]):
    """24 kHz mono to 128 channels at 75 Hz, strictly causal, without delay.

    A latent is the input of the quantiser: `encode` does not quantise it, and neither does `decode`.

    The model pads the start of a song with its own mirror image, which comes from the future. Here eight frames of
    silence (107 ms) precede every song, offline and streamed, so that there is nothing to mirror but silence. The
    output is exactly the model's for a file that begins like this.

    Args:
        model: transformers' `EncodecModel`; its weight normalisation is folded.
        name: a name for the weights, shown to users.

    Raises:
        UserError: the model is not causal, or scales its input by a loudness that is not part of the latents.
    """

    causal = True
    licence = "MIT (the code; nothing is said of the weights)"

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        fold_weight_norms(model)
        self.model = model
        self.eval().requires_grad_(False)
        config = model.config
        if not config.use_causal_conv or config.normalize or config.norm_type != "weight_norm":
            raise UserError(f"EnCodec '{name}' is not causal; take the one of 24 kHz, {ENCODEC_24KHZ.repository}")
        self.spec = CodecSpec(
            name, config.sampling_rate, config.audio_channels, config.hop_length, config.hidden_size, 0
        )

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = ENCODEC_24KHZ) -> EnCodec:
        """The codec with weights from a local folder; the network is not used.

        Args:
            weights: the folder that holds config.json and model.safetensors.
            published: what is on record for it.

        Raises:
            UserError: transformers is not installed, or the weights are missing or those of something else.
        """
        model_class = optional_package("transformers").EncodecModel
        codec = cls(load_folder(model_class, weights, published), published.spec.name)
        published.verify(codec.spec, weights)
        return codec

    def encode(self, audio_BAN: Tensor) -> Tensor:
        """Latents BTC of audio BAN; N must be a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        return encode_in_steps(self, audio_BAN)

    def decode(self, latents_BTC: Tensor) -> Tensor:
        """Audio BAN of T · hop samples, aligned with the audio that was encoded.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        return decode_in_steps(self, latents_BTC)

    def init_encoder_state(self, batch_size: int) -> EnCodecState:
        """After the silence before the song."""
        return self.encode_silence(batch_size)[1]

    def encode_step(self, audio_BAN: Tensor, state: EnCodecState) -> tuple[Tensor, EnCodecState]:
        """Latents BTC of the next N samples, a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        latents_BCT, pasts = advance(self.model.encoder.layers, audio_BAN, state.pasts)
        return latents_BCT.transpose(1, 2), EnCodecState(pasts)

    def init_decoder_state(self, batch_size: int) -> EnCodecState:
        """After the latents of the silence before the song."""
        state = EnCodecState(initial_pasts(self.model.decoder, batch_size))
        return self.decode_step(self.encode_silence(batch_size)[0], state)[1]

    def decode_step(self, latents_BTC: Tensor, state: EnCodecState) -> tuple[Tensor, EnCodecState]:
        """Audio BAN of the next T frames.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        audio_BAN, pasts = advance(self.model.decoder.layers, latents_BTC.transpose(1, 2), state.pasts)
        return audio_BAN, EnCodecState(pasts)

    def encode_silence(self, batch_size: int) -> tuple[Tensor, EnCodecState]:
        """Latents of the silence before a song, and the state after it."""
        shape = (batch_size, self.spec.audio_channels, SILENT_FRAMES * self.spec.hop_samples)
        silence_BAN = next(self.parameters()).new_zeros(shape)
        return self.encode_step(silence_BAN, EnCodecState(initial_pasts(self.model.encoder, batch_size)))
