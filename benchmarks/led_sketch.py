"""How late a model follows a voice that leads its sketch while both play: expected, and measured in what it plays.

python -m benchmarks.led_sketch --checkpoint runs/lmdm_sketch_pocket/checkpoints/last.ckpt --songs data/test

To the mix of every song, a voice sings a note of its own choice for a while, at a level of its own choice, then another
one, all drawn at random. It leads loudness and pitch (`livejam.streaming.live_sketch`), or what `--lead` says, heard by
the tracker of single notes. The curves of the voice, in time with what was sung, are then compared with those of what
was played at every delay: loudness by its correlation, the note by the share of sung frames whose strongest note has
its name. The delay at which they agree most, on the mean of all songs, is how late the model follows, in the time of
the music; what a line and a sound card take is not in it. "At once" is the agreement without any delay, "chance" its
mean over delays of three to five seconds, and "hearing" the processor's seconds that a second of the voice takes.

With 95 % intervals over songs, which are left out one at a time. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

import livejam
from benchmarks.sung_sketch import voice
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.sketch import VoicePitch
from livejam.streaming import LiveSketch, Session
from livejam.streaming.resampling import resample
from livejam.streaming.sketches import SketchStream, sketch_of
from metrics.intervals import FEWEST_SONGS, jackknife_interval

LOWEST_NOTE, NOTES, SOFTEST_DB, LOUDEST_DB = 50, 20, -40.0, -12.0
HELD_SECONDS = 1.0, 2.0
MOST_SECONDS = 5.0
"""The longest delay that is looked at."""

FAR_SECONDS = 3.0


def sung(seconds: float, rate: int, rng: np.random.Generator) -> Tensor:
    """A voice (N): notes and levels that hold for a while each."""
    samples = round(seconds * rate)
    note_N, gain_N = torch.zeros(samples, dtype=torch.float64), torch.zeros(samples, dtype=torch.float64)
    place = 0
    while place < samples:
        end = place + round(rng.uniform(*HELD_SECONDS) * rate)
        note_N[place:end] = LOWEST_NOTE + int(rng.integers(NOTES))
        gain_N[place:end] = 10 ** (rng.uniform(SOFTEST_DB, LOUDEST_DB) / 20)
        place = end
    return (voice(note_N, rate) * gain_N).float()


def played(
    session: Session, mix_N: Tensor, voice_N: Tensor, controls: Sequence[str], known: bool
) -> tuple[Tensor, float]:
    """What is played (N), in time with the mix, and the seconds that hearing the voice took.

    Args:
        session: at its beginning.
        mix_N: what it plays to.
        voice_N: what leads.
        controls: that it leads.
        known: whether the curves of the voice are there from the beginning, as with `livejam play --sketch`.
    """
    rate, out, spent = session.sample_rate_hz, [], 0.0
    live, block = LiveSketch(session, controls, VoicePitch()), rate // 50
    if known:
        curves_TP = sketch_of(session.player, [voice_N[None]], rate, VoicePitch())
        session.trace_sketch(curves_TP, 0, controls)
    for at in range(0, len(mix_N) - block + 1, block):
        begun = time.thread_time()
        if not known:
            live.hear(session, voice_N[None, at : at + block], at)
        spent += time.thread_time() - begun
        out.append(session.advance(mix_N[None, at : at + block])[0, 0])
    return torch.cat(out), spent


def agreement(asked_TP: Tensor, played_TP: Tensor, delays: int) -> tuple[list[float], list[float]]:
    """Correlation of loudness, and share of pitch classes, at every delay from 0 frames on."""
    loudness, notes = [], []
    for delay in range(delays):
        frames = min(len(asked_TP), len(played_TP) - delay)
        asked, made = asked_TP[:frames].double(), played_TP[delay : delay + frames].double()
        loudness.append(float(torch.corrcoef(torch.stack((asked[:, 0], made[:, 0])))[0, 1]))
        kept = (played_TP.shape[1] - 2) // 2
        sings = (asked[:, 2] >= 0) & (asked[:, 2 + kept] > 0.5)
        notes.append(float(((asked[:, 2] - made[:, 2]) % 12 == 0)[sings].double().mean()))
    return loudness, notes


def song_curves(player: Player, path: Path, options: argparse.Namespace, number: int) -> dict[str, list[float]]:
    """What is measured in one song: agreement at every delay, and how long hearing took."""
    audio_NA, file_rate = soundfile.read(path, stop=-1, always_2d=True, dtype="float32")
    rate, frame_rate = player.codec.spec.sample_rate_hz, player.codec.spec.frame_rate_hz
    audio_AN = torch.from_numpy(audio_NA[: round(options.seconds * file_rate)].mean(axis=1))[None]
    mix_N = resample(audio_AN, file_rate, rate)[0]
    voice_N = sung(len(mix_N) / rate, rate, np.random.default_rng(number))
    session = Session(player, sample_rate_hz=rate, channels=1, instruments=[options.instrument], seeds=[number])
    out_N, spent = played(session, mix_N, voice_N, options.lead, options.known)
    stream = SketchStream(player, rate)
    asked_TP = sketch_of(player, [voice_N[None]], rate, VoicePitch())
    played_TP, _ = stream.step(out_N[None], stream.init_state())
    loudness, notes = agreement(asked_TP, played_TP, round(MOST_SECONDS * frame_rate))
    return {"loudness": loudness, "notes": notes, "hearing": [spent / (len(mix_N) / rate)]}


def summary(curves: Sequence[dict[str, list[float]]], frame_rate_hz: float) -> dict[str, float]:
    """The numbers of some songs, by their mean curves."""
    mean = {name: np.mean([song[name] for song in curves], axis=0) for name in curves[0]}
    found, far = {"hearing": float(mean["hearing"][0])}, round(FAR_SECONDS * frame_rate_hz)
    for name in ("loudness", "notes"):
        curve, best = mean[name], int(np.argmax(mean[name][:far]))
        found |= {f"{name} delay": best / frame_rate_hz, f"{name} agreement": float(curve[best])}
        found |= {f"{name} at once": float(curve[0]), f"{name} chance": float(np.mean(curve[far:]))}
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--songs", type=Path, required=True, help="a folder of songs in Slakh2100's format")
    parser.add_argument("--instrument", default="Piano")
    parser.add_argument("--lead", nargs="+", default=["loudness", "pitch"], help="what the voice leads")
    parser.add_argument("--known", action="store_true", help="the voice is known ahead, as --sketch of `livejam play`")
    parser.add_argument("--seconds", type=float, default=20.0, help="of every song")
    parser.add_argument("--most", type=int, default=8, help="songs")
    options = parser.parse_args(words)
    player = livejam.load(options.checkpoint)
    paths = sorted(options.songs.glob("*/mix.flac"))[: options.most]
    if len(paths) < FEWEST_SONGS:
        raise UserError(
            f"--songs {options.songs} has {len(paths)} songs with a mix.flac; give {FEWEST_SONGS} or more, as "
            "`livejam data render` makes them"
        )
    curves = [song_curves(player, path, options, number) for number, path in enumerate(paths)]
    rate = player.codec.spec.frame_rate_hz
    whole = summary(curves, rate)
    others = [summary([*curves[:left], *curves[left + 1 :]], rate) for left in range(len(curves))]
    expected = (1 + player.accompanist.anticipation_frames) / rate
    told: dict[str, object] = {"songs": len(curves), "expected delay": round(expected, 3)}
    for name, value in whole.items():
        low, high = jackknife_interval(value, np.array([other[name] for other in others]))
        told[name] = [round(value, 3), round(low, 3), round(high, 3)]
        print(f"{name}: {value:.3f} [{low:.3f}, {high:.3f}]")
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
