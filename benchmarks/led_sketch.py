"""How late a model follows a voice that leads its sketch while both play: expected, and measured in what it plays.

python -m benchmarks.led_sketch --checkpoint runs/lmdm_sketch_pocket/checkpoints/last.ckpt --songs data/test

To the mix of every song, a voice sings a note of its own choice for a while, at a level of its own choice, then another
one, all drawn at random. It leads loudness and pitch (`livejam.streaming.live_sketch`), heard by the tracker of single
notes. The curves of the voice, in time with what was sung, are then compared with those of what was played at every
delay: loudness by its correlation, the note by the share of sung frames whose strongest note is its pitch class. The
delay at which they agree most is how late the model follows, in the time of the music; what a line and a sound card
take is not in it. "At once" is the agreement without any delay, "chance" its mean over delays of three to five seconds.

With 95 % intervals over songs. The last line is one JSON object.
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
from livejam.streaming import Session
from livejam.streaming.live_sketch import LiveSketch
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
    player: Player, mix_N: Tensor, voice_N: Tensor, rate: int, instrument: str, seed: int
) -> tuple[Tensor, float]:
    """What is played (N), in time with the mix, and the seconds that hearing the voice took."""
    session = Session(player, sample_rate_hz=rate, channels=1, instruments=[instrument], seeds=[seed])
    live, block, out, spent = LiveSketch(session, ("loudness", "pitch"), VoicePitch()), rate // 50, [], 0.0
    for at in range(0, len(mix_N) - block + 1, block):
        begun = time.perf_counter()
        live.hear(session, voice_N[None, at : at + block], at)
        spent += time.perf_counter() - begun
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


def song_results(player: Player, path: Path, options: argparse.Namespace, number: int) -> dict[str, float]:
    """What is measured in one song."""
    audio_NA, file_rate = soundfile.read(path, stop=-1, always_2d=True, dtype="float32")
    rate, frame_rate = player.codec.spec.sample_rate_hz, player.codec.spec.frame_rate_hz
    audio_AN = torch.from_numpy(audio_NA[: round(options.seconds * file_rate)].mean(axis=1))[None]
    mix_N = resample(audio_AN, file_rate, rate)[0]
    voice_N = sung(len(mix_N) / rate, rate, np.random.default_rng(number))
    out_N, spent = played(player, mix_N, voice_N, rate, options.instrument, number)
    stream = SketchStream(player, rate)
    asked_TP = sketch_of(player, [voice_N[None]], rate, VoicePitch())
    played_TP, _ = stream.step(out_N[None], stream.init_state())
    far, most = round(FAR_SECONDS * frame_rate), round(MOST_SECONDS * frame_rate)
    found: dict[str, float] = {"hearing": spent / (len(mix_N) / rate)}
    for name, curve in zip(("loudness", "notes"), agreement(asked_TP, played_TP, most), strict=True):
        best = int(np.argmax(curve[:far]))
        found |= {f"{name} delay": best / frame_rate, f"{name} agreement": curve[best], f"{name} at once": curve[0]}
        found[f"{name} chance"] = float(np.mean(curve[far:]))
    return found


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--songs", type=Path, required=True, help="a folder of songs in Slakh2100's format")
    parser.add_argument("--instrument", default="Piano")
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
    results = [song_results(player, path, options, number) for number, path in enumerate(paths)]
    expected = (1 + player.accompanist.anticipation_frames) / player.codec.spec.frame_rate_hz
    summary: dict[str, object] = {"songs": len(results), "expected delay": expected}
    for name in results[0]:
        value_U = np.array([result[name] for result in results])
        mean, others_U = float(value_U.mean()), (value_U.sum() - value_U) / (len(value_U) - 1)
        low, high = jackknife_interval(mean, others_U)
        summary[name] = [round(mean, 3), round(low, 3), round(high, 3)]
        print(f"{name}: {mean:.3f} [{low:.3f}, {high:.3f}]")
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
