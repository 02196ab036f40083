"""A flow-matching model learns to sample in one or two steps (Karchkhadze and Dubnov, after Song et al. 2023).

Shapes: B batch, T latent frames of the window, C latent channels, K noise levels.
"""

from __future__ import annotations

import copy

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.lmdm import WarmStarted
from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.networks import ConditionedTransformer, DiffusionConditions
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Unconditional
from livejam.objectives.consistency import KarrasTimes, consistency_loss, denoising_loss, solve
from livejam.objectives.flow import interpolate
from livejam.sampling import Euler, Sampler, Velocity, clean_estimate, guided
from livejam.systems.context import ContextMode


class ConsistencyDistillation(WarmStarted, FlowMatching):
    """Distils any model of `FlowMatching` into one that samples in one or two steps.

    f(x, t) = x - t v(x, t) of the student at the start of a piece of the teacher's curve should equal f of the averaged
    student at its end. Mix, cutoffs and context are those of the teacher's training. The encoders are the teacher's
    and do not change.

    Args:
        generator: the student; starts as the teacher.
        codec: the codec for audio in validation; frozen.
        context_mode: how the model is given its own past; the teacher's.
        sampler: the student's sampler in playing; ping-pong over a `KarrasSchedule` is multistep consistency sampling.
        cutoff_blocks: how far the mix is known, in blocks beyond the context; every item draws one of them.
        play_cutoff_blocks: the same in playing; None = the first of `cutoff_blocks`.
        teacher_checkpoint: a checkpoint of FlowMatching with the same mask and window.
        allow_untrained: whether training may start without one.
        karras_times: the noise levels between which the teacher's curves are solved; None = the paper's 18.
        teacher_guidance: weight of the teacher's classifier-free guidance; 1 = off, as in the paper.
        unconditional: what guidance's unconditional side lacks, for teacher and student; the teacher's.
        consistency_weight: weight of the consistency loss.
        denoising_weight: weight of the denoising loss, which ties the student to the data.
        mix_dropout: share of items, 0 to 1, that hear no mix.
        mix_partial_dropout: share of items whose mix begins within the window.
        prompt_dropout: share of items without a prompt.
        description_dropout: share of items with only the instrument's category as their prompt.
        optimizer: optimiser of the student's network, by default the paper's.
        warmup_iterations: steps in which the learning rate rises linearly from 0.
        ema_decay: decay in [0, 1) per step of the averaged student, which is the target and plays.
        gradient_clip: largest gradient norm; None = unlimited.
        seed: seed of all draws; the draws of an iteration depend only on seed, rank and iteration, and the number of
            the teacher's steps not on the rank.
    """

    levels_K: Tensor

    def __init__(
        self,
        generator: ConditionedTransformer,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        play_cutoff_blocks: int | None = None,
        teacher_checkpoint: str | None = None,
        allow_untrained: bool = False,
        karras_times: KarrasTimes | None = None,
        teacher_guidance: float = 1.0,
        unconditional: Unconditional = NOTHING_ASKED,
        consistency_weight: float = 1.0,
        denoising_weight: float = 1.0,
        mix_dropout: float = 0.05,
        mix_partial_dropout: float = 0.15,
        prompt_dropout: float = 0.1,
        description_dropout: float = 0.5,
        optimizer: OptimizerCallable = lambda p: torch.optim.RAdam(p, lr=1e-5, betas=(0.9, 0.999)),
        warmup_iterations: int = 0,
        ema_decay: float = 0.999,
        gradient_clip: float | None = None,
        seed: int = 0,
    ) -> None:
        for encoder in (generator.prompt_encoder, generator.duration):
            if isinstance(encoder, nn.Module):
                encoder.requires_grad_(False)
        super().__init__(
            generator,
            codec,
            context_mode,
            sampler,
            cutoff_blocks,
            play_cutoff_blocks,
            mix_dropout=mix_dropout,
            mix_partial_dropout=mix_partial_dropout,
            prompt_dropout=prompt_dropout,
            description_dropout=description_dropout,
            unconditional=unconditional,
            optimizer=optimizer,
            warmup_iterations=warmup_iterations,
            ema_decay=ema_decay,
            gradient_clip=gradient_clip,
            seed=seed,
        )
        self.teacher = copy.deepcopy(generator).requires_grad_(False)
        self.teacher_checkpoint, self.allow_untrained = teacher_checkpoint, allow_untrained
        self.karras_times = KarrasTimes() if karras_times is None else karras_times
        levels_K = self.karras_times.levels(self.karras_times.number).float()
        self.register_buffer("levels_K", levels_K, persistent=False)
        self.teacher_guidance = teacher_guidance
        self.consistency_weight, self.denoising_weight = consistency_weight, denoising_weight

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> Tensor:
        self.begin_iteration(self._done)
        window = self._window(batch)
        consistency = self._consistency(window.clean_BTC, window.target_BT, window.conditions)
        denoising = self._denoising(window.clean_BTC, window.target_BT, window.conditions)
        loss = self.consistency_weight * consistency + self.denoising_weight * denoising
        self.log("train/loss", loss.detach())
        self.log_dict({"train/loss/consistency": consistency.detach(), "train/loss/denoising": denoising.detach()})
        self.count_iteration()
        return self.about_to_step("generator", loss)

    def _consistency(self, clean_BTC: Tensor, target_BT: Tensor, conditions: DiffusionConditions) -> Tensor:
        """Both ends of a piece of the teacher's curve must lead to the same music."""
        steps = self.karras_times.draw_steps(self._shared_rng)
        start_B = self.karras_times.draw_starts(steps, len(clean_BTC), self._rng)
        times = [self.levels_K[start_B + i] for i in range(steps + 1)]
        noisy_BTC = interpolate(clean_BTC, self._noise(clean_BTC), times[0])
        with torch.no_grad():
            end_BTC = solve(self._teacher_velocity(conditions), noisy_BTC, times)
            assert self.ema_generator is not None
            target_BTC = estimate(self.ema_generator, end_BTC, times[-1], conditions)
        student_BTC = estimate(self.generator, noisy_BTC, times[0], conditions)
        self.log("train/teacher_steps", torch.full((), float(steps), device=self.device))
        return consistency_loss(student_BTC, target_BTC, target_BT).mean()

    def _denoising(self, clean_BTC: Tensor, target_BT: Tensor, conditions: DiffusionConditions) -> Tensor:
        """From any noise level, one evaluation must lead as near to the music as it can."""
        time_B = self.karras_times.denoising_times(len(clean_BTC), self._rng)
        noisy_BTC = interpolate(clean_BTC, self._noise(clean_BTC), time_B)
        return denoising_loss(
            estimate(self.generator, noisy_BTC, time_B, conditions), clean_BTC, time_B, target_BT
        ).mean()

    def _teacher_velocity(self, conditions: DiffusionConditions) -> Velocity:
        network = self.teacher.transformer
        if self.teacher_guidance == 1:
            return lambda x, t: network(x, t, conditions).float()
        both = self.unconditional.beside(conditions)
        return guided(lambda x, t: network(x, t, both).float(), self.teacher_guidance)

    def _noise(self, clean_BTC: Tensor) -> Tensor:
        return torch.randn(clean_BTC.shape, generator=self._rng, device=clean_BTC.device)

    def start(self) -> None:
        """Teacher, student and average start equal.

        Raises:
            UserError: there is no teacher, it does not fit, or its guidance was not trained.
        """
        sampler = Euler(guidance=self.teacher_guidance)
        self.start_from_teacher(self.teacher, self.teacher_checkpoint, self.allow_untrained, sampler)


def estimate(
    model: ConditionedTransformer, noisy_BTC: Tensor, time_B: Tensor, conditions: DiffusionConditions
) -> Tensor:
    """f(x, t) = x - t v(x, t)."""
    return clean_estimate(noisy_BTC, time_B, model.transformer(noisy_BTC, time_B, conditions).float())
