"""Keys, chords, voice leading, metre and chord layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.pocket_slakh.form import draw_form
from datamodules.pocket_slakh.harmony import LOOPS, draw_loop, lay_out
from datamodules.pocket_slakh.meter import FOUR_FOUR, SIX_EIGHT, THREE_FOUR, TICKS_PER_STEP, Clock
from datamodules.pocket_slakh.style import STYLES
from datamodules.pocket_slakh.theory import MODES, QUALITIES, ChordSymbol, Key, dominant_of, lead_voices, nearest_pitch

CHORDS = st.builds(ChordSymbol, st.integers(0, 11), st.sampled_from(sorted(QUALITIES)))


@pytest.mark.parametrize(
    ("tonic", "mode", "numeral", "label", "pitch_classes"),
    [
        (0, "major", "vi", "Am", (9, 0, 4)),
        (9, "minor", "bVII", "G", (7, 11, 2)),
        (2, "dorian", "IV7", "G7", (7, 11, 2, 5)),
        (7, "major", "iim7b5", "Am7b5", (9, 0, 3, 7)),
    ],
)
def test_roman_numerals(tonic: int, mode: str, numeral: str, label: str, pitch_classes: tuple[int, ...]) -> None:
    chord = Key(tonic, mode).chord(numeral)
    assert (chord.label, chord.pitch_classes) == (label, pitch_classes)


@pytest.mark.parametrize("numeral", ["VIII", "h", "", "Iadd13"])
def test_unknown_numerals_are_refused(numeral: str) -> None:
    with pytest.raises(ValueError, match=r"numeral|quality"):
        Key(0, "major").chord(numeral)


@pytest.mark.parametrize("mode", sorted(LOOPS))
def test_sevenths_of_triads_in_the_scale_stay_in_the_scale(mode: str) -> None:
    key = Key(5, mode)
    for numeral in {numeral for loop in LOOPS[mode] for numeral in loop.split()}:
        chord = key.chord(numeral)
        if set(chord.pitch_classes) <= set(key.scale):
            assert set(key.with_seventh(chord).pitch_classes) <= set(key.scale)


def test_a_dominant_holds_the_leading_tone_of_its_target() -> None:
    assert dominant_of(ChordSymbol(9, "m")) == ChordSymbol(4, "7")


@settings(max_examples=60, deadline=None)
@given(st.lists(CHORDS, min_size=2, max_size=6), st.integers(3, 4), st.integers(45, 60))
def test_voices_are_chord_tones_that_move_little(chords: list[ChordSymbol], voices: int, lowest: int) -> None:
    previous: tuple[int, ...] = ()
    for chord in chords:
        voicing = lead_voices(chord, previous, voices, lowest, lowest + 22)
        assert len(voicing) == voices == len(set(voicing))
        assert {pitch % 12 for pitch in voicing} <= set(chord.pitch_classes)
        assert lowest <= voicing[0]
        assert voicing[-1] <= lowest + 22
        if previous:
            assert sum(abs(a - b) for a, b in zip(voicing, previous, strict=True)) <= 7 * voices
        previous = voicing


@given(st.integers(0, 11), st.floats(30, 90))
def test_nearest_pitch_is_nearest(pitch_class: int, reference: float) -> None:
    pitch = nearest_pitch(pitch_class, reference)
    assert pitch % 12 == pitch_class
    assert abs(pitch - reference) <= 6 + 1e-9


@settings(deadline=None)
@given(
    st.sampled_from([FOUR_FOUR, THREE_FOUR, SIX_EIGHT]),
    st.integers(70, 170),
    st.floats(0.5, 0.67),
    st.sampled_from([2, 4]),
    st.integers(0, 400),
)
def test_swing_never_moves_a_beat_and_keeps_the_order(
    meter: object, tempo: int, swing: float, swung_steps: int, step: int
) -> None:
    assert isinstance(meter, type(FOUR_FOUR))
    clock = Clock(meter, tempo, swing if meter.steps_per_beat == 4 else 0.5, swung_steps)
    beat = step * meter.steps_per_beat
    assert clock.ticks(beat) == pytest.approx(beat * TICKS_PER_STEP)
    assert clock.ticks(step) < clock.ticks(step + 1)
    seconds_per_tick = 60 / clock.quarters_per_minute / (4 * TICKS_PER_STEP)
    assert clock.ticks(beat) * seconds_per_tick == pytest.approx(clock.seconds(beat))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(MODES)), st.sampled_from([FOUR_FOUR, THREE_FOUR, SIX_EIGHT]))
def test_form_and_chords_leave_no_gap(seed: int, mode: str, meter: object) -> None:
    assert isinstance(meter, type(FOUR_FOUR))
    rng = np.random.default_rng(seed)
    bar_seconds = float(rng.uniform(0.9, 3.5))
    sections = draw_form(bar_seconds, 50.0, rng)
    assert sections[0].first_bar == 0
    assert all(a.end_bar == b.first_bar for a, b in itertools.pairwise(sections))
    assert {"verse", "chorus"} <= {section.label for section in sections}
    assert abs(sections[-1].end_bar * bar_seconds - 50) <= bar_seconds
    key = Key(int(rng.integers(12)), mode)
    spans = lay_out(sections, (draw_loop(key, True, rng), draw_loop(key, False, rng)), meter)
    assert spans[0].start_step == 0
    assert spans[-1].end_step == sections[-1].end_bar * meter.steps_per_bar
    assert all(a.end_step == b.start_step for a, b in itertools.pairwise(spans))
    assert all(span.start_step % meter.steps_per_beat == 0 for span in spans)


@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.name)
def test_patterns_fill_a_bar_with_known_letters(style: object) -> None:
    from datamodules.pocket_slakh.style import Style

    assert isinstance(style, Style)
    letters = {"kick": "Xxo.", "snare": "Xxo.", "cymbal": "Xxo.", "bass": "RFOA-.", "comp": "Xxo-."}
    for field, known in letters.items():
        for pattern in getattr(style, field):
            assert len(pattern) == style.meter.steps_per_bar
            assert set(pattern) <= set(known)
    assert 70 <= style.tempo_bpm[0] < style.tempo_bpm[1] <= 170
