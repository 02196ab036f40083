"""A session that gives back what it heard, so that every output sample names the input sample that it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livejam.errors import UserError


@dataclass(frozen=True)
class EchoTiming:
    sample_rate_hz: int
    block_samples: int
    lead_samples: int


class EchoSession:
    """Plays ahead by `lead_samples`, in blocks: output sample k is what was heard `echo_samples` before.

    Args:
        timing: of the session.
        channels: of the audio.
        computing: called in every `advance`, with the number of the piece, before its output is known.
    """

    def __init__(self, timing: EchoTiming, channels: int, computing: Callable[[int], None]) -> None:
        self.timing, self.channels, self._computing = timing, channels, computing
        self.echo_samples = timing.lead_samples + timing.block_samples - 1
        self.pieces = self.failures = 0
        self.everything: list[Tensor] = []
        self.reset()

    def reset(self) -> None:
        self.heard_samples = self.known_samples = 0
        self._pending_AN = torch.zeros(self.channels, self.echo_samples)

    def advance(self, audio_AN: Tensor) -> Tensor:
        if not audio_AN.isfinite().all():
            raise UserError("the input holds samples that are not finite")
        if audio_AN.shape[1]:
            self.pieces += 1
            self._computing(self.pieces - 1)
        self.everything.append(audio_AN.clone())
        self.heard_samples += audio_AN.shape[1]
        pending_AN = torch.cat([self._pending_AN, audio_AN], dim=1)
        blocks = self.heard_samples // self.timing.block_samples
        ready = blocks * self.timing.block_samples + self.echo_samples - self.known_samples
        self.known_samples += ready
        self._pending_AN = pending_AN[:, ready:]
        return pending_AN[None, :, :ready]

    def snapshot(self) -> Any:
        return self.heard_samples, self.known_samples, self._pending_AN, self.pieces, len(self.everything)

    def restore(self, snapshot: Any) -> None:
        self.heard_samples, self.known_samples, self._pending_AN, self.pieces, heard = snapshot
        del self.everything[heard:]

    def echo(self) -> Tensor:
        """All output for all input so far: the input, later."""
        heard_AN = torch.cat(self.everything, dim=1)
        return torch.cat([torch.zeros(self.channels, self.echo_samples), heard_AN], dim=1)
