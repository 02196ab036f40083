"""Composition without rendering: determinism, variety, and parts that depend on each other."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from datamodules.pocket_slakh import palette
from datamodules.pocket_slakh.composer import Song, Stem, compose
from datamodules.pocket_slakh.meter import TICKS_PER_STEP
from livejam.batch import CATEGORIES

SONGS = 100
GOLDEN = "da3c5f64c7100f1afbfccc2930878a8f5bdbd9c908553d45e64cbf030ed8f964"


@pytest.fixture(scope="module")
def songs() -> list[Song]:
    return [compose(7, index) for index in range(SONGS)]


def _category(stem: Stem) -> str:
    return "Percussive" if stem.instrument.is_drum else CATEGORIES[stem.instrument.program // 8]


def _chord_tone_notes(song: Song, stem: Stem) -> list[bool]:
    """Whether each note that begins on a beat is a tone of the chord of that beat (60 ms are allowed for timing)."""
    clock, beat_ticks = song.sheet.clock, song.sheet.clock.meter.steps_per_beat * TICKS_PER_STEP
    tolerance = 0.06 * clock.quarters_per_minute / 60 * 4 * TICKS_PER_STEP
    result = []
    for note in stem.notes:
        beat = round(note.tick / beat_ticks)
        if abs(note.tick - beat * beat_ticks) <= tolerance:
            chord = song.sheet.span_at(beat * clock.meter.steps_per_beat).chord
            result.append(note.pitch % 12 in chord.pitch_classes)
    return result


def test_a_seed_always_gives_the_same_song() -> None:
    assert compose(3, 5) == compose(3, 5)
    assert compose(3, 5) != compose(3, 6) != compose(4, 6)


def test_the_notes_of_a_published_seed_never_change() -> None:
    """Bundled weights and published figures belong to these very songs."""
    notes = [(stem.instrument.program_num, *stem.notes) for stem in compose(0, 0).stems]
    assert hashlib.sha256(repr(notes).encode()).hexdigest() == GOLDEN


def test_songs_differ(songs: list[Song]) -> None:
    sheets = [song.sheet for song in songs]
    assert {sheet.clock.meter.name for sheet in sheets} == {"4/4", "3/4", "6/8"}
    assert {sheet.clock.swing > 0.5 for sheet in sheets} == {True, False}
    assert len({sheet.key.mode for sheet in sheets}) >= 5
    assert len({sheet.key.tonic for sheet in sheets}) == 12
    assert len({sheet.style.name for sheet in sheets}) >= 14
    tempi = [sheet.clock.tempo_bpm for sheet in sheets]
    assert min(tempi) < 90
    assert max(tempi) > 150
    assert min(tempi) >= 70
    assert max(tempi) <= 170
    progressions = {tuple(span.chord.label for span in sheet.spans[:8]) for sheet in sheets}
    assert len(progressions) >= 0.9 * SONGS
    assert len({section.label for sheet in sheets for section in sheet.sections}) == 6


def test_bands_differ(songs: list[Song]) -> None:
    categories = Counter(category for song in songs for category in {_category(stem) for stem in song.stems})
    assert len(categories) >= 14
    assert categories["Percussive"] == SONGS
    assert min(categories["Bass"], categories["Piano"]) >= 0.9 * SONGS
    programs: dict[str, set[int]] = {}
    for stem in (stem for song in songs for stem in song.stems):
        programs.setdefault(_category(stem), set()).add(stem.instrument.program)
    assert sum(len(found) >= 3 for found in programs.values()) >= 12
    assert all(4 <= len(song.stems) <= 9 for song in songs)
    assert np.mean([len(song.stems) >= 5 for song in songs]) >= 0.95


def test_songs_last_40_to_60_seconds_and_stems_rest(songs: list[Song]) -> None:
    assert all(40 <= song.duration_seconds <= 60 for song in songs)
    resting = 0
    for song in songs:
        bar = song.sheet.steps_per_bar * TICKS_PER_STEP
        played = [{note.tick // bar for note in stem.notes} for stem in song.stems]
        resting += any(len(bars) < 0.9 * song.sheet.bars for bars in played)
    assert resting >= 0.9 * SONGS


def test_chords_are_substituted_and_led_to(songs: list[Song]) -> None:
    """Dominant sevenths from outside the key appear in some songs, and most chords stay inside it."""
    foreign = [
        [not set(span.chord.pitch_classes) <= set(song.sheet.key.scale) for span in song.sheet.spans] for song in songs
    ]
    assert 0.2 * SONGS <= sum(any(flags) for flags in foreign) <= 0.95 * SONGS
    assert np.mean([np.mean(flags) for flags in foreign]) < 0.35


@pytest.mark.parametrize(
    ("category", "least"),
    [("Bass", 0.95), ("Piano", 0.999), ("Strings", 0.999), ("Synth Pad", 0.999), ("Reed", 0.999), ("Guitar", 0.999)],
)
def test_notes_on_beats_are_chord_tones(songs: list[Song], category: str, least: float) -> None:
    hits = [
        hit
        for song in songs
        for stem in song.stems
        if _category(stem) == category
        for hit in _chord_tone_notes(song, stem)
    ]
    assert len(hits) > 200
    assert np.mean(hits) >= least


def test_the_bass_plays_with_the_kick(songs: list[Song]) -> None:
    """More of the bass than chance begins with a kick drum: shifted by a sixteenth it must meet fewer kicks."""
    together, shifted = [], []
    for song in songs:
        kicks = {note.tick for stem in song.stems if stem.instrument.is_drum for note in stem.notes if note.pitch == 36}
        onsets = [note.tick for stem in song.stems if _category(stem) == "Bass" for note in stem.notes]
        if kicks and onsets:
            grid = np.array(sorted(kicks))
            near = lambda tick, grid=grid: np.abs(grid - tick).min() < TICKS_PER_STEP / 3  # noqa: E731
            together.append(np.mean([near(tick) for tick in onsets]))
            shifted.append(np.mean([near(tick + TICKS_PER_STEP) for tick in onsets]))
    assert np.mean(together) > 0.4
    assert np.mean(together) > 3 * np.mean(shifted)


def test_bass_fundamentals_are_low_but_audible(songs: list[Song]) -> None:
    pitches = [note.pitch for song in songs for stem in song.stems if _category(stem) == "Bass" for note in stem.notes]
    assert min(pitches) >= 27
    assert np.mean([28 <= pitch <= 45 for pitch in pitches]) > 0.9
    assert np.mean([pitch >= 33 for pitch in pitches]) > 0.7


def test_every_program_played_is_in_the_tuned_palette(songs: list[Song]) -> None:
    played = {stem.instrument.program for song in songs for stem in song.stems if not stem.instrument.is_drum}
    assert played <= set(palette.PITCHED) | set(palette.NOISES)
