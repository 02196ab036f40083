"""The sketch of a command line: a recording whose curves a model follows.

Shapes: T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from livejam.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from livejam.checkpoints.player import Player

PIECE_SAMPLES = 1 << 18

CONTROLS = ("loudness", "brightness", "pitch")
"""Those of `livejam.sketch`, which needs PyTorch; a command line is read without."""


def add_sketch(command: argparse.ArgumentParser) -> None:
    """What is followed, and in what."""
    command.add_argument("--sketch", type=Path, metavar="WAV", help="what it follows in loudness, brightness and pitch")
    command.add_argument(
        "--sketch-controls",
        nargs="+",
        choices=CONTROLS,
        metavar="CONTROL",
        help="follow the sketch in these alone: loudness, brightness, pitch (default: all of them)",
    )


def require_sketch(options: argparse.Namespace) -> None:
    """Refuse controls of no sketch.

    Raises:
        UserError: names the option.
    """
    if options.sketch_controls and options.sketch is None:
        raise UserError("--sketch-controls says what of --sketch is followed; give a --sketch, or leave it out")


def read_sketch(
    path: Path,
    player: Player,
    mix_seconds: float | None,
    of_voice: bool = False,
    controls: Collection[str] | None = None,
) -> Tensor:
    """The curves of a recording that lies beside the mix (packed_TP); says so if they end early, or ask for silence.

    Args:
        path: the recording, of any rate and number of channels.
        player: the model that will follow it.
        mix_seconds: how long it will play; None = not known.
        of_voice: whether it is a voice, of which the pitch that is sung is followed, and not the overtones.
        controls: those that are followed; None = all.

    Raises:
        UserError: the model follows no sketch, or the recording is missing, unreadable, empty or not finite.
    """
    import torch

    from livejam.audio_files import open_recording
    from livejam.cli.stage import say
    from livejam.sketch import VoicePitch, asking_for
    from livejam.streaming.sketches import analysis_of, sketch_of

    analysis_of(player.accompanist)
    sound = open_recording(path)
    pieces = (torch.from_numpy(audio_AN) for audio_AN in sound.blocks(PIECE_SAMPLES))
    curves_TP = sketch_of(player, pieces, sound.sample_rate_hz, VoicePitch() if of_voice else None)
    if mix_seconds is not None and sound.seconds < mix_seconds - player.codec.spec.frame_seconds:
        say(f"the sketch ends after {sound.seconds:.1f} s; from there on the model plays as without one")
    if not curves_TP[:, 0].any():
        say(f"{path} is silent, and so asks for silence")
    return curves_TP if controls is None else asking_for(curves_TP, controls)
