"""`livejam-player`: a model that livejam exported accompanies a recording, or plays live through a sound card."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import soundfile

from livejam_player.live import Card, Duet, list_devices, needed_delay, step_seconds
from livejam_player.model import Array, ModelError
from livejam_player.player import Player
from livejam_player.resampling import resample
from livejam_player.sketching import require_sketch, sketch_of
from livejam_player.sound import as_channels, read_sound

CHUNK = 4096


def build_parser() -> argparse.ArgumentParser:
    """The command line, the same for every player of exported models."""
    parser = argparse.ArgumentParser(
        prog="livejam-player",
        description="Play along with a recording, or live through a sound card (--device). The accompaniment of a "
        "recording has its length, rate and channels; files are written in 24 bits.",
        epilog="examples: livejam-player --model exported --mix song.wav --instrument drums --seed 0 --out drums.wav; "
        "livejam-player --model exported --device default --instrument drums",
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="written by `livejam export`")
    parser.add_argument("--mix", type=Path, metavar="WAV", help="what the musician plays (WAV or FLAC)")
    parser.add_argument("--out", type=Path, metavar="WAV", help="the accompaniment (with --device: not written)")
    parser.add_argument("--instrument", metavar="NAME", help="one that the model learnt (default: the model's own)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal notes (default: 0)")
    parser.add_argument("--prompt", metavar="TEXT", help="a description in words (default: the instrument's own)")
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what to lead away from, in words")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="a timeline: other words from given moments on")
    parser.add_argument("--sketch", type=Path, metavar="WAV", help="what it follows in loudness, brightness and pitch")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="for every graph (default: 1)")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file (default: keep it)")
    live = parser.add_argument_group("live")
    live.add_argument("--device", metavar="NAME", help="this sound card: number or part of its name, or default")
    live.add_argument("--input-device", metavar="NAME", help="another sound card to listen to (default: the same one)")
    live.add_argument("--seconds", type=float, metavar="S", help="end after so long (default: Ctrl-C)")
    live.add_argument("--chunk", type=int, default=256, metavar="N", help="samples per call of the card (default: 256)")
    live.add_argument("--list-devices", action="store_true", help="list the sound cards, and do nothing else")
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
    if options.list_devices:
        print(list_devices())
        return 0
    if options.threads < 1:
        raise ModelError(f"--threads is {options.threads}; use 1 or more")
    if options.model is None:
        raise ModelError("--model is missing; name a folder that `livejam export` wrote")
    return _play_file(options) if options.device is None else _play_live(options)


def _play_file(options: argparse.Namespace) -> int:
    for name in ("mix", "out"):
        if getattr(options, name) is None:
            raise ModelError(f"--{name} is missing; name it, or play live with --device default")
    _require_free(options.out, options.mix, options.overwrite)
    player = _player(options)
    mix_AN, rate = read_sound(options.mix)
    started = time.perf_counter()
    played_AN = accompany(player, mix_AN, rate)
    took, seconds = time.perf_counter() - started, mix_AN.shape[1] / rate
    clipped = int((np.abs(played_AN) > 1).sum())
    with _writer(options.out, rate, len(played_AN)) as write:
        write(played_AN)
    print(f"{options.out}: {seconds:.1f} s in {took:.1f} s, {seconds / max(took, 1e-9):.1f} times real time")
    if clipped:
        print(f"  {clipped} samples were clipped")
    return 0


def _player(options: argparse.Namespace) -> Player:
    """A player that has heard nothing yet.

    Raises:
        ModelError: the model does not know what is asked of it.
    """
    player = Player(options.model, options.instrument, options.seed, options.threads)
    if options.prompt is not None:
        player.set_prompt(options.prompt)
    if options.negative_prompt is not None:
        player.set_negative_prompt(options.negative_prompt)
    if options.prompts is not None:
        player.set_prompts(options.prompts)
    if options.sketch is not None:
        require_sketch(player.model.signature)
        sound_AN, rate = read_sound(options.sketch)
        sound_1N = resample(sound_AN.mean(axis=0, keepdims=True), rate, player.sample_rate_hz)
        player.set_sketch(sketch_of(options.model, sound_1N[0], options.threads))
    return player


def _play_live(options: argparse.Namespace) -> int:
    if options.mix is not None:
        raise ModelError("--device listens to the sound card; leave out --mix")
    if options.chunk < 1 or (options.seconds is not None and not options.seconds > 0):
        raise ModelError("--chunk and --seconds must be more than 0")
    if options.out is not None:
        _require_free(options.out, options.model, options.overwrite)
    player = _player(options)
    step = step_seconds(player)
    card = Card(player.sample_rate_hz, player.channels, options.device, options.input_device, options.chunk)
    with card.opened(), _writer(options.out, player.sample_rate_hz, player.channels) as write:
        delay = needed_delay(player, card, step)
        late = 1000 * (delay + player.late_samples) / player.sample_rate_hz
        print(f"{card.name}: a step takes {1000 * step:.1f} ms; it sounds {late:.0f} ms late. Ctrl-C ends.", flush=True)
        with Duet(player, delay, card.delay_samples or 0) as duet, suppress(KeyboardInterrupt):
            card.play(duet, options.seconds, write)
    missed = duet.missed_samples / player.sample_rate_hz
    print(f"  {missed:.2f} s were not ready in time; the card reported {card.accidents} accidents")
    return 0


def accompany(player: Player, mix_AN: Array, sample_rate_hz: int) -> Array:
    """The accompaniment of a recording, at its rate and with its channels."""
    heard_AN = resample(as_channels(mix_AN, player.channels), sample_rate_hz, player.sample_rate_hz)
    # what the recording's last samples need is known early enough, if sound goes on as silence
    padded_AN = np.pad(heard_AN, ((0, 0), (0, player.sample_rate_hz // 10)))
    pieces = [player.process(padded_AN[:, at : at + CHUNK]) for at in range(0, padded_AN.shape[1], CHUNK)]
    played_AN = resample(np.concatenate(pieces, axis=1), player.sample_rate_hz, sample_rate_hz)
    return as_channels(played_AN[:, : mix_AN.shape[1]], len(mix_AN))


def _require_free(out: Path, mix: Path, overwrite: bool) -> None:
    if out.is_dir():
        raise ModelError(f"--out {out} is a folder; name a file in it")
    if out.exists() and mix.exists() and out.samefile(mix):
        raise ModelError(f"--out {out} is also the mix; write to another file")
    if out.exists() and not overwrite:
        raise ModelError(f"--out {out} exists; choose another name, or replace it with --overwrite")
    if out.suffix.lower() not in (".wav", ".flac"):
        raise ModelError(f"--out {out} is no sound file; call it {out.stem}.wav")


@contextmanager
def _writer(path: Path | None, rate: int, channels: int) -> Iterator[Callable[[Array], None]]:
    """Takes sound (AN) for a file, which is there when all of it is, or the card is gone; None = no file."""
    if path is None:
        yield lambda audio_AN: None
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".playing-", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        failure = None
        with soundfile.SoundFile(temporary, "w", rate, channels, subtype="PCM_24") as file:
            try:
                yield lambda audio_AN: file.write(np.clip(audio_AN.T, -1, 1))
            except ModelError as error:
                failure = error
        temporary.replace(path)
        if failure is not None:
            raise failure


if __name__ == "__main__":
    sys.exit(main())
