"""From any sound to the curves of a sketch: all at once, or as it comes.

Shapes: B batch, A audio channels, N audio samples, T latent frames, P numbers of a packed frame.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.sketch.controls import Brightness, Loudness, Pitch, PitchBy, PitchControl
from livejam.sketch.curves import packed
from livejam.spec import CodecSpec

LOUDEST = 10.0
"""Samples beyond ± this are clipped, as in a session: their squares must not overflow."""


@dataclass(frozen=True)
class SketchAnalysis:
    """How curves are made of a sound. A model follows curves that are made like those that it was trained on.

    Args:
        window_seconds: windows of loudness and brightness have about this length: the nearest power of two in samples.
        windows: of these per frame; divides the codec's hop.
        kept_notes: strongest notes of a frame (k); MuseControlLite's number is 4.
        lowest_note: the lowest note of MIDI that is looked for, 0 to 127.
        longest_seconds: length of the filters for low notes, which lag by half of it.
        voice: `VoicePitch`, for voices and instruments that sound one note at a time; None = the strongest notes of a
            filter bank, which take a voice's overtones for notes.

    Raises:
        UserError: a number is out of range.
    """

    window_seconds: float = 0.05
    windows: int = 8
    kept_notes: int = 4
    lowest_note: int = 28
    longest_seconds: float = 0.25
    voice: PitchBy | None = None

    def __post_init__(self) -> None:
        if min(self.window_seconds, self.longest_seconds) <= 0 or min(self.windows, self.kept_notes) < 1:
            raise UserError(f"all numbers of a sketch's analysis are positive; these are {asdict(self)}")

    @property
    def numbers(self) -> int:
        """Numbers of a packed frame (P)."""
        return 2 + 2 * self.kept_notes

    def at(self, spec: CodecSpec) -> Sketcher:
        """What makes the curves, at the rate of a codec's latents."""
        return Sketcher(self, spec)


@dataclass(frozen=True)
class SketcherState:
    """Samples that loudness, brightness and pitch still need."""

    loudness_BN: Tensor
    brightness_BN: Tensor
    pitch_BN: Tensor


class Sketcher(nn.Module):
    """Makes curves of sound at a codec's rate; `forward` all at once, `step` as the sound comes, with the same result.

    Args:
        analysis: how.
        spec: of the codec, whose frames these are.

    Raises:
        UserError: the codec's frames do not fit the windows.
    """

    def __init__(self, analysis: SketchAnalysis, spec: CodecSpec) -> None:
        super().__init__()
        self.analysis, rate, hop = analysis, spec.sample_rate_hz, spec.hop_samples
        fft_samples = 2 ** round(math.log2(analysis.window_seconds * rate))
        self.loudness = Loudness(rate, hop, fft_samples, analysis.windows)
        self.brightness = Brightness(rate, hop, fft_samples, analysis.windows)
        self.pitch: PitchControl = (
            Pitch(rate, hop, analysis.kept_notes, analysis.lowest_note, analysis.longest_seconds)
            if analysis.voice is None
            else analysis.voice.at(rate, hop)
        )

    def init_state(self, audio_BAN: Tensor) -> SketcherState:
        """The state before the first sample.

        Args:
            audio_BAN: only its rows, type and device matter.
        """
        mono_BN = audio_BAN[:, 0]
        controls = self.loudness, self.brightness, self.pitch
        return SketcherState(*(control.init_state(mono_BN) for control in controls))

    def step(self, audio_BAN: Tensor, state: SketcherState) -> tuple[Tensor, SketcherState]:
        """The packed_BTP of the frames that the next samples complete, and the state after them.

        Args:
            audio_BAN: any number of samples, mixed down to mono. Samples that are not finite count as silence.
            state: the state before them.
        """
        mono_BN = audio_BAN.nan_to_num(0.0, 0.0, 0.0).clamp(-LOUDEST, LOUDEST).mean(dim=1)
        loudness_BTK, loudness_BN = self.loudness.step(mono_BN, state.loudness_BN)
        brightness_BTK, brightness_BN = self.brightness.step(mono_BN, state.brightness_BN)
        pitch_BTK, pitch_BN = self.pitch.step(mono_BN, state.pitch_BN)
        curves_BTP = packed(loudness_BTK, brightness_BTK, pitch_BTK, self.analysis.kept_notes)
        return curves_BTP, SketcherState(loudness_BN, brightness_BN, pitch_BN)

    @torch.no_grad()
    def forward(self, audio_BAN: Tensor) -> Tensor:
        """The packed_BTP of a whole sound."""
        return self.step(audio_BAN, self.init_state(audio_BAN))[0]
