"""LMDM's network: a diffusion transformer that continues a clean context, weight-compatible with Stable Audio Open.

Shapes: B batch, T latent frames of the window (context, then block), C latent channels, D width, H heads,
E channels per head, P prompt tokens, K channels and G controls of a sketch. After the T frames there is one token,
which carries noise level and global embedding.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks.diffusion_conditions import SKETCH, DiffusionConditions
from livejam.networks.diffusion_layers import (
    Attend,
    DiffusionBlock,
    FourierFeatures,
    PromptKeys,
    ResidualPointwise,
    Rotary,
    RotaryTable,
    two_layers,
)
from livejam.networks.diffusion_masks import (
    AttentionMask,
    Bidirectional,
    BlockCausal,
    Visibility,
    attend_flex,
    dense_mask,
    flex_mask,
)


class DiffusionTransformer(nn.Module):
    """A network from noisy latents, noise level and conditions to a velocity.

    The noisy path is switched off on context frames, where clean latents enter through a separate projection (LMDM,
    section 3). That projection starts at zero, so fine-tuning begins with the base model. The token is at the end of
    the sequence, at rotary position 0, so that a mask can hide it from the context, which then does not depend on the
    noise level and can be cached. Attention ignores order, so with `Bidirectional` this is the same function as Stable
    Audio's, whose token comes first.

    Args:
        latent_channels: channels of a codec latent (C).
        width: channels of the hidden state (D).
        depth: transformer blocks.
        heads: attention heads; divides `width` into an even number of channels each.
        context_frames: frames of the window that are given; 0 = a base model, for windows of any length.
        block_frames: frames of the window that are generated.
        prompt_width: channels of a prompt token; 0 = no cross-attention.
        global_width: channels of the global embedding; 0 = none.
        mix_channels: channels of a latent of what the musician plays; 0 = none.
        sketch_channels: channels of every control of a sketch; None = it follows no sketch. Each control has an input
            of its own, which starts at zero.
        sketch_levels: levels, at least 2, that a control of one channel enters as (see `levels_of`), so that its course
            is as large an input as that of the notes; None = as one number.
        mask: the attention mask, for the same frames of context and block.
        prompt_hidden: channels of the projected prompt (Stable Audio Open 1.0: those of the prompt); None = `width`.
        query_key_norm: whether queries and keys are normalised per head (Small: yes, 1.0: no).
        rotary_base: base of the rotary frequencies; a checkpoint has its own frequencies.

    Raises:
        UserError: the numbers do not fit together.
    """

    def __init__(
        self,
        latent_channels: int,
        width: int = 1024,
        depth: int = 16,
        heads: int = 8,
        context_frames: int = 192,
        block_frames: int = 48,
        prompt_width: int = 0,
        global_width: int = 0,
        mix_channels: int = 0,
        mask: AttentionMask | None = None,
        prompt_hidden: int | None = None,
        query_key_norm: bool = True,
        rotary_base: float = 10_000.0,
        sketch_channels: list[int] | None = None,
        sketch_levels: int | None = None,
    ) -> None:
        super().__init__()
        self.latent_channels, self.width, self.heads = latent_channels, width, heads
        self.context_frames, self.block_frames = context_frames, block_frames
        self.prompt_width, self.global_width, self.mix_channels = prompt_width, global_width, mix_channels
        self.mask = Bidirectional() if mask is None else mask
        prompt_hidden = (prompt_hidden or width) if prompt_width else 0
        _require_sizes(width, heads, prompt_hidden)
        self._require_mask()
        self.noise_features = FourierFeatures(256)
        self.noise_embedding = two_layers(256, width, bias=True)
        self.global_embedding = two_layers(global_width, width, bias=False) if global_width else None
        self.prompt_embedding = two_layers(prompt_width, prompt_hidden, bias=False) if prompt_width else None
        self.before = ResidualPointwise(latent_channels)
        self.project_noisy = nn.Linear(latent_channels, width, bias=False)
        given_channels = 1 + latent_channels + (1 + mix_channels if mix_channels else 0)
        self.project_given = nn.Linear(given_channels, width, bias=False)
        nn.init.zeros_(self.project_given.weight)
        self.sketch_channels = tuple(sketch_channels or ())
        self.sketch_levels = _require_levels(sketch_levels)
        inputs = (1 + (self.sketch_levels or k if k == 1 else k) for k in self.sketch_channels)
        self.project_sketch = nn.ModuleList(nn.Linear(size, width, bias=False) for size in inputs)
        for projection in self.layers_of_sketch:
            nn.init.zeros_(projection.weight)
        self.rotary = Rotary(width // heads, rotary_base)
        self.blocks = nn.ModuleList(DiffusionBlock(width, heads, prompt_hidden, query_key_norm) for _ in range(depth))
        self.project_out = nn.Linear(width, latent_channels, bias=False)
        self.after = ResidualPointwise(latent_channels)

    @property
    def layers(self) -> list[DiffusionBlock]:
        """The blocks, with their type."""
        return cast("list[DiffusionBlock]", list(self.blocks))

    @property
    def layers_of_sketch(self) -> list[nn.Linear]:
        """The input of every control, with its type."""
        return cast("list[nn.Linear]", list(self.project_sketch))

    @property
    def window_frames(self) -> int:
        """Frames of context and block."""
        return self.context_frames + self.block_frames

    def forward(self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions) -> Tensor:
        """The velocity of all frames of the window; only that of the block is meaningful.

        Args:
            noisy_BTC: latents with noise; their values on context frames do not matter.
            time_B: noise level per row, from 0 (clean) to 1 (noise).
            conditions: conditions of the whole window.
        """
        return self.velocity(self.features(noisy_BTC, time_B, conditions, len(self.blocks)))

    def features(self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions, layer: int) -> Tensor:
        """Hidden states of all frames after `layer` blocks (0: before the first), without the token."""
        if not 0 <= layer <= len(self.blocks):
            raise UserError(f"layer {layer} does not exist; this network has 0 to {len(self.blocks)}")
        self.require_window(noisy_BTC, conditions)
        frames = noisy_BTC.shape[1]
        hidden = torch.cat((self.embed(noisy_BTC, conditions), self.token(time_B, conditions)), dim=1)
        table = self.table(0, frames)
        attend = masked_attention(self.mask, frames + 1, noisy_BTC.device)
        prompts = self.prompt_keys(conditions, layer)
        for index, block in enumerate(self.layers[:layer]):
            hidden = block(hidden, table, attend, prompts[index] if prompts else None)
        return hidden[:, :-1]

    def embed(self, noisy_BTC: Tensor, conditions: DiffusionConditions) -> Tensor:
        """Frames before the first block: the noisy path on frames to generate, given latents through their own map.

        Routing before the bias-free projection is routing after it: zero stays zero.
        """
        x_BTC = self.before(noisy_BTC)
        mask_BT = conditions.context_mask_BT
        if mask_BT is not None:
            x_BTC = x_BTC * (1 - mask_BT[..., None]).to(x_BTC)
        given = self.given(conditions)
        hidden = self.sketched(self.project_noisy(x_BTC), conditions)
        return hidden if given is None else hidden + self.project_given(given)

    def embed_context(self, conditions: DiffusionConditions) -> Tensor:
        """Context frames before the first block, where the noisy path is switched off."""
        given = self.given(conditions)
        assert given is not None, "the cached passes refuse conditions without context"
        return self.sketched(self.project_given(given), conditions)

    def embed_block(self, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions) -> Tensor:
        """The block's frames and the token before the first block."""
        hidden = self.project_noisy(self.before(noisy_BTC))
        own = conditions.frames(self.context_frames, self.window_frames)
        if conditions.mix_BTC is not None:
            given = self.given(own)
            hidden = hidden if given is None else hidden + self.project_given(given)
        hidden = self.sketched(hidden, own)
        return torch.cat((hidden, self.token(time_B, conditions)), dim=1)

    def given(self, conditions: DiffusionConditions) -> Tensor | None:
        """The added input: context mask, context, mix mask, mix, in the order of the published projection."""
        shape = next((x.shape[:2] for x in (conditions.context_BTC, conditions.mix_BTC) if x is not None), None)
        if shape is None:
            return None
        weight = self.project_given.weight
        parts = [conditions.context_mask_BT, conditions.context_BTC]
        parts += [conditions.mix_mask_BT, conditions.mix_BTC] if self.mix_channels else []
        channels = [1, self.latent_channels, 1, self.mix_channels]
        columns = [
            weight.new_zeros(*shape, size) if part is None else part.reshape(*shape, size).to(weight)
            for part, size in zip(parts, channels, strict=False)
        ]
        return torch.cat(columns, dim=-1)

    def sketched(self, hidden_BTD: Tensor, conditions: DiffusionConditions) -> Tensor:
        """Frames with what the sketch asks for in them added, every control through its own map."""
        sketch_BTK, mask_BTG = conditions.sketch_BTK, conditions.sketch_mask_BTG
        if sketch_BTK is None or mask_BTG is None:
            return hidden_BTD
        parts = zip(mask_BTG.split(1, dim=-1), sketch_BTK.split(self.sketch_channels, dim=-1), strict=True)
        for projection, (mask_BT1, curve_BTK) in zip(self.layers_of_sketch, parts, strict=True):
            if self.sketch_levels is not None and curve_BTK.shape[-1] == 1:
                curve_BTK = levels_of(curve_BTK, self.sketch_levels) * mask_BT1
            part = torch.cat((mask_BT1, curve_BTK), dim=-1)
            hidden_BTD = hidden_BTD + projection(part.to(projection.weight))
        return hidden_BTD

    def token(self, time_B: Tensor, conditions: DiffusionConditions) -> Tensor:
        """The one token of noise level and global embedding (B, 1, D)."""
        weight = self.project_noisy.weight
        embedding_BD = self.noise_embedding(self.noise_features(time_B.to(weight)))
        if conditions.global_BD is not None and self.global_embedding is not None:
            embedding_BD = embedding_BD + self.global_embedding(conditions.global_BD.to(weight))
        return embedding_BD[:, None]

    def table(self, first: int, stop: int, token: bool = True) -> RotaryTable:
        """Rotary angles of the window's frames from `first` to `stop`, and of the token behind them."""
        position = torch.arange(first + 1, stop + 1 + token, device=self.project_noisy.weight.device)
        if token:
            position[-1] = self.mask.token_position
        return self.rotary.table(position)

    def prompt_keys(self, conditions: DiffusionConditions, depth: int | None = None) -> PromptKeys | None:
        """Keys and values of the prompt for every block (or the first `depth`); None without a prompt."""
        prompt_BPD = conditions.prompt_BPD
        if prompt_BPD is None or self.prompt_embedding is None:
            return None
        if conditions.prompt_mask_BP is not None:
            prompt_BPD = prompt_BPD * conditions.prompt_mask_BP[..., None].to(prompt_BPD)
        embedded = self.prompt_embedding(prompt_BPD.to(self.project_noisy.weight))
        return tuple(block.prompt_keys(embedded) for block in self.layers[:depth])

    def velocity(self, hidden_BTD: Tensor) -> Tensor:
        """The velocity from the hidden states after the last block."""
        return self.after(self.project_out(hidden_BTD))

    def require_window(self, noisy_BTC: Tensor, conditions: DiffusionConditions) -> None:
        """Refuse a window that does not fit.

        Raises:
            UserError: its channels, its length or its conditions do not fit.
        """
        batch, frames, channels = noisy_BTC.shape
        if channels != self.latent_channels:
            raise UserError(f"latents have {channels} channels, this network {self.latent_channels}: another codec")
        self.mask.check(frames)
        self.require_conditions(batch, frames, conditions)

    def require_conditions(self, batch: int, frames: int, conditions: DiffusionConditions) -> None:
        """Refuse conditions of another shape.

        Raises:
            UserError: names the field.
        """
        for name in ("context", "mix"):
            latents, mask = getattr(conditions, f"{name}_BTC"), getattr(conditions, f"{name}_mask_BT")
            if (latents is None) != (mask is None):
                raise UserError(f"conditions need {name}_BTC and {name}_mask_BT together")
            if latents is not None and latents.shape[:2] != (batch, frames):
                raise UserError(f"{name}_BTC has shape {tuple(latents.shape)}; the window is ({batch}, {frames}, …)")
        if (conditions.sketch_BTK is None) != (conditions.sketch_mask_BTG is None):
            raise UserError("conditions need sketch_BTK and sketch_mask_BTG together")
        wanted = {"mix_BTC": self.mix_channels, "prompt_BPD": self.prompt_width}
        wanted |= {"sketch_BTK": sum(self.sketch_channels), "sketch_mask_BTG": len(self.sketch_channels)}
        for name, channels in wanted.items():
            given = getattr(conditions, name)
            if given is not None and given.shape[-1] != channels:
                raise UserError(f"{name} has {given.shape[-1]} channels, this network takes {channels}")
        for name in SKETCH:
            given = getattr(conditions, name)
            if given is not None and given.shape[:2] != (batch, frames):
                raise UserError(f"{name} has shape {tuple(given.shape)}; the window is ({batch}, {frames}, …)")

    def _require_mask(self) -> None:
        """Refuse a mask of another window."""
        context, block = self.context_frames, self.block_frames
        if context < 0 or block < 1:
            raise UserError(f"context_frames is {context} and block_frames {block}: at least 0 and 1")
        masked = getattr(self.mask, "context_frames", context)
        if masked != context:
            raise UserError(f"the mask's context is {masked} frames, the network's context_frames {context}")
        if isinstance(self.mask, BlockCausal) and self.mask.block_frames != block:
            raise UserError(f"the mask's block is {self.mask.block_frames} frames, the network's block_frames {block}")


