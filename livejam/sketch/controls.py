"""Curves that say how a sound goes on, at the latent frame rate: loudness, brightness and pitch, each causal.

Every frame is a function of the samples up to its own end, and of no later ones. So a curve is the same whether all of
a recording is there or only its beginning, and whether it is heard at once or in pieces.

Shapes: B batch, N audio samples, T latent frames, W samples of a window, J windows of a frame, F frequencies,
K channels of a control.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import Tensor, nn

from livejam.errors import UserError

FLOOR = 1e-4
"""Amplitude, 80 dB below full scale, near which brightness and pitch fade to "none"."""

SOFTEST_DB, RANGE_DB = -100.0, 180.0
"""Loudness is (dB + 100) / 180, as in flash-foley."""

NOTES = 128
"""Bins of pitch: the notes of MIDI, twelve per octave."""

A4_NOTE, A4_HZ, OCTAVE = 69, 440.0, 12

FRAMES_AT_ONCE = 256
"""Frames that are in memory with their windows at the same time."""


class Control(nn.Module, ABC):
    """A curve of a sound. `forward` hears all of it; `step` hears it in pieces of any length, with the same result.

    Args:
        hop_samples: samples of a latent frame.
        window_samples: samples that a frame depends on, up to its end; at least a frame.

    Attributes:
        channels: numbers per frame (K).
    """

    channels: int

    def __init__(self, hop_samples: int, window_samples: int) -> None:
        super().__init__()
        self.hop_samples, self.window_samples = hop_samples, max(hop_samples, window_samples)

    @abstractmethod
    def curve(self, heard_BN: Tensor) -> Tensor:
        """The curve_BTK, in [0, 1], of the frames that these samples complete.

        Args:
            heard_BN: whole frames, and the samples before the first that it depends on.
        """

    def init_state(self, audio_BN: Tensor) -> Tensor:
        """The state before the first sample, which silence precedes.

        Args:
            audio_BN: only its rows, type and device matter.
        """
        return audio_BN.new_zeros(len(audio_BN), self.window_samples - self.hop_samples)

    def step(self, audio_BN: Tensor, state_BN: Tensor) -> tuple[Tensor, Tensor]:
        """The frames that these samples complete (none, if they are few), and the state after them.

        Args:
            audio_BN: the next samples, in [-1, 1].
            state_BN: the state before them: samples that are still needed.
        """
        heard_BN = torch.cat((state_BN, audio_BN), dim=1)
        before = self.window_samples - self.hop_samples
        frames = (heard_BN.shape[1] - before) // self.hop_samples
        if not frames:
            return heard_BN.new_zeros(len(heard_BN), 0, self.channels), heard_BN
        edges = [*range(0, frames, FRAMES_AT_ONCE), frames]
        samples = [slice(a * self.hop_samples, before + b * self.hop_samples) for a, b in pairwise(edges)]
        parts = [self.curve(heard_BN[:, part]) for part in samples]
        return torch.cat(parts, dim=1), heard_BN[:, frames * self.hop_samples :]

    def forward(self, audio_BN: Tensor) -> Tensor:
        """The curve_BTK of a whole sound, from its beginning; a last frame that is not whole is left out."""
        return self.step(audio_BN, self.init_state(audio_BN))[0]


class WindowedControl(Control):
    """A curve whose frames are functions of a window each."""

    @abstractmethod
    def values(self, windows_BTW: Tensor) -> Tensor:
        """The curve_BTK, in [0, 1], of frames with so many samples up to their end."""

    def curve(self, heard_BN: Tensor) -> Tensor:
        return self.values(heard_BN.unfold(1, self.window_samples, self.hop_samples))


class SpectralControl(WindowedControl):
    """A curve from short spectra: those windows whose end lies in the frame.

    Args:
        sample_rate_hz: rate of the sound.
        hop_samples: samples of a latent frame.
        fft_samples: samples of a window.
        windows: windows per frame; divides `hop_samples`.

    Raises:
        UserError: it does not, or windows leave gaps.
    """

    channels = 1
    frequency_F: Tensor
    hann_W: Tensor

    def __init__(self, sample_rate_hz: int, hop_samples: int, fft_samples: int, windows: int) -> None:
        if hop_samples % windows or fft_samples < hop_samples // windows:
            raise UserError(
                f"{windows} windows of {fft_samples} samples do not cover a frame of {hop_samples} samples evenly; "
                "choose a number of windows that divides it, and windows at least as long as from one to the next"
            )
        self.step_samples = hop_samples // windows
        super().__init__(hop_samples, hop_samples - self.step_samples + fft_samples)
        self.fft_samples = fft_samples
        frequency_F = torch.arange(fft_samples // 2 + 1, dtype=torch.float64) * sample_rate_hz / fft_samples
        self.register_buffer("frequency_F", frequency_F, persistent=False)
        self.register_buffer("hann_W", torch.hann_window(fft_samples, dtype=torch.float64), persistent=False)

    def values(self, windows_BTW: Tensor) -> Tensor:
        return self.level(self.magnitudes(windows_BTW))

    @abstractmethod
    def level(self, magnitude_BTJF: Tensor) -> Tensor:
        """The curve_BTK, in [0, 1], of frames with these spectra."""

    def magnitudes(self, windows_BTW: Tensor) -> Tensor:
        """|STFT|_BTJF; a sine of amplitude a has about a / 2 in its bin."""
        # a window may be longer than needed, if it is shorter than a frame
        needed = self.hop_samples - self.step_samples + self.fft_samples
        short_BTJW = windows_BTW[..., -needed:].unfold(2, self.fft_samples, self.step_samples)
        hann_W = self.hann_W.to(windows_BTW)
        return torch.fft.rfft(short_BTJW * (hann_W / hann_W.sum())).abs()


class Loudness(SpectralControl):
    """The A-weighted level (IEC 61672-1) in dB of full scale, as (dB + 100) / 180 and clamped to [0, 1].

    A sine of 1 kHz at full scale has -3 dB. It is what Sketch2Sound (arXiv 2412.08550) takes for loudness; offset and
    range are flash-foley's.
    """

    gain_F: Tensor

    def __init__(self, sample_rate_hz: int, hop_samples: int, fft_samples: int, windows: int) -> None:
        super().__init__(sample_rate_hz, hop_samples, fft_samples, windows)
        # power of both halves of the spectrum, and of the window
        sides_F = torch.full_like(self.frequency_F, 2.0)
        sides_F[0] = 1.0
        scale = self.hann_W.sum() ** 2 / (self.hann_W.square().sum() * fft_samples)
        self.register_buffer("gain_F", a_weighting(self.frequency_F) * sides_F * scale, persistent=False)

    def level(self, magnitude_BTJF: Tensor) -> Tensor:
        power_BT = (magnitude_BTJF.square() @ self.gain_F.to(magnitude_BTJF)).mean(dim=2)
        level_db = 10 * torch.log10(power_BT + 10 ** (SOFTEST_DB / 10))
        return ((level_db - SOFTEST_DB) / RANGE_DB).clamp(0, 1)[..., None]


class Brightness(SpectralControl):
    """The spectral centroid as a note of MIDI, divided by 127 and clamped to [0, 1]; 0 in silence."""

    def level(self, magnitude_BTJF: Tensor) -> Tensor:
        magnitude_BTF = magnitude_BTJF.mean(dim=2)
        centroid_BT = magnitude_BTF @ self.frequency_F.to(magnitude_BTF) / (magnitude_BTF.sum(dim=2) + FLOOR)
        note_BT = A4_NOTE + OCTAVE * torch.log2(centroid_BT.clamp_min(1.0) / A4_HZ)
        return (note_BT / (NOTES - 1)).clamp(0, 1)[..., None]


class PitchControl(Control):
    """How strongly every note of MIDI sounds.

    Attributes:
        lag_frames: frames by which it is late where that is the same for all notes; 0 where it depends on the note.
    """

    channels = NOTES
    lag_frames = 0.0


class Pitch(WindowedControl, PitchControl):
    """How strongly every note of MIDI sounds, relative to the strongest; only the strongest peaks, 0 elsewhere.

    A constant-Q filter bank, twelve notes per octave (Q 16.8). Its low filters are shorter than that, so that they do
    not lag by more than half of `longest_seconds`. LMDM names "top-k CQT" and neither k nor bins; MuseControlLite keeps
    the 4 largest of 128 bins. Here they are the largest peaks, because the neighbours of a loud note are louder than
    most other notes.

    Args:
        sample_rate_hz: rate of the sound.
        hop_samples: samples of a latent frame.
        kept: peaks per frame (k), at least 1.
        lowest_note: the lowest note of MIDI that is looked for; 28 is a bass's E.
        longest_seconds: length of the longest filters.

    Raises:
        UserError: no note, or no peak, is looked for.
    """

    def __init__(
        self, sample_rate_hz: int, hop_samples: int, kept: int, lowest_note: int, longest_seconds: float
    ) -> None:
        highest = min(NOTES - 1, math.floor(A4_NOTE + OCTAVE * math.log2(0.45 * sample_rate_hz / A4_HZ)))
        if not 0 <= lowest_note <= highest or not 1 <= kept <= NOTES:
            raise UserError(
                f"pitch needs a lowest_note from 0 to {highest} at {sample_rate_hz} Hz, and 1 to {NOTES} peaks; "
                f"not {lowest_note} and {kept}"
            )
        q, longest = 1 / (2 ** (1 / OCTAVE) - 1), round(longest_seconds * sample_rate_hz)
        hz = [A4_HZ * 2 ** ((note - A4_NOTE) / OCTAVE) for note in range(lowest_note, highest + 1)]
        lengths = [min(longest, round(q * sample_rate_hz / each)) for each in hz]
        firsts = [*range(0, len(hz), OCTAVE), len(hz)]
        self.steps = [_step(hop_samples, lengths[stop - 1]) for _, stop in pairwise(firsts)]
        ends = [hop_samples - step + lengths[first] for step, first in zip(self.steps, firsts, strict=False)]
        super().__init__(hop_samples, max(ends))
        self.kept, self.lowest_note = kept, lowest_note
        for octave, (first, stop) in enumerate(pairwise(firsts)):
            kernels = _kernels([h / sample_rate_hz for h in hz[first:stop]], lengths[first:stop])
            self.register_buffer(f"kernels_{octave}", kernels, persistent=False)

    def values(self, windows_BTW: Tensor) -> Tensor:
        octaves = [self._octave(number, windows_BTW) for number in range(len(self.steps))]
        return self.notes(torch.cat(octaves, dim=-1))

    def notes(self, found_BTK: Tensor) -> Tensor:
        """The curve_BTK of frames in which the notes from the lowest on have these amplitudes."""
        above = NOTES - self.lowest_note - found_BTK.shape[-1]
        return _peaks(nn.functional.pad(found_BTK, (self.lowest_note, above)), self.kept)

    def octave(self, number: int) -> tuple[Tensor, int]:
        """Filters of an octave's notes, cosines and then sines, and the samples from one to the next."""
        kernels: Tensor = getattr(self, f"kernels_{number}")
        return kernels, self.steps[number]

    def _octave(self, number: int, windows_BTW: Tensor) -> Tensor:
        """Amplitudes of an octave's notes: the root of the mean square over the frame."""
        kernels, step = self.octave(number)
        kernels, length = kernels.to(windows_BTW), kernels.shape[1]
        heard_BTW = windows_BTW[..., windows_BTW.shape[2] - (self.hop_samples - step + length) :]
        real, imaginary = (heard_BTW.unfold(2, length, step) @ kernel.T for kernel in kernels.chunk(2))
        return (real.square() + imaginary.square()).mean(dim=2).sqrt()


