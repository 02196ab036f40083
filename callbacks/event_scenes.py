"""Models and anchors in songs in which something happens, measured beat by beat.

Shapes: B songs, A audio channels, N audio samples, T latent frames, C latent channels, S songs.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from datamodules.event_songs import MARGIN_SECONDS, SEED, EventSong, event_songs, render_event_songs
from datamodules.wide_songs.collection import EventName
from livejam.accompanist import Controls, accompany
from livejam.batch import CATEGORIES
from livejam.checkpoints.player import Player
from livejam.files import atomic_path
from metrics.adaptation import AFTER, BEATS_B, STRETCH_BEATS, Floats, Happening, curves, ignoring, late
from metrics.beat_tracking import BeatTracker
from metrics.evaluation.clips import LOUDEST, Audio
from metrics.evaluation.harmony_measure import UNPITCHED

DRUMS = "Percussive"
ANCHORS: dict[str, Callable[[Happening], Audio]] = {
    "perfect": lambda song: song.target_N,
    "late": late,
    "ignores": ignoring,
}
"""Row → what it plays: the true stem, a bar late, and as if nothing had happened."""

METHOD = "stretches of 4 beats, levels of single ones, 16 beats before and 32 after, tracked on their own"
"""What kept numbers depend on besides the songs."""

Found = dict[str, Floats]
"""Column → curves_SB of a row in one event, and `rests_…` → beats_S for which everybody rests."""


@dataclass(frozen=True)
class Scene:
    """An event: its songs, with a drummer wanted, and with a pitched player.

    Args:
        drums: songs that have drums, unless these drop out.
        pitched: songs in which somebody plays notes.
    """

    drums: list[EventSong]
    pitched: list[EventSong]

    @property
    def songs(self) -> list[EventSong]:
        """All of them."""
        return [*self.drums, *self.pitched]


def scene_of(event: EventName, songs: int, folder: Path, instruments: Sequence[str], sample_rate_hz: int) -> Scene:
    """An event's songs, rendered where they are missing.

    Args:
        event: what happens.
        songs: how many.
        folder: where songs are kept.
        instruments: names of what can be played; empty = all.
        sample_rate_hz: rate at which they are played.
    """
    root = folder / f"{event}_{songs}"
    render_event_songs(root, event, songs)
    known = instruments or CATEGORIES
    drums = {DRUMS} & set(known) if event != "drums_out" else set()
    parts = (drums, set(known) - set(UNPITCHED))
    return Scene(*(event_songs(root, part, sample_rate_hz, AFTER + STRETCH_BEATS) for part in parts))


@torch.inference_mode()
def performed(player: Player, songs: Sequence[EventSong]) -> list[Audio]:
    """What a model plays to songs, all of them at once, step by step.

    Args:
        player: model and codec.
        songs: at least one; shorter ones are filled up with silence.

    Returns:
        Stems as long as the songs; silence where a model that has diverged plays what is no sound.
    """
    spec, device = player.codec.spec, player.silence_C.device
    hop = player.accompanist.block_frames * spec.hop_samples
    samples = -(-max(len(song.mix_N) for song in songs) // hop) * hop
    mix_BAN = torch.zeros(len(songs), spec.audio_channels, samples)
    for row_AN, song in zip(mix_BAN, songs, strict=True):
        row_AN[:, : len(song.mix_N)] = torch.from_numpy(song.mix_N)
    instrument_B = torch.tensor([song.category for song in songs], device=device)
    seed_B = torch.tensor([zlib.crc32(song.name.encode()) for song in songs], device=device)
    mix_BTC = torch.cat([player.codec.encode(x_BAN) for x_BAN in mix_BAN.to(device).split(1)])
    played_BTC = accompany(player.accompanist, mix_BTC, Controls(instrument_B, seed_B), player.silence_C)
    played = (_mono(player.codec.decode(x_BTC.float())) for x_BTC in played_BTC.split(1))
    return [stem_N[: len(song.mix_N)] for stem_N, song in zip(played, songs, strict=True)]


def _mono(audio_BAN: Tensor) -> Audio:
    """Channels averaged; silence in place of what is no sound, as in a test."""
    stem_N: Audio = audio_BAN[0].float().mean(0).cpu().numpy()
    return stem_N if (np.abs(stem_N) <= LOUDEST).all() else np.zeros_like(stem_N)


def model_row(player: Player, scene: Scene, track: BeatTracker) -> Found:
    """What a model plays, measured."""
    return _measured(scene, performed(player, scene.songs), track) if scene.songs else {}


def anchor_row(row: str, scene: Scene, track: BeatTracker) -> Found:
    """What an anchor plays, measured.

    Args:
        row: a key of `ANCHORS`.
        scene: the songs.
        track: tracks the beats of drummers.
    """
    return _measured(scene, [ANCHORS[row](happening_of(song)) for song in scene.songs], track)


def happening_of(song: EventSong) -> Happening:
    """What is known of a song, as the metrics want it."""
    pitched, times = CATEGORIES[song.category] != DRUMS, (song.event_seconds, song.resumes_seconds)
    return Happening(song.target_N, song.sample_rate_hz, song.annotations, *times, pitched)


def _measured(scene: Scene, stems: Sequence[Audio], track: BeatTracker) -> Found:
    """Curves of all parts; columns that a part does not have are left out."""
    given, found = iter(stems), {}
    for part, songs in (("drums", scene.drums), ("pitched", scene.pitched)):
        happenings = [happening_of(song) for song in songs]
        each = [curves(h, stem_N, _tracked(h, stem_N, track)) for h, stem_N in zip(happenings, given, strict=False)]
        for name in each[0] if each else ():
            curves_SB = np.array([own[name] for own in each])
            if np.isfinite(curves_SB).any():
                found[f"{name}_{part}"] = curves_SB
        if each:
            found[f"rests_{part}"] = np.array([h.rest_beats for h in happenings])
    return found


def _tracked(song: Happening, stem_N: Audio, track: BeatTracker) -> Floats:
    """Beats of a drummer's stem before and after the event, in seconds of the song.

    Either part is tracked on its own: a tracker looks for one tempo in all that it hears, and what comes after the
    event would move the beats before it.
    """
    if song.pitched:
        return np.zeros(0)
    rate, beats = song.sample_rate_hz, song.annotations.beats_seconds
    start = max(0.0, beats[max(0, song.event_beat + int(BEATS_B[0]))] - MARGIN_SECONDS)
    parts = ((start, song.event_seconds), (song.resumes_seconds, len(stem_N) / rate))
    heard = [stem_N[round(first * rate) : round(last * rate)] for first, last in parts]
    return np.concatenate([np.asarray(own) + first for own, (first, _) in zip(track(heard, rate), parts, strict=True)])


def kept(folder: Path, event: str, row: str, what: Sequence[str], measure: Callable[[], Found]) -> Found:
    """A row that was measured before, or is now; a damaged file counts as missing.

    Args:
        folder: where rows are kept.
        event: what happened.
        row: its name.
        what: what the numbers depend on besides these and `METHOD`.
        measure: measures.
    """
    digest = hashlib.sha256("/".join((METHOD, str(SEED), *what)).encode()).hexdigest()[:16]
    file = folder / f"{event}-{row}-{digest}.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError):
        found = measure()
        with atomic_path(file) as temporary:
            save_file({name: np.ascontiguousarray(own) for name, own in found.items()}, temporary)
        return found