def levels_of(curve_BT1: Tensor, levels: int) -> Tensor:
    """Numbers in [0, 1] as so many evenly spaced levels: the two next to a number share 1, and the others are 0.

    A linear map of the levels is a curve through as many free points, and a map of the number is one of them. What a
    step of training changes is then as large for a number that moves by one level as for a note that comes or goes.

    Args:
        curve_BT1: the numbers.
        levels: at least 2, from 0 to 1.
    """
    place_L = torch.arange(levels, device=curve_BT1.device, dtype=curve_BT1.dtype)
    return (1 - (curve_BT1 * (levels - 1) - place_L).abs()).clamp_min(0)


def _require_levels(levels: int | None) -> int | None:
    """Refuse fewer levels than two."""
    if levels is not None and levels < 2:
        raise UserError(f"sketch_levels is {levels}; it must be 2 or more, or null for numbers as they are")
    return levels


def _require_sizes(width: int, heads: int, prompt_hidden: int) -> None:
    """Refuse sizes that heads do not divide."""
    if width % (2 * heads):
        raise UserError(f"width {width} must be divisible by twice the number of heads ({heads})")
    if prompt_hidden % (width // heads) or (prompt_hidden and heads % (prompt_hidden * heads // width)):
        raise UserError(f"prompt_hidden {prompt_hidden} must hold a divisor of {heads} heads of {width // heads}")


def masked_attention(mask: Visibility, positions: int, device: torch.device) -> Attend:
    """Attention over frames and token: FlexAttention on CUDA where a mask is sparse, SDPA everywhere else."""
    if device.type == "cuda" and not isinstance(mask, Bidirectional):
        sparse = flex_mask(mask, positions, device)
        return lambda q, k, v: attend_flex(q.to(v), k.to(v), v, sparse)
    allowed = dense_mask(mask, positions, device)
    return lambda q, k, v: F.scaled_dot_product_attention(q.to(v), k.to(v), v, attn_mask=allowed)
