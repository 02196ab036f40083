"""Stable Audio's variational autoencoder (Oobleck), as in diffusers.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from livejam.codecs.offline import OfflineCodec, convolution_reach
from livejam.codecs.published import Published, load_folder, optional_package
from livejam.codecs.weight_norm import fold_weight_norms
from livejam.spec import CodecSpec

STABLE_AUDIO_OPEN = Published(
    "stabilityai/stable-audio-open-1.0",
    ("vae/config.json", "vae/diffusion_pytorch_model.safetensors"),
    CodecSpec("stable-audio-vae", 44100, 2, 2048, 64, 0),
)


class StableAudioVAE(OfflineCodec):
    """44.1 kHz stereo to 64 channels at 21.53 Hz, not causal. A latent is the posterior's mean.

    Args:
        model: diffusers' `AutoencoderOobleck`; its weight normalisation is folded.
        name: a name for the weights, shown to users.
    """

    licence = "Stability AI Community License"

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        fold_weight_norms(model)
        self.model = model
        self.eval().requires_grad_(False)
        config = model.config
        self.spec = CodecSpec(
            name, config.sampling_rate, config.audio_channels, model.hop_length, config.decoder_input_channels, 0
        )
        self.reach_frames = convolution_reach(model.encoder, model.decoder, model.hop_length)

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = STABLE_AUDIO_OPEN) -> StableAudioVAE:
        """The codec with weights from a local folder; the network is not used.

        Args:
            weights: the folder that holds config.json and diffusion_pytorch_model.safetensors.
            published: what is on record for it.

        Raises:
            UserError: diffusers is not installed, or the weights are missing or those of something else.
        """
        model_class = optional_package("diffusers").AutoencoderOobleck
        codec = cls(load_folder(model_class, weights, published, low_cpu_mem_usage=False), published.spec.name)
        published.verify(codec.spec, weights)
        return codec

    def encode_window(self, audio_BAN: Tensor, first_frame: int) -> Tensor:
        """Latents BTC of a window."""
        mean_BCT: Tensor = self.model.encode(audio_BAN).latent_dist.mode()
        return mean_BCT.transpose(1, 2)

    def decode_window(self, latents_BTC: Tensor, first_frame: int) -> Tensor:
        """Audio BAN of a window."""
        audio_BAN: Tensor = self.model.decode(latents_BTC.transpose(1, 2)).sample
        return audio_BAN
