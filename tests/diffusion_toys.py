"""Small diffusion transformers, and windows that slide over a song, for tests."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from livejam.networks import BlockCausal, DiffusionConditions, DiffusionTransformer, EncoderDecoder
from livejam.networks.diffusion_masks import AttentionMask

BLOCK, BLOCKS = 4, 4
CONTEXT = BLOCK * BLOCKS
WINDOW = CONTEXT + BLOCK
CHANNELS, PROMPT, GLOBAL, ROWS = 3, 6, 5, 2
ENCODER_DECODER = EncoderDecoder(CONTEXT)
BLOCK_CAUSAL = BlockCausal(BLOCK, BLOCKS)


def make_network(
    mask: AttentionMask | None = None,
    context_frames: int = CONTEXT,
    depth: int = 3,
    mix: bool = False,
    sketch: list[int] | None = None,
    dtype: torch.dtype = torch.float64,
    levels: int | None = None,
) -> DiffusionTransformer:
    """Random weights everywhere, so that nothing cancels by being zero."""
    torch.manual_seed(0)
    network = DiffusionTransformer(
        CHANNELS,
        width=32,
        depth=depth,
        heads=2,
        context_frames=context_frames,
        block_frames=BLOCK,
        prompt_width=PROMPT,
        global_width=GLOBAL,
        mix_channels=CHANNELS if mix else 0,
        mask=mask,
        sketch_channels=sketch,
        sketch_levels=levels,
    )
    for name, parameter in network.named_parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim == 2 else 0.2
        nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=scale)
    return network.to(dtype).eval()


@dataclasses.dataclass
class Song:
    """Latents of a song and of the mix, a prompt and a global embedding, in two rows."""

    latents_BTC: Tensor
    mix_BTC: Tensor
    prompt_BPD: Tensor
    global_BD: Tensor

    @classmethod
    def random(cls, blocks: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Song:
        rng = torch.Generator().manual_seed(seed)
        shapes = [(ROWS, blocks * BLOCK, CHANNELS)] * 2 + [(ROWS, 5, PROMPT), (ROWS, GLOBAL)]
        return cls(*(torch.randn(shape, generator=rng, dtype=dtype) for shape in shapes))

    def conditions(self, first: int, block: int, cutoff_frames: int | None = None) -> DiffusionConditions:
        """Of the window from block `first` to block `block`, which is to be generated.

        Args:
            first: first block of the context.
            block: the block behind the context.
            cutoff_frames: mix frames of the last five blocks that are heard; None = no mix.
        """
        window = slice(first * BLOCK, (block + 1) * BLOCK)
        mask_BT = torch.ones(ROWS, (block + 1 - first) * BLOCK, dtype=self.latents_BTC.dtype)
        mask_BT[:, -BLOCK:] = 0
        context_BTC = self.latents_BTC[:, window] * mask_BT[..., None]
        prompt_mask = torch.ones(ROWS, self.prompt_BPD.shape[1])
        prompt_mask[1, 3:] = 0
        plain = DiffusionConditions(context_BTC, mask_BT, None, None, self.prompt_BPD, prompt_mask, self.global_BD)
        if cutoff_frames is None:
            return plain
        heard_BT = torch.ones_like(mask_BT)
        heard_BT[:, heard_BT.shape[1] - WINDOW + cutoff_frames :] = 0
        mix_BTC = self.mix_BTC[:, window] * heard_BT[..., None]
        return dataclasses.replace(plain, mix_BTC=mix_BTC, mix_mask_BT=heard_BT)


def noise(seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A noisy block."""
    return torch.randn(ROWS, BLOCK, CHANNELS, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def times(step: int, steps: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Noise levels of a step, another one per row."""
    return torch.tensor([1 - step / steps, 0.95 - step / steps], dtype=dtype)


def in_window(block_BTC: Tensor, frames: int) -> Tensor:
    """The block at the end of a window, behind frames that must not matter."""
    anything_BTC = torch.full((ROWS, frames - BLOCK, CHANNELS), 7.0, dtype=block_BTC.dtype)
    return torch.cat((anything_BTC, block_BTC), dim=1)
