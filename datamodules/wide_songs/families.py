"""Families of styles as data: what the rules of grooves, harmony, form and band read.

Odds are the chances that something sounds on the places of a bar: its first beat, the beat that opens its second half,
backbeats, eighths between beats, other sixteenths.
"""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.wide_songs.metre import (
    FIVE_FOUR,
    FOUR_FOUR,
    SEVEN_EIGHT,
    SEVEN_EIGHT_LONG_FIRST,
    SIX_EIGHT,
    THREE_FOUR,
    TWELVE_EIGHT,
    Metre,
)

Odds = tuple[float, float, float, float, float]
STRAIGHT, SHUFFLED, LAID_BACK, LIGHT = (0.5, 4), (0.66, 4), (0.6, 2), (0.55, 2)
ROCK_KITS, ROOM_KITS, SOFT_KITS, MACHINES = (0, 8, 16), (0, 8), (32, 40, 0), (24, 25)


@dataclass(frozen=True)
class Family:
    """A family of styles.

    Args:
        name: its name.
        metres: metres to choose from.
        tempo_bpm: lowest and highest tempo in tapped beats (7/8: quarters) a minute.
        swings: (place of the offbeat, swung steps) to choose from; 0.5 is straight.
        kits: drum kits of General MIDI.
        kick: odds of the kick.
        snare: odds of the backbeat drum.
        ghosts: odds of soft strokes of the same drum.
        cymbals: names of `CYMBALS`.
        bass: odds of new notes of the bass.
        bass_letters: what its notes may be, see `datamodules.wide_songs.parts.bass`.
        comp: odds of chords.
        held: share of chords that are held.
        idioms: names of `datamodules.wide_songs.progressions.IDIOMS`.
        sevenths: chance that chords carry sevenths.
        forms: names of `datamodules.wide_songs.form.FORMS`.
        hands: percussion that may join, names of `PERCUSSION`.
        drift: how far the tempo wanders, in percent; 0 is a machine.
        side_stick: whether the backbeat is a side stick in quiet sections.
        drums: chance that there is a drummer.
        colours: names of seats of `datamodules.wide_songs.band` that this family likes.
    """

    name: str
    metres: tuple[Metre, ...]
    tempo_bpm: tuple[int, int]
    swings: tuple[tuple[float, int], ...]
    kits: tuple[int, ...]
    kick: Odds
    snare: Odds
    ghosts: Odds
    cymbals: tuple[str, ...]
    bass: Odds
    bass_letters: str
    comp: Odds
    held: float
    idioms: tuple[str, ...]
    sevenths: float
    forms: tuple[str, ...]
    hands: tuple[str, ...] = ()
    drift: float = 0.6
    side_stick: bool = False
    drums: float = 0.95
    colours: tuple[str, ...] = ()


CYMBALS = {
    "quarters": ("X...", "X....."),
    "eighths": ("X.x.", "X.x.x."),
    "level eighths": ("x.x.", "x.x.x."),
    "sixteenths": ("Xoxo", "XoxoXo"),
    "offbeats": ("..X.", "..X..."),
    "pushed": ("x.X.", "x...X."),
    "gallop": ("X.xx", "X.x.xx"),
    "ride": ("X...|X.x.", "X...x.|X.x.x."),
    "train": ("xoXo", "xoxoXo"),
    "sparse": ("X...|....", "X.....|......"),
}
"""Strokes per beat of four and of six steps; figures parted by "|" take turns."""

PERCUSSION = {
    "tambourine": (54, ("..x.", "x.X.", "....|X..."), ("....x.", "x...X.")),
    "shaker": (82, ("xoXo", "x.X."), ("x.o.X.", "x.x.x.")),
    "cowbell": (56, ("X...", "X.x.", "x...|x.x."), ("X.....", "X...x.")),
    "claves": (75, ("X..X|..X.|..X.|X...", "..X.|X...|X..X|..X."), ("X...x.|..X...",)),
    "congas": (63, ("o.ox|o.oX", "..xx|..X.", "x..x|..xx"), ("x..ox.", "X.xo.x")),
    "bongos": (60, ("Xoxo", "X.xo"), ("X.oxo.",)),
    "triangle": (81, ("x...", "X.o."), ("x.....",)),
    "claps": (39, ("....|X...",), ("......|X.....",)),
}
"""The drum of General MIDI, and figures for beats of four and of six steps."""

