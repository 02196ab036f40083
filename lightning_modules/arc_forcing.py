"""LMDM's post-training: the generator's own rollouts, judged by an adversary (ARC-Forcing).

Shapes: B batch, T latent frames, C latent channels, M places of a score map.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.lmdm import WarmStarted, load_warm_start
from lightning_modules.rollout_crop import RolloutCrop, crop_frames, rollout_crop
from lightning_modules.training import linear_warmup
from lightning_modules.warm_start import load_base
from livejam.accompanist import Controls
from livejam.batch import AccompanimentBatch
from livejam.checkpoints.facts import ancestors, require_same_statistics
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer, RolloutDiscriminator
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Dropouts, Unconditional
from livejam.objectives.arc import ARCObjective, SharedNoise
from livejam.sampling import PingPong, Sampler
from livejam.systems.context import ContextMode, cutoff_frames, dropouts_of
from livejam.systems.rollout import Rollout, boundary_jump, rollout


def _adam_w(parameters: Any) -> Optimizer:
    """The paper's optimiser, of both networks."""
    return torch.optim.AdamW(parameters, lr=1e-6, betas=(0.9, 0.95), weight_decay=0.01)


class ARCForcing(WarmStarted):
    """Adversarial relativistic-contrastive post-training on rollouts (LMDM section 3.3).

    Even iterations train the generator, odd ones the discriminator. The encoders of the generator's prompts are
    constants, the discriminator's are trained with it.

    Args:
        generator: the fine-tuned network with its encoders.
        discriminator: the network that scores the blocks of a sequence of context and rollout.
        codec: the codec for audio in validation; frozen.
        context_mode: how the generator is given its own past, and which of the rollouts' contexts are dropped; with a
            mix the paper drops them all.
        sampler: the sampler in playing; LMDM's is ping-pong with 8 or 2 steps.
        cutoff_blocks: how far the mix is known, in blocks beyond the context; every rollout draws one of them. A
            generator that never hears the mix is judged without it.
        rollout: the length of rollouts, and the steps of their blocks.
        objective: the weights of the losses.
        play_cutoff_blocks: the cutoff in playing; None = the first of `cutoff_blocks`.
        unconditional: what guidance's unconditional side lacks, if there is guidance in playing; as in fine-tuning.
        base_checkpoint: the fine-tuned generator, a checkpoint of FlowMatching with the same mask and window.
        discriminator_checkpoint: the discriminator's base, a checkpoint of FlowMatching on windows as long as context
            and rollout.
        allow_untrained: whether training may start without them.
        prompt_dropout: share of rollouts, 0 to 1, whose generator gets no prompt.
        description_dropout: share of items whose prompt is the instrument's category alone, as in fine-tuning.
        generator_optimizer: optimiser of the generator's network.
        discriminator_optimizer: optimiser of the discriminator.
        generator_warmup_iterations: iterations in which the generator's learning rate rises linearly from 0, while the
            discriminator's head, which begins untrained, learns what to listen for; 0 = none, as in the paper.
        gradient_clip: largest gradient norm of either network; None = unlimited.
        accumulated_pieces: equal parts into which a batch is cut, whose gradients add up.
        ema_decay: decay in [0, 1) per iteration of the averaged generator that validation and playing use; None
            uses the raw generator, as LMDM does.
        seed: seed of noise, levels, dropouts and steps; the draws of an iteration depend only on seed, rank and
            iteration, and its steps and its cutoff not on the rank.

    Raises:
        UserError: the parts do not fit together.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        discriminator: RolloutDiscriminator,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        rollout: Rollout,
        objective: ARCObjective,
        play_cutoff_blocks: int | None = None,
        unconditional: Unconditional = NOTHING_ASKED,
        base_checkpoint: str | None = None,
        discriminator_checkpoint: str | None = None,
        allow_untrained: bool = False,
        prompt_dropout: float = 0.0,
        description_dropout: float = 0.5,
        generator_optimizer: OptimizerCallable = _adam_w,
        discriminator_optimizer: OptimizerCallable = _adam_w,
        generator_warmup_iterations: int = 0,
        gradient_clip: float | None = 1.0,
        accumulated_pieces: int = 1,
        ema_decay: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            generator, codec, context_mode, sampler, cutoff_blocks, play_cutoff_blocks, unconditional,
            ema_decay, gradient_clip, seed,
        )  # fmt: skip
        if objective.contrastive_weight and discriminator.base.prompt_encoder is None:
            raise UserError(
                "contrastive pairs need prompts; give discriminator.base a prompt_encoder or set "
                "objective.contrastive_weight to 0"
            )
        if self.lead_frames:
            raise UserError(
                f"ARC-Forcing trains a model on its own past, which {type(context_mode).__name__} never gives it; "
                "choose the context_mode RoutedContext"
            )
        self.automatic_optimization = False
        self.discriminator = discriminator
        self.rollout, self.objective = rollout, objective
        self.base_checkpoint, self.discriminator_checkpoint = base_checkpoint, discriminator_checkpoint
        self.allow_untrained = allow_untrained
        self.prompt_dropout, self.description_dropout = prompt_dropout, description_dropout
        self.generator_optimizer, self.discriminator_optimizer = generator_optimizer, discriminator_optimizer
        self.generator_warmup_iterations, self.accumulated_pieces = generator_warmup_iterations, accumulated_pieces

    @property
    def may_choose(self) -> bool:
        """Whether the prompt of rollouts is sometimes or always dropped."""
        return self.prompt_dropout > 0 or self.generator.prompt_encoder is None

    @property
    def crop_frames(self) -> int:
        """Frames that a training crop needs: context and rollout."""
        return crop_frames(self.generator.transformer, self.rollout.blocks)

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> None:
        iteration = self._done
        self.begin_iteration(iteration)
        trains_generator = iteration % 2 == 0
        name, loss_of = (
            ("generator", self._generator_loss) if trains_generator else ("discriminator", self._discriminator_loss)
        )
        optimizer = self.optimizers_in_order[iteration % 2]
        with self.toggled_optimizer(optimizer):
            for crop in self._crop(batch).pieces(self.accumulated_pieces):
                loss = loss_of(crop)
                self.manual_backward(loss / self.accumulated_pieces)
            self.take_step(optimizer, name, loss)
        if trains_generator:
            self.schedulers[0].step()
            self.move_average(iteration // 2)
        self.count_iteration()
        self.log_dict({f"train/{name}": value for name, value in self._latest.items()})

    def _generator_loss(self, crop: RolloutCrop) -> Tensor:
        """The generator's loss, of a rollout with gradient; the discriminator's weights are constants."""
        made_BTC = self._rollout(crop, differentiable=True)
        loss = self.objective.generator_loss(self._judge(crop), crop.real_BTC, made_BTC)
        if self.objective.hears_sound:
            further, parts = self.objective.sound_loss(self._sound(crop.real_BTC), self._sound(made_BTC))
            loss = loss + further
            self._note(parts)
        jumps = {"boundary_jump/real": self._jump(crop.real_BTC), "boundary_jump/rollout": self._jump(made_BTC)}
        self._note({"loss/generator": loss, **jumps})
        return loss

    def _sound(self, blocks_BTC: Tensor) -> Tensor:
        """Blocks in a row, decoded (BAN)."""
        # The codec is frozen; its arithmetic stays in float32, because phases and logarithms suffer in bf16.
        with torch.autocast(self.device.type, enabled=False):
            sound_BAN: Tensor = self.codec.decode(self.statistics.denormalise(blocks_BTC.float()))
        return sound_BAN

    def _discriminator_loss(self, crop: RolloutCrop) -> Tensor:
        """The discriminator's loss; the rollout is data."""
        made_BTC = self._rollout(crop, differentiable=False)
        loss, parts = self.objective.discriminator_loss(self._judge(crop), crop.real_BTC, made_BTC, self._rng)
        self._note(parts)
        return loss

    def _rollout(self, crop: RolloutCrop, differentiable: bool) -> Tensor:
        """The blocks of a rollout, generated as in live playing."""
        block_frames, batch = self.generator.transformer.block_frames, len(crop.words)
        cutoff = self.cutoff_blocks[int(torch.randint(len(self.cutoff_blocks), (), generator=self._shared_rng))]
        samplers = self.rollout.draw(differentiable, self._shared_rng)
        player = self.playing(self.generator, cutoff)
        seed_B = torch.randint(1 << 62, (batch,), generator=self._rng, device=self.device)
        dropped_B = self.chance(batch, self.prompt_dropout)
        # The first step hears a block and emits the first one of the rollout; it has heard what comes before. At the
        # lowest cutoff nothing of what it hears is in the window, not even that first block.
        before = cutoff_frames(self.generator.transformer, cutoff) - block_frames
        mix_BTC = F.pad(crop.mix_BTC, (0, 0, max(0, -before), 0))[:, max(0, before) :]
        with torch.no_grad():
            state = player.init_state(batch, Controls(crop.instrument_B, seed_B, crop.words))
            if state.prompt is not None:
                state = replace(state, prompt=state.prompt.without(dropped_B))
            context_BTC = self.statistics.denormalise(crop.context_BTC)
            state = player.primed(crop.mix_BTC[:, : max(0, before)], context_BTC, state)
        self._note({"rollout_steps": torch.tensor([float(sampler.steps) for sampler in samplers]).mean()})
        return rollout(player, state, mix_BTC[:, : len(samplers) * block_frames], samplers)

    def _judge(self, crop: RolloutCrop) -> SharedNoise:
        """Knows prompt and the full mix of the whole sequence."""
        (batch, _, channels), frames, base = crop.real_BTC.shape, self.crop_frames, self.discriminator.base
        noise_BTC = torch.randn(batch, frames, channels, generator=self._rng, device=self.device)
        time_B, mix = self.objective.judging_times.draw(batch, self._rng), None
        if self.hears_mix:
            mix_BTC = self.statistics.normalise(crop.mix_BTC)
            mix = (mix_BTC, torch.ones_like(mix_BTC[..., 0]))
        conditions = base.conditions(base.prompt(crop.words), self.codec.spec.seconds_in(frames), mix=mix)
        return SharedNoise(self.discriminator, crop.context_BTC, conditions, noise_BTC, time_B)

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        generator = self.generator_optimizer(self.generator.transformer.parameters())
        discriminator = self.discriminator_optimizer([p for p in self.discriminator.parameters() if p.requires_grad])
        # every second iteration is the generator's
        return [generator, discriminator], [linear_warmup(generator, self.generator_warmup_iterations / 2)]

    def start(self) -> None:
        paths = {"base_checkpoint": self.base_checkpoint, "discriminator_checkpoint": self.discriminator_checkpoint}
        missing = [name for name, path in paths.items() if path is None]
        if missing and not self.allow_untrained:
            raise UserError(
                f"ARC-Forcing goes on from trained networks: set {' and '.join(missing)} to checkpoints of "
                "FlowMatching, or allow_untrained to true"
            )
        if self.base_checkpoint is not None:
            base = load_warm_start(self.base_checkpoint, self.generator, self.codec, self.cutoff_blocks)
            self.dropouts = dropouts_of(base["config"]["model"]["init_args"])
            self.require_trained_guidance("the sampler", self.sampler, self.dropouts)
            self.adopt_statistics(base)
            self.lineage = ancestors(base)
            if self.ema_generator is not None:
                self.ema_generator.load_state_dict(self.generator.state_dict())
        if self.discriminator_checkpoint is not None:
            judge = load_base(self.discriminator_checkpoint, self.discriminator.base, self.codec)
            require_same_statistics(judge, self.statistics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        player = checkpoint["livejam"].get("player")
        known = player and player["init_args"].get("dropouts")
        self.dropouts = Dropouts(**known["init_args"]) if known else None

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if not isinstance(self.sampler, PingPong):
            return
        untrained = self.rollout.untrained(self.sampler.schedule.times(self.sampler.steps))
        if untrained:
            rank_zero_warn(
                f"no rollout trains the noise levels {', '.join(f'{time:.3f}' for time in untrained)}, from which the "
                f"sampler plays in {self.sampler.steps} steps; set rollout.schedule_steps to {self.sampler.steps} or a "
                "multiple of it, with fewest_steps 1 and most_steps null, or the sampler's schedule to "
                "livejam.sampling.EarlyExits"
            )

    def _crop(self, batch: AccompanimentBatch) -> RolloutCrop:
        smallest = 2 if self.objective.contrastive_weight else 1
        if len(batch) < smallest * self.accumulated_pieces:
            raise UserError(
                f"a batch of {len(batch)} is too small for {self.accumulated_pieces} pieces of {smallest} or more; "
                "raise data.init_args.batch_size (contrastive pairs take two items)"
            )
        mix_BTC, target_BTC = self.latents(batch)
        words = batch.words(self.chance(len(batch), self.description_dropout))
        target_BTC, network = self.statistics.normalise(target_BTC), self.generator.transformer
        parts = network, self.rollout.blocks, self.context_mode, self._rng
        return rollout_crop(mix_BTC, target_BTC, batch.instrument_B, words, *parts)

    def log_norm(self, name: str, norm: Tensor) -> None:
        self._note({f"gradient_norm/{name}": norm})

    def _jump(self, blocks_BTC: Tensor) -> Tensor:
        return boundary_jump(blocks_BTC.detach().float(), self.generator.transformer.block_frames).mean()

    def _note(self, values: dict[str, Tensor]) -> None:
        """Keep what is logged: each curve shows its last value, whichever network was trained."""
        self._latest |= {name: value.detach().float() for name, value in values.items()}
