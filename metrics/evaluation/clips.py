"""What measures look at: single items, and the two segments that the LiveBand protocol compares.

Shapes: N audio samples.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from livejam.batch import CATEGORIES, AccompanimentOutput, Annotations, PlannedItem
from livejam.errors import UserError
from livejam.processes import gathered, own_rank

Audio = NDArray[np.float32]

Place = list[str | int | float | None]
"""Where an item comes from and what is asked for, the same on every machine."""


@dataclass(frozen=True)
class Clip:
    """One item of an `AccompanimentOutput`: mono float32 on the CPU.

    Args:
        mix_N: what the model heard.
        target_N: the true stem.
        generated_N: what the model played.
        sample_rate_hz: sample rate of all three.
        category: class index of the stem, 0–17 into `CATEGORIES`, 18 = none.
        song: name of the song.
        start_seconds: where in the song the clip starts.
        annotations: musical truth of the clip, if known.
        broken: whether what the model played was no sound, and `generated_N` is silence in its place.
        position: in the plan of the evaluation; None where there is no plan.
        partner: a true stem of the same instrument from another song; None if there is none.
        estimate_N: what the model estimates in one step without noise; None if there is none.
    """

    mix_N: Audio
    target_N: Audio
    generated_N: Audio
    sample_rate_hz: int
    category: int
    song: str
    start_seconds: float
    annotations: Annotations | None
    broken: bool = False
    position: int | None = None
    partner: Stem | None = None
    estimate_N: Audio | None = None

    @property
    def instrument(self) -> str:
        """Name of the stem's category."""
        return CATEGORIES[self.category] if self.category < len(CATEGORIES) else "Any"

    @cached_property
    def identity(self) -> str:
        """Hash of what there is to play to and to be played; neither of what was played nor of the partner."""
        digest = hashlib.sha256()
        for audio_N in (self.mix_N, self.target_N):
            digest.update(np.ascontiguousarray(audio_N).tobytes())
        truth = (self.sample_rate_hz, self.category, self.song, self.start_seconds, self.annotations)
        digest.update(repr(truth).encode())
        return digest.hexdigest()

    @property
    def place(self) -> Place:
        """Song, start in seconds, category, samples, sample rate, and the partner's song."""
        partner = None if self.partner is None else self.partner.song
        start = round(self.start_seconds, 3)
        return [self.song, start, self.category, len(self.mix_N), self.sample_rate_hz, partner]

    @property
    def pairing(self) -> str:
        """Hash of the partner."""
        if self.partner is None:
            return "alone"
        audio = np.ascontiguousarray(self.partner.audio_N).tobytes()
        return hashlib.sha256(self.partner.song.encode() + audio).hexdigest()


@dataclass(frozen=True)
class Stem:
    """What is judged beside the mix of a clip: what the model played, or an anchor.

    Args:
        audio_N: as long as the clip.
        song: name of the song that it comes from: another one than the clip's in random pairing.
        broken: whether it is silence in place of something that was no sound.
    """

    audio_N: Audio
    song: str
    broken: bool = False


@dataclass(frozen=True)
class Segment:
    """A stretch of a clip, with a stem that is judged.

    Args:
        clip: the item.
        stem: what is judged.
        start: first sample of the stretch.
        stop: end of the stretch.
        hop_samples: of the codec that joins the frames of a stem.
    """

    clip: Clip
    stem: Stem
    start: int
    stop: int
    hop_samples: int

    @property
    def first_join(self) -> int:
        """Index of the first sample after a join of frames; 0 if the stretch starts with a frame."""
        return -self.start % self.hop_samples

    @property
    def stem_N(self) -> Audio:  # noqa: N802
        """The stem of this stretch."""
        return self.stem.audio_N[self.start : self.stop]

    @property
    def mix_N(self) -> Audio:  # noqa: N802
        """The mix of this stretch."""
        return self.clip.mix_N[self.start : self.stop]

    @property
    def target_N(self) -> Audio:  # noqa: N802
        """The true stem of this stretch."""
        return self.clip.target_N[self.start : self.stop]

    @cached_property
    def annotations(self) -> Annotations | None:
        """Musical truth of this stretch, times from its start."""
        if self.clip.annotations is None:
            return None
        rate = self.clip.sample_rate_hz
        return self.clip.annotations.excerpt(self.start / rate, (self.stop - self.start) / rate)


LOUDEST = 1e3
"""Samples beyond this, 60 dB above full scale, are no sound but a model that has diverged."""


