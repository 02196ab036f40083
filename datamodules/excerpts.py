"""Excerpts in audio: a target stem and the sum of other stems, read from disk.

Shapes: B batch, A audio channels, N audio samples, T latent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.annotations import read_annotations
from datamodules.audio import Audio, frame_levels_dbfs, read_audio
from datamodules.crops import ActivityRule
from datamodules.slakh_scan import Song
from livejam.batch import AccompanimentBatch, Annotations
from livejam.spec import CodecSpec

READ_THREADS = 4
"""How many stems of an excerpt are decoded at once."""


@dataclass(frozen=True)
class Excerpt:
    """What to read: the target, the stems of the mix, the first frame, and the gain of each stem.

    Args:
        song: the song.
        target: position of the target in `song.stems`.
        others: positions of the mix's stems; never the target.
        start_frame: first latent frame.
        gains_db: gain of the target and then of every other stem, in dB.
    """

    song: Song
    target: int
    others: tuple[int, ...]
    start_frame: int
    gains_db: tuple[float, ...]


@dataclass(frozen=True)
class ExcerptAudio:
    """An excerpt's sound, and the frames in which both target and mix, and the target alone, sound."""

    mix_AN: Audio
    target_AN: Audio
    both_active_T: NDArray[np.bool_]
    target_active_T: NDArray[np.bool_]


@dataclass(frozen=True)
class ExcerptReader:
    """Reads excerpts of equal length.

    Args:
        root: the data set's root.
        spec: the codec's spec, for rate, channels and frames.
        frames: length of every excerpt in latent frames.
        rule: the rule that decides what sounds.
    """

    root: Path
    spec: CodecSpec
    frames: int
    rule: ActivityRule

    def read(self, excerpt: Excerpt) -> ExcerptAudio:
        """Decode the target and the others.

        Raises:
            AudioFileError: a file is missing, truncated or not finite.
        """
        # decoding releases the interpreter, so threads use the other cores
        with ThreadPoolExecutor(READ_THREADS) as pool:
            stems = (excerpt.target, *excerpt.others)
            target_AN, *others = pool.map(self._stem, repeat(excerpt), stems, excerpt.gains_db)
        mix_AN = np.zeros_like(target_AN)
        for other_AN in others:
            mix_AN += other_AN
        target_active_T = self._active(target_AN)
        return ExcerptAudio(mix_AN, target_AN, target_active_T & self._active(mix_AN), target_active_T)

    def batch(
        self, excerpts: Sequence[Excerpt], audio: Sequence[ExcerptAudio], annotations: Sequence[Annotations | None]
    ) -> AccompanimentBatch:
        """A batch of audio."""
        targets = [excerpt.song.stems[excerpt.target] for excerpt in excerpts]
        return AccompanimentBatch(
            mix=torch.from_numpy(np.stack([a.mix_AN for a in audio])),
            target=torch.from_numpy(np.stack([a.target_AN for a in audio])),
            is_audio=True,
            instrument_B=torch.tensor([target.category for target in targets]),
            active_BT=torch.from_numpy(np.stack([a.target_active_T for a in audio])),
            prompt=tuple(target.description for target in targets),
            song=tuple(excerpt.song.name for excerpt in excerpts),
            start_seconds=tuple(self.spec.seconds_in(excerpt.start_frame) for excerpt in excerpts),
            annotations=tuple(annotations),
        )

    def annotations(self, excerpt: Excerpt) -> Annotations | None:
        """Ground truth about the music of this excerpt."""
        whole = read_annotations(self.root / excerpt.song.folder)
        start_seconds, duration_seconds = self.spec.seconds_in(excerpt.start_frame), self.spec.seconds_in(self.frames)
        return None if whole is None else whole.excerpt(start_seconds, duration_seconds)

    def _stem(self, excerpt: Excerpt, stem: int, gain_db: float) -> Audio:
        audio_AN = read_audio(
            self.root / excerpt.song.folder / excerpt.song.stems[stem].file,
            self.spec.sample_rate_hz,
            self.spec.audio_channels,
            self.spec.seconds_in(excerpt.start_frame),
            self.spec.samples_in(self.frames),
        )
        return audio_AN * np.float32(10 ** (gain_db / 20))

    def _active(self, audio_AN: Audio) -> NDArray[np.bool_]:
        return self.rule.sounds(frame_levels_dbfs(audio_AN, self.spec.hop_samples))
