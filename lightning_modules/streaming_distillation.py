"""A diffusion model learns to play in one step what its teacher plays in many: streaming distillation without data.

Shapes: B batch, T latent frames, C latent channels, K trained blocks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.lmdm import WarmStarted
from lightning_modules.training import linear_warmup
from livejam.accompanist import Controls
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Dropouts, Unconditional
from livejam.objectives.streaming import StreamingObjective
from livejam.sampling import Sampler, row_noise
from livejam.sampling.samplers import CfgSampler
from livejam.systems.context import ContextMode, DroppedContext
from livejam.systems.dense import play_densely
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState

DECODED_FRAMES = 4
"""Frames of the past with which a block is decoded for its spectra."""


@dataclass(frozen=True)
class ComparedBlock:
    """A block as student and teacher play it, from the same noise and on the same context (normalised).

    Args:
        context_BTC: what was played before; a constant.
        student_BTC: with gradient.
        teacher_BTC: a constant.
    """

    context_BTC: Tensor
    student_BTC: Tensor
    teacher_BTC: Tensor


class StreamingDistillation(WarmStarted):
    """Distils any model of `FlowMatching` or `DenseFlowMatching` on its own playing, to mixes alone.

    Student and teacher play along with the mix block by block, as they are deployed, from the same noise and on the
    same past, each with a cache of its own. The teacher samples in many steps, the student in those of its sampler, and
    its block should be the teacher's (after arXiv 2606.24307). The targets of the data are not used: what is right is
    what the teacher plays. No gradient flows from block to block. The encoders are the teacher's and do not change.

    Models that play from the mix alone (`DroppedContext`) need not play to be compared: one dense pass per denoising
    step makes all blocks of a crop, as `DenseFlowMatching` trains them. That is ours.

    Args:
        generator: the student; starts as the teacher.
        codec: the codec; frozen. The spectral loss decodes with it.
        context_mode: how the model is given its own past; the teacher's.
        sampler: the student's sampler, in training and in playing; one step of ping-pong, as a rule.
        cutoff_blocks: how far the mix is known, in blocks beyond the context; every iteration draws one of them.
        teacher_sampler: the teacher's.
        objective: the weights of the losses.
        play_cutoff_blocks: the cutoff in playing; None = the first of `cutoff_blocks`.
        trained_blocks: blocks in a row that are compared, somewhere in the crop; those before are only played, so that
            there is a past. None = all that have a whole context, in dense passes: for `DroppedContext` at cutoff 0
            and for `ShiftedContext`, behind the mask `BlockCausal`.
        student_context: share of iterations, 0 to 1, in which the past is the student's own, as it will be in playing;
            in the others it is the teacher's.
        late_starts: share of items, 0 to 1, whose mix begins within the crop, where dense passes make all blocks at
            once, as when a stream has just begun. Block by block, every stream begins with the crop.
        teacher_checkpoint: a checkpoint of FlowMatching with the same mask and window.
        allow_untrained: whether training may start without one.
        unconditional: what guidance's unconditional side lacks; the teacher's.
        prompt_dropout: share of items, 0 to 1, without a prompt.
        description_dropout: share of items with only the instrument's category as their prompt.
        optimizer: optimiser of the student's network.
        warmup_iterations: iterations in which the learning rate rises linearly from 0.
        ema_decay: decay in [0, 1) per iteration of the averaged student, which plays; None = no average.
        gradient_clip: largest gradient norm; None = unlimited.
        seed: seed of all draws; the draws of an iteration depend only on seed, rank and iteration, and its cutoff, its
            blocks and whose past it is not on the rank.

    Raises:
        UserError: the parts do not fit together.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        teacher_sampler: CfgSampler,
        objective: StreamingObjective,
        play_cutoff_blocks: int | None = None,
        trained_blocks: int | None = 4,
        student_context: float = 1.0,
        late_starts: float = 0.15,
        teacher_checkpoint: str | None = None,
        allow_untrained: bool = False,
        unconditional: Unconditional = NOTHING_ASKED,
        prompt_dropout: float = 0.1,
        description_dropout: float = 0.5,
        optimizer: OptimizerCallable = lambda p: torch.optim.AdamW(p, lr=5e-5, betas=(0.9, 0.99), weight_decay=0.0),
        warmup_iterations: int = 0,
        ema_decay: float | None = 0.995,
        gradient_clip: float | None = 1.0,
        seed: int = 0,
    ) -> None:
        for encoder in (generator.prompt_encoder, generator.duration):
            if isinstance(encoder, nn.Module):
                encoder.requires_grad_(False)
        super().__init__(
            generator, codec, context_mode, sampler, cutoff_blocks, play_cutoff_blocks, unconditional,
            ema_decay, gradient_clip, seed,
        )  # fmt: skip
        self.automatic_optimization = False
        self.teacher = copy.deepcopy(generator).requires_grad_(False)
        self.teacher_sampler, self.objective = teacher_sampler, objective
        self.trained_blocks, self.student_context, self.late_starts = trained_blocks, student_context, late_starts
        windows = {context_mode.window_cutoff(cutoff) for cutoff in cutoff_blocks}
        if trained_blocks is None and (not isinstance(context_mode, DroppedContext) or windows != {0}):
            raise UserError(
                "dense passes make blocks that know nothing of each other, at cutoff 0; choose the context_mode "
                "DroppedContext and cutoff_blocks [0], or ShiftedContext, or a number of trained_blocks"
            )
        self.teacher_checkpoint, self.allow_untrained = teacher_checkpoint, allow_untrained
        self.prompt_dropout, self.description_dropout = prompt_dropout, description_dropout
        self.optimizer, self.warmup_iterations = optimizer, warmup_iterations
        # the student itself is never told to play without its mix or its past, whatever its teacher was
        self.dropouts = Dropouts(prompt_dropout, 0.0, past_dropout=0.0 if context_mode.can_guide else 1.0)

    @property
    def may_choose(self) -> bool:
        """Whether the prompt is sometimes or always dropped."""
        return self.prompt_dropout > 0 or self.generator.prompt_encoder is None

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> None:
        self.begin_iteration(self._done)
        if self.trained_blocks is None:
            blocks = self._in_dense_passes(batch)
        else:
            blocks = self._rollout(batch, self.trained_blocks)
        losses = self.objective.latent_losses(
            torch.cat([block.student_BTC for block in blocks]), torch.cat([block.teacher_BTC for block in blocks])
        )
        if self.objective.spectral_weight:
            losses["spectral"] = self.objective.spectral_loss(*self._sound(blocks[self._shared_draw(len(blocks))]))
        loss = self.objective.total(losses)
        self.manual_backward(loss)
        self.take_step(self.optimizers_in_order[0], "generator", loss)
        self.schedulers[0].step()
        self.move_average(self._done)
        self.count_iteration()
        self.log("train/loss", loss.detach())
        self.log_dict({f"train/loss/{name}": part.detach() for name, part in losses.items()})

    def _rollout(self, batch: AccompanimentBatch, count: int) -> list[ComparedBlock]:
        """Student and teacher play to the mixes; some blocks in a row, which are trained."""
        mix_BTC = self.codec.encode(batch.mix) if batch.is_audio else batch.mix
        blocks = self._blocks(mix_BTC, count)
        first = self._shared_draw(len(blocks) - count + 1)
        students = bool(torch.rand((), generator=self._shared_rng) < self.student_context)
        cutoff = self.cutoff_blocks[self._shared_draw(len(self.cutoff_blocks))]
        student = self.playing(self.generator, cutoff)
        teacher = self.playing(self.teacher, cutoff).with_sampler(self.teacher_sampler)
        # to keep its cache up to date behind another's past, one step is enough
        follower = teacher.with_sampler(replace(self.teacher_sampler, steps=1)) if students else teacher
        student_state, teacher_state = self._silence(batch, (student, teacher))
        compared = []
        for number, block_BTC in enumerate(blocks[: first + count]):
            trained = number >= first
            with torch.set_grad_enabled(trained):
                student_BTC, after_student = student.generate_block(block_BTC, student_state)
            with torch.no_grad():
                playing = teacher if trained else follower
                teacher_BTC, after_teacher = playing.generate_block(block_BTC, teacher_state)
            if trained:
                compared.append(ComparedBlock(student_state.played_BTC, student_BTC.float(), teacher_BTC.float()))
            past = after_student if students else after_teacher
            student_state = replace(past, cache=after_student.cache)
            teacher_state = replace(past, cache=after_teacher.cache)
        return compared

    def _in_dense_passes(self, batch: AccompanimentBatch) -> list[ComparedBlock]:
        """All blocks of every item as one, without any past."""
        network = self.generator.transformer
        mix_BTC = self.statistics.normalise(self.codec.encode(batch.mix) if batch.is_audio else batch.mix)
        prompt = self.generator.prompt(batch.words(self.chance(len(batch), self.description_dropout)))
        if prompt is not None:
            prompt = prompt.without(self.chance(len(batch), self.prompt_dropout))
        conditions = self.generator.conditions(prompt, self.codec.spec.seconds_in(network.window_frames))
        seed_B = torch.randint(1 << 62, (len(batch),), generator=self._rng, device=self.device)
        position_N = torch.arange(network.context_frames, mix_BTC.shape[1], device=self.device)
        noise = row_noise(seed_B, position_N.expand(len(batch), -1), network.latent_channels, mix_BTC.dtype)
        parts = mix_BTC, self._heard(mix_BTC), conditions
        student_BNC = play_densely(network, *parts, self.sampler, self.unconditional, noise)
        with torch.no_grad():
            teacher = self.teacher.transformer
            teacher_BNC = play_densely(teacher, *parts, self.teacher_sampler, self.unconditional, noise)
        rows = zip(mix_BTC[:, :0].split(1), student_BNC.float().split(1), teacher_BNC.float().split(1), strict=True)
        return [ComparedBlock(*row) for row in rows]

    def _heard(self, mix_BTC: Tensor) -> Tensor:
        """Frames in which there is a mix (BT): for some items it begins later, with a block."""
        (batch, frames, _), block = mix_BTC.shape, self.generator.transformer.block_frames
        start_B = torch.randint(frames // block, (batch,), generator=self._rng, device=self.device) * block
        start_B = torch.where(self.chance(batch, self.late_starts), start_B, 0)
        return torch.arange(frames, device=self.device) >= start_B[:, None]

    def _blocks(self, mix_BTC: Tensor, trained: int) -> list[Tensor]:
        """What is heard in every step."""
        frames = self.generator.transformer.block_frames
        count = mix_BTC.shape[1] // frames
        if count < trained:
            raise UserError(
                f"a training crop of {mix_BTC.shape[1]} frames has {count} blocks, fewer than trained_blocks "
                f"{trained}; set data.init_args.crop_frames to {trained * frames} or more"
            )
        return list(mix_BTC[:, : count * frames].split(frames, dim=1))

    @torch.no_grad()
    def _silence(self, batch: AccompanimentBatch, players: tuple[LMDMAccompanist, LMDMAccompanist]) -> list[LMDMState]:
        """The players' states before the first frame, with the same noise and the same prompts ahead."""
        seed_B = torch.randint(1 << 62, (len(batch),), generator=self._rng, device=self.device)
        words = batch.words(self.chance(len(batch), self.description_dropout))
        dropped_B = self.chance(len(batch), self.prompt_dropout)
        asked = words if self.generator.prompt_encoder is not None else None
        states = [player.init_state(len(batch), Controls(batch.instrument_B, seed_B, asked)) for player in players]
        return [
            state if state.prompt is None else player.asked(state.prompt.without(dropped_B), state)
            for player, state in zip(players, states, strict=True)
        ]

    def _sound(self, block: ComparedBlock) -> tuple[Tensor, Tensor]:
        """A block and the end of its past, decoded (BAN): the student's, with gradient, and the teacher's."""
        context_BTC = block.context_BTC[:, -DECODED_FRAMES:].float()
        # The codec is frozen; its arithmetic stays in float32, because phases and logarithms suffer in bf16.
        with torch.autocast(self.device.type, enabled=False):
            student_BAN, teacher_BAN = (
                self.codec.decode(self.statistics.denormalise(torch.cat((context_BTC, block_BTC), dim=1)))
                for block_BTC in (block.student_BTC, block.teacher_BTC)
            )
        return student_BAN, teacher_BAN

    def _shared_draw(self, below: int) -> int:
        """A whole number that is the same on all ranks."""
        return int(torch.randint(below, (), generator=self._shared_rng))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        optimizer = self.optimizer(self.generator.transformer.parameters())
        return [optimizer], [linear_warmup(optimizer, self.warmup_iterations)]

    def start(self) -> None:
        """Teacher, student and average start equal.

        Raises:
            UserError: there is no teacher, it does not fit, or its guidance was not trained.
        """
        parts = self.teacher_checkpoint, self.allow_untrained, self.teacher_sampler
        self.start_from_teacher(self.teacher, *parts)
