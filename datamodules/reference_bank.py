"""Embeddings of excerpts of a bank's stems, beside their latents: what a model learns to sound like.

A bank's folder then has `references/TrackXXXXX.safetensors` besides `songs/`, with some excerpts of each of the song's
stems in the order of the bank: a few hundred numbers each.

Shapes: A audio channels, N audio samples, B items, K songs, S stems, R stems of all songs, X excerpts of a stem, E
channels of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from datamodules.bank_index import BankIndex
from datamodules.beside_bank import StemFacts, opened
from datamodules.latent_bank import SMALLEST_STD, SongLatents
from datamodules.local_bank import LatentBank
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis
from livejam.spec import CodecSpec

NOWHERE = -1
"""The start of an excerpt that a stem has not: it rests too much, or is too short."""


@dataclass(frozen=True)
class ReferenceFacts(StemFacts):
    """Embeddings of excerpts of every stem (float16), and their first samples at the codec's rate.

    Args:
        analysis: how they are made.
    """

    analysis: ReferenceAnalysis
    folder = "references"
    words = "references"

    @property
    def made_by(self) -> dict[str, Any]:
        """The encoder's identity, and the excerpts."""
        return self.analysis.facts

    @torch.no_grad()
    def make(self, song: SongLatents, read: Callable[[int], Tensor], spec: CodecSpec) -> dict[str, Tensor]:
        """Embeddings_SXE and starts_SX; see `StemFacts.make`."""
        analysis, rate = self.analysis, spec.sample_rate_hz
        shape = len(song.stems), analysis.excerpts
        embeddings_SXE = torch.zeros(*shape, analysis.channels, dtype=torch.float16)
        starts_SX = torch.full(shape, NOWHERE)
        for row in range(len(song.stems)):
            audio_N = read(row).mean(dim=0)
            for place, start in enumerate(analysis.starts(audio_N, rate)):
                embeddings_SXE[row, place] = analysis.embedded(audio_N, rate, start).half()
                starts_SX[row, place] = start
        return {"embeddings_SXE": embeddings_SXE, "starts_SX": starts_SX}


class ReferenceBank:
    """The references beside a bank's latents, in memory: about a kilobyte per stem for log-mel.

    Args:
        bank: the bank.
        index: the bank's index.
        analysis: how its references must have been made.

    Raises:
        UserError: references are missing or damaged, or were made in another way.
    """

    def __init__(self, bank: LatentBank, index: BankIndex, analysis: ReferenceAnalysis) -> None:
        paths, _ = opened(ReferenceFacts(analysis), bank, index)
        held = [load_file(path) for path in paths]
        spec = bank.manifest.settings.codec
        self._embeddings_RXE = torch.cat([song["embeddings_SXE"] for song in held])
        self._starts_RX = torch.cat([song["starts_SX"] for song in held]).numpy()
        self._first_K = np.cumsum(index.stems_K) - index.stems_K
        self._hop, self._length = spec.hop_samples, analysis.excerpt_samples(spec.sample_rate_hz)

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean_E and deviation_E over all excerpts; 1 for channels that are constant.

        Raises:
            UserError: there are none.
        """
        embeddings_QE = self._embeddings_RXE[torch.from_numpy(self._starts_RX != NOWHERE)].double()
        if not len(embeddings_QE):
            raise UserError("no stem of the bank sounds for a whole excerpt; make excerpt_seconds smaller")
        deviation_E = embeddings_QE.std(dim=0, correction=0)
        return embeddings_QE.mean(dim=0).float(), torch.where(deviation_E > SMALLEST_STD, deviation_E, 1.0).float()

    def draw(
        self,
        song_B: NDArray[np.int64],
        stem_B: NDArray[np.int64],
        start_B: NDArray[np.int64],
        frames: int,
        rng: np.random.Generator,
    ) -> Tensor:
        """References_BE of crops: the mean over some other excerpts of the same stem; zeros if there is none.

        Args:
            song_B: positions of the songs in the bank.
            stem_B: stems of these songs.
            start_B: first frames of the crops.
            frames: their length.
            rng: the source of randomness.
        """
        row_B = self._first_K[song_B] + stem_B
        allowed_BX = self.others(row_B, start_B, frames)
        share_BX = np.where(allowed_BX, rng.random(allowed_BX.shape), np.inf)
        # every excerpt by the toss of a coin, and the first one always, so that both few and many are learnt
        kept_BX = allowed_BX & ((share_BX < 0.5) | (share_BX == share_BX.min(axis=1, keepdims=True)))
        kept_BX1 = torch.from_numpy(kept_BX)[..., None]
        total_BE = (self._embeddings_RXE[row_B].float() * kept_BX1).sum(dim=1)
        return total_BE / kept_BX1.sum(dim=1).clamp_min(1)

    def others(self, row_B: NDArray[np.int64], start_B: NDArray[np.int64], frames: int) -> NDArray[np.bool_]:
        """Which excerpts of stems have no sample in common with their crops (BX)."""
        begin_B1, end_B1 = (start_B * self._hop)[:, None], ((start_B + frames) * self._hop)[:, None]
        starts_BX = self._starts_RX[row_B]
        return (starts_BX != NOWHERE) & ((starts_BX + self._length <= begin_B1) | (starts_BX >= end_B1))
