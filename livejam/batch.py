"""What a data module passes to a recipe, and what a recipe passes to the evaluation.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples, P numbers of a sketch's frame, E
channels of a reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # lists and indices of data sets need the names of instruments, and no PyTorch
    import torch
    from torch import Tensor

CATEGORIES = (
    "Piano",
    "Chromatic Percussion",
    "Organ",
    "Guitar",
    "Bass",
    "Strings",
    "Ensemble",
    "Brass",
    "Reed",
    "Pipe",
    "Synth Lead",
    "Synth Pad",
    "Synth Effects",
    "Ethnic",
    "Percussive",
    "Sound Effects",
    "Vocal",
    "Unknown",
)
"""StreamMusicGen's 18 MIDI categories, in the order of their class index; drums are "Percussive"."""

NULL_CATEGORY = len(CATEGORIES)
"""The class index that stands for "any instrument"."""

NAMES = (*CATEGORIES, "Any")
"""Name per class index; "Any" is what a model plays without a prompt."""

NEVER_ASKED = ("Vocal", "Unknown")
"""What a data set without `targets` does not train either."""


def named(instruments: Iterable[int]) -> tuple[str, ...]:
    """Names of class indices (0–18), each once, in their order."""
    return tuple(NAMES[index] for index in sorted(set(instruments)))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """The names that stand for an instrument, each once, in the order of their class index."""
    return named(NAMES.index(name) for name in names if name in NAMES)


@dataclass(frozen=True)
class Chord:
    """A chord that sounds from `start_seconds` to `end_seconds` (pitch classes 0 = C … 11 = B)."""

    start_seconds: float
    end_seconds: float
    label: str
    pitch_classes: tuple[int, ...]


@dataclass(frozen=True)
class Annotations:
    """Ground truth about the music of a song or an excerpt, times in seconds from its start.

    `chords` is empty where only the beats are known (Slakh2100's MIDI has tempo but no chord symbols).
    """

    beats_seconds: tuple[float, ...]
    downbeats_seconds: tuple[float, ...]
    chords: tuple[Chord, ...] = ()

    def excerpt(self, start_seconds: float, duration_seconds: float) -> Annotations:
        """The part inside [start, start + duration), shifted so that it begins at 0."""
        end = start_seconds + duration_seconds
        inside = lambda times: tuple(t - start_seconds for t in times if start_seconds <= t < end)  # noqa: E731
        chords = tuple(
            replace(
                chord,
                start_seconds=max(chord.start_seconds, start_seconds) - start_seconds,
                end_seconds=min(chord.end_seconds, end) - start_seconds,
            )
            for chord in self.chords
            if chord.end_seconds > start_seconds and chord.start_seconds < end
        )
        return Annotations(inside(self.beats_seconds), inside(self.downbeats_seconds), chords)


@dataclass(frozen=True)
class Partner:
    """A true stem of another song, which has nothing to do with the mix.

    Args:
        audio_AN: as long as the item, on the CPU.
        song: name of its song.
    """

    audio_AN: Tensor
    song: str


@dataclass(frozen=True)
class PlannedItem:
    """An item's place in the plan of an evaluation, which is the same for any number of processes.

    Args:
        position: 0, 1, …; a measure of n items takes the first n.
        repeated: whether the item is played a second time, because all processes take the same number of batches; it
            does not count.
        partner: a stem of the same instrument from another song; None if there is none.
    """

    position: int
    repeated: bool
    partner: Partner | None


