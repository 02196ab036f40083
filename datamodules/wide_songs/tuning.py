"""Which instruments of a SoundFont sound at the pitch that they are asked for.

Fonts tune their samples by generators that synthesizers do not all obey, so every instrument is played and measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from datamodules.audio import Audio
from datamodules.pocket_slakh.meter import TICKS_PER_QUARTER
from datamodules.pocket_slakh.palette import Instrument

RATE_HZ = 22_050
NOTES = (48, 55, 60, 67, 72)
LOW_NOTES = (33, 38, 43)
BASSES = range(32, 40)
PARTIALS = 6
SILENT = 1e-5


@dataclass(frozen=True)
class Font:
    """A SoundFont, with what it can play in tune.

    Args:
        path: the corrected SoundFont.
        programs: programs that sound at the right pitch.
    """

    path: Path
    programs: frozenset[int]

    def plays(self, instrument: Instrument) -> bool:
        """Whether the instrument may be taken from it; a drum kit that it lacks is only noticed when it is silent."""
        return instrument.is_drum or instrument.program in self.programs


@lru_cache(maxsize=16)
def tuned_programs(soundfont: Path, programs: tuple[int, ...]) -> frozenset[int]:
    """Those of the programs that sound, every one of a few notes, nearer to its pitch than to another.

    Args:
        soundfont: a corrected SoundFont.
        programs: programs of General MIDI.
    """
    return frozenset(program for program in programs if _program_is_tuned(soundfont, program))


def _program_is_tuned(soundfont: Path, program: int) -> bool:
    notes = LOW_NOTES if program in BASSES else NOTES
    return all(_is_tuned(_note(soundfont, program, pitch), pitch) for pitch in notes)


def _note(soundfont: Path, program: int, pitch: int) -> Audio:
    from symusic import Synthesizer
    from symusic.core import NoteTick, ScoreTick, TempoTick, TrackTick

    score = ScoreTick(TICKS_PER_QUARTER)
    score.tempos.append(TempoTick(0, 60.0))
    track = TrackTick("", program, False)
    track.notes.append(NoteTick(0, TICKS_PER_QUARTER, pitch, 100))
    score.tracks.append(track)
    audio: Audio = Synthesizer(str(soundfont), RATE_HZ, 0).render(score, stereo=False)[0]
    return audio[: 2 * RATE_HZ]


def _is_tuned(audio_N: Audio, pitch: int) -> bool:
    """Whether the partials of the pitch, or of its octaves, hold more energy than those of any other pitch class."""
    if not len(audio_N) or float(np.abs(audio_N).max()) < SILENT:
        return False
    spectrum: Audio = (np.abs(np.fft.rfft(audio_N * np.hanning(len(audio_N)), 1 << 17)) ** 2).astype(np.float32)
    energies = [_comb(spectrum, pitch + shift) for shift in range(-6, 6)]
    return int(np.argmax(energies)) == 6


def _comb(spectrum: Audio, pitch: int) -> float:
    """Energy near the partials of a pitch and of its lower octave, the higher ones counting less."""
    bins_per_hz = (len(spectrum) - 1) * 2 / RATE_HZ
    total = 0.0
    for octave in (-12, 0):
        for partial in range(1, PARTIALS + 1):
            hz = 440 * 2 ** ((pitch + octave - 69) / 12) * partial
            low, high = (int(hz * 2 ** (cents / 1200) * bins_per_hz) for cents in (-45, 45))
            total += float(np.sqrt(spectrum[low : high + 1].sum())) / partial
    return total