def _mono(audio_BAN: Tensor, songs: tuple[str, ...]) -> tuple[list[Audio], list[bool]]:
    """Channels averaged, on the CPU, and whether each is broken: such a recording becomes silence as a whole."""
    audio_BN = audio_BAN.detach().float().mean(1).cpu()
    # A comparison with nan is false.
    sound_B = (audio_BN.abs() <= LOUDEST).all(1)
    if not sound_B.all():
        bad = sorted({song for song, sound in zip(songs, sound_B.tolist(), strict=True) if not sound})
        warnings.warn(f"audio that is not finite counts as silence: {', '.join(bad)}", stacklevel=3)
        audio_BN = torch.where(sound_B[:, None], audio_BN, torch.zeros(()))
    return list(audio_BN.numpy()), [not sound for sound in sound_B.tolist()]


def clips_of(output: object) -> list[Clip]:
    """The items of what a validation or test step returned, without those that another batch has already.

    Raises:
        UserError: it is no `AccompanimentOutput`.
    """
    if not isinstance(output, AccompanimentOutput):
        raise UserError(
            f"monitors need validation_step and test_step to return an AccompanimentOutput, got {type(output).__name__}"
        )
    audio = (output.mix_BAN, output.target_BAN, output.generated_BAN)
    (mixes, _), (targets, _), (generated, broken) = (_mono(audio_BAN, output.song) for audio_BAN in audio)
    planned = output.planned or [None] * len(output.song)
    estimates: list[Audio] | list[None] = [None] * len(output.song)
    if output.estimate_BAN is not None:
        estimates = _mono(output.estimate_BAN, output.song)[0]
    return [
        Clip(
            mixes[i],
            targets[i],
            generated[i],
            output.sample_rate_hz,
            int(output.instrument_B[i]),
            output.song[i],
            output.start_seconds[i],
            output.annotations[i],
            broken[i],
            *_place(planned[i]),
            estimates[i],
        )
        for i in output.counting
    ]


def _place(item: PlannedItem | None) -> tuple[int | None, Stem | None]:
    """Position and partner of an item."""
    if item is None or item.partner is None:
        return None if item is None else item.position, None
    return item.position, Stem(item.partner.audio_AN.mean(0).numpy(), item.partner.song)


def first_of_run(clips: list[Clip], limit: int | None) -> list[Clip]:
    """Those clips of this process that are among the first `limit` of all processes'; all have to ask together.

    Args:
        clips: of this process, in the order of the plan; without a plan, in that of their coming.
        limit: how many of all processes; None = all.
    """
    if limit is None:
        return clips
    own = [i if clip.position is None else clip.position for i, clip in enumerate(clips)]
    places = sorted((place, rank) for rank, places in enumerate(gathered(own)) for place in places)[:limit]
    mine = {place for place, rank in places if rank == own_rank()}
    return [clip for place, clip in zip(own, clips, strict=True) if place in mine]


def known_categories(names: list[str] | None) -> list[str] | None:
    """The names themselves, if all are categories.

    Raises:
        UserError: a name is no category.
    """
    unknown = sorted(set(names or ()) - set(CATEGORIES))
    if unknown:
        raise UserError(f"no such category: {', '.join(unknown)}; choose from {', '.join(CATEGORIES)}")
    return names


@dataclass(frozen=True)
class Take:
    """A stem as the LiveBand protocol judges it.

    Args:
        first: the segment that is reported.
        second: the one that the drift is about; None where the item ends before half of it.
        segment_seconds: length of a whole segment in seconds.
    """

    first: Segment
    second: Segment | None
    segment_seconds: float


def takes_of(clips: Sequence[Clip], stems: Sequence[Stem | None], seconds: float, hop_samples: int) -> list[Take]:
    """Both segments of every clip that has a stem and any length.

    Args:
        clips: the items.
        stems: one per clip; None leaves the clip out.
        seconds: length of a segment in seconds.
        hop_samples: of the codec that joins the frames of a stem.
    """
    takes = []
    for clip, stem in zip(clips, stems, strict=True):
        length, end = round(seconds * clip.sample_rate_hz), len(clip.mix_N)
        if stem is not None and end:
            first = Segment(clip, stem, 0, min(length, end), hop_samples)
            second = Segment(clip, stem, length, min(2 * length, end), hop_samples)
            takes.append(Take(first, second if 2 * (end - length) >= length else None, seconds))
    return takes
