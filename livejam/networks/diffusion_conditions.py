"""What a diffusion transformer is told: context, mix, prompt and global embedding.

Shapes: B batch, T latent frames of the whole window (context, then block), C latent channels, P prompt tokens,
D channels of an embedding.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiffusionConditions:
    """Conditions of a batch of windows; None where a model has no such input, or none is given.

    Args:
        context_BTC: clean latents on context frames, 0 on frames to generate. None: nothing is given.
        context_mask_BT: 1 on given context frames, 0 on frames to generate. Dropped context is 0 under a 1.
        mix_BTC: latents of what the musician plays, 0 from the cutoff on.
        mix_mask_BT: 1 on the frames before the cutoff.
        prompt_BPD: embeddings of the prompt's tokens. All zero is the same as None.
        prompt_mask_BP: 0 on padding, which then counts as zero embeddings, as published weights know it.
        global_BD: one embedding that is added to the noise level's, such as that of the duration.
    """

    context_BTC: Tensor | None = None
    context_mask_BT: Tensor | None = None
    mix_BTC: Tensor | None = None
    mix_mask_BT: Tensor | None = None
    prompt_BPD: Tensor | None = None
    prompt_mask_BP: Tensor | None = None
    global_BD: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> DiffusionConditions:
        """The conditions with every tensor changed."""
        tensors = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return DiffusionConditions(**{name: None if x is None else change(x) for name, x in tensors.items()})

    def to(self, device: torch.device | str) -> DiffusionConditions:
        return self.map(lambda x: x.to(device))

    def detach(self) -> DiffusionConditions:
        return self.map(Tensor.detach)

    def roll(self, rows: int) -> DiffusionConditions:
        """Every row with the conditions of the row `rows` before it."""
        return self.map(lambda x: x.roll(rows, dims=0))

    def roll_prompt(self, rows: int) -> DiffusionConditions:
        """The prompts of other rows; everything else stays."""
        prompt, mask = self.prompt_BPD, self.prompt_mask_BP
        return dataclasses.replace(
            self,
            prompt_BPD=None if prompt is None else prompt.roll(rows, dims=0),
            prompt_mask_BP=None if mask is None else mask.roll(rows, dims=0),
        )

    def frames(self, first: int, stop: int) -> DiffusionConditions:
        """The conditions of a part of the window."""
        parts = {
            name: None if (x := getattr(self, name)) is None else x[:, first:stop]
            for name in ("context_BTC", "context_mask_BT", "mix_BTC", "mix_mask_BT")
        }
        return dataclasses.replace(self, **parts)
