"""The instruments of a General MIDI SoundFont that a song may use, with their place in the mix.

Only programs whose pitch is unambiguous are here: inharmonic bells, organs with a sub-octave, detuned effects and
programs with silent or mistuned keys in the middle of their range are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import pretty_midi

DRUM_PROGRAM = 128

PIANOS = (0, 1, 2, 3, 4, 5, 6, 7)
CHROMATIC_PERCUSSION = (10, 11, 12)
ORGANS = (20, 23)
STRUMMED_GUITARS = (24, 25, 26, 28)
PICKED_GUITARS = (24, 25, 26)
LEAD_GUITARS = (27, 29, 30)
BASSES = (33, 34, 35, 36, 37, 38, 39)
BOWED_STRINGS = (40, 41, 42, 44)
PLUCKED_STRINGS = (45, 46)
ENSEMBLES = (48, 49, 50, 51, 52, 53, 54)
SOLO_BRASS = (56, 57, 58, 59, 60)
BRASS_SECTIONS = (59, 60, 61, 62, 63)
REEDS = (64, 66, 69, 70, 71)
PIPES = (72, 73, 74, 75, 76, 79)
SYNTH_LEADS = (80, 81, 82, 83, 85, 86, 87)
SYNTH_PADS = (89, 90, 91, 93, 94, 95)
SYNTH_EFFECTS = (96, 99, 102, 103)
ETHNIC_LEADS = (105, 106, 107, 110)
ETHNIC_PLUCKED = (108,)
STEEL_DRUMS = (114,)
NOISES = (122,)

_PITCHED_SETS = (
    PIANOS, CHROMATIC_PERCUSSION, ORGANS, STRUMMED_GUITARS, PICKED_GUITARS, LEAD_GUITARS, BASSES, BOWED_STRINGS,
    PLUCKED_STRINGS, ENSEMBLES, SOLO_BRASS, BRASS_SECTIONS, REEDS, PIPES, SYNTH_LEADS, SYNTH_PADS, SYNTH_EFFECTS,
    ETHNIC_LEADS, ETHNIC_PLUCKED, STEEL_DRUMS,
)  # fmt: skip
PITCHED = tuple(sorted({program for programs in _PITCHED_SETS for program in programs}))
"""Every program that plays pitches."""

_CLASSES = (
    "Piano", "Chromatic Percussion", "Organ", "Guitar", "Bass", "Strings", "Strings (continued)", "Brass", "Reed",
    "Pipe", "Synth Lead", "Synth Pad", "Sound Effects", "Ethnic", "Percussive", "Sound effects",
)  # fmt: skip


@dataclass(frozen=True)
class Instrument:
    """A program, or a drum kit if `is_drum` (`program` is then the kit's number)."""

    program: int
    is_drum: bool = False

    @property
    def program_num(self) -> int:
        """As Slakh's metadata writes it: drums are 128."""
        return DRUM_PROGRAM if self.is_drum else self.program

    @property
    def program_name(self) -> str:
        """The General MIDI name."""
        return "Drums" if self.is_drum else str(pretty_midi.program_to_instrument_name(self.program))

    @property
    def inst_class(self) -> str:
        """Slakh's class name."""
        return "Drums" if self.is_drum else _CLASSES[self.program // 8]
