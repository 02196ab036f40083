"""Cheap musical numbers: harmony, time, level and faults, in milliseconds per item."""

from __future__ import annotations

from callbacks.monitor import Monitor
from metrics.chord_tracking import LvChordia
from metrics.evaluation.harmony_measure import HarmonyMeasure


class HarmonyMonitor(Monitor):
    """Numbers that reveal a collapse at once, and whether notes fit the chords and the grid.

    Over pitched stems: `chord_tone_share`, how much of the time it sounds tones of the true chord;
    `chroma_agreement`, similarity of the stem's pitch classes with the mix's, second by second; `key_agreement`, the
    same over the whole segment. `phase_lock`: how steadily onsets sit on the true beat grid.

    `onset_ratio`: number of onsets divided by the true stem's. `loudness_db`: level of the stem relative to the true
        stem;
    `loudness_error_db`: the mean of its absolute value, in which too loud and too soft do not cancel.
    `silence_rate`: share of silent blocks. `click_db`: how sharply the waveform bends where the codec's
    frames join, 0 if as elsewhere. `broken_rate`: share of items that were not finite and count as silence.

    Fit is weighted by time: it is 0 while the stem is silent and the true one sounds. If the true stem has no score,
    because it is silent, the item is left out.

    Args:
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        max_items: number of items in validation, the first of the plan; None = all.
        max_test_items: number of items in test, the first of the plan; None = all.
        segment_seconds: length of a segment in seconds.
        cache_folder: the folder for anchors; None = `cache` in the trainer's root.
        track_chords: whether chords are tracked on mixes that have no annotated ones (`metrics.chord_tracking`), as
            Slakh2100's; otherwise these have no chord tones.
    """

    def __init__(
        self,
        every_n_validations: int = 1,
        max_items: int | None = None,
        max_test_items: int | None = None,
        segment_seconds: float = 10.0,
        cache_folder: str | None = None,
        track_chords: bool = False,
    ) -> None:
        measure = HarmonyMeasure(LvChordia() if track_chords else None)
        super().__init__(measure, every_n_validations, max_items, max_test_items, segment_seconds, cache_folder)
