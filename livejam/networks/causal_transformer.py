"""LiveBand's generator: a causal transformer from noise and the mix heard so far to the next frames.

Shapes: B batch, T latent frames, C latent channels, Z noise channels, D width, H heads, K frames that a step sees,
E channels per head or of a reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from livejam.networks.reference_features import ReferenceFeatures, silent_projection
from livejam.networks.transformer_cache import Modulation, TransformerCache, empty_cache
from livejam.networks.windowed_attention import WindowedAttention, dense_mask, rotary_clock, window_mask


class AdaptiveLayerNorm(nn.Module):
    """Layer normalisation whose scale and shift are a linear map of the condition (AdaLN).

    Args:
        width: channels that are normalised (D).
        condition_channels: channels of the condition.
    """

    def __init__(self, width: int, condition_channels: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(condition_channels, 2 * width)
        nn.init.normal_(self.modulation.weight, std=0.02)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x_BTD: Tensor, condition: Tensor) -> Tensor:
        return self.modulated(x_BTD, self.modulation_of(condition))

    def modulation_of(self, condition: Tensor) -> Modulation:
        """1 + scale and shift."""
        scale_B1D, shift_B1D = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return 1 + scale_B1D, shift_B1D

    def modulated(self, x_BTD: Tensor, modulation: Modulation) -> Tensor:
        """The normalised input times 1 + scale, plus shift."""
        gain_B1D, shift_B1D = modulation
        return torch.addcmul(shift_B1D, F.layer_norm(x_BTD, (self.width,)).to(shift_B1D), gain_B1D)


class SwiGLU(nn.Module):
    """Gated feed-forward network; both input maps are one matrix product.

    Args:
        width: channels in and out (D).
        hidden: channels of the gated layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.project_in = nn.Linear(width, 2 * hidden, bias=False)
        self.project_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate, value = self.project_in(x_BTD).chunk(2, dim=-1)
        return self.project_out(F.silu(gate) * value)


class TransformerBlock(nn.Module):
    """Pre-norm block: AdaLN → attention, AdaLN → SwiGLU, each added to its input."""

    def __init__(self, width: int, hidden: int, condition_channels: int, attention: WindowedAttention) -> None:
        super().__init__()
        self.attention_norm = AdaptiveLayerNorm(width, condition_channels)
        self.attention = attention
        self.feed_forward_norm = AdaptiveLayerNorm(width, condition_channels)
        self.feed_forward = SwiGLU(width, hidden)

    def forward(self, x_BTD: Tensor, condition: Tensor) -> Tensor:
        x_BTD = x_BTD + self.attention(self.attention_norm(x_BTD, condition))
        return x_BTD + self.feed_forward(self.feed_forward_norm(x_BTD, condition))

    def step(
        self,
        x_BTD: Tensor,
        modulations: tuple[Modulation, Modulation],
        streams: Sequence[tuple[Tensor, Tensor | None]],
        table: tuple[Tensor, Tensor],
    ) -> Tensor:
        """The next frames; see `WindowedAttention.step`."""
        for_attention, for_feed_forward = modulations
        normed_BTD = self.attention_norm.modulated(x_BTD, for_attention)
        x_BTD = x_BTD + self.attention.step(normed_BTD, streams, table)
        return x_BTD + self.feed_forward(self.feed_forward_norm.modulated(x_BTD, for_feed_forward))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _joined_modulations(streams: Sequence[tuple[Modulation, ...]]) -> tuple[Modulation, ...]:
    """Those of several streams as those of one."""
    if len(streams) == 1:
        return streams[0]
    norms = zip(*streams, strict=True)
    return tuple((torch.cat([gain for gain, _ in norm]), torch.cat([shift for _, shift in norm])) for norm in norms)


class Heard(NamedTuple):
    """What one stream brings to a step.

    Args:
        noise_BTZ: noise of the new frames.
        mix_BTC: mix latents of the new frames.
        instrument_B: class index per row.
        cache: the stream until now.
        anticipation_B: δ per row, for networks that are told.
        reference_BE: embeddings of references, for networks that take them; None, or a row of zeros = none.
    """

    noise_BTZ: Tensor
    mix_BTC: Tensor
    instrument_B: Tensor
    cache: TransformerCache
    anticipation_B: Tensor | None = None
    reference_BE: Tensor | None = None


