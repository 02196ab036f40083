"""Grooves: which rhythms the parts of a style choose from.

A pattern is one bar, one letter per sixteenth. Drums: "X" accent, "x" hit, "o" ghost note, "." nothing.
Bass: "R" root, "F" fifth, "O" octave, "A" approach to the next chord (at the end of a four-bar loop, else as
"O"), "-" hold, "." rest. Chords: "X" accent, "x" stab, "o" soft stab, "-" hold, "." rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from datamodules.pocket_slakh.meter import FOUR_FOUR, SIX_EIGHT, THREE_FOUR, Meter

STRAIGHT = (0.5, 4)


@dataclass(frozen=True)
class Style:
    """The vocabulary of a style.

    Args:
        name: name of the style.
        meter: its metre.
        tempo_bpm: lowest and highest tapped tempo.
        swings: (position of the offbeat, swung steps) to choose from, see `Clock`.
        kits: drum kit programs to choose from.
        kick: kick drum patterns.
        snare: backbeat patterns.
        cymbal: (verse, chorus) patterns of the time-keeping cymbal.
        bass: bass patterns.
        comp: chord patterns.
        seventh_share: probability that the chords of a song carry sevenths.
        side_stick: whether the verse's backbeat is a side stick.
        ride: whether time is kept on the ride throughout.
    """

    name: str
    meter: Meter
    tempo_bpm: tuple[int, int]
    swings: tuple[tuple[float, int], ...]
    kits: tuple[int, ...]
    kick: tuple[str, ...]
    snare: tuple[str, ...]
    cymbal: tuple[str, ...]
    bass: tuple[str, ...]
    comp: tuple[str, ...]
    seventh_share: float
    side_stick: bool = False
    ride: bool = False


ROCK = Style(
    "rock", FOUR_FOUR, (96, 164), (STRAIGHT,), (0, 8, 16),
    kick=("X.......X.......", "X.....x.X.......", "X.......X.x.....", "X.x.....X.x....."),
    snare=("....X.......X...",),
    cymbal=("X.x.X.x.X.x.X.x.", "X.x.x.x.X.x.x.x."),
    bass=("R.R.R.R.R.R.R.R.", "R---R.R.R---R.A.", "R-R.R-R.R-R.F-A.", "R-----R.R-----F."),
    comp=("X-x-X-x-X-x-X-x-", "X---X---X---X---", "X-----x-X-----x-", "X--.X-x.X--.X-x."),
    seventh_share=0.1,
)  # fmt: skip

POP = Style(
    "pop", FOUR_FOUR, (84, 132), (STRAIGHT,), (0, 8, 24),
    kick=("X.....x.X.......", "X.......X.x.....", "X.....x...x.....", "X.......X......."),
    snare=("....X.......X...",),
    cymbal=("X.x.X.x.X.x.X.x.", "x.X.x.X.x.X.x.X."),
    bass=("R-----R-R-----R-", "R-----R-F-----A-", "R---..R-R---R-A-", "R-R-..R-R-O-..A-"),
    comp=("X---X---X---X---", "X-----X---X-X---", "X--x--x-X--x--x-", "X-x-X-x-X-x-X-x-"),
    seventh_share=0.35,
)  # fmt: skip

DISCO = Style(
    "disco", FOUR_FOUR, (108, 132), (STRAIGHT,), (0, 16, 24),
    kick=("X...X...X...X...",),
    snare=("....X.......X...",),
    cymbal=("x.X.x.X.x.X.x.X.", "xxX.xxX.xxX.xxX."),
    bass=("R.O.R.O.R.O.R.O.", "R.O.R.O.F.O.R.A.", "R-O-R-O-R-O-A-O-"),
    comp=("X-x-X-x-X-x-X-x-", "X-..X-x-X-..X-x-", "X--x--x-X--x--x-"),
    seventh_share=0.6,
)  # fmt: skip

HOUSE = Style(
    "house", FOUR_FOUR, (116, 134), (STRAIGHT, (0.56, 2)), (24, 25),
    kick=("X...X...X...X...",),
    snare=("....X.......X...", "....X.......X..o"),
    cymbal=("..x...x...x...x.", "x.x.x.x.x.x.x.x."),
    bass=("R-..R-..R-..R-..", "R-..R-R-R-..R-A-", "R-R-R-R-R-R-R-A-"),
    comp=("X--x--x-X--x--x-", "X-..X-..X-..X-..", "X--.X--.X-x-X-x-"),
    seventh_share=0.7,
)  # fmt: skip

BALLAD = Style(
    "ballad", FOUR_FOUR, (70, 92), (STRAIGHT,), (0, 8, 40),
    kick=("X.......X.......", "X.......X.....x."),
    snare=("....X.......X...",),
    cymbal=("X...x...X...x...", "X.x.X.x.X.x.X.x."),
    bass=("R-------R-------", "R-----R-F-------", "R-------F-----A-"),
    comp=("X---x---X---x---", "X-------X---x---", "X-x-X-x-X-x-X-x-"),
    seventh_share=0.5, side_stick=True,
)  # fmt: skip

FUNK = Style(
    "funk", FOUR_FOUR, (92, 118), (STRAIGHT, (0.56, 2)), (0, 8, 16),
    kick=("X..x....X.x.....", "X.....x.X..x....", "X.x.....X.x....."),
    snare=("....X..o....X...", "....X..o.o..X..o"),
    cymbal=("X.x.X.x.X.x.X.x.", "XxxxXxxxXxxxXxxx"),
    bass=("R..R..R.R..O..A.", "R.R...O.R..R..A.", "R--R..O-R.R...F."),
    comp=("X-.x..x-X-.x..x-", "X...x-.xX...x-.x", "X.x.X..xX.x.X..x"),
    seventh_share=0.9,
)  # fmt: skip

HIP_HOP = Style(
    "hip hop", FOUR_FOUR, (80, 100), ((0.58, 2), (0.62, 2), STRAIGHT), (24, 25, 0),
    kick=("X.....x.X.......", "X.......X.x.....", "X..x....X.x....."),
    snare=("....X.......X...",),
    cymbal=("X.x.X.x.X.x.X.x.", "X.x.X.xxX.x.X.xx"),
    bass=("R-----R-R-------", "R-------R-R---A-", "R--R----R-R-----"),
    comp=("X-------X---X---", "X---X---X---X---", "X---..X-X---..X-"),
    seventh_share=0.8,
)  # fmt: skip

BOSSA = Style(
    "bossa", FOUR_FOUR, (104, 138), (STRAIGHT,), (0, 40, 32),
    kick=("X.....o.X.....o.",),
    snare=("....X.......X...", "....X.....o.X..."),
    cymbal=("X.o.X.o.X.o.X.o.",),
    bass=("R-----F-F-----R-", "R-----F-F-----A-"),
    comp=("X---X-..X---X-x-", "X-..X-..X-..X-x-", "X---..x-X---X---"),
    seventh_share=1.0, side_stick=True,
)  # fmt: skip

REGGAE = Style(
    "reggae", FOUR_FOUR, (116, 148), (STRAIGHT, (0.6, 4)), (0, 8),
    kick=("X...X...X...X...", "X.......X......."),
    snare=("....X.......X...",),
    cymbal=("X.x.X.x.X.x.X.x.", "X...X...X...X..."),
    bass=("R---R-R-F---R---", "R---R---F-R-A---", "R-R-....R-R-F---"),
    comp=("....X-......X-..", "X-..X-..X-..X-..", "X-..X-..X-..X-x-"),
    seventh_share=0.3, side_stick=True,
)  # fmt: skip

SHUFFLE = Style(
    "shuffle", FOUR_FOUR, (98, 150), ((0.66, 4),), (0, 8),
    kick=("X.......X.......", "X.....x.X.....x."),
    snare=("....X.......X...",),
    cymbal=("X.x.X.x.X.x.X.x.", "X...x.x.X...x.x."),
    bass=("R---R---F---F---", "R-R-F-F-O-O-F-A-", "R---F---O---A---"),
    comp=("X-..X-x-X-..X-x-", "X---X---X---X---", "X-x-X-x-X-x-X-x-"),
    seventh_share=0.7,
)  # fmt: skip

SWING = Style(
    "swing", FOUR_FOUR, (112, 166), ((0.66, 4), (0.62, 4)), (32, 40),
    kick=("X...x...x...x...", "X.......x......."),
    snare=("....o.......o...", "....x.......x..."),
    cymbal=("X...X.x.X...X.x.",),
    bass=("R---F---O---A---", "R---O---F---A---", "R---R---F---A---"),
    comp=("X-....x-X-....x-", "X-..X-..X-..X-..", "X---..X-X---..X-"),
    seventh_share=1.0, ride=True,
)  # fmt: skip

ELECTRO = Style(
    "electro", FOUR_FOUR, (120, 146), (STRAIGHT,), (24, 25, 16),
    kick=("X...X...X...X...", "X.......X.x....."),
    snare=("....X.......X...",),
    cymbal=("x.x.x.x.x.x.x.x.", "x.o.x.o.x.o.x.o."),
    bass=("R.R.R.R.R.R.R.R.", "R.RRR.RRR.RRR.RR", "R.R.R.R.R.R.O.O."),
    comp=("X-..X-..X-..X-..", "X--X--X-X--X--X-", "X---------------"),
    seventh_share=0.2,
)  # fmt: skip

WALTZ = Style(
    "waltz", THREE_FOUR, (92, 162), (STRAIGHT,), (0, 40, 48),
    kick=("X...........", "X.......x..."),
    snare=("....x...x...", "........X..."),
    cymbal=("X...x...x...", "X.x.X.x.X.x."),
    bass=("R-----------", "R---....F---", "R-------A---"),
    comp=("....X-..X-..", "X---X---X---", "X-x-X-x-X-x-"),
    seventh_share=0.3,
)  # fmt: skip

JAZZ_WALTZ = Style(
    "jazz waltz", THREE_FOUR, (108, 160), ((0.64, 4),), (32, 40),
    kick=("X.......x...", "X..........."),
    snare=("....x...x...", "....x......."),
    cymbal=("X...X.x.X...", "X...X.x.X.x."),
    bass=("R---F---A---", "R---O---F---", "R-------A---"),
    comp=("X-----x-X---", "X---X---X---", "X-..X-..X-.."),
    seventh_share=1.0, ride=True,
)  # fmt: skip

EASY_SIX = Style(
    "six-eight pop", SIX_EIGHT, (104, 120), (STRAIGHT,), (0, 8),
    kick=("X...........", "X.....o....."),
    snare=("......X.....",),
    cymbal=("X...o.X...o.", "X...x.X...x."),
    bass=("R-----R-----", "R-----F-----", "R-----F---A-"),
    comp=("X-----X-----", "X-----X---x-", "X---o-X---o-"),
    seventh_share=0.3,
)  # fmt: skip

FOLK_SIX = Style(
    "six-eight folk", SIX_EIGHT, (106, 128), (STRAIGHT,), (0, 40),
    kick=("X.....X.....", "X.....X...x."),
    snare=("......X.....", "......X...o."),
    cymbal=("X...o.X...o.", "X...x.X...x."),
    bass=("R-----R-----", "R-----F-----", "R---R-F---A-"),
    comp=("X---o-X---o-", "X-----X---x-", "X-----X-----"),
    seventh_share=0.15,
)  # fmt: skip

STYLES = (
    ROCK, ROCK, POP, POP, DISCO, HOUSE, BALLAD, FUNK, HIP_HOP, BOSSA, REGGAE, SHUFFLE, SWING, ELECTRO,
    WALTZ, JAZZ_WALTZ, EASY_SIX, FOLK_SIX,
)  # fmt: skip
"""All styles; the most common ones are listed twice."""
