"""How a diffusion model is given its own past, in training and for every block that it plays.

Shapes: B batch, T latent frames of the window (context, then block), C latent channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import NOTHING_ASKED, DiffusionConditions, Dropouts, Unconditional
from livejam.networks.diffusion_masks import BlockCausal, EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.sampling.guidance import nested_sides
from livejam.sketch import CHANNELS, SketchAnalysis
from livejam.systems.blocks import BlockCausalCache, BlockVelocity, DiffusionCache, EncoderDecoderCache

if TYPE_CHECKING:
    from livejam.spec import CodecSpec


@dataclass(frozen=True)
class TrainingContext:
    """The context of a training window, and the frames to generate.

    Args:
        context: clean latents (BTC) and mask (BT) for the network's context input; None = it has none.
        target_BT: frames whose velocity is trained (bool).
    """

    context: tuple[Tensor, Tensor] | None
    target_BT: Tensor


@dataclass(frozen=True)
class BlockRequest:
    """What is known when the next block is generated; under guidance in rows for every side, the unconditional last.

    Args:
        conditions: mix, prompt and global embedding of the window.
        played_BTC: the accompaniment on the context frames, 0 where there was none.
        known_BT: which context frames were played and are given (bool).
        cutoff_frames: frames of the window in which the mix is known.
        cached: whether keys and values may be cached; otherwise every denoising step computes the whole window.
        cache: the cache of the previous block; None = encode the context again.
    """

    conditions: DiffusionConditions
    played_BTC: Tensor
    known_BT: Tensor
    cutoff_frames: int
    cached: bool
    cache: DiffusionCache | None


class ContextMode(ABC):
    """How the context enters."""

    can_guide = False
    """Whether guidance may lead away from a model without its past."""

    def window_cutoff(self, cutoff_blocks: int) -> int:
        """The cutoff within the network's window, in blocks, of a model that plays at this one."""
        return cutoff_blocks

    @property
    def past_dropout(self) -> float:
        """Share of training windows, 0 to 1, without any past."""
        return 0.0

    @abstractmethod
    def draw(self, clean_BTC: Tensor, network: DiffusionTransformer, rng: torch.Generator) -> TrainingContext:
        """A training window."""

    @abstractmethod
    def velocity(self, network: DiffusionTransformer, request: BlockRequest) -> BlockVelocity:
        """The velocity of the next block, and afterwards the cache that the block after it may reuse.

        Args:
            network: the model.
            request: what is known.
        """


@dataclass(frozen=True)
class RoutedContext(ContextMode):
    """LMDM: clean context enters through its own input, and only the block is noisy (LMDM, section 3).

    Args:
        whole_dropout: share of training windows, 0 to 1, without any context: a start from nothing.
        partial_dropout: share of training windows whose oldest blocks are dropped, from one block to all of them,
            equally often, as for the first blocks after such a start. Dropped frames are 0 and count as given.

    Raises:
        UserError: the shares are out of range.
    """

    can_guide = True
    whole_dropout: float = 0.2
    partial_dropout: float = 0.3

    def __post_init__(self) -> None:
        if min(self.whole_dropout, self.partial_dropout) < 0 or self.whole_dropout + self.partial_dropout > 1:
            raise UserError(
                f"whole_dropout {self.whole_dropout} and partial_dropout {self.partial_dropout} are shares of all "
                "windows: set both to 0 or more, and to 1 at most together"
            )

    @property
    def past_dropout(self) -> float:
        """Share of training windows without any context."""
        return self.whole_dropout

    def draw(self, clean_BTC: Tensor, network: DiffusionTransformer, rng: torch.Generator) -> TrainingContext:
        """The context with its dropout; the block is the target."""
        batch, frames, _ = clean_BTC.shape
        index_T = torch.arange(frames, device=clean_BTC.device)
        target_BT = (index_T >= network.context_frames).expand(batch, -1)
        if not network.context_frames:
            return TrainingContext(None, target_BT)
        share_B, blocks_B = torch.rand(2, batch, generator=rng, device=rng.device).to(clean_BTC.device)
        blocks = network.context_frames // network.block_frames
        dropped_B = (1 + (blocks_B * blocks).long()) * network.block_frames
        dropped_B = torch.where(share_B < self.whole_dropout + self.partial_dropout, dropped_B, 0)
        dropped_B = torch.where(share_B < self.whole_dropout, frames, dropped_B)
        kept_BT = ~target_BT & (index_T >= dropped_B[:, None])
        return TrainingContext((clean_BTC * kept_BT[..., None], (~target_BT).to(clean_BTC)), target_BT)

    def velocity(self, network: DiffusionTransformer, request: BlockRequest) -> BlockVelocity:
        """The velocity of the block, on cached context if the mask allows it."""
        context_BTC = request.played_BTC * request.known_BT[..., None]
        conditions = with_context(request.conditions, context_BTC, network.block_frames)
        if request.cached and isinstance(network.mask, EncoderDecoder):
            return EncoderDecoderCache(network, conditions, request.cache)
        if request.cached and isinstance(network.mask, BlockCausal):
            return BlockCausalCache(network, conditions, request.cutoff_frames, request.cache)
        return Outpainting(network, conditions)


