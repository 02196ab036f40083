"""Beats and chords of songs with and without annotations.json."""

import json

import numpy as np
import pretty_midi
import pytest

from datamodules.annotations import annotations_from_dict, annotations_to_dict, read_annotations
from livejam.errors import UserError


def write_midi(folder, tempo_bpm, bars, numerator):
    midi = pretty_midi.PrettyMIDI(initial_tempo=tempo_bpm)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(numerator, 4, 0))
    instrument = pretty_midi.Instrument(0)
    beat_seconds = 60 / tempo_bpm
    for beat in range(bars * numerator):
        instrument.notes.append(pretty_midi.Note(90, 60, beat * beat_seconds, (beat + 1) * beat_seconds))
    midi.instruments.append(instrument)
    folder.mkdir(parents=True, exist_ok=True)
    midi.write(str(folder / "all_src.mid"))


@pytest.mark.parametrize(("tempo_bpm", "numerator"), [(120.0, 4), (90.0, 3)])
def test_beats_of_a_slakh_song_come_from_its_midi_file(tmp_path, tempo_bpm, numerator):
    write_midi(tmp_path, tempo_bpm, bars=4, numerator=numerator)
    annotations = read_annotations(tmp_path)
    beats = np.array(annotations.beats_seconds)
    np.testing.assert_allclose(np.diff(beats), 60 / tempo_bpm, atol=1e-3)
    np.testing.assert_allclose(annotations.downbeats_seconds[:4], beats[::numerator][:4], atol=1e-3)
    assert annotations.chords == ()


def test_annotations_json_is_preferred_and_survives_a_round_trip(tmp_path):
    write_midi(tmp_path, 120.0, bars=1, numerator=4)
    values = {
        "tempo_bpm": 100.0,
        "beats": [0.0, 0.6],
        "downbeats": [0.0],
        "chords": [{"start": 0.0, "end": 1.2, "label": "Am7", "pitch_classes": [9, 0, 4, 7]}],
        "sections": [],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(values))
    annotations = read_annotations(tmp_path)
    assert annotations.beats_seconds == (0.0, 0.6)
    assert annotations.chords[0].pitch_classes == (9, 0, 4, 7)
    assert annotations_from_dict(annotations_to_dict(annotations)) == annotations


@pytest.mark.parametrize("text", ["{", '{"beats": [0.0]}', '{"beats": ["x"], "downbeats": []}', "[]"])
def test_damaged_annotations_are_one_sentence_with_the_file(tmp_path, text):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(UserError, match=r"annotations\.json is damaged"):
        read_annotations(tmp_path)


def test_nothing_known_is_none(tmp_path):
    assert read_annotations(tmp_path) is None
    (tmp_path / "all_src.mid").write_bytes(b"MThd no midi at all")
    assert read_annotations(tmp_path) is None
