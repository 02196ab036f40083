"""How the stems of a song sound: SoundFont, tuning, octave doubling, gain; drawn for every take.

N: audio samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import minimum_filter1d, uniform_filter1d

from datamodules.audio import Audio
from datamodules.pocket_slakh.collection import PEAK_DB, SAMPLE_RATE_HZ
from datamodules.pocket_slakh.composer import PlayedNote, Stem
from datamodules.pocket_slakh.loudness import active_rms_db, is_sound
from datamodules.wide_songs.annotation import score
from datamodules.wide_songs.composer import WideSong
from datamodules.wide_songs.tuning import Font
from livejam.errors import UserError

DETUNED_SONGS, SONG_CENTS, STEM_CENTS, DRUM_CENTS = 0.6, 50.0, 4.0, 100.0
DOUBLINGS, DOUBLING_RANGE = 0.08, (36, 96)
GAIN_SPREAD_DB, MOST_GAIN_DB = 3.0, 8.0
SONG_PEAK_DB, LOUD_SONGS, LOUD_DB = (-20.0, -1.0), 0.35, (4.0, 10.0)
BLOCK = 220
"""Samples of a block of the limiter, 5 ms."""


@dataclass(frozen=True)
class Timbre:
    """How one stem sounds in one take.

    Args:
        fonts: SoundFonts in order of preference; one in which the instrument is silent is passed over.
        cents: how far its tuning is off.
        octave: semitones of a doubling voice: 12, −12, or 0 for none.
        gain_db: added to the stem's level.
    """

    fonts: tuple[Font, ...]
    cents: float
    octave: int
    gain_db: float


def draw_timbres(
    stems: Sequence[Stem], fonts: Sequence[Font], spare: Font, rng: np.random.Generator
) -> tuple[Timbre, ...]:
    """The sound of every stem of a take: one tuning for the song, from which players differ by a few cents.

    Args:
        stems: the stems.
        fonts: the SoundFonts to draw from.
        spare: the SoundFont that plays what the others lack.
        rng: the only source of randomness.
    """
    tuning = float(rng.uniform(-SONG_CENTS, SONG_CENTS)) if rng.random() < DETUNED_SONGS else 0.0
    return tuple(_draw_timbre(stem, fonts, spare, tuning, rng) for stem in stems)


def _draw_timbre(stem: Stem, fonts: Sequence[Font], spare: Font, tuning: float, rng: np.random.Generator) -> Timbre:
    drawn = [fonts[place] for place in rng.permutation(len(fonts))]
    order = (*(font for font in drawn if font.plays(stem.instrument)), spare)
    off = float(rng.uniform(-DRUM_CENTS, DRUM_CENTS)) if stem.instrument.is_drum else float(rng.normal(0, STEM_CENTS))
    cents = off if stem.instrument.is_drum else float(np.clip(tuning + off, -SONG_CENTS, SONG_CENTS))
    may_double = not stem.instrument.is_drum and stem.instrument.inst_class != "Bass"
    octave = int(rng.choice([-12, 12])) if may_double and rng.random() < DOUBLINGS else 0
    gain = float(np.clip(rng.normal(0, GAIN_SPREAD_DB), -MOST_GAIN_DB, MOST_GAIN_DB))
    return Timbre(order, cents, octave, gain)


def doubled(stem: Stem, octave: int) -> Stem:
    """The stem with every note also an octave away, softer, where instruments still sound; 0 changes nothing."""
    if octave == 0:
        return stem
    low, high = DOUBLING_RANGE
    more = (
        PlayedNote(note.tick, note.ticks, note.pitch + octave, max(1, round(0.75 * note.velocity)))
        for note in stem.notes
        if low <= note.pitch + octave <= high
    )
    return replace(
        stem, notes=tuple(sorted({*stem.notes, *more}, key=lambda n: (n.tick, n.pitch, n.ticks, n.velocity)))
    )


def render_stem(song: WideSong, stem: Stem, timbre: Timbre) -> tuple[Audio, Font]:
    """The stem as its instrument gives it, as long as the song, and the SoundFont that sounded.

    Raises:
        UserError: no SoundFont has the instrument.
    """
    length = round(song.duration_seconds * SAMPLE_RATE_HZ)
    for font in timbre.fonts:
        rendered = _synthesised(song, stem, font, timbre.cents)
        audio_N = np.zeros(length, np.float32)
        audio_N[: len(rendered)] = rendered[:length]
        if is_sound(audio_N, SAMPLE_RATE_HZ):
            return audio_N, font
    raise UserError(f"no SoundFont has {stem.instrument.program_name} in tune; add a complete General MIDI SoundFont")


def _synthesised(song: WideSong, stem: Stem, font: Font, cents: float) -> Audio:
    """The stem, sharp by `cents`.

    It is synthesised at a lower rate and played at ours, which makes it sharp and short; the tempo makes up for that.
    """
    from symusic import Synthesizer

    rate = round(SAMPLE_RATE_HZ * 2 ** (-cents / 1200))
    slowed = (round(m * SAMPLE_RATE_HZ / rate) for m in song.timeline.microseconds)
    stretched = replace(song, timeline=replace(song.timeline, microseconds=tuple(slowed)))
    audio: Audio = Synthesizer(str(font.path), rate, 0).render(score(stretched, [stem]), stereo=False)[0]
    return audio


def levelled(audio_N: Audio, level_db: float) -> Audio:
    """The audio at a level in dBFS (RMS while it sounds)."""
    gain_db = level_db - active_rms_db(audio_N, SAMPLE_RATE_HZ)
    return (audio_N * np.float32(10 ** (gain_db / 20))).astype(np.float32)


def mastered(stems: Sequence[Audio], rng: np.random.Generator) -> list[Audio]:
    """The stems with one gain curve for all, so that they still add up to the mix.

    Some songs are pushed into a limiter, as loud masters are; the others keep their dynamics, and may be quiet.
    """
    peak_N = _highest_of([*stems, np.sum(stems, axis=0)])
    ceiling = 10 ** (PEAK_DB / 20)
    if rng.random() < LOUD_SONGS:
        push = 10 ** (float(rng.uniform(*LOUD_DB)) / 20) * ceiling / float(peak_N.max())
        curve_N = np.float32(push) * limiting_curve(peak_N * np.float32(push), ceiling)
    else:
        curve_N = np.full_like(peak_N, 10 ** (float(rng.uniform(*SONG_PEAK_DB)) / 20) / float(peak_N.max()))
    return [audio_N * curve_N for audio_N in stems]


def _highest_of(signals: Sequence[Audio]) -> Audio:
    """At every sample, the magnitude of the signal that is largest there."""
    peak_N = np.abs(signals[0])
    for audio_N in signals[1:]:
        np.maximum(peak_N, np.abs(audio_N), out=peak_N)
    return peak_N


def limiting_curve(peak_N: Audio, ceiling: float) -> Audio:
    """A smooth gain, at most 1, under which no peak passes the ceiling.

    Args:
        peak_N: the magnitudes of the signal.
        ceiling: the level that is not passed.
    """
    blocks = -(-len(peak_N) // BLOCK)
    padded = np.pad(peak_N, (0, blocks * BLOCK - len(peak_N)))
    needed = np.minimum(1.0, ceiling / np.maximum(padded.reshape(blocks, BLOCK).max(axis=1), 1e-9))
    # the mean of minima over as many blocks is nowhere above what any of these blocks needs, also between two points
    smooth = uniform_filter1d(minimum_filter1d(needed, 13, mode="nearest"), 9, mode="nearest")
    centres = (np.arange(blocks) + 0.5) * BLOCK
    return np.interp(np.arange(len(peak_N)), centres, smooth).astype(np.float32)
