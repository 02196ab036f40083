"""The memory of a transformer that streams: the keys and values of its last frames, in buffers that only grow.

Shapes: L blocks, B batch, H heads, S slots of a buffer, K frames that a step sees, T new frames, E channels per head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

Modulation = tuple[Tensor, Tensor]
"""1 + scale and shift (B, 1, D) of one adaptive normalisation."""


@dataclass
class Written:
    """How many slots of a buffer are written; all states that share the buffer share this."""

    slots: int


@dataclass(frozen=True)
class TransformerCache:
    """The state of a stream: rotated keys and values of the last `past_frames` frames, in the slots before `end`.

    A step writes behind the end and returns a state that ends later; no frame is ever moved. So a state costs no copy
    and stays valid, whatever is played after it: snapshots and undo are free. Only the newest state of a buffer may
    write to it. An older one, which branches off, copies its frames to a buffer of its own first, and so does the
    newest one when there is no room left. States of one buffer must not be stepped from two threads at once.

    Args:
        buffer_L2BHSE: keys (rotated by their absolute position) and values of every block; slots that no frame has
            filled yet hold anything.
        end: slots in use.
        position_B: frames heard so far, per row (int64).
        filled_frames: how many of the `past_frames` slots are filled in every row.
        past_frames: frames before a new one that it may attend to.
        written: how far the buffer is written.
        instrument_B: the classes that `modulations` were made for; None = not made yet.
        modulations: of every adaptive normalisation, in the order of their use: they change with the instrument, the
            anticipation and the reference only.
        anticipation_B: the anticipations that `modulations` were made for, if the network is told.
        reference_BE: the references that they were made for.
    """

    buffer_L2BHSE: Tensor
    end: int
    position_B: Tensor
    filled_frames: int
    past_frames: int
    written: Written
    instrument_B: Tensor | None = None
    modulations: tuple[Modulation, ...] = field(default=(), repr=False)
    anticipation_B: Tensor | None = None
    reference_BE: Tensor | None = None

    def extended(self, frames: int) -> TransformerCache:
        """The state after `frames` more frames; the caller writes their keys and values to `seen(frames)`."""
        state = self if self._may_append(frames) else self._moved(max(frames, self.past_frames + 1))
        end = state.end + frames
        state.written.slots = end
        filled = min(state.filled_frames + frames, self.past_frames)
        return replace(state, end=end, position_B=self.position_B + frames, filled_frames=filled)

    def seen(self, frames: int) -> Tensor:
        """What the last `frames` frames may attend to, buffer_L2BHKE: the frames before them, and they themselves."""
        return self.buffer_L2BHSE[..., self.end - frames - self.past_frames : self.end, :]

    def _may_append(self, frames: int) -> bool:
        # a tensor made in inference mode can be written to in inference mode only
        writable = torch.is_inference_mode_enabled() or not self.buffer_L2BHSE.is_inference()
        newest = self.written.slots == self.end
        return writable and newest and self.end + frames <= self.buffer_L2BHSE.shape[-2]

    def _moved(self, room: int) -> TransformerCache:
        """The same state in a new buffer with room for so many frames."""
        return self.over(self.seen(0), room)

    def over(self, past_L2BHKE: Tensor, room: int) -> TransformerCache:
        """The same state with other keys and values, copied to a buffer with room for so many frames more."""
        *shape, past, channels = past_L2BHKE.shape
        buffer = past_L2BHKE.new_empty(*shape, past + room, channels)
        buffer[..., :past, :] = past_L2BHKE
        return replace(self, buffer_L2BHSE=buffer, end=past, written=Written(past))


def empty_cache(past_L2BHKE: Tensor) -> TransformerCache:
    """The state before the first frame.

    Args:
        past_L2BHKE: zeros for the frames that were never heard.
    """
    batch, past = past_L2BHKE.shape[2], past_L2BHKE.shape[-2]
    position_B = torch.zeros(batch, dtype=torch.int64, device=past_L2BHKE.device)
    return TransformerCache(past_L2BHKE, past, position_B, 0, past, Written(past)).over(past_L2BHKE, past + 1)


def joined(caches: Sequence[TransformerCache]) -> TransformerCache:
    """The rows of several streams of one network as one batch; they may have heard different numbers of frames."""
    past_L2BHKE = torch.cat([cache.seen(0) for cache in caches], dim=2)
    first = replace(
        caches[0],
        position_B=torch.cat([cache.position_B for cache in caches]),
        filled_frames=min(cache.filled_frames for cache in caches),
        instrument_B=None,
        anticipation_B=None,
        reference_BE=None,
        modulations=(),
    )
    return first.over(past_L2BHKE, first.past_frames + 1)
