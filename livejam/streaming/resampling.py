"""Resampling of a stream, with explicit state and bookkeeping in whole samples.

Shapes: N samples, M output samples, K = 2 · `half_width` taps, P phases, J inputs of one output of every phase, G
groups of them, R rows; leading dimensions are free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from livejam.errors import UserError

LOBES = 32
"""Zero crossings of the sinc on each side, at the lower of the two rates: 1.5 ms at 22 050 Hz."""

PASSBAND = 0.92
"""Share of the lower Nyquist frequency that passes; the Kaiser window needs the rest to fall by 90 dB."""

KAISER_BETA = 9.0

PIECE = 4096
"""Outputs that are computed at once, which bounds the memory."""

MOST_WEIGHTS = 2**20
"""Of a convolution that makes one output of every phase; with more phases than fit, every output gathers its inputs."""

LOWEST_HZ, HIGHEST_HZ = 4000, 400_000


@dataclass(frozen=True)
class ResamplerState:
    """What the next outputs need of the past.

    Args:
        past: the last inputs, from sample number `start` on.
        start: number of the first sample of `past`; negative before the stream began, where all is silence.
        heard: inputs so far.
        made: outputs so far.
    """

    past: Tensor
    start: int
    heard: int
    made: int


class Resampler:
    """A stream at one rate to a stream at another, by a windowed sinc (Smith, Digital Audio Resampling).

    Output m is the sound at the time m / `output_hz`: no delay is added to the sound, it only comes late, because an
    output needs `half_width` inputs after it. How the stream is cut changes nothing but the rounding of sums.

    Args:
        input_hz: rate of the inputs in Hz.
        output_hz: rate of the outputs in Hz; equal rates pass everything unchanged.

    Raises:
        UserError: a rate is no rate of sound.
    """

    def __init__(self, input_hz: int, output_hz: int) -> None:
        for rate in (input_hz, output_hz):
            if not LOWEST_HZ <= rate <= HIGHEST_HZ:
                raise UserError(
                    f"a sample rate of {rate} Hz cannot be played; use one from {LOWEST_HZ} to {HIGHEST_HZ} Hz"
                )
        common = math.gcd(input_hz, output_hz)
        self.up, self.down = output_hz // common, input_hz // common
        # in inputs; a sinc of the lower rate is wider in samples of the higher one
        self.half_width = 0 if input_hz == output_hz else math.ceil(LOBES * max(1.0, self.down / self.up))
        self.bank_PK = self._bank()
        reach = 2 * self.half_width + self.down - 1
        self.weight_P1J = self._weight(reach) if self.up * reach <= MOST_WEIGHTS else None

    def _bank(self) -> Tensor:
        """The taps of every phase: how far an output lies behind the input before it, in 1 / `up` inputs."""
        width = self.half_width
        if not width:
            return torch.ones(1, 1)
        phase_P1 = torch.arange(self.up, dtype=torch.float64)[:, None] / self.up
        distance_PK = torch.arange(1 - width, 1 + width, dtype=torch.float64) - phase_P1
        cutoff = PASSBAND * min(1.0, self.up / self.down)
        inside = (1 - (distance_PK / width) ** 2).clamp_min(0)
        window_PK = torch.special.i0(KAISER_BETA * inside.sqrt())
        taps_PK = torch.sinc(cutoff * distance_PK) * window_PK
        return (taps_PK / taps_PK.sum(dim=1, keepdim=True)).float()

    def _weight(self, reach: int) -> Tensor:
        """The taps of `up` outputs in a row, each where its inputs are among those of all of them."""
        weight_P1J = torch.zeros(self.up, 1, reach)
        for output in range(self.up):
            before, phase = divmod(output * self.down, self.up)
            weight_P1J[output, 0, before : before + 2 * self.half_width] = self.bank_PK[phase]
        return weight_P1J

    def made(self, heard: int) -> int:
        """Outputs that are known after so many inputs."""
        return max(0, -(-(heard - self.half_width) * self.up // self.down))

    def needed(self, made: int) -> int:
        """Inputs after which so many outputs are known."""
        return 0 if made <= 0 else (made - 1) * self.down // self.up + self.half_width + 1

    def init_state(self, *leading: int, device: torch.device | None = None) -> ResamplerState:
        """The state before the first sample of a stream of shape (*leading, N)."""
        return ResamplerState(torch.zeros(*leading, self.half_width, device=device), -self.half_width, 0, 0)

    def step(self, audio: Tensor, state: ResamplerState) -> tuple[Tensor, ResamplerState]:
        """The outputs (…, M) that become known by the next inputs (…, N)."""
        if not self.half_width:
            count = state.heard + audio.shape[-1]
            return audio, ResamplerState(state.past, state.start, count, count)
        known = torch.cat((state.past, audio), dim=-1)
        heard = state.heard + audio.shape[-1]
        made = self.made(heard)
        pieces = [
            self._outputs(known, state.start, first, min(first + PIECE, made))
            for first in range(state.made, made, PIECE)
        ]
        start = max(state.start, made * self.down // self.up + 1 - self.half_width)
        out = torch.cat(pieces, dim=-1) if pieces else audio[..., :0]
        return out, ResamplerState(known[..., start - state.start :], start, heard, made)

    def _outputs(self, known: Tensor, start: int, first: int, stop: int) -> Tensor:
        """Outputs number `first` … `stop` - 1 of the inputs from number `start` on."""
        if self.weight_P1J is None:
            return self._gathered(known, start, first, stop)
        group, end = first // self.up, -(-stop // self.up)
        reach = self.weight_P1J.shape[-1]
        begin = group * self.down + 1 - self.half_width - start
        # the first and the last group may need inputs that are gone or not there yet, for outputs that nobody wants
        missing = begin + (end - 1 - group) * self.down + reach - known.shape[-1]
        inputs = torch.nn.functional.pad(known, (-begin, missing)).reshape(-1, 1, known.shape[-1] - begin + missing)
        out_RPG = torch.nn.functional.conv1d(inputs, self.weight_P1J.to(known.device), stride=self.down)
        out = out_RPG.transpose(1, 2).reshape(*known.shape[:-1], -1)
        return out[..., first - group * self.up : stop - group * self.up]

    def _gathered(self, known: Tensor, start: int, first: int, stop: int) -> Tensor:
        place_M = torch.arange(first, stop, device=known.device) * self.down
        before_M = place_M // self.up - start
        index_MK = before_M[:, None] + torch.arange(1 - self.half_width, 1 + self.half_width, device=known.device)
        taps_MK = self.bank_PK.to(known.device)[place_M % self.up]
        return (known[..., index_MK] * taps_MK).sum(dim=-1)


def resample(audio: Tensor, input_hz: int, output_hz: int) -> Tensor:
    """A whole recording (…, N) at another rate (…, ceil(N · output / input)); silence is assumed after its end."""
    resampler = Resampler(input_hz, output_hz)
    samples = audio.shape[-1]
    made = -(-samples * resampler.up // resampler.down)
    flushed = torch.nn.functional.pad(audio, (0, resampler.half_width + 1))
    out, _ = resampler.step(flushed, resampler.init_state(*audio.shape[:-1], device=audio.device))
    return out[..., :made]
