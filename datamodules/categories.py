"""StreamMusicGen's 18 instrument categories from a General MIDI program.

The names and their order are `livejam.batch.CATEGORIES`. Programs fall into them in blocks of eight
(arXiv:2510.22105, section on data); "Vocal" has no General MIDI program, it is for recorded voices.
"""

from __future__ import annotations

from collections.abc import Sequence

from livejam.batch import CATEGORIES
from livejam.errors import UserError

PERCUSSIVE = CATEGORIES.index("Percussive")
VOCAL = CATEGORIES.index("Vocal")
UNKNOWN = CATEGORIES.index("Unknown")

PROGRAMS_PER_CATEGORY = 8
DRUM_PROGRAM = 128
"""The program number that Slakh2100's metadata writes for drum kits."""


def category_of(program: int | None, is_drum: bool) -> int:
    """The class index (0–17) of a stem.

    Args:
        program: 0-based General MIDI program; 128 is a drum kit in Slakh2100; None where it is not known.
        is_drum: whether the stem is a drum kit, whatever its program says.
    """
    if is_drum or program == DRUM_PROGRAM:
        return PERCUSSIVE
    if program is None or not 0 <= program < DRUM_PROGRAM:
        return UNKNOWN
    return program // PROGRAMS_PER_CATEGORY


def target_categories(names: Sequence[str] | None) -> tuple[int, ...]:
    """The class indices of the named categories; None = all except Vocal and Unknown.

    Raises:
        UserError: a name is not one of the 18 categories, or there are no names.
    """
    if names is None:
        return tuple(i for i in range(len(CATEGORIES)) if i not in (VOCAL, UNKNOWN))
    unknown = [name for name in names if name not in CATEGORIES]
    if unknown or not names:
        raise UserError(f"targets must be some of {', '.join(CATEGORIES)}, not {', '.join(unknown) or 'an empty list'}")
    return tuple(sorted({CATEGORIES.index(name) for name in names}))