class PitchBy(ABC):
    """Another way to hear pitch than `Pitch`: a part of how sketches are made, in plain numbers."""

    @abstractmethod
    def at(self, sample_rate_hz: int, hop_samples: int) -> PitchControl:
        """What hears it, of sound at this rate, in frames of so many samples."""


def a_weighting(frequency_F: Tensor) -> Tensor:
    """Gain of power per frequency in Hz (IEC 61672-1, equation E.6, which is 1 at 1 kHz)."""
    square_F = frequency_F.square()
    poles_F = ((square_F + 107.65265**2) * (square_F + 737.86223**2)).sqrt()
    response_F = 12194.217**2 * square_F.square() / ((square_F + 20.598997**2) * poles_F * (square_F + 12194.217**2))
    return (response_F * 10 ** (2.0 / 20)).square()


def _step(hop_samples: int, shortest_samples: int) -> int:
    """Samples from one filter of an octave to the next: the hop, halved until its shortest filter leaves no gaps."""
    step = hop_samples
    while step > shortest_samples and step % 2 == 0:
        step //= 2
    return step


def _kernels(cycles: list[float], lengths: list[int]) -> Tensor:
    """Cosines, then sines, (2 · notes, longest), each under a Hann window at the end; a sine gives its amplitude."""
    out = torch.zeros(2, len(cycles), max(lengths), dtype=torch.float64)
    for row, (cycle, length) in enumerate(zip(cycles, lengths, strict=True)):
        hann = torch.hann_window(length, dtype=torch.float64)
        phase = 2 * math.pi * cycle * torch.arange(length, dtype=torch.float64)
        out[:, row, out.shape[2] - length :] = torch.stack((phase.cos(), phase.sin())) * (2 * hann / hann.sum())
    return out.flatten(0, 1)


def _peaks(amplitude_BTK: Tensor, kept: int) -> Tensor:
    """The largest local maxima, relative to the largest of them, and 0 elsewhere."""
    padded_BTK = nn.functional.pad(amplitude_BTK, (1, 1), value=-1.0)
    is_peak_BTK = (amplitude_BTK > padded_BTK[..., :-2]) & (amplitude_BTK >= padded_BTK[..., 2:])
    peaks_BTK = torch.where(is_peak_BTK, amplitude_BTK, 0.0)
    strength, note = peaks_BTK.topk(kept, dim=-1)
    strength = strength / (strength[..., :1] + FLOOR)
    return torch.zeros_like(peaks_BTK).scatter(-1, note, strength)