@dataclass(frozen=True)
class DroppedContext(RoutedContext):
    """A routed context that is dropped in playing: every block is generated from the mix alone. Ours.

    A model that has learnt from its true past to continue itself no longer listens when that past is its own
    (docs/results_lmdm.md). Windows without context, `whole_dropout` of them, taught it to do without; with
    `whole_dropout` 1 it learns nothing else. The past of the mix is remembered as ever.
    """

    can_guide = False

    def velocity(self, network: DiffusionTransformer, request: BlockRequest) -> BlockVelocity:
        """The velocity of the block, as if nothing had been played before."""
        return super().velocity(network, replace(request, known_BT=torch.zeros_like(request.known_BT)))


@dataclass(frozen=True)
class ShiftedContext(DroppedContext):
    """A dropped context for playing ahead: the window ends with the newest mix, however far ahead its block is. Ours.

    Without a past, nothing ties the block to its place behind the context. At cutoff -m, the window is that of cutoff
    0, and what is generated behind it is played m blocks later; training takes targets from there. So every block of
    the context has its mix, it is encoded once, and a dense pass trains a model that has time to compute. The network
    is not told m: it is trained for one.
    """

    def window_cutoff(self, cutoff_blocks: int) -> int:
        """0 wherever there is time to compute."""
        return max(0, cutoff_blocks)


class Outpainting(BlockVelocity):
    """Every step computes the whole window (LMDM, algorithm 1).

    Args:
        network: the model, under any mask.
        conditions: conditions of the whole window, with its context.
    """

    def __init__(self, network: DiffusionTransformer, conditions: DiffusionConditions) -> None:
        super().__init__(network, conditions, network.block_frames, None)

    def __call__(self, noisy_BTC: Tensor, time_B: Tensor) -> Tensor:
        context = self.network.context_frames
        # The noisy path is switched off on context frames, so their values do not matter.
        empty_BTC = noisy_BTC.new_zeros(len(noisy_BTC), context, noisy_BTC.shape[2])
        return self.network(torch.cat((empty_BTC, noisy_BTC), dim=1), time_B, self.conditions)[:, context:]


@dataclass(frozen=True)
class InpaintedContext(ContextMode):
    """Look-ahead co-performance: the model knows no past; sampling inpaints it (Karchkhadze and Dubnov).

    In training the whole window is noisy and a target. In playing, context frames follow the straight path from
    their noise to what was played, whatever the model predicts; at the start they are generated as well.
    """

    def draw(self, clean_BTC: Tensor, network: DiffusionTransformer, rng: torch.Generator) -> TrainingContext:
        """Everything is the target."""
        return TrainingContext(None, torch.ones(clean_BTC.shape[:2], dtype=torch.bool, device=clean_BTC.device))

    def velocity(self, network: DiffusionTransformer, request: BlockRequest) -> BlockVelocity:
        """The velocity of the whole window; nothing can be cached, because the context is as noisy as the block."""
        return InpaintedWindow(network, request.conditions, request.played_BTC, request.known_BT)


class InpaintedWindow(BlockVelocity):
    """A velocity that ends at what was played on known frames: (x - x_0) / t, so that x̂_0 is x_0 at every step.

    Known frames then carry exactly the noise of each step's level, with any sampler.

    Args:
        network: the model.
        conditions: conditions of the whole window.
        clean_BTC: x_0 of the first T frames of the window.
        known_BT: which of them are known (bool).
    """

    def __init__(
        self, network: DiffusionTransformer, conditions: DiffusionConditions, clean_BTC: Tensor, known_BT: Tensor
    ) -> None:
        super().__init__(network, conditions, network.window_frames, None)
        self.clean_BTC, self.known_BT = clean_BTC, known_BT

    def __call__(self, noisy_BTC: Tensor, time_B: Tensor) -> Tensor:
        frames = self.clean_BTC.shape[1]
        velocity_BTC = self.network(noisy_BTC, time_B, self.conditions)
        known_BTC = (noisy_BTC[:, :frames] - self.clean_BTC) / time_B[:, None, None]
        first_BTC = torch.where(self.known_BT[..., None], known_BTC, velocity_BTC[:, :frames])
        return torch.cat((first_BTC, velocity_BTC[:, frames:]), dim=1)


def with_context(conditions: DiffusionConditions, context_BTC: Tensor, block_frames: int) -> DiffusionConditions:
    """Conditions of a window whose first frames are given; nothing is added where there is no context."""
    batch, frames, channels = context_BTC.shape
    if not frames:
        return conditions
    empty_BTC = context_BTC.new_zeros(batch, block_frames, channels)
    mask_BT = context_BTC.new_ones(batch, frames)
    return replace(
        conditions,
        context_BTC=torch.cat((context_BTC, empty_BTC), dim=1),
        context_mask_BT=torch.cat((mask_BT, mask_BT.new_zeros(batch, block_frames)), dim=1),
    )