FAMILIES = (
    Family("rock", (FOUR_FOUR,), (92, 172), (STRAIGHT,), ROCK_KITS, (1, 0.75, 0.03, 0.35, 0.04), (0, 0, 1, 0.04, 0.02),
           (0, 0, 0, 0.03, 0.06), ("eighths", "level eighths", "quarters"), (1, 0.9, 0.75, 0.75, 0.03), "RRRRRFA",
           (1, 0.7, 0.6, 0.45, 0.05), 0.6, ("loops", "modal", "chromatic"), 0.1, ("song", "riff"), ("tambourine",),
           colours=("crunch", "lead guitar", "organ stabs", "strum")),
    Family("metal", (FOUR_FOUR, FOUR_FOUR, SEVEN_EIGHT, SIX_EIGHT), (96, 190), (STRAIGHT,), (16, 0),
           (1, 0.9, 0.35, 0.75, 0.35), (0, 0, 1, 0.02, 0.02), (0, 0, 0, 0, 0.02), ("quarters", "eighths", "gallop"),
           (1, 0.95, 0.8, 0.85, 0.4), "RRRRRRF", (1, 0.8, 0.5, 0.6, 0.3), 0.25, ("dark", "modal", "chromatic"), 0.0,
           ("riff", "song"), (), 0.3, colours=("crunch", "crunch", "lead guitar", "pad")),
    Family("pop", (FOUR_FOUR,), (82, 134), (STRAIGHT, LIGHT), (*ROOM_KITS, *MACHINES), (1, 0.6, 0.08, 0.3, 0.1),
           (0, 0, 1, 0.02, 0.02), (0, 0, 0, 0.02, 0.08), ("eighths", "level eighths", "sixteenths", "pushed"),
           (1, 0.7, 0.4, 0.4, 0.08), "RRRRFOA", (1, 0.6, 0.4, 0.35, 0.12), 0.7, ("loops", "functional"), 0.35,
           ("song",), ("tambourine", "shaker", "claps"), 0.4, colours=("strum", "pad", "pluck", "synth lead")),
    Family("ballad", (FOUR_FOUR, FOUR_FOUR, TWELVE_EIGHT, SIX_EIGHT), (56, 88), (STRAIGHT,), (*ROOM_KITS, 40),
           (1, 0.5, 0.05, 0.15, 0.05), (0, 0, 1, 0, 0), (0, 0, 0, 0, 0.04), ("eighths", "quarters"),
           (1, 0.6, 0.25, 0.15, 0.02), "RRRFA", (1, 0.7, 0.6, 0.3, 0.05), 0.85, ("functional", "loops", "gospel"), 0.5,
           ("song", "aaba"), ("shaker",), 1.2, True, 0.85, ("strings", "pad", "picked guitar", "flute")),
    Family("disco", (FOUR_FOUR,), (106, 132), (STRAIGHT,), ROCK_KITS, (1, 1, 1, 0.02, 0.02), (0, 0, 1, 0.02, 0.02),
           (0, 0, 0, 0, 0.03), ("offbeats", "pushed", "gallop"), (1, 1, 0.9, 0.85, 0.12), "ROROROF",
           (0.8, 0.6, 0.6, 0.6, 0.3), 0.3, ("loops", "modal", "jazz"), 0.7, ("song", "vamp"), ("tambourine", "congas"),
           0.2, colours=("strings", "muted guitar", "brass stabs")),
    Family("house", (FOUR_FOUR,), (114, 136), (STRAIGHT, LIGHT), MACHINES, (1, 1, 1, 0.03, 0.04), (0, 0, 0.8, 0, 0.04),
           (0, 0, 0, 0, 0.03), ("offbeats", "pushed", "sixteenths"), (0.7, 0.6, 0.3, 0.6, 0.3), "RRRO",
           (0.6, 0.4, 0.35, 0.5, 0.4), 0.4, ("loops", "modal"), 0.6, ("drop", "vamp"), ("claps", "shaker", "cowbell"),
           0.0, colours=("pad", "pluck", "synth lead", "effect")),
    Family("techno", (FOUR_FOUR,), (122, 150), (STRAIGHT,), MACHINES, (1, 1, 1, 0.05, 0.03), (0, 0, 0.4, 0.05, 0.05),
           (0, 0, 0, 0.05, 0.1), ("offbeats", "sixteenths", "level eighths"), (0.6, 0.6, 0.6, 0.9, 0.5), "RRRRO",
           (0.4, 0.3, 0.3, 0.4, 0.4), 0.2, ("modal", "dark"), 0.1, ("drop", "vamp"), ("claps", "cowbell"), 0.0,
           colours=("pluck", "pad", "effect", "synth lead")),
    Family("breakbeat", (FOUR_FOUR,), (136, 176), (STRAIGHT, LIGHT), (*MACHINES, 8), (1, 0.15, 0.05, 0.35, 0.12),
           (0, 0, 1, 0.06, 0.12), (0, 0.1, 0, 0.1, 0.25), ("eighths", "sixteenths"), (1, 0.4, 0.2, 0.25, 0.1), "RRRO",
           (1, 0.3, 0.15, 0.25, 0.1), 0.8, ("loops", "modal", "jazz"), 0.6, ("drop", "vamp"), ("shaker",), 0.0,
           colours=("pad", "pluck", "effect")),
    Family("hip hop", (FOUR_FOUR,), (72, 104), (LAID_BACK, LIGHT, STRAIGHT), (*MACHINES, 0, 8),
           (1, 0.45, 0.03, 0.3, 0.22), (0, 0, 1, 0, 0.03), (0, 0, 0, 0.02, 0.08),
           ("eighths", "sixteenths", "level eighths"), (1, 0.4, 0.1, 0.3, 0.15), "RRRRFO", (1, 0.3, 0.25, 0.2, 0.12),
           0.8, ("loops", "jazz", "modal"), 0.8, ("vamp", "song"), ("shaker", "claps"), 0.1,
           colours=("pad", "flute", "pluck", "strings")),
    Family("trap", (FOUR_FOUR,), (64, 80), (STRAIGHT,), (25,), (1, 0.2, 0.05, 0.3, 0.2), (0, 1, 0, 0, 0.02),
           (0, 0, 0, 0, 0.02), ("sixteenths", "level eighths"), (1, 0.2, 0.1, 0.2, 0.12), "RRRO", (1, 0.3, 0.2, 0.2,
           0.1),
           0.8, ("dark", "loops"), 0.2, ("vamp", "drop"), ("claps",), 0.0, colours=("pad", "pluck", "effect", "flute")),
    Family("funk", (FOUR_FOUR,), (88, 120), (STRAIGHT, LIGHT), ROCK_KITS, (1, 0.4, 0.04, 0.35, 0.25),
           (0, 0, 1, 0.03, 0.05), (0, 0.15, 0, 0.15, 0.35), ("eighths", "sixteenths", "gallop"),
           (1, 0.5, 0.2, 0.45, 0.4), "RRROFA", (0.5, 0.3, 0.3, 0.45, 0.45), 0.15, ("modal", "jazz", "blues"), 0.95,
           ("vamp", "song"), ("congas", "tambourine", "cowbell"), 0.4,
           colours=("muted guitar", "brass stabs", "organ stabs", "sax")),
    Family("reggae", (FOUR_FOUR,), (116, 152), (STRAIGHT, (0.6, 4)), ROOM_KITS, (0.15, 1, 0.03, 0.1, 0.02),
           (0, 1, 0.05, 0.03, 0.03), (0, 0, 0.03, 0.08, 0.06), ("eighths", "level eighths", "pushed"),
           (0.7, 0.8, 0.55, 0.5, 0.05), "RRFTOR", (0, 0, 1, 0.12, 0), 0.1, ("loops", "modal", "folk"), 0.25,
           ("vamp", "song"), ("bongos", "shaker"), 0.4, True, colours=("organ stabs", "muted guitar", "brass stabs")),
    Family("bossa", (FOUR_FOUR,), (104, 144), (STRAIGHT,), (40, 0, 32), (1, 1, 0.04, 0.5, 0), (0.25, 0.2, 0.4, 0.45,
           0.02),
           (0, 0, 0, 0.05, 0.03), ("level eighths", "eighths"), (1, 1, 0.05, 0.6, 0), "RFFRT",
           (0.6, 0.4, 0.45, 0.55, 0.04), 0.5, ("jazz", "functional"), 1.0, ("aaba", "song"), ("shaker", "triangle"),
           0.6, True, colours=("picked guitar", "flute", "sax", "strings")),
    Family("samba", (FOUR_FOUR,), (92, 132), (LIGHT, STRAIGHT), ROOM_KITS, (0.8, 1, 0.5, 0.1, 0.45),
           (0.2, 0.25, 0.5, 0.3, 0.35), (0, 0, 0, 0.1, 0.3), ("sixteenths", "train"), (0.8, 1, 0.5, 0.2, 0.45), "RFFRO",
           (0.5, 0.4, 0.4, 0.4, 0.4), 0.3, ("jazz", "functional", "latin"), 0.8, ("song", "vamp"),
           ("shaker", "tambourine", "congas"), 0.5, colours=("picked guitar", "flute", "brass stabs")),
    Family("salsa", (FOUR_FOUR,), (84, 112), (STRAIGHT,), ROOM_KITS, (0.2, 0.5, 0.1, 0.35, 0.25), (0.1, 0.1, 0.3, 0.2,
           0.2),
           (0, 0, 0, 0.1, 0.1), ("eighths", "pushed"), (0.2, 0.3, 0.3, 0.7, 0.5), "RRFFO",
           (0.5, 0.3, 0.3, 0.75, 0.55), 0.2, ("latin", "modal"), 0.5, ("vamp", "song"),
           ("congas", "cowbell", "claves", "bongos"), 0.5, colours=("brass stabs", "trumpet", "flute")),
    Family("blues shuffle", (FOUR_FOUR, FOUR_FOUR, TWELVE_EIGHT), (88, 148), (SHUFFLED,), ROOM_KITS,
           (1, 0.9, 0.1, 0.15, 0), (0, 0, 1, 0.03, 0), (0, 0, 0, 0.08, 0), ("eighths", "ride"),
           (1, 1, 1, 0.35, 0), "RRTFFOA", (0.9, 0.6, 0.6, 0.5, 0), 0.35, ("blues",), 0.9, ("choruses",),
           ("tambourine",),
           0.7, colours=("lead guitar", "harmonica", "organ stabs", "sax")),
    Family("slow blues", (TWELVE_EIGHT,), (48, 66), (STRAIGHT,), ROOM_KITS, (1, 0.9, 0.1, 0.25, 0),
           (0, 0, 1, 0.02, 0), (0, 0, 0, 0.06, 0.02), ("eighths",), (1, 0.9, 0.7, 0.3, 0.03), "RRTFOA",
           (1, 0.6, 0.5, 0.5, 0.05), 0.5, ("blues",), 0.95, ("choruses",), (), 1.0,
           colours=("lead guitar", "organ pad", "sax")),
    Family("swing", (FOUR_FOUR,), (112, 196), (SHUFFLED, (0.62, 4)), (32, 40), (0.5, 0.4, 0.2, 0.12, 0),
           (0, 0, 0.2, 0.2, 0), (0.05, 0.1, 0.25, 0.15, 0), ("ride",), (1, 1, 1, 0.1, 0), "WWWWWW",
           (0.5, 0.35, 0.4, 0.45, 0), 0.35, ("jazz", "blues"), 1.0, ("aaba", "choruses"), (), 0.8, drums=0.88,
           colours=("sax", "trumpet", "jazz guitar", "vibes")),
    Family("jazz waltz", (THREE_FOUR,), (104, 168), (SHUFFLED, (0.62, 4)), (32, 40), (0.9, 0.3, 0.3, 0.2, 0),
           (0, 0, 0.4, 0.15, 0), (0, 0, 0.2, 0.1, 0), ("ride",), (1, 0.8, 0.7, 0.15, 0), "WWRFT",
           (0.6, 0.4, 0.5, 0.35, 0), 0.45, ("jazz", "modal"), 1.0, ("aaba", "song"), (), 0.8, drums=0.85,
           colours=("sax", "vibes", "jazz guitar", "flute")),
    Family("waltz", (THREE_FOUR,), (84, 176), (STRAIGHT,), (48, 40, 0), (1, 0, 0.05, 0.05, 0), (0, 0, 0.9, 0.03, 0),
           (0, 0, 0.1, 0.05, 0), ("quarters", "eighths"), (1, 0, 0.25, 0.05, 0), "RRFFA", (0.15, 0, 1, 0.1, 0), 0.3,
           ("functional", "folk"), 0.3, ("aaba", "song"), ("triangle", "tambourine"), 1.2, drums=0.75,
           colours=("strings", "accordion", "clarinet", "flute", "pizzicato")),
    Family("folk", (FOUR_FOUR, THREE_FOUR, SIX_EIGHT), (84, 132), (STRAIGHT, (0.56, 4)), (40, 0),
           (1, 0.8, 0.1, 0.12, 0.02), (0, 0, 0.8, 0.05, 0.03), (0, 0, 0.1, 0.1, 0.08), ("level eighths", "train"),
           (1, 0.9, 0.25, 0.12, 0.02), "RRFFA", (0.9, 0.7, 0.7, 0.6, 0.12), 0.3, ("folk", "modal"), 0.1,
           ("strophes", "song"), ("tambourine", "shaker"), 1.2, drums=0.5,
           colours=("strum", "picked guitar", "fiddle", "banjo", "whistle", "accordion")),
    Family("country", (FOUR_FOUR,), (96, 168), (STRAIGHT, (0.58, 4)), ROOM_KITS, (1, 1, 0.02, 0.06, 0.02),
           (0, 0, 1, 0.04, 0.05), (0, 0, 0, 0.15, 0.25), ("train", "eighths"), (1, 1, 0.1, 0.05, 0.02), "RFRFA",
           (0.5, 0.4, 1, 0.45, 0.05), 0.3, ("folk", "functional"), 0.2, ("song", "strophes"), ("tambourine",), 0.5,
           colours=("strum", "fiddle", "banjo", "lead guitar")),
    Family("gospel", (FOUR_FOUR, TWELVE_EIGHT, SIX_EIGHT), (66, 126), (STRAIGHT, LIGHT, SHUFFLED), ROOM_KITS,
           (1, 0.6, 0.08, 0.35, 0.15), (0, 0, 1, 0.03, 0.03), (0, 0, 0, 0.08, 0.15), ("eighths", "sixteenths"),
           (1, 0.7, 0.45, 0.4, 0.12), "RRTFWA", (0.9, 0.6, 0.5, 0.4, 0.12), 0.5, ("gospel", "jazz", "blues"), 0.85,
           ("song", "vamp"), ("tambourine", "claps"), 1.0, colours=("organ pad", "organ stabs", "choir",
           "brass stabs")),
    Family("soul", (FOUR_FOUR,), (76, 124), (STRAIGHT, LIGHT), ROOM_KITS, (1, 0.55, 0.05, 0.4, 0.12),
           (0, 0, 1, 0.02, 0.02), (0, 0, 0, 0.05, 0.12), ("eighths", "level eighths"), (1, 0.6, 0.4, 0.5, 0.15),
           "RRTFOW", (0.6, 0.4, 0.7, 0.4, 0.12), 0.4, ("functional", "gospel", "jazz"), 0.75, ("song",),
           ("tambourine", "congas", "claps"), 0.6, colours=("brass stabs", "muted guitar", "organ pad", "strings",
           "sax")),
    Family("afro", (TWELVE_EIGHT, SIX_EIGHT), (84, 124), (STRAIGHT,), ROOM_KITS, (1, 0.6, 0.4, 0.25, 0.03),
           (0.05, 0.1, 0.45, 0.35, 0.03), (0, 0, 0.1, 0.15, 0.05), ("eighths", "level eighths", "pushed"),
           (1, 0.6, 0.5, 0.45, 0.03), "RRFOT", (0.5, 0.4, 0.5, 0.55, 0.03), 0.2, ("folk", "modal", "loops"), 0.2,
           ("vamp", "song"), ("congas", "shaker", "cowbell"), 0.5, colours=("picked guitar", "marimba", "brass stabs",
           "sax")),
    Family("odd", (FIVE_FOUR, SEVEN_EIGHT, SEVEN_EIGHT_LONG_FIRST, FIVE_FOUR), (104, 176), (STRAIGHT,), ROCK_KITS,
           (1, 0.8, 0.1, 0.3, 0.04), (0, 0.05, 0.9, 0.06, 0.03), (0, 0, 0, 0.08, 0.08), ("eighths", "level eighths",
           "ride"),
           (1, 0.9, 0.55, 0.45, 0.04), "RRFOA", (0.9, 0.7, 0.5, 0.4, 0.05), 0.45, ("modal", "loops", "chromatic"), 0.4,
           ("riff", "song", "vamp"), ("shaker",), 0.5, colours=("sax", "synth lead", "lead guitar", "pluck")),
    Family("chamber", (FOUR_FOUR, THREE_FOUR, SIX_EIGHT), (60, 132), (STRAIGHT,), (48,), (0.6, 0.3, 0, 0.02, 0),
           (0, 0, 0.1, 0.05, 0.02), (0, 0, 0, 0.05, 0.05), ("sparse",), (1, 0.6, 0.5, 0.2, 0.02), "RRTFW",
           (0.9, 0.6, 0.6, 0.3, 0.1), 0.7, ("functional", "chromatic"), 0.3, ("aaba", "strophes"), ("triangle",), 2.0,
           drums=0.12, colours=("strings", "flute", "clarinet", "pizzicato", "horn", "harp")),
)  # fmt: skip
"""All families; each is as likely as another."""
