"""What a session is asked to follow: the curves of a sound, or curves of any origin.

Shapes: A audio channels, N samples, T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from livejam.accompanist import FOLLOWS_NONE, Accompanist
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.sketch import SketchAnalysis, require_packed
from livejam.streaming.resampling import Resampler


def analysis_of(accompanist: Accompanist[object]) -> SketchAnalysis:
    """How the sketches are made that a model follows.

    Raises:
        UserError: it follows none.
    """
    analysis = getattr(accompanist, "sketch", None)
    if not isinstance(analysis, SketchAnalysis):
        raise UserError(FOLLOWS_NONE)
    return analysis


@torch.inference_mode()
def sketch_of(player: Player, sound: Iterable[Tensor], sample_rate_hz: int) -> Tensor:
    """The curves of a sound that lies beside the mix, for `Session.set_sketch`: packed_TP.

    Args:
        player: the model that will follow them.
        sound: audio AN in pieces of any length; a last frame that is not whole ends with silence.
        sample_rate_hz: its rate, which need not be the mix's.

    Raises:
        UserError: the model follows no sketch, or this is no rate of sound.
    """
    analysis, spec = analysis_of(player.accompanist), player.codec.spec
    resampler, sketcher = Resampler(sample_rate_hz, spec.sample_rate_hz), analysis.at(spec)
    inward, heard, pieces = resampler.init_state(1), 0, []
    state = sketcher.init_state(torch.zeros(1, 1, 0))
    rest_AN = torch.zeros(1, resampler.half_width + 1 + resampler.needed(spec.hop_samples))
    for audio_AN in itertools.chain(sound, (rest_AN,)):
        heard += 0 if audio_AN is rest_AN else audio_AN.shape[1]
        resampled_1N, inward = resampler.step(audio_AN.mean(dim=0, keepdim=True), inward)
        curves_BTP, state = sketcher.step(resampled_1N[None], state)
        pieces.append(curves_BTP[0])
    frames = -(-(heard * resampler.up) // (resampler.down * spec.hop_samples))
    return torch.cat(pieces)[:frames]


def checked_sketch(accompanist: Accompanist[object], curves_TP: Tensor, device: torch.device) -> Tensor:
    """Curves that a session can follow, on its device.

    Args:
        accompanist: the model that will follow them.
        curves_TP: packed curves of any length and any numbers.
        device: the session's.

    Raises:
        UserError: the model follows no sketch, or the curves have another form.
    """
    kept = analysis_of(accompanist).kept_notes
    if curves_TP.dim() != 2:
        raise UserError(
            f"a sketch of {curves_TP.dim()} dimensions was given; a session needs two, frames and their numbers"
        )
    require_packed(curves_TP, kept)
    return curves_TP.detach().to(device, torch.float32, copy=True)
