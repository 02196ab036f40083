"""Encoding songs for a latent bank: `lightning predict --config configs/bank/pocket.yaml`."""

from __future__ import annotations

from lightning.pytorch import LightningModule

from datamodules.bank_building import SongAudio, encode_song
from datamodules.latent_bank import SongLatents
from livejam.codecs.codec import Codec


class LatentEncoding(LightningModule):
    """Predicts the latents of whole songs; nothing is trained.

    Args:
        codec: the codec that encodes every stem and sub-mix.
    """

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def predict_step(self, batch: SongAudio, batch_idx: int) -> SongLatents:
        """Latents of one song, for `LatentBankWriter`."""
        return encode_song(self.codec, batch)
