"""`livejam-player`: a model that livejam exported accompanies a recording."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from livejam_player.model import Array, ModelError
from livejam_player.player import Player
from livejam_player.resampling import resample

CHUNK = 4096


def build_parser() -> argparse.ArgumentParser:
    """The command line, the same for every player of exported models."""
    parser = argparse.ArgumentParser(
        prog="livejam-player",
        description="Play along with a recording. The accompaniment has its length, rate and channels, in 24 bits.",
        epilog="example: livejam-player --model exported --mix song.wav --instrument drums --seed 0 --out drums.wav",
    )
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="written by `livejam export`")
    parser.add_argument("--mix", type=Path, required=True, metavar="WAV", help="what the musician plays (WAV or FLAC)")
    parser.add_argument("--out", type=Path, required=True, metavar="WAV", help="the accompaniment")
    parser.add_argument("--instrument", metavar="NAME", help="one that the model learnt (default: the model's own)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal notes (default: 0)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every graph (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file (default: keep it)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    try:
        return _play(build_parser().parse_args(arguments))
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except (ModelError, OSError, soundfile.LibsndfileError) as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2


def _play(options: argparse.Namespace) -> int:
    if options.threads < 1:
        raise ModelError(f"--threads is {options.threads}; use 1 or more")
    _require_free(options.out, options.mix, options.overwrite)
    player = Player(options.model, options.instrument, options.seed, options.threads)
    mix_AN, rate = read_sound(options.mix)
    started = time.perf_counter()
    played_AN = accompany(player, mix_AN, rate)
    took, seconds = time.perf_counter() - started, mix_AN.shape[1] / rate
    clipped = int((np.abs(played_AN) > 1).sum())
    _write(options.out, played_AN, rate)
    print(f"{options.out}: {seconds:.1f} s in {took:.1f} s, {seconds / max(took, 1e-9):.1f} times real time")
    if clipped:
        print(f"  {clipped} samples were clipped")
    return 0


def accompany(player: Player, mix_AN: Array, sample_rate_hz: int) -> Array:
    """The accompaniment of a recording, at its rate and with its channels."""
    heard_AN = resample(as_channels(mix_AN, player.channels), sample_rate_hz, player.sample_rate_hz)
    # what the recording's last samples need is known early enough, if sound goes on as silence
    padded_AN = np.pad(heard_AN, ((0, 0), (0, player.sample_rate_hz // 10)))
    pieces = [player.process(padded_AN[:, at : at + CHUNK]) for at in range(0, padded_AN.shape[1], CHUNK)]
    played_AN = resample(np.concatenate(pieces, axis=1), player.sample_rate_hz, sample_rate_hz)
    return as_channels(played_AN[:, : mix_AN.shape[1]], len(mix_AN))


def as_channels(audio_AN: Array, channels: int) -> Array:
    """With another number of channels: mixed down, or on the first two of them."""
    if len(audio_AN) == channels:
        return audio_AN
    mono_1N = audio_AN.mean(axis=0, keepdims=True)
    if channels == 1:
        return mono_1N
    pair_AN = audio_AN if len(audio_AN) == 2 else np.repeat(mono_1N, 2, axis=0)
    return np.pad(pair_AN, ((0, channels - 2), (0, 0)))


def read_sound(path: Path) -> tuple[Array, int]:
    """A recording (AN) and its rate.

    Raises:
        ModelError: it cannot be read, is empty, or is not finite.
    """
    try:
        audio_NA, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ModelError(f"{path} cannot be read as sound ({error}); use WAV or FLAC") from error
    if not len(audio_NA):
        raise ModelError(f"{path} holds no sound; use another recording")
    if not np.isfinite(audio_NA).all():
        raise ModelError(f"{path} contains NaN or infinite samples; export it again")
    return np.ascontiguousarray(audio_NA.T), rate


def _require_free(out: Path, mix: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise ModelError(f"--out {out} is a folder; name a file in it")
    if out.exists() and mix.exists() and out.samefile(mix):
        raise ModelError(f"--out {out} is also the mix; write to another file")
    if out.exists() and not overwrite:
        raise ModelError(f"--out {out} exists; choose another name, or replace it with --overwrite")
    if out.suffix.lower() not in (".wav", ".flac"):
        raise ModelError(f"--out {out} is no sound file; call it {out.stem}.wav")


def _write(path: Path, audio_AN: Array, rate: int) -> None:
    """Write a sound file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".playing-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        soundfile.write(temporary, np.clip(audio_AN.T, -1, 1), rate, subtype="PCM_24")
        temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
