"""COCOLA's spectrograms in the form of a codec's latents, so that the latent bank can keep them.

Shapes: B batch, A audio channels, N audio samples, T frames, F mel bands, C = 2 · F levels.
"""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from livejam.codecs.offline import OfflineCodec
from livejam.errors import UserError
from livejam.spec import CodecSpec
from metrics.cocola_spectrogram import BANDS, HOP_SAMPLES, REACH_FRAMES, SAMPLE_RATE_HZ, harmonic_percussive_db


class SpectrogramLatents(OfflineCodec):
    """Absolute levels in dB of the harmonic and the percussive part; there is no way back to audio.

    In a whole song, the separation sees what comes before and after a window; the metric sees the window only. So the
    first and last 0.2 s differ a little.
    """

    licence = "no weights"
    reach_frames = REACH_FRAMES
    piece_frames = 1024

    def __init__(self) -> None:
        super().__init__()
        self.spec = CodecSpec("harmonic_percussive_mel", SAMPLE_RATE_HZ, 1, HOP_SAMPLES, 2 * BANDS, 0)

    @property
    def latents_hash(self) -> str:
        """There are no weights: the transform's name and version."""
        return "harmonic_percussive_mel 1"

    def encode_window(self, audio_BAN: Tensor, first_frame: int) -> Tensor:
        """Levels_BTC, harmonic bands first."""
        levels_B2FT = harmonic_percussive_db(audio_BAN[:, 0])[..., : audio_BAN.shape[2] // HOP_SAMPLES]
        return levels_B2FT.flatten(1, 2).mT

    def decode_window(self, latents_BTC: Tensor, first_frame: int) -> NoReturn:
        """Refused."""
        raise UserError("spectrogram levels cannot be played; SpectrogramLatents is for training COCOLA only")


def as_spectrogram(levels_BTC: Tensor) -> Tensor:
    """Levels_B2FT of the output of `SpectrogramLatents.encode`."""
    return levels_BTC.mT.unflatten(1, (2, BANDS))
