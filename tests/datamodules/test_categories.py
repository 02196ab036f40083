"""StreamMusicGen's categories from General MIDI programs."""

import pretty_midi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.categories import PERCUSSIVE, UNKNOWN, VOCAL, category_of, target_categories
from livejam.batch import CATEGORIES
from livejam.errors import UserError

GENERAL_MIDI_CLASSES = {
    "Synth Effects": "Synth Effects",
    "Sound Effects": "Sound Effects",
    "Chromatic Percussion": "Chromatic Percussion",
}


@pytest.mark.parametrize("program", range(128))
def test_general_midi_programs_fall_into_their_class(program):
    name = pretty_midi.program_to_instrument_class(program)
    assert CATEGORIES[category_of(program, is_drum=False)] == GENERAL_MIDI_CLASSES.get(name, name)


@given(st.one_of(st.none(), st.integers(-5, 300)))
def test_drums_are_percussive_whatever_their_program_says(program):
    assert category_of(program, is_drum=True) == PERCUSSIVE
    assert category_of(128, is_drum=False) == PERCUSSIVE


@pytest.mark.parametrize("program", [None, -1, 129, 500])
def test_what_is_no_program_is_unknown(program):
    assert category_of(program, is_drum=False) == UNKNOWN


def test_targets_by_name():
    assert target_categories(["Piano", "Percussive", "Piano"]) == (0, PERCUSSIVE)
    everything = target_categories(None)
    assert len(everything) == 16
    assert VOCAL not in everything
    assert UNKNOWN not in everything


@pytest.mark.parametrize("names", [["Drums"], [], ["Piano", "piano"]])
def test_a_wrong_target_is_named_with_the_possible_ones(names):
    with pytest.raises(UserError, match="Chromatic Percussion") as error:
        target_categories(names)
    assert all(name in str(error.value) for name in names)
