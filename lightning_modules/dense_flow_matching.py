"""Flow matching in which one pass over a long crop trains every block as it is played, instead of a window per block.

Shapes: B batch, T latent frames of the crop, N frames to generate (T - context), K blocks to generate, C channels.
"""

from __future__ import annotations

import math

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from lightning_modules.flow_matching import FlowMatching
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer
from livejam.networks.dense_block_causal import dense_layout, dense_velocity
from livejam.networks.diffusion_conditions import NOTHING_ASKED, DiffusionConditions, Unconditional
from livejam.networks.lora import LoRA
from livejam.objectives.flow import TimeDistribution, flow_matching_loss, interpolate
from livejam.sampling import Sampler
from livejam.systems.context import ContextMode, RoutedContext


class DenseFlowMatching(FlowMatching):
    """`FlowMatching` for Block-Causal networks in which all blocks of a crop that have a context are targets.

    Every block draws its own noise level. What is dropped is dropped for a whole item: its own past altogether or up to
    a random block, the mix altogether or up to a random block. Cutoffs are 0, the block after what was heard, and 1,
    the same block, which cannot be played live; `dense_velocity` says why not others, and `ShiftedContext` has one
    below 0. `data.init_args.crop_frames` is the context and any number of blocks, and as many more as a shifted block
    is ahead. The other arguments are those of `FlowMatching`.

    Args:
        easy_iterations: iterations at the beginning with easier horizons, in frames: every item hears so many first
            frames of the mix of the blocks that it generates, a number drawn between all of a block and a least one
            that falls from all to none in this time; then `cutoff_blocks` alone. 0 = none; ours, not the paper's.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        play_cutoff_blocks: int | None = None,
        times: TimeDistribution | None = None,
        mix_dropout: float = 0.05,
        mix_partial_dropout: float = 0.15,
        prompt_dropout: float = 0.1,
        unconditional_dropout: float = 0.0,
        description_dropout: float = 0.5,
        unconditional: Unconditional = NOTHING_ASKED,
        base_checkpoint: str | None = None,
        lora: LoRA | None = None,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=5e-5, betas=(0.9, 0.999), weight_decay=0.0),
        warmup_iterations: int = 0,
        ema_decay: float | None = None,
        gradient_clip: float | None = None,
        seed: int = 0,
        compile_generator: bool = False,
        easy_iterations: int = 0,
    ) -> None:
        super().__init__(
            generator, codec, context_mode, sampler, cutoff_blocks, play_cutoff_blocks, times, mix_dropout,
            mix_partial_dropout, prompt_dropout, unconditional_dropout, description_dropout, unconditional,
            base_checkpoint, lora, optimizer, warmup_iterations, ema_decay, gradient_clip, seed, compile_generator,
        )  # fmt: skip
        self.easy_iterations = easy_iterations

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if not isinstance(self.context_mode, RoutedContext):
            raise UserError(
                "DenseFlowMatching gives clean context its own input, which is RoutedContext; use that instead of "
                f"{type(self.context_mode).__name__}, or FlowMatching"
            )
        if not {self.context_mode.window_cutoff(cutoff) for cutoff in self.cutoff_blocks} <= {0, 1}:
            raise UserError(
                f"DenseFlowMatching trains cutoff_blocks 0 and 1, not {self.cutoff_blocks}; choose the context_mode "
                "ShiftedContext for one below, or FlowMatching"
            )

    def losses(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor]:
        """The loss of every block of every item, and its noise level."""
        network = self.generator.transformer
        clean_BTC, conditions = self._crop(batch)
        target_BNC = clean_BTC[:, network.context_frames :]
        noise_BNC = torch.randn(target_BNC.shape, generator=self._rng, device=self.device)
        blocks = dense_layout(network, clean_BTC.shape[1]).targets
        time_BK = self.times.draw(len(batch) * blocks, self._rng).view(len(batch), blocks)
        heard_frames_B = self._horizons(len(batch))
        target, noise = (x_BNC.reshape(-1, network.block_frames, x_BNC.shape[-1]) for x_BNC in (target_BNC, noise_BNC))
        noisy_BNC = interpolate(target, noise, time_BK.flatten()).view_as(target_BNC)
        velocity_BNC = dense_velocity(network, noisy_BNC, time_BK, conditions, heard_frames_B).float()
        everything = torch.ones(target.shape[:2], dtype=torch.bool, device=self.device)
        return flow_matching_loss(velocity_BNC.view_as(target), target, noise, everything), time_BK.flatten()

    def _horizons(self, batch: int) -> Tensor:
        """How many first frames of its own mix every block of an item hears."""
        network = self.generator.transformer
        if self._done >= self.easy_iterations:
            return self.cutoffs_K[self._integers(batch, len(self.cutoffs_K))] - network.context_frames
        least = math.floor(network.block_frames * (1 - self._done / self.easy_iterations))
        return least + self._integers(batch, network.block_frames - least + 1)

    def _crop(self, batch: AccompanimentBatch) -> tuple[Tensor, DiffusionConditions]:
        """The normalised target, and what is known of past, mix and prompt."""
        network = self.generator.transformer
        mix_BTC, clean_BTC = (self.statistics.normalise(x_BTC) for x_BTC in self.latents(batch))
        assert isinstance(self.context_mode, RoutedContext)
        played_BT = self._known(clean_BTC, self.context_mode.whole_dropout, self.context_mode.partial_dropout)
        heard_BT = self._known(mix_BTC, self.mix_dropout, self.mix_partial_dropout)
        prompt = self.generator.prompt(batch.words(self.chance(len(batch), self.description_dropout)))
        if prompt is not None:
            prompt = prompt.without(self.chance(len(batch), self.prompt_dropout))
        conditions = self.generator.conditions(
            prompt,
            self.codec.spec.seconds_in(network.window_frames),
            context=(clean_BTC * played_BT[..., None], torch.ones_like(clean_BTC[..., 0])),
            mix=(mix_BTC * heard_BT[..., None], heard_BT.to(mix_BTC)),
        )
        return clean_BTC, self.unconditional_in_some(conditions, len(batch))

    def _known(self, x_BTC: Tensor, whole_dropout: float, partial_dropout: float) -> Tensor:
        """Frames that are known (BT): some items know none, some only those from a random block on."""
        (batch, frames, _), block = x_BTC.shape, self.generator.transformer.block_frames
        late_B = (1 + self._integers(batch, max(1, frames // block - 1))) * block
        start_B = torch.where(self.chance(batch, partial_dropout), late_B, 0)
        start_B = torch.where(self.chance(batch, whole_dropout), frames, start_B)
        return torch.arange(frames, device=self.device) >= start_B[:, None]
