"""Sketches that are drawn while a session plays: faders, curves that are sent ahead, notes that are held.

Shapes: T latent frames, P numbers of a packed frame of a sketch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.option_ranges import Range
from livejam.sketch import CONTROLS, excerpt
from livejam.sketch.controls import NOTES, RANGE_DB, SOFTEST_DB

FloatArray = npt.NDArray[np.float64]

MOST_POINTS = 4096
LONGEST_SECONDS = 60.0
"""Of a stroke, and how far ahead of the music it may begin."""

HELD_SECONDS = 1.0
"""For which the last frame of a piece holds that no other has followed yet."""

KEPT_FRAMES = 4096
"""Frames of the past that are kept, more than models remember."""

LOUDEST_DB = 20.0
NO_NOTE = -1
LOUDNESS, BRIGHTNESS, PITCH = CONTROLS

VALUES: Mapping[str, Range] = {
    LOUDNESS: Range(SOFTEST_DB, LOUDEST_DB),
    BRIGHTNESS: Range(0, NOTES - 1),
    PITCH: Range(NO_NOTE, NOTES - 1),
}
"""What a control may be: A-weighted dB of full scale, the spectral centroid as a note of MIDI, and a note of MIDI or -1
for none."""

LENGTHS = Range(0, LONGEST_SECONDS)


def require_control(name: str) -> str:
    """The name of a control.

    Raises:
        UserError: there is none of this name.
    """
    if name not in CONTROLS:
        raise UserError(f"there is no control '{name[:40]}' of a sketch; there are {', '.join(CONTROLS)}")
    return name


@dataclass(frozen=True)
class Stroke:
    """A curve of one control.

    Args:
        control: `loudness`, `brightness` or `pitch`.
        values: loudness in A-weighted dB of full scale (-100 to 20), brightness as the spectral centroid's note of MIDI
            (0 to 127; 69 is 440 Hz), pitch as a note of MIDI, or -1 for none. Several values lie at even distances,
            with straight lines between them; pitch goes in steps instead. A single one is reached in a straight line
            from what is asked at the beginning, or at once if nothing is; pitch always is at once.
        seconds: from the beginning to the last value.

    Raises:
        UserError: there is no such control, or a number is out of range, which NaN and infinity are.
    """

    control: str
    values: tuple[float, ...]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        allowed = VALUES[require_control(self.control)]
        if not 1 <= len(self.values) <= MOST_POINTS:
            raise UserError(f"a stroke of {len(self.values)} values cannot be drawn; use 1 to {MOST_POINTS}")
        for value in self.values:
            if value not in allowed:
                raise UserError(f"a {self.control} of {value} cannot be asked for; it must be {allowed}")
        if self.seconds not in LENGTHS:
            raise UserError(f"a stroke of {self.seconds} s cannot be drawn; it must be {LENGTHS}")
        if len(self.values) > 1 and not self.seconds:
            raise UserError(f"{len(self.values)} values in 0 s are no curve; say how long it takes")


@dataclass(frozen=True)
class Drawing:
    """What is drawn, as packed curves that end by holding their last values.

    Args:
        curves_TP: NaN where nothing is drawn.
        first_frame: the first of its frames.
        held_P: all frames after them.
    """

    curves_TP: Tensor
    first_frame: int
    held_P: Tensor

    @staticmethod
    def nothing(numbers: int, device: torch.device) -> Drawing:
        """Before the first stroke of a sketch with so many numbers per frame."""
        empty_TP = torch.full((0, numbers), math.nan, device=device)
        return Drawing(empty_TP, 0, torch.full((numbers,), math.nan, device=device))

    def between(self, first: int, stop: int) -> Tensor:
        """The frames from `first` to `stop`, which is not one of them."""
        kept_TP = excerpt(self.curves_TP[None], first - self.first_frame, stop - first)[0]
        held = max(0, min(stop - first, stop - self.first_frame - len(self.curves_TP)))
        return torch.cat((kept_TP[: len(kept_TP) - held], self.held_P.expand(held, -1)))

    def with_stroke(self, stroke: Stroke, begins: float, next_frame: int, frame_rate_hz: float) -> Drawing:
        """With a stroke in the place of what was there of its control from then on.

        Args:
            stroke: what is drawn.
            begins: where it does, in frames.
            next_frame: the first frame that is not played yet.
            frame_rate_hz: of the frames.

        Raises:
            UserError: it lies wholly in the past, or too far ahead.
        """
        length = stroke.seconds * frame_rate_hz
        late, ahead = (next_frame - begins - length) / frame_rate_hz, (begins - next_frame) / frame_rate_hz
        if late > 0 and len(stroke.values) > 1:
            raise UserError(f"a curve of {stroke.control} came {late:.2f} s after its end; send it earlier")
        if ahead > LONGEST_SECONDS:
            raise UserError(
                f"a stroke {ahead:.0f} s ahead cannot be drawn; send it at most {LONGEST_SECONDS:g} s ahead"
            )
        first = max(next_frame, round(begins))
        place_T = np.arange(first, max(first, math.ceil(begins + length)) + 1) - begins
        shares_T = np.clip(place_T / length, 0, 1) if length else np.ones(len(place_T))
        columns_TP = self._columns(stroke, shares_T, first)
        return self.with_columns(stroke.control, columns_TP, first, next_frame)

    def with_notes(self, notes: Sequence[int], next_frame: int) -> Drawing:
        """With these notes, equally strong, from the next block on.

        Raises:
            UserError: there are more than the sketch has, or one is no note.
        """
        kept = self._kept_notes
        if len(notes) > kept or not all(0 <= note < NOTES for note in notes):
            raise UserError(
                f"these notes cannot be asked for; this model takes 0 to {kept} notes of MIDI, 0 to {NOTES - 1}"
            )
        places = [*dict.fromkeys(notes)]
        missing = kept - len(places)
        row = [*places, *[NO_NOTE] * missing, *[1.0] * len(places), *[0.0] * missing]
        columns_TP = torch.tensor([row], dtype=torch.float32)
        return self.with_columns(PITCH, columns_TP, next_frame, next_frame)

    def with_piece(self, control: str, curves_TP: Tensor, first: int, next_frame: int, frame_rate_hz: float) -> Drawing:
        """With a piece of curves that are made while they are followed; see `Directed.trace_sketch`.

        Raises:
            UserError: it begins too far ahead.
        """
        ahead = (first - next_frame) / frame_rate_hz
        if ahead > LONGEST_SECONDS:
            raise UserError(f"a sound {ahead:.0f} s ahead of the music cannot be followed; send it as it sounds")
        past = min(max(0, next_frame - first), len(curves_TP) - 1)
        columns_TP = curves_TP[past:, self._slice(control)]
        held_TP = columns_TP[-1:].expand(math.ceil(HELD_SECONDS * frame_rate_hz), -1)
        columns_TP = torch.cat((columns_TP, held_TP, torch.full_like(columns_TP[:1], math.nan)))
        return self.with_columns(control, columns_TP, max(first, next_frame), next_frame)

    def without(self, control: str, next_frame: int) -> Drawing:
        """Without anything of a control from the next block on."""
        columns = self._slice(control)
        empty_TP = torch.full((1, columns.stop - columns.start), math.nan)
        return self.with_columns(control, empty_TP, next_frame, next_frame)

    def with_columns(self, control: str, columns_TP: Tensor, first: int, next_frame: int) -> Drawing:
        """With a control's numbers from a frame on; the last ones hold."""
        columns, start = self._slice(control), max(self.first_frame, next_frame - KEPT_FRAMES)
        stop = max(self.first_frame + len(self.curves_TP), first + len(columns_TP))
        curves_TP, held_P = self.between(start, stop), self.held_P.clone()
        columns_TP = columns_TP.to(curves_TP)
        curves_TP[first - start :, columns] = columns_TP[-1]
        curves_TP[first - start : first - start + len(columns_TP), columns] = columns_TP
        held_P[columns] = columns_TP[-1]
        return Drawing(curves_TP, start, held_P)

    def anew(self) -> Drawing:
        """For a session that begins anew: what holds at the end, from the beginning."""
        return replace(self, curves_TP=self.curves_TP[:0], first_frame=0)

    @property
    def _kept_notes(self) -> int:
        return (len(self.held_P) - 2) // 2

    def _slice(self, control: str) -> slice:
        place = CONTROLS.index(control)
        return slice(2, len(self.held_P)) if control == PITCH else slice(place, place + 1)

    def _columns(self, stroke: Stroke, shares_T: FloatArray, first: int) -> Tensor:
        """The numbers of a stroke's frames."""
        values = stroke.values
        if stroke.control == PITCH:
            notes_T = torch.tensor([values[min(len(values) - 1, int(s * (len(values) - 1) + 1e-9))] for s in shares_T])
            notes_T1 = notes_T.round()[:, None]
            kept = self._kept_notes
            none_TK = torch.full((len(notes_T1), kept - 1), float(NO_NOTE))
            return torch.cat((notes_T1, none_TK, (notes_T1 >= 0).float(), torch.zeros_like(none_TK)), dim=1)
        if stroke.control == LOUDNESS:
            values = tuple((value - SOFTEST_DB) / RANGE_DB for value in values)
        else:
            values = tuple(value / (NOTES - 1) for value in values)
        if len(values) == 1:
            before = float(self.between(first - 1, first)[0, self._slice(stroke.control)])
            values = (before if math.isfinite(before) else values[0], values[0])
        return torch.from_numpy(np.interp(shares_T, np.linspace(0, 1, len(values)), values))[:, None].float()


def sketch_until(sketch_TP: Tensor | None, drawing: Drawing | None, stop: int) -> tuple[Tensor, int] | None:
    """What a model is asked to follow: packed curves, and the frame that they begin with; None = nothing.

    Args:
        sketch_TP: curves from the session's first frame on.
        drawing: what takes their place where it is drawn.
        stop: frames from here on are not needed.
    """
    if drawing is None:
        return None if sketch_TP is None else (sketch_TP, 0)
    first = drawing.first_frame
    drawn_TP = drawing.between(first, max(first, stop))
    if sketch_TP is None:
        return drawn_TP, first
    below_TP = excerpt(sketch_TP[None], first, len(drawn_TP))[0]
    return torch.where(drawn_TP.isnan(), below_TP, drawn_TP), first
