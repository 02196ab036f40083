"""The Descript audio codec (DAC), as in transformers, with its continuous latents.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from livejam.codecs.offline import OfflineCodec, convolution_reach
from livejam.codecs.published import Published, load_folder, optional_package
from livejam.spec import CodecSpec

FILES = ("config.json", "model.safetensors")
DAC_44KHZ = Published("descript/dac_44khz", FILES, CodecSpec("dac-44khz", 44100, 1, 512, 1024, 0))
DAC_24KHZ = Published("descript/dac_24khz", FILES, CodecSpec("dac-24khz", 24000, 1, 320, 1024, 0))
DAC_16KHZ = Published("descript/dac_16khz", FILES, CodecSpec("dac-16khz", 16000, 1, 320, 1024, 0))


class DAC(OfflineCodec):
    """Mono at 16, 24 or 44.1 kHz to 1024 channels at 50, 75 or 86.13 Hz, not causal.

    A latent is the input of the quantiser: `encode` does not quantise it, and neither does `decode`.

    Args:
        model: transformers' `DacModel`.
        name: a name for the weights, shown to users.
    """

    licence = "MIT"

    def __init__(self, model: Any, name: str) -> None:
        super().__init__()
        self.model = model
        self.eval().requires_grad_(False)
        config = model.config
        self.spec = CodecSpec(name, config.sampling_rate, 1, config.hop_length, config.hidden_size, 0)
        self.reach_frames = convolution_reach(model.encoder, model.decoder, config.hop_length)

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = DAC_44KHZ) -> DAC:
        """The codec with weights from a local folder; the network is not used.

        Args:
            weights: the folder that holds config.json and model.safetensors.
            published: what is on record for it: `DAC_44KHZ`, `DAC_24KHZ` or `DAC_16KHZ`.

        Raises:
            UserError: transformers is not installed, or the weights are missing or those of something else.
        """
        model_class = optional_package("transformers").DacModel
        codec = cls(load_folder(model_class, weights, published), published.spec.name)
        published.verify(codec.spec, weights)
        return codec

    def encode_window(self, audio_BAN: Tensor, first_frame: int) -> Tensor:
        """Latents BTC of a window."""
        latents_BCT: Tensor = self.model.encoder(audio_BAN)
        return latents_BCT.transpose(1, 2)

    def decode_window(self, latents_BTC: Tensor, first_frame: int) -> Tensor:
        """Audio BAN of a window."""
        audio_BAN: Tensor = self.model.decoder(latents_BTC.transpose(1, 2))
        # an odd stride leaves the end a few samples short
        return nn.functional.pad(audio_BAN, (0, latents_BTC.shape[1] * self.spec.hop_samples - audio_BAN.shape[2]))
