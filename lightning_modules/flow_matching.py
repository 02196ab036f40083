"""LMDM's recipe before ARC-Forcing: flow matching on windows of latents.

Shapes: B batch, T latent frames of the window (context, then block), C latent channels, K cutoffs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.lmdm import LMDMRecipe
from lightning_modules.training import linear_warmup
from lightning_modules.warm_start import load_base
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import NOTHING_ASKED, DiffusionConditions, Dropouts, Unconditional
from livejam.networks.lora import LoRA
from livejam.objectives.flow import SobolTimes, TimeDistribution, flow_matching_loss, interpolate
from livejam.sampling import Sampler
from livejam.sketch import SketchTraining
from livejam.systems.context import ContextMode, cutoff_frames


@dataclass(frozen=True)
class TrainingWindow:
    """The data of one iteration; latents are normalised."""

    clean_BTC: Tensor
    target_BT: Tensor
    conditions: DiffusionConditions


class FlowMatching(LMDMRecipe):
    """Flow matching of the target's latents, given the mix up to a cutoff and what was played before.

    The injected parts make the variant. A base model has no context (`context_frames` 0) and hears the whole window;
    Encoder-Decoder, Block-Causal and outpainting differ by the network's mask; the look-ahead regime is another
    `context_mode`. Its window of T frames with hop r T and look-ahead w is a block of r T frames, T - r T frames of
    context, and a cutoff of -w blocks.

    Args:
        generator: network and encoders.
        codec: the codec for audio in validation; frozen.
        context_mode: how the model is given its own past, in training and in playing.
        sampler: the sampler in playing; LMDM's is Euler with 50 steps and guidance 7 before ARC-Forcing.
        cutoff_blocks: how far the mix is known, in blocks beyond the context; every item draws one of them.
        play_cutoff_blocks: the same in playing; None = the first of `cutoff_blocks`.
        times: distribution of training times on the path from data to noise.
        mix_dropout: share of items, 0 to 1, that hear no mix.
        mix_partial_dropout: share of items whose mix begins within the window, after one to all context blocks,
            as it does when a stream has just begun.
        prompt_dropout: share of items without a prompt.
        unconditional_dropout: share of items with the conditions of guidance's unconditional side, in addition to
            those that the dropouts above produce by chance; where the sampler has a weight for each control, of each
            of its other sides equally often.
        description_dropout: share of items with only the instrument's category as their prompt, without the
            description of the particular sound.
        unconditional: what guidance's unconditional side lacks, in playing; the reference drops only the prompt, which
            `prompt_dropout` trains. A side with neither prompt nor mix needs `unconditional_dropout`, because
            independent dropouts hardly ever drop both.
        base_checkpoint: a checkpoint of this recipe, or of `livejam weights import-stable-audio`, whose generator and
            normalisation of latents training starts from; None starts from scratch.
        lora: what of the base's generator is tuned by low-rank updates, while the rest of it stays as it is; None tunes
            all of it. What plays is the generator with its updates merged, a network as any other.
        optimizer: optimiser of the generator, by default LMDM's.
        warmup_iterations: iterations in which the learning rate rises linearly from 0; LMDM has none.
        ema_decay: decay in [0, 1) per iteration of the averaged generator that validation and playing use; None
            uses the raw generator, as LMDM does.
        gradient_clip: largest gradient norm; None = unlimited.
        seed: seed of noise, times and dropouts; the draws of an iteration depend only on seed, rank and iteration.
        compile_generator: whether to compile the network with torch.compile.
        sketch: the sketches that it learns to follow, curves of the targets; None = none.
    """

    cutoffs_K: Tensor

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
        sketch: SketchTraining | None = None,
    ) -> None:
        super().__init__(
            generator, codec, context_mode, sampler, cutoff_blocks, play_cutoff_blocks, unconditional,
            ema_decay, gradient_clip, seed, sketch,
        )  # fmt: skip
        self.times = SobolTimes() if times is None else times
        self.mix_dropout, self.mix_partial_dropout = mix_dropout, mix_partial_dropout
        self.prompt_dropout, self.description_dropout = prompt_dropout, description_dropout
        self.unconditional_dropout = unconditional_dropout
        together = sampler.sides(unconditional.lacks) or (unconditional.lacks,)
        self.sides = [Unconditional.lacking(side) for side in together]
        whole_sketch = 0.0 if self.sketch is None else self.sketch.whole_dropout
        dropped = tuple(tuple(sorted(side)) for side in together)
        shares = prompt_dropout, mix_dropout, unconditional_dropout, whole_sketch, context_mode.past_dropout
        self.dropouts: Dropouts = Dropouts(*shares, dropped)
        self.base = (
            None if base_checkpoint is None else load_base(base_checkpoint, generator, codec, _of_sketch(generator))
        )
        self.lineage = [] if self.base is None else self.base["livejam"]["lineage"]
        if lora is not None:
            self._adapt(lora)
        if self.ema_generator is not None:
            self.ema_generator.load_state_dict(generator.state_dict())
        cutoffs = [cutoff_frames(generator.transformer, context_mode.window_cutoff(each)) for each in cutoff_blocks]
        self.register_buffer("cutoffs_K", torch.tensor(cutoffs), persistent=False)
        self.optimizer, self.warmup_iterations = optimizer, warmup_iterations
        self.compile_generator = compile_generator

    def _adapt(self, lora: LoRA) -> None:
        """Put low-rank updates into the generator, and into its average."""
        if self.base is None:
            raise UserError("LoRA tunes a trained generator; name its checkpoint as base_checkpoint, or leave lora out")
        lora.adapt(self.generator)
        if self.ema_generator is not None:
            lora.adapt(self.ema_generator)
            self.ema_generator.requires_grad_(False)

    @property
    def may_choose(self) -> bool:
        """Whether the prompt is sometimes or always dropped."""
        return self.prompt_dropout > 0 or self.generator.prompt_encoder is None

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.base is not None:
            self.adopt_statistics(self.base)

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> Tensor:
        self.begin_iteration(self._done)
        loss_B, time_B = self.losses(batch)
        self._log(loss_B, time_B)
        self.count_iteration()
        return self.about_to_step("generator", loss_B.mean())

    def losses(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor]:
        """The loss of every window, and its noise level."""
        window = self._window(batch)
        time_B = self.times.draw(len(batch), self._rng)
        noise_BTC = torch.randn(window.clean_BTC.shape, generator=self._rng, device=self.device)
        noisy_BTC = interpolate(window.clean_BTC, noise_BTC, time_B)
        velocity_BTC = self.generator.transformer(noisy_BTC, time_B, window.conditions)
        return flow_matching_loss(velocity_BTC.float(), window.clean_BTC, noise_BTC, window.target_BT), time_B

    def configure_model(self) -> None:
        """Spread the networks over the processes, where the trainer's strategy does that."""
        if self.device_mesh is not None:
            strategy: Any = self.trainer.strategy  # lightning_modules.FullyShardedStrategy
            strategy.spread([network for network in (self.generator, self.ema_generator) if network is not None])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self.optimizer(self.generator.parameters())
        warmup = linear_warmup(optimizer, self.warmup_iterations)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.require_trained_guidance("the sampler", self.sampler, self.dropouts)
        if self.compile_generator:
            self.generator.transformer.compile()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """The average moves with the weights, before any callback may save a checkpoint."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.move_average(self._done - 1)

    def _window(self, batch: AccompanimentBatch) -> TrainingWindow:
        network = self.generator.transformer
        frames = network.window_frames
        mix_BTC, clean_BTC = (self.statistics.normalise(x[:, :frames]) for x in self.latents(batch))
        if clean_BTC.shape[1] < frames:
            raise UserError(
                f"a training crop of {clean_BTC.shape[1]} frames is too short for a window of {frames}; set "
                f"data.init_args.crop_frames to {frames}"
            )
        given = self.context_mode.draw(clean_BTC, network, self._rng)
        prompt = self.generator.prompt(batch.words(self.chance(len(batch), self.description_dropout)))
        if prompt is not None:
            prompt = prompt.without(self.chance(len(batch), self.prompt_dropout))
        conditions = self.generator.conditions(
            prompt,
            self.codec.spec.seconds_in(frames),
            context=given.context,
            mix=self._mix_condition(mix_BTC),
            sketch=self._sketch_condition(batch),
        )
        return TrainingWindow(clean_BTC, given.target_BT, self.unconditional_in_some(conditions, len(batch)))

    def unconditional_in_some(self, conditions: DiffusionConditions, rows: int) -> DiffusionConditions:
        """The conditions, with those of guidance's other sides in some rows."""
        if not self.unconditional_dropout:
            return conditions
        dropped_B = self.chance(rows, self.unconditional_dropout)
        if len(self.sides) == 1:
            return self.sides[0].in_rows(dropped_B, conditions)
        side_B = self._integers(rows, len(self.sides))
        for number, side in enumerate(self.sides):
            conditions = side.in_rows(dropped_B & (side_B == number), conditions)
        return conditions

    def _mix_condition(self, mix_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """The known part of the mix: from where hearing began up to the cutoff."""
        network, batch = self.generator.transformer, len(mix_BTC)
        index_T = torch.arange(mix_BTC.shape[1], device=self.device)
        stop_B = self.cutoffs_K[self._integers(batch, len(self.cutoffs_K))]
        blocks = network.context_frames // network.block_frames
        late_B = self.chance(batch, self.mix_partial_dropout) & (blocks > 0)
        start_B = torch.where(late_B, (1 + self._integers(batch, max(1, blocks))) * network.block_frames, 0)
        start_B = torch.where(self.chance(batch, self.mix_dropout), mix_BTC.shape[1], start_B)
        heard_BT = (index_T >= start_B[:, None]) & (index_T < stop_B[:, None])
        return mix_BTC * heard_BT[..., None], heard_BT.to(mix_BTC)

    def _sketch_condition(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor] | None:
        """The target's own curves, or what dropout and smoothing leave of them."""
        if self.sketch is None:
            return None
        asked = self.sketch.draw(self.curves(batch)[:, : self.generator.transformer.window_frames], self._rng)
        return asked.values_BTK, asked.mask_BTG

    def _integers(self, batch: int, below: int) -> Tensor:
        return torch.randint(below, (batch,), generator=self._rng, device=self.device)

    def _log(self, loss_B: Tensor, time_B: Tensor) -> None:
        """The loss, in total and separately for little and for much noise.

        A curve of a part keeps its last value where a batch has none of it: to leave it out is to wait for the device.
        """
        loss_B = loss_B.detach()
        self.log("train/loss", loss_B.mean())
        for name, part_B in (("low_noise", time_B < 0.5), ("high_noise", time_B >= 0.5)):
            mean = torch.where(part_B, loss_B, 0.0).sum() / part_B.sum()
            self._latest[name] = torch.where(part_B.any(), mean, self._latest.get(name, mean).to(mean))
            self.log(f"train/loss/{name}", self._latest[name])


def _of_sketch(generator: ConditionedTransformer) -> list[str]:
    """Names of the inputs of a sketch, which a base that follows none has not."""
    return [name for name in generator.state_dict() if ".project_sketch." in f".{name}"]
