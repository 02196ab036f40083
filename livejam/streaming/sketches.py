"""What a session is asked to follow: the curves of a sound, or curves of any origin.

Shapes: A audio channels, N samples, T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.accompanist import FOLLOWS_NONE, Accompanist
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.sketch import PitchBy, SketchAnalysis, SketcherState, require_packed
from livejam.streaming.resampling import Resampler, ResamplerState


def analysis_of(accompanist: Accompanist[object]) -> SketchAnalysis:
    """How the sketches are made that a model follows.

    Raises:
        UserError: it follows none.
    """
    analysis = getattr(accompanist, "sketch", None)
    if not isinstance(analysis, SketchAnalysis):
        raise UserError(FOLLOWS_NONE)
    return analysis


@dataclass(frozen=True)
class SketchStreamState:
    """What the next frames need of the sound so far."""

    resampler: ResamplerState
    sketcher: SketcherState


class SketchStream:
    """The curves of a sound as it comes, at the rate of a model's latents.

    Args:
        player: the model that will follow them.
        sample_rate_hz: rate of the sound.
        voice: how the pitch of the sound is heard, if it is a voice and the model was trained on the notes of
            instruments; None = as in the model's training.

    Raises:
        UserError: the model follows no sketch, or this is no rate of sound.
    """

    def __init__(self, player: Player, sample_rate_hz: int, voice: PitchBy | None = None) -> None:
        trained, spec = analysis_of(player.accompanist), player.codec.spec
        analysis = trained if voice is None or trained.voice is not None else replace(trained, voice=voice)
        self.resampler, self.sketcher = Resampler(sample_rate_hz, spec.sample_rate_hz), analysis.at(spec)
        self.hop_samples, self.numbers, self._trained = spec.hop_samples, analysis.numbers, trained

    def init_state(self) -> SketchStreamState:
        """The state before the first sample."""
        return SketchStreamState(self.resampler.init_state(1), self.sketcher.init_state(torch.zeros(1, 1, 0)))

    @torch.inference_mode()
    def step(self, audio_AN: Tensor, state: SketchStreamState) -> tuple[Tensor, SketchStreamState]:
        """The packed_TP of the frames that the next samples complete, and the state after them.

        Args:
            audio_AN: any number of samples, on the CPU.
            state: the state before them.
        """
        resampled_1N, inward = self.resampler.step(audio_AN.mean(dim=0, keepdim=True), state.resampler)
        curves_BTP, sketcher = self.sketcher.step(resampled_1N[None], state.sketcher)
        return curves_BTP[0], SketchStreamState(inward, sketcher)

    @property
    def late_frames(self) -> int:
        """Frames by which its notes come later than those that the model was trained on."""
        return round(self.sketcher.pitch.lag_frames) if self._trained.voice is None else 0

    @property
    def rest_samples(self) -> int:
        """Samples after the end of a sound, with which its last frame is whole, and its last notes have come."""
        return self.resampler.half_width + 1 + self.resampler.needed((1 + self.late_frames) * self.hop_samples)

    def frames_of(self, samples: int) -> int:
        """Frames of a sound of so many samples, the last of which may be cut off."""
        return -(-(samples * self.resampler.up) // (self.resampler.down * self.hop_samples))


def takes_sketches(accompanist: Accompanist[object]) -> bool:
    """Whether a model follows sketches."""
    return isinstance(getattr(accompanist, "sketch", None), SketchAnalysis)


def sketch_of(player: Player, sound: Iterable[Tensor], sample_rate_hz: int, voice: PitchBy | None = None) -> Tensor:
    """The curves of a sound that lies beside the mix, for `Session.set_sketch`: packed_TP.

    Args:
        player: the model that will follow them.
        sound: audio AN in pieces of any length; a last frame that is not whole ends with silence.
        sample_rate_hz: its rate, which need not be the mix's.
        voice: as in `SketchStream`. The whole sound is known, so its notes are put where they are sung.

    Raises:
        UserError: the model follows no sketch, or this is no rate of sound.
    """
    stream, heard, pieces = SketchStream(player, sample_rate_hz, voice), 0, []
    late = stream.late_frames
    state, rest_AN = stream.init_state(), torch.zeros(1, stream.rest_samples)
    for audio_AN in itertools.chain(sound, (rest_AN,)):
        heard += 0 if audio_AN is rest_AN else audio_AN.shape[1]
        curves_TP, state = stream.step(audio_AN, state)
        pieces.append(curves_TP)
    curves_TP = torch.cat(pieces)
    levels_T2, notes_TP = curves_TP[:, :2], curves_TP[late:, 2:]
    frames = stream.frames_of(heard)
    return torch.cat((levels_T2[:frames], notes_TP[:frames]), dim=1)


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