@dataclass(frozen=True)
class AccompanimentBatch:
    """One batch of (mix, target) pairs that start at the same time of the same song.

    Args:
        mix: what the musician plays; codec latents `mix_BTC`, or audio `mix_BAN` in [-1, 1] if `is_audio`.
        target: the stem to play, in the form of `mix`. It never sounds in `mix`.
        is_audio: whether `mix` and `target` are audio. Training reads latents, validation and test audio.
        instrument_B: class index of the target, 0–17 into `CATEGORIES`, 18 = null (int64).
        active_BT: latent frames in which the target sounds (bool).
        prompt: a description in words per item.
        song: name of the song per item.
        start_seconds: the start of each item within its song.
        annotations: ground truth about this excerpt, per item; None where it is not known.
        planned: place of every item in the plan of an evaluation; None in training.
        sketch_BTP: packed curves of the targets (`livejam.sketch`), where the bank keeps them.
        reference_BE: embeddings of other excerpts of the targets' stems (`livejam.reference`), where the bank keeps
            them; zeros where there is no other.
        beat_BT: beats from the song's first one to the middle of every frame, where the data hold them; the fraction is
            the phase of the beat. NaN where beats are not known.
    """

    mix: Tensor
    target: Tensor
    is_audio: bool
    instrument_B: Tensor
    active_BT: Tensor
    prompt: tuple[str, ...]
    song: tuple[str, ...]
    start_seconds: tuple[float, ...]
    annotations: tuple[Annotations | None, ...]
    planned: tuple[PlannedItem, ...] | None = None
    sketch_BTP: Tensor | None = None
    reference_BE: Tensor | None = None
    beat_BT: Tensor | None = None

    def __len__(self) -> int:
        return self.mix.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> AccompanimentBatch:
        """The same batch with its tensors on `device`."""
        return replace(self, **{name: x.to(device, non_blocking=non_blocking) for name, x in self._tensors()})

    def pin_memory(self) -> AccompanimentBatch:
        """The same batch in page-locked memory (called by the DataLoader)."""
        return replace(self, **{name: x.pin_memory() for name, x in self._tensors()})

    def _tensors(self) -> list[tuple[str, Any]]:
        names = ("mix", "target", "instrument_B", "active_BT", "sketch_BTP", "reference_BE", "beat_BT")
        return [(name, x) for name in names if (x := getattr(self, name)) is not None]

    def words(self, plain_B: Tensor) -> tuple[str, ...]:
        """What is asked for per item: the instrument's category, and its description where it is not plain (bool)."""
        names = ["" if i == NULL_CATEGORY else CATEGORIES[i] for i in self.instrument_B.tolist()]
        items = zip(names, self.prompt, plain_B.tolist(), strict=True)
        words = (name if plain and name else f"{name} {description}".strip() for name, description, plain in items)
        return tuple(word or "unknown" for word in words)

    def roll(self, shift: int) -> AccompanimentBatch:
        """A new batch whose item i is this batch's item (i - shift) mod B; this one stays untouched."""
        order = [(i - shift) % len(self) for i in range(len(self))]
        index_B = self.instrument_B.new_tensor(order, device=self.mix.device)
        pick = lambda values: tuple(values[i] for i in order)  # noqa: E731
        return replace(
            self,
            **{name: x[index_B] for name, x in self._tensors()},
            prompt=pick(self.prompt),
            song=pick(self.song),
            start_seconds=pick(self.start_seconds),
            annotations=pick(self.annotations),
            planned=None if self.planned is None else pick(self.planned),
        )


@dataclass(frozen=True)
class AccompanimentOutput:
    """What `validation_step` and `test_step` of every recipe return; callbacks consume it.

    `generated_BAN` was made by `Accompanist.step`, frame by frame, and is aligned with `mix_BAN`: what the
    model would have played at that moment. All audio is float32 on the CPU or the module's device, of equal
    length, at `sample_rate_hz`. `planned` is the batch's. Without it, all items count, and there is no partner to
    compare them with. `estimate_BAN` is what the model expects, in one step and without noise, where it denoises.
    """

    mix_BAN: Tensor
    target_BAN: Tensor
    generated_BAN: Tensor
    sample_rate_hz: int
    instrument_B: Tensor
    song: tuple[str, ...]
    start_seconds: tuple[float, ...]
    annotations: tuple[Annotations | None, ...]
    planned: tuple[PlannedItem, ...] | None = None
    estimate_BAN: Tensor | None = None

    @classmethod
    def played_to(cls, batch: AccompanimentBatch, generated_BAN: Tensor, sample_rate_hz: int) -> AccompanimentOutput:
        """What was played to a batch of audio."""
        return cls(
            mix_BAN=batch.mix,
            target_BAN=batch.target,
            generated_BAN=generated_BAN,
            sample_rate_hz=sample_rate_hz,
            instrument_B=batch.instrument_B,
            song=batch.song,
            start_seconds=batch.start_seconds,
            annotations=batch.annotations,
            planned=batch.planned,
        )

    @property
    def counting(self) -> tuple[int, ...]:
        """The items that no other batch of the evaluation repeats."""
        planned = self.planned or ()
        repeated = {i for i, item in enumerate(planned) if item.repeated}
        return tuple(i for i in range(len(self.song)) if i not in repeated)