def require_window(network: DiffusionTransformer, cutoff_blocks: int) -> None:
    """Refuse a window that cannot be played block by block.

    Raises:
        UserError: the context is not a multiple of the block, or the cutoff is outside the window.
    """
    context, block = network.context_frames, network.block_frames
    if context % block:
        raise UserError(
            f"context_frames ({context}) must be a multiple of block_frames ({block}), because the context slides by "
            f"blocks; set it to {context // block * block or block}"
        )
    lowest = -(context // block)
    if not lowest <= cutoff_blocks <= 1:
        raise UserError(
            f"cutoff_blocks is {cutoff_blocks}, outside of the window of {context // block} context blocks and one "
            f"more; set it between {lowest} and 1"
        )


def cutoff_frames(network: DiffusionTransformer, cutoff_blocks: int) -> int:
    """Frames of the window in which the mix is known."""
    return network.context_frames + cutoff_blocks * network.block_frames


def lead_blocks(mode: ContextMode, cutoffs: Collection[int]) -> int:
    """How many blocks later than it stands in the network's window a block is played.

    Args:
        mode: how the network is given its past.
        cutoffs: that it is trained for and plays at, in blocks.

    Raises:
        UserError: they differ in it, which the network is not told.
    """
    leads = {mode.window_cutoff(cutoff) - cutoff for cutoff in cutoffs}
    if len(leads) > 1:
        raise UserError(
            f"under {type(mode).__name__} a network is not told its cutoff, so that it learns and plays one of "
            f"{sorted(set(cutoffs))}; set cutoff_blocks and play_cutoff_blocks to the same"
        )
    return leads.pop()


def dropouts_of(settings: Mapping[str, Any]) -> Dropouts:
    """Those of a recipe's arguments, as a checkpoint's configuration has them."""
    prompt, mix, unconditional = (settings.get(f"{name}_dropout") or 0.0 for name in ("prompt", "mix", "unconditional"))
    sketch, side = settings.get("sketch"), settings.get("unconditional")
    own = NOTHING_ASKED if side is None else Unconditional(**side.get("init_args", side))
    sampler, mode = (settings.get(name) or {} for name in ("sampler", "context_mode"))
    guidance = (sampler.get("init_args") or {}).get("guidance")
    together = (nested_sides(guidance) if isinstance(guidance, Mapping) else ()) or (own.lacks,)
    named = mode.get("init_args") or {}
    past = RoutedContext(**{name: named[name] for name in ("whole_dropout", "partial_dropout") if name in named})
    sketched = 0.0 if sketch is None else sketch["whole_dropout"]
    return Dropouts(
        prompt, mix, unconditional, sketched, past.past_dropout, tuple(tuple(sorted(each)) for each in together)
    )


def has_past(mode: ContextMode, network: DiffusionTransformer) -> bool:
    """Whether a network takes its own past as an input, so that training may drop it."""
    return isinstance(mode, RoutedContext) and network.context_frames > 0


def controls_of(
    generator: ConditionedTransformer, mode: ContextMode, hears_mix: bool, follows_sketches: bool
) -> frozenset[str]:
    """What a model takes of mix, past, prompt and sketch."""
    takes = {"mix": hears_mix, "past": has_past(mode, generator.transformer), "sketch": follows_sketches}
    takes["prompt"] = generator.prompt_encoder is not None
    return frozenset(name for name, given in takes.items() if given)


MISSING = {
    "mix": "hears no mix",
    "past": "is not given its own past",
    "prompt": "takes no prompts",
    "sketch": "follows no sketch",
}
"""What is said of a control to a model that does not take it."""


def require_guidable(weights: Mapping[str, float], controls: Collection[str], mode: ContextMode) -> None:
    """Refuse weights of guidance of what a model does not take.

    Args:
        weights: control → weight.
        controls: what it takes.
        mode: how it is given its own past.

    Raises:
        UserError: names the control.
    """
    for name, weight in weights.items():
        guided = name in controls and (name != "past" or mode.can_guide)
        if weight != 1 and not guided:
            raise UserError(f"guidance has a weight of the {name}, but this model {MISSING[name]}; leave it out")


def require_codec(network: DiffusionTransformer, spec: CodecSpec) -> None:
    """Refuse a network of other latents than a codec's.

    Raises:
        UserError: names the number of channels that is another one.
    """
    for name in ("latent_channels", "mix_channels"):
        if getattr(network, name) != spec.latent_channels:
            raise UserError(
                f"the network has {name} {getattr(network, name)}, but codec {spec.name} has "
                f"{spec.latent_channels}; set {name} to the codec's"
            )


def require_sketch(network: DiffusionTransformer, sketch: SketchAnalysis | None) -> None:
    """Refuse a network that does not fit its sketches.

    Raises:
        UserError: one of them is missing, or the network's controls are others.
    """
    wanted = () if sketch is None else CHANNELS
    if network.sketch_channels != wanted:
        raise UserError(
            f"the network's sketch_channels are {list(network.sketch_channels)}, but this model's sketch has "
            f"{list(wanted)}; set sketch_channels to that, or the recipe's sketch (FlowMatching alone has one)"
        )
