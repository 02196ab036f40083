"""LMDM's post-training: the generator's own rollouts, judged by an adversary (ARC-Forcing).

Shapes: B batch, T latent frames, C latent channels, M places of a score map.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.accompaniment import AccompanimentModule
from lightning_modules.averaging import update_average
from lightning_modules.block_clicks import BlockClicks
from lightning_modules.checkpoints import require_same_statistics
from lightning_modules.gradients import clipped_norm, divergence, has_diverged
from lightning_modules.rollout_crop import RolloutCrop, crop_frames, prompts_of, rollout_crop
from lightning_modules.warm_start import adopt_statistics, load_base, load_warm_start
from lightning_modules.warmup import linear_warmup
from livejam.accompanist import Controls
from livejam.batch import AccompanimentBatch, AccompanimentOutput
from livejam.checkpoints.lineage import ancestors
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer, DiffusionConditions, RolloutDiscriminator
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Unconditional
from livejam.objectives.arc import (
    approximate_gradient_penalty,
    arc_discriminator_loss,
    arc_generator_loss,
    contrastive_loss,
)
from livejam.objectives.flow import LogSNRTimes, TimeDistribution, interpolate
from livejam.sampling import Sampler
from livejam.systems.context import ContextMode
from livejam.systems.lmdm import LMDMAccompanist, cutoff_frames, require_window
from livejam.systems.rollout import RolloutSampler, boundary_jump, draw_rollout_steps, rollout


@dataclass(frozen=True)
class SharedNoise:
    """The noise under which real and generated sequences are judged, the same for both."""

    noise_BTC: Tensor
    time_B: Tensor


class ARCForcing(AccompanimentModule):
    """Adversarial relativistic-contrastive post-training on rollouts (LMDM section 3.3).

    Even iterations train the generator, odd ones the discriminator. The encoders of the generator's prompts are
    constants, the discriminator's are trained with it.

    Args:
        generator: the fine-tuned network with its encoders.
        discriminator: scores the blocks of a sequence of context and rollout.
        codec: encodes and decodes audio in validation; frozen.
        context_mode: how the generator is told what it has played, and which of the rollouts' contexts are dropped;
            with a mix the paper drops them all.
        sampler: how it plays; LMDM's is ping-pong with 8 or 2 steps.
        cutoff_blocks: how far, in blocks beyond the context, the mix is known; every rollout draws one of them. A
            generator that never hears the mix is judged without it.
        play_cutoff_blocks: the same in playing; None = the first of `cutoff_blocks`.
        unconditional: what guidance guides away from, should it play with any; that of the fine-tuning.
        base_checkpoint: the fine-tuned generator, a checkpoint of FlowMatching with the same mask and window.
        discriminator_checkpoint: the discriminator's base, a checkpoint of FlowMatching on windows as long as context
            and rollout.
        allow_untrained: start without them all the same.
        rollout_blocks: blocks of a rollout (B), 1 or more.
        schedule_steps: steps of the whole schedule (K_max), 2 or more.
        fewest_steps: each block of a rollout takes `fewest_steps` … `schedule_steps` - 1 of them; the code of the paper
            has 1, its text 2.
        judging_times: noise levels at which sequences are judged; None = uniform in the logarithm of the
            signal-to-noise ratio.
        contrastive_weight: of the loss that ranks real music above real music with another item's prompt; 0 = off.
        penalty_weight: of (R1 + R2) / 2 in their approximate form; 0 = off, as in the paper.
        penalty_noise: standard deviation of the noise in that form.
        prompt_dropout: share of rollouts, 0 to 1, whose generator is not told what to play.
        description_dropout: share of items whose prompt is the instrument's category alone, as in fine-tuning.
        generator_optimizer: of the generator's network.
        discriminator_optimizer: of the discriminator.
        generator_warmup_iterations: iterations in which the generator's learning rate rises linearly from 0, while the
            discriminator's head, which begins untrained, learns what to listen for; 0 = none, as in the paper.
        gradient_clip: largest gradient norm of either network; None = unlimited.
        accumulated_pieces: equal parts into which a batch is cut, whose gradients add up.
        checkpointing: compute the activations of rollouts anew in the backward pass: less memory, more time.
        ema_decay: decay in [0, 1) per iteration of the averaged generator that validation and playing use; None
            uses the raw generator, as LMDM does.
        seed: of noise, levels, dropouts and steps; what an iteration draws depends on seed, rank and iteration
            alone, its steps and its cutoff not on the rank.

    Raises:
        UserError: the parts do not fit together, or a number is out of its range.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        discriminator: RolloutDiscriminator,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        play_cutoff_blocks: int | None = None,
        unconditional: Unconditional = NOTHING_ASKED,
        base_checkpoint: str | None = None,
        discriminator_checkpoint: str | None = None,
        allow_untrained: bool = False,
        rollout_blocks: int = 12,
        schedule_steps: int = 6,
        fewest_steps: int = 1,
        judging_times: TimeDistribution | None = None,
        contrastive_weight: float = 1.0,
        penalty_weight: float = 0.0,
        penalty_noise: float = 0.05,
        prompt_dropout: float = 0.0,
        description_dropout: float = 0.5,
        generator_optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(
            p, lr=1e-6, betas=(0.9, 0.95), weight_decay=0.01
        ),
        discriminator_optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(
            p, lr=1e-6, betas=(0.9, 0.95), weight_decay=0.01
        ),
        generator_warmup_iterations: int = 0,
        gradient_clip: float | None = 1.0,
        accumulated_pieces: int = 1,
        checkpointing: bool = False,
        ema_decay: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(codec)
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        self.ema_generator = None if ema_decay is None else copy.deepcopy(generator).requires_grad_(False)
        self.context_mode, self.sampler, self.unconditional = context_mode, sampler, unconditional
        self.cutoff_blocks = cutoff_blocks
        self.base_checkpoint, self.discriminator_checkpoint = base_checkpoint, discriminator_checkpoint
        self.allow_untrained = allow_untrained
        self._clicks = BlockClicks()
        self.rollout_blocks, self.schedule_steps, self.fewest_steps = rollout_blocks, schedule_steps, fewest_steps
        self.judging_times = LogSNRTimes() if judging_times is None else judging_times
        self.contrastive_weight = contrastive_weight
        self.penalty_weight, self.penalty_noise = penalty_weight, penalty_noise
        self.prompt_dropout, self.description_dropout = prompt_dropout, description_dropout
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.generator_warmup_iterations = generator_warmup_iterations
        self.gradient_clip, self.accumulated_pieces = gradient_clip, accumulated_pieces
        self.checkpointing, self.ema_decay, self.seed = checkpointing, ema_decay, seed
        self._latest: dict[str, Tensor] = {}
        self._restored = False
        self._require_what_fits()
        self.play_cutoff_blocks = cutoff_blocks[0] if play_cutoff_blocks is None else play_cutoff_blocks
        self.accompanist()

    def _require_what_fits(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UserError: which, and what to set.
        """
        if not self.cutoff_blocks:
            raise UserError("cutoff_blocks is empty; name one cutoff at least, for example [0]")
        for cutoff in self.cutoff_blocks:
            require_window(self.generator.transformer, cutoff)
        draw_rollout_steps(self.rollout_blocks, self.fewest_steps, self.schedule_steps, torch.Generator())
        if self.contrastive_weight and self.discriminator.base.prompt_encoder is None:
            raise UserError(
                "contrastive pairs need prompts; give discriminator.base a prompt_encoder or set contrastive_weight 0"
            )

    @property
    def may_choose(self) -> bool:
        """Whether rollouts are not told at times what to play, or never."""
        return self.prompt_dropout > 0 or self.generator.prompt_encoder is None

    @property
    def crop_frames(self) -> int:
        """Frames that a training crop needs: context and rollout."""
        return crop_frames(self.generator.transformer, self.rollout_blocks)

    def accompanist(self) -> LMDMAccompanist:
        """The model as it plays, with the averaged generator where there is one."""
        generator = self.generator if self.ema_generator is None else self.ema_generator
        return self._player(generator, self.sampler, self.play_cutoff_blocks)

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> None:
        iteration = int(self.iteration)
        draw = self.seed * 1_000_003 + iteration
        self._shared_rng.manual_seed(draw)
        self._rng.manual_seed(draw * self.trainer.world_size + self.global_rank)
        trains_generator = iteration % 2 == 0
        name, optimizer = ("generator", "discriminator")[iteration % 2], self.optimizers()[iteration % 2]
        with self.toggled_optimizer(optimizer):
            for crop in self._crop(batch).pieces(self.accumulated_pieces):
                loss = self._generator_loss(crop) if trains_generator else self._discriminator_loss(crop)
                self.manual_backward(loss / self.accumulated_pieces)
            self._stepping = name, loss.detach()
            optimizer.step()
            optimizer.zero_grad()
        if trains_generator:
            self.lr_schedulers().step()
        if trains_generator and self.ema_generator is not None and self.ema_decay is not None:
            update_average(self.ema_generator, self.generator, self.ema_decay, iteration // 2)
        self.iteration += 1
        self.log_dict({f"train/{name}": value for name, value in self._latest.items()})

    def _generator_loss(self, crop: RolloutCrop) -> Tensor:
        """L_G = E[softplus(D(x_t) - D(x̂_t))]; the discriminator's weights are constants here."""
        made_BTC = self._rollout(crop, differentiable=True)
        shared, conditions = self._shared_noise(crop), self._conditions(crop)
        with torch.no_grad():
            real_BM = self._scores(crop, crop.real_BTC, shared, conditions)
        fake_BM = self._scores(crop, made_BTC, shared, conditions)
        loss = arc_generator_loss(fake_BM, real_BM).mean()
        self._note({"loss/generator": loss, "boundary_jump/real": self._jump(crop.real_BTC)})
        self._note({"boundary_jump/rollout": self._jump(made_BTC)})
        return loss

    def _discriminator_loss(self, crop: RolloutCrop) -> Tensor:
        """L_D = E[softplus(-(D(x_t) - D(x̂_t)))] + λ L_C; the rollout is data to the discriminator."""
        made_BTC = self._rollout(crop, differentiable=False)
        shared, conditions = self._shared_noise(crop), self._conditions(crop)
        real_BM = self._scores(crop, crop.real_BTC, shared, conditions)
        fake_BM = self._scores(crop, made_BTC, shared, conditions)
        loss = arc_discriminator_loss(real_BM, fake_BM).mean()
        gap = (real_BM - fake_BM).mean()
        self._note({"loss/relativistic": loss, "score/real": real_BM.mean(), "score/fake": fake_BM.mean(), "gap": gap})
        if self.contrastive_weight:
            mismatched_BM = self._scores(crop, crop.real_BTC, shared, conditions.roll_prompt(1))
            contrast = contrastive_loss(real_BM, mismatched_BM).mean()
            self._note({"loss/contrastive": contrast, "gap/prompt": (real_BM - mismatched_BM).mean()})
            loss = loss + self.contrastive_weight * contrast
        if self.penalty_weight:
            pairs = ((crop.real_BTC, real_BM), (made_BTC, fake_BM))
            r1, r2 = (self._penalty(crop, music_BTC, score_BM, shared, conditions) for music_BTC, score_BM in pairs)
            self._note({"r1": r1, "r2": r2})
            loss = loss + self.penalty_weight * (r1 + r2) / 2
        return loss

    def _rollout(self, crop: RolloutCrop, differentiable: bool) -> Tensor:
        """As many blocks as `rollout_blocks`, generated as they are live."""
        network, batch = self.generator.transformer, len(crop.words)
        cutoff = self.cutoff_blocks[int(torch.randint(len(self.cutoff_blocks), (), generator=self._shared_rng))]
        steps = draw_rollout_steps(self.rollout_blocks, self.fewest_steps, self.schedule_steps, self._shared_rng)
        sampler = RolloutSampler(self.schedule_steps, checkpointing=self.checkpointing)
        player = self._player(self.generator, sampler, cutoff)
        seed_B = torch.randint(1 << 62, (batch,), generator=self._rng, device=self.device)
        dropped_B = torch.rand(batch, generator=self._rng, device=self.device) < self.prompt_dropout
        # The first step hears a block and emits the first one of the rollout; it has heard what comes before. At the
        # lowest cutoff nothing of what it hears is in the window, not even that first block.
        before = cutoff_frames(network, cutoff) - network.block_frames
        mix_BTC = F.pad(crop.mix_BTC, (0, 0, max(0, -before), 0))[:, max(0, before) :]
        with torch.no_grad():
            state = player.init_state(batch, Controls(crop.instrument_B, seed_B, crop.words))
            if state.prompt is not None:
                state = replace(state, prompt=state.prompt.without(dropped_B))
            context_BTC = self.statistics.denormalise(crop.context_BTC)
            state = player.primed(crop.mix_BTC[:, : max(0, before)], context_BTC, state)
        mix_BTC = mix_BTC[:, : self.rollout_blocks * network.block_frames]
        self._note({"rollout_steps": torch.tensor(float(np.mean(steps)))})
        return rollout(player, sampler, state, mix_BTC, steps, differentiable)

    def _shared_noise(self, crop: RolloutCrop) -> SharedNoise:
        batch, _, channels = crop.real_BTC.shape
        noise_BTC = torch.randn(batch, self.crop_frames, channels, generator=self._rng, device=self.device)
        return SharedNoise(noise_BTC, self.judging_times.draw(batch, self._rng))

    def _conditions(self, crop: RolloutCrop) -> DiffusionConditions:
        """Prompt and the full mix of the whole sequence, for the discriminator."""
        base, network = self.discriminator.base, self.generator.transformer
        mix = None
        if max(cutoff_frames(network, cutoff) for cutoff in self.cutoff_blocks):
            mix_BTC = self.statistics.normalise(crop.mix_BTC)
            mix = (mix_BTC, torch.ones_like(mix_BTC[..., 0]))
        return base.conditions(base.prompt(crop.words), self.codec.spec.seconds_in(self.crop_frames), mix=mix)

    def _scores(
        self, crop: RolloutCrop, music_BTC: Tensor, shared: SharedNoise, conditions: DiffusionConditions
    ) -> Tensor:
        """D's map over the blocks of a sequence that begins with the crop's context."""
        whole_BTC = torch.cat((crop.context_BTC, music_BTC.to(crop.context_BTC)), dim=1)
        noisy_BTC = interpolate(whole_BTC, shared.noise_BTC, shared.time_B)
        return self.discriminator(noisy_BTC, shared.time_B, conditions, music_BTC.shape[1]).float()

    def _penalty(
        self,
        crop: RolloutCrop,
        music_BTC: Tensor,
        score_BM: Tensor,
        shared: SharedNoise,
        conditions: DiffusionConditions,
    ) -> Tensor:
        """How much the scores change when a little noise is added to the sequence that is judged."""
        shaken_BTC = torch.randn(shared.noise_BTC.shape, generator=self._rng, device=self.device)
        whole_BTC = torch.cat((crop.context_BTC, music_BTC.to(crop.context_BTC)), dim=1)
        noisy_BTC = interpolate(whole_BTC, shared.noise_BTC, shared.time_B) + self.penalty_noise * shaken_BTC
        perturbed_BM = self.discriminator(noisy_BTC, shared.time_B, conditions, music_BTC.shape[1]).float()
        return approximate_gradient_penalty(score_BM, perturbed_BM).mean()

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        generator = self.generator_optimizer(self.generator.transformer.parameters())
        discriminator = self.discriminator_optimizer([p for p in self.discriminator.parameters() if p.requires_grad])
        # every second iteration is the generator's
        return [generator, discriminator], [linear_warmup(generator, self.generator_warmup_iterations / 2)]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        adopt_statistics(self, checkpoint)
        super().on_load_checkpoint(checkpoint)
        self._restored = True

    def on_fit_start(self) -> None:
        self._rng, self._shared_rng = torch.Generator(self.device), torch.Generator()
        if not self._restored:
            self._start()

    def validation_step(self, batch: AccompanimentBatch, batch_idx: int) -> AccompanimentOutput:
        """Play along; joins of blocks must not click."""
        output = super().validation_step(batch, batch_idx)
        self._clicks.update(output, self.codec.spec.samples_in(self.generator.transformer.block_frames))
        return output

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self._clicks.collect(), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self._clicks.collect(), sync_dist=True)

    def _start(self) -> None:
        """Begin with the fine-tuned networks.

        Raises:
            UserError: there are none, or they do not fit.
        """
        paths = {
            "base_checkpoint": self.base_checkpoint,
            "discriminator_checkpoint": self.discriminator_checkpoint,
        }
        missing = [name for name, path in paths.items() if path is None]
        if missing and not self.allow_untrained:
            raise UserError(
                f"ARC-Forcing goes on from trained networks: set {' and '.join(missing)} to checkpoints of "
                "FlowMatching, or allow_untrained to true"
            )
        if self.base_checkpoint is not None:
            base = load_warm_start(self.base_checkpoint, self.generator, self.codec, self.cutoff_blocks)
            adopt_statistics(self, base)
            self.lineage = ancestors(base)
            if self.ema_generator is not None:
                self.ema_generator.load_state_dict(self.generator.state_dict())
        if self.discriminator_checkpoint is not None:
            judge = load_base(Path(self.discriminator_checkpoint), self.discriminator.base, self.codec)
            require_same_statistics(judge, self.statistics)

    def _player(self, generator: ConditionedTransformer, sampler: Sampler, cutoff_blocks: int) -> LMDMAccompanist:
        parts = generator, self.codec.spec, self.statistics, self.context_mode, sampler, cutoff_blocks
        return LMDMAccompanist(*parts, unconditional=self.unconditional)

    def _crop(self, batch: AccompanimentBatch) -> RolloutCrop:
        mix_BTC, target_BTC = self.latents(batch)
        plain_B = torch.rand(len(batch), generator=self._rng, device=self.device) < self.description_dropout
        crop = rollout_crop(
            mix_BTC,
            self.statistics.normalise(target_BTC),
            batch.instrument_B,
            prompts_of(batch, plain_B),
            self.generator.transformer,
            self.rollout_blocks,
            self.context_mode,
            self._rng,
        )
        smallest = 2 if self.contrastive_weight else 1
        if len(batch) < smallest * self.accumulated_pieces:
            raise UserError(
                f"a batch of {len(batch)} is too small for {self.accumulated_pieces} pieces of {smallest} or more; "
                "raise data.init_args.batch_size (contrastive pairs take two items)"
            )
        return crop

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """A gradient that is not finite stops training; others are clipped."""
        name, loss = self._stepping
        norm = clipped_norm(self, optimizer, getattr(self, name).parameters(), self.gradient_clip)
        if has_diverged(self, norm):
            raise divergence(self, int(self.iteration), name, loss, norm, self._latest)
        self._note({f"gradient_norm/{name}": norm})

    def _jump(self, blocks_BTC: Tensor) -> Tensor:
        return boundary_jump(blocks_BTC.detach().float(), self.generator.transformer.block_frames).mean()

    def _note(self, values: dict[str, Tensor]) -> None:
        """Keep what is logged: each curve shows its last value, whichever network was trained."""
        self._latest |= {name: value.detach().float() for name, value in values.items()}
