"""Music2Latent, the consistency autoencoder of the package music2latent.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples, R real and imaginary part,
F frequencies, M spectra (eight per latent frame).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from livejam.codecs.offline import OfflineCodec
from livejam.codecs.published import Published, load_state, optional_package
from livejam.spec import CodecSpec

MUSIC2LATENT = Published(
    "SonyCSLParis/music2latent", ("music2latent.pt",), CodecSpec("music2latent", 44100, 1, 4096, 64, 0)
)
NOISE_FRAMES = 64
"""The decoder's noise repeats after this many latent frames, six seconds."""
OVERLAP = 3
"""How many spectra overlap with the end of one."""


class Music2Latent(OfflineCodec):
    """44.1 kHz mono to 64 channels at 10.77 Hz, not causal, decoded in one step from fixed noise.

    The noise belongs to a place in the song, so that overlapping windows get the same noise. Normalisation spans the
    whole input of the model, so files longer than 12 s, which are coded in pieces, are not exactly as in one piece.

    Args:
        model: music2latent's `UNet`.
        name: a name for the weights, shown to users.
    """

    licence = "CC BY-NC 4.0"
    reach_frames = 16
    piece_frames = 128
    noise_PRFM: Tensor

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model: Any = model
        self.eval().requires_grad_(False)
        settings = optional_package("music2latent.hparams")
        self.transforms = optional_package("music2latent.audio")
        self.scale: float = optional_package("music2latent.hparams_inference").sigma_rescale
        self.sigma: float = settings.sigma_max
        self.stride_samples: int = settings.hop
        spectra = 2 ** settings.freq_downsample_list.count(0)
        hop_samples = self.stride_samples * spectra
        self.spec = CodecSpec(name, settings.sample_rate, 1, hop_samples, settings.bottleneck_channels, 0)
        rng = torch.Generator().manual_seed(0)
        noise_PRFM = torch.randn(NOISE_FRAMES, 2, 2 * self.stride_samples, spectra, generator=rng)
        self.register_buffer("noise_PRFM", self.sigma * noise_PRFM, persistent=False)

    @classmethod
    def from_weights(cls, weights: str | Path, published: Published = MUSIC2LATENT) -> Music2Latent:
        """The codec with weights from a local file; the network is not used.

        Args:
            weights: the file music2latent.pt.
            published: what is on record for it.

        Raises:
            UserError: music2latent is not installed, or the weights are missing or those of something else.
        """
        model: nn.Module = optional_package("music2latent.models").UNet()
        load_state(model, weights, published)
        codec = cls(model, published.spec.name)
        published.verify(codec.spec, weights)
        return codec

    def encode_window(self, audio_BAN: Tensor, first_frame: int) -> Tensor:
        """Latents BTC of a window."""
        padded_BN = nn.functional.pad(audio_BAN[:, 0], (0, OVERLAP * self.stride_samples))
        latents_BCT: Tensor = self.model.encoder(self.transforms.to_representation_encoder(padded_BN))
        return latents_BCT.transpose(1, 2) / self.scale

    def decode_window(self, latents_BTC: Tensor, first_frame: int) -> Tensor:
        """Audio BAN of a window."""
        frames = latents_BTC.shape[1]
        place_T = torch.arange(first_frame, first_frame + frames, device=latents_BTC.device) % NOISE_FRAMES
        noise_RFM = self.noise_PRFM[place_T].permute(1, 2, 0, 3).flatten(2)
        noise_BRFM = noise_RFM.expand(latents_BTC.shape[0], -1, -1, -1)
        spectra_BRFM = self.model(latents_BTC.transpose(1, 2) * self.scale, noise_BRFM, self.sigma)
        audio_BN: Tensor = self.transforms.to_waveform(spectra_BRFM)
        return audio_BN[:, None, : frames * self.spec.hop_samples]
