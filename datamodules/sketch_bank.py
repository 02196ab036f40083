"""The curves of a bank's stems, beside their latents: what sketches are made of in training.

A bank's folder then has `sketches/TrackXXXXX.safetensors` besides `songs/`, with the curves of the song's stems in the
order of the bank. A frame takes 2 (2 + 2k) bytes: 20 for four notes, where the bundled codec's latents take 192.

Shapes: A audio channels, N audio samples, B items, S stems, T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.bank_index import BankIndex
from datamodules.beside_bank import StemFacts, opened
from datamodules.latent_bank import SongLatents
from datamodules.local_bank import LatentBank, read_crops
from livejam.sketch import SketchAnalysis
from livejam.spec import CodecSpec

TENSOR = "curves_STP"


@dataclass(frozen=True)
class SketchFacts(StemFacts):
    """The curves of every stem (float16).

    Args:
        analysis: how they are made.
    """

    analysis: SketchAnalysis
    folder = "sketches"
    words = "curves"

    @property
    def made_by(self) -> dict[str, Any]:
        """The analysis."""
        # without what it does not use, so that curves which were made before it could be used stay
        return {name: value for name, value in asdict(self.analysis).items() if value is not None}

    def make(self, song: SongLatents, read: Callable[[int], Tensor], spec: CodecSpec) -> dict[str, Tensor]:
        """Curves_STP; see `StemFacts.make`."""
        sketcher = self.analysis.at(spec)
        curves_STP = torch.zeros(len(song.stems), song.frames, self.analysis.numbers, dtype=torch.float16)
        for row in range(len(song.stems)):
            curves_STP[row] = sketcher(read(row)[None])[0].half()
        return {TENSOR: curves_STP}


class SketchBank:
    """The curves beside a bank's latents, opened.

    Args:
        bank: the bank.
        index: the bank's index.
        analysis: how its curves must have been made.

    Raises:
        UserError: curves are missing or damaged, or were made in another way.
    """

    def __init__(self, bank: LatentBank, index: BankIndex, analysis: SketchAnalysis) -> None:
        self.numbers = analysis.numbers
        self._frames_K = index.frames_K
        paths, begins = opened(SketchFacts(analysis), bank, index)
        self._paths = [str(path) for path in paths]
        self._begin_K = np.array([begin[TENSOR] for begin in begins], np.int64)

    def read(
        self, song_B: NDArray[np.int64], stem_B: NDArray[np.int64], start_B: NDArray[np.int64], frames: int
    ) -> Tensor:
        """Packed curves_BTP (float16) of crops of so many frames.

        Args:
            song_B: positions of the songs in the bank.
            stem_B: stems of these songs.
            start_B: first frames.
            frames: T.

        Raises:
            UserError: a file ended before the crop did.
        """
        place_B = self._begin_K[song_B] + (stem_B * self._frames_K[song_B] + start_B) * self.numbers * 2
        read = np.empty((1, len(song_B), frames, self.numbers), np.float16)
        read_crops([self._paths[song] for song in song_B.tolist()], [[place] for place in place_B.tolist()], read)
        return torch.from_numpy(read[0])