class CausalTransformer(nn.Module):
    """Noise and mix latents in, accompaniment latents out, frame by frame or all frames at once.

    No output is ever fed back, so training is one parallel pass, and `step` computes the same numbers (LiveBand
    section 4.4). With a window shorter than the sequence, cached hidden states still carry information from earlier
    frames: the receptive field is `blocks` × (`window_frames` - 1) + 1 frames in both cases.

    Args:
        latent_channels: channels of a codec latent (C).
        noise_channels: channels of the Gaussian noise per frame (Z).
        width: channels of the hidden state (D).
        blocks: transformer blocks.
        heads: attention heads per block; `width` / `heads` must be even.
        window_frames: frames that a query attends to, itself included.
        sink: whether each head has a scalar attention sink.
        causal: whether frames after the query are hidden; False is the upper bound, which sees the window to both sides
            and cannot stream.
        classes: instrument classes, the null class included.
        class_channels: channels of the class embedding.
        hidden: channels of the feed-forward layer; None = 8/3 of `width`, rounded up to a multiple of 32.
        anticipations: how many anticipations δ = 0, 1, … it knows, by an embedding that is added to that of the
            class; 0 = it is not told how far ahead it plays, as in the paper, which trains one model for each.
        reference_channels: channels of the embedding of a reference (`livejam.reference`), whose features are added to
            the embedding of the class too, as the paper's variant takes CLAP's; 0 = it takes no reference.
    """

    def __init__(
        self,
        latent_channels: int,
        noise_channels: int = 64,
        width: int = 1024,
        blocks: int = 12,
        heads: int = 8,
        window_frames: int = 128,
        sink: bool = True,
        causal: bool = True,
        classes: int = 19,
        class_channels: int = 128,
        hidden: int | None = None,
        anticipations: int = 0,
        reference_channels: int = 0,
    ) -> None:
        super().__init__()
        self.latent_channels, self.classes, self.anticipations = latent_channels, classes, anticipations
        self.reference_channels = reference_channels
        self.noise_channels = noise_channels
        self.heads = heads
        self.window_frames = window_frames
        self.causal = causal
        hidden = hidden or 32 * -(-8 * width // 96)
        self.class_embedding = nn.Embedding(classes, class_channels)
        self.project_in = nn.Linear(noise_channels + latent_channels, width)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                width, hidden, class_channels, WindowedAttention(width, heads, window_frames, sink, causal)
            )
            for _ in range(blocks)
        )
        self.norm = AdaptiveLayerNorm(width, class_channels)
        self.project_out = nn.Linear(width, latent_channels)
        self.anticipation_embedding = nn.Embedding(anticipations, class_channels) if anticipations else None
        if self.anticipation_embedding is not None:  # all anticipations begin as one
            nn.init.zeros_(self.anticipation_embedding.weight)
        self.reference_features = ReferenceFeatures(reference_channels) if reference_channels else None
        self.project_reference = silent_projection(class_channels) if reference_channels else None

    def condition(
        self, instrument_B: Tensor, anticipation_B: Tensor | None, reference_BE: Tensor | None = None
    ) -> Tensor:
        """What the norms are told (one row per item).

        Raises:
            ValueError: the network needs to know δ, and is not told.
        """
        condition = self.class_embedding(instrument_B)
        if self.reference_features is not None and self.project_reference is not None and reference_BE is not None:
            condition = condition + self.project_reference(self.reference_features(reference_BE))
        if self.anticipation_embedding is None:
            return condition
        if anticipation_B is None:
            raise ValueError("this network plays at several anticipations; say at which")
        return condition + self.anticipation_embedding(anticipation_B)

    def forward(
        self,
        noise_BTZ: Tensor,
        mix_BTC: Tensor,
        instrument_B: Tensor,
        anticipation_B: Tensor | None = None,
        reference_BE: Tensor | None = None,
    ) -> Tensor:
        """Accompaniment latents of all frames in one pass (what training runs).

        Args:
            noise_BTZ: Gaussian noise.
            mix_BTC: mix latents.
            instrument_B: class index per row.
            anticipation_B: δ per row, for a network with `anticipations`; others ignore it.
            reference_BE: embeddings, for a network with `reference_channels`; others ignore them. None, or a row of
                zeros = no reference.
        """
        return self.project_out(self.hidden(noise_BTZ, mix_BTC, instrument_B, anticipation_B, reference_BE))

    def hidden(
        self,
        noise_BTZ: Tensor,
        mix_BTC: Tensor,
        instrument_B: Tensor,
        anticipation_B: Tensor | None = None,
        reference_BE: Tensor | None = None,
    ) -> Tensor:
        """The hidden state_BTD of every frame, of which `project_out` makes latents; see `forward`."""
        condition = self.condition(instrument_B, anticipation_B, reference_BE)
        x_BTD = self.project_in(torch.cat((noise_BTZ, mix_BTC), dim=-1))
        for block in self.blocks:
            x_BTD = block(x_BTD, condition)
        return self.norm(x_BTD, condition)

    def init_cache(self, batch_size: int) -> TransformerCache:
        """The cache before the first frame."""
        weight = self.class_embedding.weight
        head_channels = self.norm.width // self.heads
        shape = (len(self.blocks), 2, batch_size, self.heads, self.window_frames - 1, head_channels)
        return empty_cache(weight.new_zeros(shape))

    def step(
        self,
        noise_BTZ: Tensor,
        mix_BTC: Tensor,
        instrument_B: Tensor,
        cache: TransformerCache,
        anticipation_B: Tensor | None = None,
        reference_BE: Tensor | None = None,
    ) -> tuple[Tensor, TransformerCache]:
        """Accompaniment latents of the next one or more frames, equal to `forward` on the whole sequence.

        A step is for playing and has no gradient: it appends to a buffer in place.

        Raises:
            ValueError: the network is not causal.
        """
        heard = Heard(noise_BTZ, mix_BTC, instrument_B, cache, anticipation_B, reference_BE)
        (stepped,) = self.step_together([heard])
        return stepped

    @torch.no_grad()
    def step_together(self, streams: Sequence[Heard]) -> list[tuple[Tensor, TransformerCache]]:
        """A step of several streams, each as in `step`; they may have begun at different times.

        Weights are read once for all of them, while every stream attends to its own past.

        Args:
            streams: with equally many new frames.

        Raises:
            ValueError: the network is not causal.
        """
        if not self.causal:
            raise ValueError("a bidirectional transformer hears the future and cannot stream; use its parallel pass")
        x_BTD = self.project_in(_joined([torch.cat(stream[:2], dim=-1) for stream in streams]))
        frames = x_BTD.shape[1]
        position_B = _joined([stream.cache.position_B for stream in streams])
        position_BT = position_B[:, None] + torch.arange(frames, device=x_BTD.device)
        wide = torch.promote_types(x_BTD.dtype, torch.float32)
        table = rotary_clock(position_BT, self.norm.width // self.heads, wide)
        masks = [self._step_mask(stream.cache, frames) for stream in streams]
        new = [self._modulated(stream).extended(frames) for stream in streams]
        modulations = _joined_modulations([cache.modulations for cache in new])
        pairs = zip(modulations[:-1:2], modulations[1:-1:2], strict=True)
        seen = zip(*(cache.seen(frames).unbind() for cache in new), strict=True)
        for block, pair, seen_S in zip(self.blocks, pairs, seen, strict=True):
            assert isinstance(block, TransformerBlock)
            x_BTD = block.step(x_BTD, pair, list(zip(seen_S, masks, strict=True)), table)
        out_BTC = self.project_out(self.norm.modulated(x_BTD, modulations[-1]))
        rows = [len(cache.position_B) for cache in new]
        return list(zip(out_BTC.split(rows), new, strict=True))

    def _modulated(self, stream: Heard) -> TransformerCache:
        """The stream's cache with the modulations that it asks for; new ones only if it asks for something else."""
        cache, asked = stream.cache, (stream.instrument_B, stream.anticipation_B, stream.reference_BE)
        known = cache.instrument_B, cache.anticipation_B, cache.reference_BE
        if all(one is other for one, other in zip(asked, known, strict=True)):
            return cache
        condition = self.condition(*asked)
        norms = [norm for norm in self.modules() if isinstance(norm, AdaptiveLayerNorm)]
        modulations = tuple(norm.modulation_of(condition) for norm in norms)
        instrument_B, anticipation_B, reference_BE = asked
        return replace(
            cache,
            instrument_B=instrument_B,
            anticipation_B=anticipation_B,
            reference_BE=reference_BE,
            modulations=modulations,
        )

    def _step_mask(self, cache: TransformerCache, frames: int) -> Tensor | None:
        """What the next frames may attend to, allowed_B1TK; None = everything that is cached."""
        past = cache.past_frames
        if frames == 1 and cache.filled_frames == past:
            return None
        device = cache.position_B.device
        allowed_TK = dense_mask(window_mask(self.window_frames, True), past, frames, past + frames, device)
        filled_BK = torch.arange(past + frames, device=device) >= past - cache.position_B[:, None]
        return (allowed_TK & filled_BK[:, None])[:, None]
