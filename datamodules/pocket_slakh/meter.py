"""Where in time the steps of a bar fall: metre, tempo and swing.

A step is a sixteenth note. Beats are what a listener taps: quarters in 4/4 and 3/4, dotted quarters in 6/8.
"""

from __future__ import annotations

from dataclasses import dataclass

TICKS_PER_QUARTER = 480
TICKS_PER_STEP = TICKS_PER_QUARTER // 4


@dataclass(frozen=True)
class Meter:
    """A time signature and the steps (sixteenths) of its beat.

    Args:
        numerator: of the time signature.
        denominator: of the time signature.
        steps_per_beat: sixteenths per tapped beat.
        beats_per_bar: tapped beats per bar.
    """

    numerator: int
    denominator: int
    steps_per_beat: int
    beats_per_bar: int

    @property
    def name(self) -> str:
        """For example "6/8"."""
        return f"{self.numerator}/{self.denominator}"

    @property
    def steps_per_bar(self) -> int:
        """Sixteenths per bar."""
        return self.steps_per_beat * self.beats_per_bar


FOUR_FOUR = Meter(4, 4, 4, 4)
THREE_FOUR = Meter(3, 4, 4, 3)
SIX_EIGHT = Meter(6, 8, 6, 2)


@dataclass(frozen=True)
class Clock:
    """Turns steps into ticks and seconds.

    Args:
        meter: the metre of the song.
        tempo_bpm: tapped beats per minute.
        swing: where the second half of a swung unit begins; 0.5 is straight, 2/3 a triplet.
        swung_steps: length of the swung unit in steps: 4 swings eighths, 2 swings sixteenths.
    """

    meter: Meter
    tempo_bpm: float
    swing: float
    swung_steps: int

    @property
    def quarters_per_minute(self) -> float:
        """The tempo as MIDI counts it."""
        return self.tempo_bpm * self.meter.steps_per_beat / 4

    @property
    def seconds_per_step(self) -> float:
        """Mean duration of a step."""
        return 60 / (self.tempo_bpm * self.meter.steps_per_beat)

    @property
    def bar_seconds(self) -> float:
        """Duration of a bar."""
        return self.seconds_per_step * self.meter.steps_per_bar

    def ticks(self, step: float) -> float:
        """The tick at which a step (counted from the start of the song) sounds, swing included."""
        unit, phase = divmod(step, self.swung_steps)
        phase /= self.swung_steps
        warped = phase * 2 * self.swing if phase < 0.5 else self.swing + (phase - 0.5) * 2 * (1 - self.swing)
        return (unit + warped) * self.swung_steps * TICKS_PER_STEP

    def seconds(self, step: float) -> float:
        """The time at which a step on the beat or bar sounds."""
        return step * self.seconds_per_step
