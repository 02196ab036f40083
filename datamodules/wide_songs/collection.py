"""What a collection of wide songs is, as configs and commands say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from livejam.errors import UserError

EventName = Literal["key_up", "tempo_step", "tempo_ramp", "silence", "song_swap", "rubato", "metre_change", "drums_out"]

SECONDS = (42.0, 58.0)
"""Of the shortest and the longest songs, where nobody says otherwise."""
SHORTEST, LONGEST = 10.0, 600.0


@dataclass(frozen=True)
class WideSongs:
    """What a collection of wide songs holds, and how it sounds.

    Args:
        soundfonts: General MIDI SoundFonts, of which every stem draws one; one named twice is drawn twice as often.
            Empty takes the one in pretty_midi, which also plays what the others lack or have out of tune.
        takes: how often every piece is rendered, each time with another sound, at least 1.
        effects: whether stems go through effects, which needs the extra `songs`.
        held_out_grooves: true takes only the grooves that are held out, false only the others, null any.
        event: what happens in the middle of every song; null draws none to two events for each song.
        seconds: length of the shortest and the longest pieces, 10 to 600; none has fewer than eight bars.
    """

    soundfonts: tuple[str, ...] = ()
    takes: int = 1
    effects: bool = True
    held_out_grooves: bool | None = False
    event: EventName | None = None
    seconds: tuple[float, float] = SECONDS

    def __post_init__(self) -> None:
        shortest, longest = self.seconds
        if not SHORTEST <= shortest <= longest <= LONGEST:
            raise UserError(
                f"songs last {SHORTEST:g} to {LONGEST:g} seconds, and the shortest length comes first; give other "
                f"seconds than {shortest:g} and {longest:g}"
            )
