"""Mimi, as in transformers, with its continuous latents and as a stream.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples, D width of a transformer,
H heads, S steps of a transformer (two per latent frame), P past steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from livejam.codecs.checks import require_audio, require_latents
from livejam.codecs.chunked import decode_in_steps, encode_in_steps
from livejam.codecs.codec import Codec
from livejam.codecs.published import Published, load_folder, optional_package
from livejam.codecs.seanet import advance, initial_pasts
from livejam.errors import UserError
from livejam.spec import CodecSpec

MIMI = Published("kyutai/mimi", ("config.json", "model.safetensors"), CodecSpec("mimi", 24000, 1, 1920, 512, 0))


@dataclass(frozen=True)
class MimiState:
    """What the next samples or frames still need of the past.

    Args:
        convolutions: pasts of SEANet.
        resampling: past of the convolution between SEANet's rate and the latents'.
        keys_values: keys and values BHPD of every layer, not rotated.
    """

    convolutions: tuple[Tensor, ...]
    resampling: tuple[Tensor, ...]
    keys_values: tuple[tuple[Tensor, Tensor], ...]


class Mimi(Codec[MimiState, MimiState]):
    """24 kHz mono to 512 channels at 12.5 Hz, strictly causal, without delay.

    A latent is the input of the quantiser: `encode` does not quantise it, and neither does `decode`.

    Args:
        model: transformers' `MimiModel`.
        name: a name for the weights, shown to users.

    Raises:
        UserError: the model is not causal.
    """

    causal = True
    licence = "CC BY 4.0"

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model = model
        self.eval().requires_grad_(False)
        config = model.config
        if not config.use_causal_conv:
            raise UserError(f"Mimi '{name}' is not causal; take {MIMI.repository}")
        self.spec = CodecSpec(
            name, config.sampling_rate, config.audio_channels, config.frame_size, config.hidden_size, 0
        )

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = MIMI) -> Mimi:
        """The codec with weights from a local folder; the network is not used.

        Args:
            weights: the folder that holds config.json and model.safetensors.
            published: what is on record for it.

        Raises:
            UserError: transformers is not installed, or the weights are missing or those of something else.
        """
        model_class = optional_package("transformers").MimiModel
        codec = cls(load_folder(model_class, weights, published), published.spec.name)
        published.verify(codec.spec, weights)
        return codec

    @property
    def encoding(self) -> tuple[Any, Any, Any]:
        """SEANet, transformer and downsampling; transformers 5.23 moved them below `encoder`."""
        half = self.model.encoder
        if hasattr(half, "encoder_seanet"):
            return half.encoder_seanet, half.encoder_transformer, half.downsample
        return half, self.model.encoder_transformer, self.model.downsample

    @property
    def decoding(self) -> tuple[Any, Any, Any]:
        """Upsampling, transformer and SEANet; transformers 5.23 moved them below `decoder`."""
        half = self.model.decoder
        if hasattr(half, "decoder_seanet"):
            return half.upsample, half.decoder_transformer, half.decoder_seanet
        return self.model.upsample, self.model.decoder_transformer, half

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

    def init_encoder_state(self, batch_size: int) -> MimiState:
        """Before the first sample."""
        seanet, transformer, resampling = self.encoding
        return initial_state(seanet, transformer, resampling, batch_size)

    def encode_step(self, audio_BAN: Tensor, state: MimiState) -> tuple[Tensor, MimiState]:
        """Latents BTC of the next N samples, a multiple of the hop.

        Raises:
            UserError: wrong channels or length, or values that are not finite.
        """
        require_audio(audio_BAN, self.spec)
        seanet, transformer, downsample = self.encoding
        hidden_BDS, convolutions = advance(seanet.layers, audio_BAN, state.convolutions)
        hidden_BSD, keys_values = attend(transformer, hidden_BDS.transpose(1, 2), state.keys_values)
        latents_BCT, resampling = advance([downsample], hidden_BSD.transpose(1, 2), state.resampling)
        return latents_BCT.transpose(1, 2), MimiState(convolutions, resampling, keys_values)

    def init_decoder_state(self, batch_size: int) -> MimiState:
        """Before the first latent frame."""
        resampling, transformer, seanet = self.decoding
        return initial_state(seanet, transformer, resampling, batch_size)

    def decode_step(self, latents_BTC: Tensor, state: MimiState) -> tuple[Tensor, MimiState]:
        """Audio BAN of the next T frames.

        Raises:
            UserError: wrong channels, or values that are not finite.
        """
        require_latents(latents_BTC, self.spec)
        upsample, transformer, seanet = self.decoding
        hidden_BDS, resampling = advance([upsample], latents_BTC.transpose(1, 2), state.resampling)
        hidden_BSD, keys_values = attend(transformer, hidden_BDS.transpose(1, 2), state.keys_values)
        audio_BAN, convolutions = advance(seanet.layers, hidden_BSD.transpose(1, 2), state.convolutions)
        return audio_BAN, MimiState(convolutions, resampling, keys_values)


def initial_state(seanet: nn.Module, transformer: Any, resampling: nn.Module, batch_size: int) -> MimiState:
    """Nothing has been heard."""
    keys_values = []
    for layer in transformer.layers:
        attention = layer.self_attn
        empty_BHPD = attention.k_proj.weight.new_zeros(batch_size, attention.num_key_value_heads, 0, attention.head_dim)
        keys_values.append((empty_BHPD, empty_BHPD))
    return MimiState(initial_pasts(seanet, batch_size), initial_pasts(resampling, batch_size), tuple(keys_values))


def attend(
    transformer: Any, x_BSD: Tensor, pasts: tuple[tuple[Tensor, Tensor], ...]
) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
    """Output of a causal transformer for the next steps, and the keys and values of the next call.

    Only distances matter in rotation. So keys are stored without it and rotated by their place in the window, and
    positions stay small, however long a stream has run.
    """
    old, new = pasts[0][0].shape[2], x_BSD.shape[1]
    place_S = torch.arange(old + new, device=x_BSD.device)
    rotation = transformer.rotary_emb(x_BSD, place_S[None])
    distance_SP = place_S[old:, None] - place_S
    window = transformer.config.sliding_window
    heard_SP = (distance_SP >= 0) & (distance_SP < window)
    forgotten = max(0, old + new + 1 - window)
    kept = []
    for layer, (keys_BHPD, values_BHPD) in zip(transformer.layers, pasts, strict=True):
        attention = layer.self_attn
        normed_BSD = layer.input_layernorm(x_BSD)
        query, key, value = (
            project(normed_BSD).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        keys_BHPD, values_BHPD = torch.cat([keys_BHPD, key], dim=2), torch.cat([values_BHPD, value], dim=2)
        heard_BHSD = nn.functional.scaled_dot_product_attention(
            rotate(query, rotation, old), rotate(keys_BHPD, rotation, 0), values_BHPD, heard_SP, enable_gqa=True
        )
        x_BSD = x_BSD + layer.self_attn_layer_scale(attention.o_proj(heard_BHSD.transpose(1, 2).flatten(2)))
        x_BSD = x_BSD + layer.mlp_layer_scale(layer.mlp(layer.post_attention_layernorm(x_BSD)))
        kept.append((keys_BHPD[:, :, forgotten:], values_BHPD[:, :, forgotten:]))
    return x_BSD, tuple(kept)


def rotate(x_BHSD: Tensor, rotation: tuple[Tensor, Tensor], first: int) -> Tensor:
    """Rotary position embedding of steps from place `first` on."""
    cosine_SD, sine_SD = (part[0, first:] for part in rotation)
    left, right = x_BHSD.chunk(2, dim=-1)
    return x_BHSD * cosine_SD + torch.cat([-right, left], dim=-1) * sine_SD
