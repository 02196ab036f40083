"""LiveBand's recipe: R3GAN on sequences of latents, with AdaGP.

Shapes: B batch, T latent frames, C latent channels, E channels of a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from lightning_modules.accompaniment import AccompanimentModule, described
from lightning_modules.adversaries import (
    COLLAPSED_SPREAD,
    CollapseAlarm,
    TrainingCrop,
    ahead,
    beats_ahead,
    relative_spread,
    require_match,
    standardise_references,
    told_references,
)
from lightning_modules.beat_listening import BeatListening, require_one_beginning
from lightning_modules.training import data_module, linear_warmup
from lightning_modules.warm_start import load_base
from livejam.batch import NULL_CATEGORY, AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import CausalTransformer, SequenceDiscriminator
from livejam.objectives import (
    PenaltyScale,
    adapt_penalty_weight,
    discriminator_loss,
    generator_loss,
    lazy_penalty_scale,
    zero_centred_penalty,
)
from livejam.reference import ReferenceTraining
from livejam.systems.liveband import LiveBandAccompanist, require_anticipation

BEGUN = ("anticipation_embedding.", "reference_features.", "project_reference.")
"""What a generator to begin with may lack: it gives 0 in a new one, and so changes nothing."""


class R3GAN(AccompanimentModule[CausalTransformer]):
    """Adversarial training of LiveBand: relativistic pairing, lazy R1 and R2, adaptive penalty weight.

    Args:
        generator: the map from normalised mix latents to normalised accompaniment latents.
        discriminator: the network that scores whole sequences.
        codec: the codec for audio in validation; frozen.
        anticipation_frames: δ ≥ 0, frames between hearing and playing; -1 for a bidirectional generator. Networks with
            `anticipations` are trained at all of them, drawn anew for every item; this is the one of validation.
        generator_optimizer: optimiser of the generator; the paper's is Adam without weight decay.
        discriminator_optimizer: optimiser of the discriminator.
        base_checkpoint: a LiveBand to begin with: a checkpoint, a published model or a bundled one's name. What its
            generator lacks, as the embedding of anticipations, begins as in a new one; the latents are normalised as
            for it. The discriminator, which is not published, begins anew. None = both do. Ours.
        discriminator_lead: iterations at the start in which only the discriminator learns, so that one that knows
            nothing does not undo a trained generator. Ours.
        warmup_iterations: iterations in which both learning rates rise linearly from 0, the generator's after the
            discriminator's lead; fixed afterwards.
        decay_from: iteration from which both learning rates fall linearly; None = they stay, as in the paper.
        decay_iterations: iterations of that fall to 0, after which nothing is learnt any more.
        generator_class_dropout: share of items in [0, 1] whose instrument is hidden from both networks (p_G).
        discriminator_class_dropout: share of the other items whose instrument is hidden from the discriminator (p_D).
        penalty_every: discriminator steps per gradient penalty (k), R1 and R2 in turn.
        penalty_weight: λ at the start, ≥ 0.
        penalty_step: step size η ≥ 0 of AdaGP; 0 keeps λ fixed.
        target_advantage: a*, the advantage E[D(real)] - E[D(fake)] that AdaGP steers to.
        mismatch_weight: weight ≥ 0 of a term that ranks real pairs above real accompaniments with the mix of
            another item; not in the paper, whose setting is 0.
        regression_weight: weight ≥ 0 of the mean absolute difference between generated and real latents in the
            generator's loss (pix2pix, Isola et al. 2017, equation 3): the real accompaniment of the same mix is
            known, and guides every frame where the discriminator gives one score; not in the paper, whose setting is 0.
        regression_half_life: frames of anticipation in which that weight halves, item by item; None = it never does.
            Nobody can know what the band plays a second later, and the least absolute difference to everything
            that it could play is near silence. Ours.
        reuse_fakes: whether the generator step uses the fakes of the discriminator step instead of fresh noise, which
            saves one pass through the generator; not in the paper.
        ema_decay: decay in [0, 1) per iteration of the averaged generator that validation and playing use; None
            uses the raw generator. The paper mentions none.
        gradient_clip: largest gradient norm of either network; None = unlimited.
        reference: the references that both networks are told of; None = they are told of none.
        beat: what the generator's hidden states also learn to tell; None = nothing. Ours.
        seed: seed of noise and class dropout; the draws of an iteration depend only on seed, rank and iteration.
        compile_generator: whether to compile the generator with torch.compile. The discriminator stays eager, because
            compiled graphs have no double backward.
    """

    penalty_weight: Tensor

    def __init__(
        self,
        generator: CausalTransformer,
        discriminator: SequenceDiscriminator,
        codec: Codec,
        anticipation_frames: int = 1,
        generator_optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4, betas=(0.5, 0.9)),
        discriminator_optimizer: OptimizerCallable = lambda p: torch.optim.Adam(p, lr=1e-4, betas=(0.5, 0.9)),
        base_checkpoint: str | None = None,
        discriminator_lead: int = 0,
        warmup_iterations: int = 1000,
        decay_from: int | None = None,
        decay_iterations: int = 5000,
        generator_class_dropout: float = 0.1,
        discriminator_class_dropout: float = 0.1,
        penalty_every: int = 8,
        penalty_weight: float = 5.0,
        penalty_step: float = 1e-3,
        target_advantage: float = 1.0,
        mismatch_weight: float = 0.0,
        regression_weight: float = 0.0,
        regression_half_life: float | None = None,
        reuse_fakes: bool = False,
        ema_decay: float | None = None,
        gradient_clip: float | None = None,
        reference: ReferenceTraining | None = None,
        beat: BeatListening | None = None,
        seed: int = 0,
        compile_generator: bool = False,
    ) -> None:
        begun = [name for name in generator.state_dict() if name.startswith(BEGUN)]
        base = None if base_checkpoint is None else load_base(base_checkpoint, generator, codec, begun)
        super().__init__(generator, codec, ema_decay, gradient_clip, seed)
        self.base = base
        if base is not None:
            self.lineage = base["livejam"]["lineage"]
        require_anticipation(generator, anticipation_frames)
        require_match(generator, discriminator, codec, reference)
        require_one_beginning(generator, beat, discriminator_lead)
        self.automatic_optimization = False
        self.discriminator, self.reference, self.beat = discriminator, reference, beat
        self.anticipation_frames = anticipation_frames
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.discriminator_lead, self.warmup_iterations = discriminator_lead, warmup_iterations
        self.decay_from, self.decay_iterations = decay_from, decay_iterations
        self.generator_class_dropout = generator_class_dropout
        self.discriminator_class_dropout = discriminator_class_dropout
        self.penalty_every = penalty_every
        self.penalty_step = penalty_step
        self.target_advantage = target_advantage
        self.mismatch_weight = mismatch_weight
        self.regression_weight = regression_weight
        self.regression_half_life = regression_half_life
        self.reuse_fakes = reuse_fakes
        self.compile_generator = compile_generator
        self.register_buffer("penalty_weight", torch.tensor(float(penalty_weight)))
        self._alarm = CollapseAlarm()

    @property
    def may_choose(self) -> bool:
        """Whether the instrument is sometimes hidden from the generator."""
        return self.generator_class_dropout > 0

    @property
    def crop_frames(self) -> int:
        """Frames a training crop needs: the generator's window and the 1 + δ frames it plays ahead, of the largest δ.

        Longer crops are cut, so that one data setting serves several anticipations.
        """
        furthest = max(self.anticipation_frames, self.generator.anticipations - 1)
        return self.generator.window_frames + 1 + furthest

    def accompanist(self) -> LiveBandAccompanist:
        """The model in playing, with the averaged generator if there is one."""
        parts = self.playing_generator, self.codec.spec, self.statistics
        return LiveBandAccompanist(*parts, self.anticipation_frames)

    @staticmethod
    def player(settings: Mapping[str, Any]) -> dict[str, Any]:
        reference = settings.get("reference")
        taken = {} if reference is None else {"reference": dict(reference["analysis"])}
        kept = {name: settings[name] for name in ("generator", "anticipation_frames")}
        return described(LiveBandAccompanist, kept | taken)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.reference is not None and "player" in checkpoint["livejam"]:
            taken = checkpoint["livejam"]["player"]["init_args"]["reference"]
            taken["identity"] = self.reference.analysis.encoder.identity

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if self.base is not None:
            self.adopt_statistics(self.base)
        if stage == "fit" and self.reference is not None:
            networks = self.generator, self.ema_generator, self.discriminator
            standardise_references(networks, data_module(self.trainer))

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> None:
        iteration = self._done
        self.begin_iteration(iteration)
        crop = self._crop(batch)
        generator_optimizer, discriminator_optimizer = self.optimizers_in_order
        if self.beat is not None and iteration < self.beat.lead:
            return self._only_listen(crop, generator_optimizer, iteration)

        # D step. Fakes are data to the discriminator: no gradient reaches the generator, unless the generator
        # step uses the same fakes afterwards.
        with torch.set_grad_enabled(self.reuse_fakes):
            fake_BTC, hidden_BTD = self._generate(crop)
        with self.toggled_optimizer(discriminator_optimizer):
            real_B, fake_B, mismatch, mistaken = self._scores(crop, fake_BTC.detach())
            loss_d = discriminator_loss(real_B, fake_B).mean()
            penalty = self._penalty(crop, fake_BTC.detach(), lazy_penalty_scale(iteration, self.penalty_every))
            total = loss_d + self.penalty_weight / 2 * penalty + self.mismatch_weight * mismatch + mistaken
            self.manual_backward(total)
            self.take_step(discriminator_optimizer, "discriminator", total)

        # AdaGP. All ranks see the same advantage, so that λ stays equal on them.
        advantage = self.trainer.strategy.reduce((real_B - fake_B).mean().detach(), reduce_op="mean")
        self.penalty_weight.copy_(
            adapt_penalty_weight(self.penalty_weight, advantage, self.target_advantage, self.penalty_step)
        )

        # G step on fresh noise and the same mixes. The discriminator's weights are constants here.
        with self.toggled_optimizer(generator_optimizer):
            fake_BTC, hidden_BTD = (fake_BTC, hidden_BTD) if self.reuse_fakes else self._generate(crop)
            regression = self._regression(crop, fake_BTC)
            loss_g = self._generator_loss(crop, fake_BTC)
            total = loss_g + self.regression_weight * regression + self._beat_loss(crop, hidden_BTD)
            self.manual_backward(total)
            self.take_step(generator_optimizer, "generator", total)

        self._end_iteration(iteration, self.schedulers)
        scores = {"score/real": real_B.mean(), "score/fake": fake_B.mean(), "advantage": advantage}
        losses = {"loss/discriminator": loss_d, "loss/generator": loss_g}
        losses |= {"mismatch": mismatch, "regression": regression}
        losses |= {} if self.reference is None else {"reference_mismatch": mistaken}
        self._log(scores | losses, relative_spread(crop.real_BTC, fake_BTC))

    def _only_listen(self, crop: TrainingCrop, optimizer: LightningOptimizer, iteration: int) -> None:
        """An iteration of the lead: what is generated does not matter yet, and nobody judges it."""
        with self.toggled_optimizer(optimizer):
            total = self._beat_loss(crop, self._generate(crop)[1])
            self.manual_backward(total)
            self.take_step(optimizer, "generator", total)
        self._end_iteration(iteration, self.schedulers[:1])  # the discriminator's rate has not begun to rise
        self.log_dict({f"train/{name}": value for name, value in self._latest.items()})

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LambdaLR]]:
        listening = () if self.beat is None else self.beat.parameters()
        generator = self.generator_optimizer([*self.generator.parameters(), *listening])
        discriminator = self.discriminator_optimizer(self.discriminator.parameters())
        lead = 0 if self.beat is None else self.beat.lead
        # The discriminator's steps are counted from the end of the generator's lead on.
        later = None if self.decay_from is None else self.decay_from - lead
        # A rate of 0 keeps the generator's weights while its optimiser already gets to know the gradients.
        return [generator, discriminator], [
            linear_warmup(
                generator, self.warmup_iterations, self.discriminator_lead, self.decay_from, self.decay_iterations
            ),
            linear_warmup(discriminator, self.warmup_iterations, 0, later, self.decay_iterations),
        ]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self._hidden = torch.compile(self.generator.hidden) if self.compile_generator else self.generator.hidden

    def _crop(self, batch: AccompanimentBatch) -> TrainingCrop:
        frames, needed = self.generator.window_frames, self.crop_frames
        mix_BTC, target_BTC = self.latents(batch)
        if mix_BTC.shape[1] < needed:
            raise UserError(
                f"a training crop of {mix_BTC.shape[1]} frames is too short for a window of {frames} and the "
                f"{needed - frames} frames played ahead; set crop_frames to {needed} or more"
            )
        mix_BTC, target_BTC = self.statistics.normalise(mix_BTC), self.statistics.normalise(target_BTC)
        # If the generator does not know the instrument, the discriminator must not demand it.
        generator_instrument_B = self._drop(batch.instrument_B, self.generator_class_dropout)
        discriminator_instrument_B = self._drop(generator_instrument_B, self.discriminator_class_dropout)
        anticipation_B = self._anticipations(batch.instrument_B)
        return TrainingCrop(
            anticipation_B=anticipation_B,
            mix_BTC=mix_BTC[:, :frames],
            judged_mix_BTC=ahead(mix_BTC, anticipation_B, frames),
            real_BTC=ahead(target_BTC, anticipation_B, frames),
            generator_instrument_B=generator_instrument_B,
            discriminator_instrument_B=discriminator_instrument_B,
            reference_BE=None if self.reference is None else self._references(batch, self.reference.dropout),
            beat_BT=None if self.beat is None else beats_ahead(batch, anticipation_B, frames),
        )

    def _references(self, batch: AccompanimentBatch, dropout: float) -> Tensor:
        """What both networks are told of the targets' sound; zeros where it is hidden."""
        return told_references(batch).masked_fill(self.chance(len(batch), dropout)[:, None], 0.0)

    def _anticipations(self, like_B: Tensor) -> Tensor:
        """δ of every item: any that the networks know, or the only one."""
        if known := self.generator.anticipations:
            return torch.randint(known, like_B.shape, device=self.device, generator=self._rng)
        return torch.full_like(like_B, self.anticipation_frames)

    def _drop(self, instrument_B: Tensor, share: float) -> Tensor:
        return instrument_B.masked_fill(self.chance(len(instrument_B), share), NULL_CATEGORY)

    def _generate(self, crop: TrainingCrop) -> tuple[Tensor, Tensor]:
        """Latents, and the hidden states that they are made of."""
        batch, frames, _ = crop.mix_BTC.shape
        noise_BTZ = torch.randn(batch, frames, self.generator.noise_channels, device=self.device, generator=self._rng)
        hidden_BTD = self._hidden(
            noise_BTZ, crop.mix_BTC, crop.generator_instrument_B, crop.anticipation_B, crop.reference_BE
        )
        return self.generator.project_out(hidden_BTD), hidden_BTD

    def _beat_loss(self, crop: TrainingCrop, hidden_BTD: Tensor) -> Tensor:
        """Weighted; 0 for a recipe that does not learn to hear the beat."""
        if self.beat is None or crop.beat_BT is None:
            return hidden_BTD.new_zeros(())
        loss, agreement = self.beat(hidden_BTD, crop.beat_BT)
        self._latest |= {"beat_loss": loss.detach(), "beat_heard": agreement.detach()}
        return self.beat.weight * loss

    def _scores(self, crop: TrainingCrop, fake_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """D(x), D(x̂), the mismatch loss, and the weighted one of mistaken references, all from one pass."""
        judged, mixes = [crop.real_BTC, fake_BTC.to(crop.real_BTC)], [crop.judged_mix_BTC, crop.judged_mix_BTC]
        references = [crop.reference_BE, crop.reference_BE]
        if self.mismatch_weight:
            judged.append(crop.real_BTC)
            mixes.append(crop.judged_mix_BTC.roll(1, dims=0))
            references.append(crop.reference_BE)
        mistaken_weight = 0.0 if self.reference is None else self.reference.mismatch_weight
        if mistaken_weight and crop.reference_BE is not None:
            judged.append(crop.real_BTC)
            mixes.append(crop.judged_mix_BTC)
            references.append(crop.reference_BE.roll(1, dims=0))
        asked = (rows.repeat(len(judged)) for rows in (crop.discriminator_instrument_B, crop.anticipation_B))
        told = [reference_BE for reference_BE in references if reference_BE is not None]
        reference_BE = torch.cat(told) if told else None
        logits = self.discriminator(torch.cat(judged), torch.cat(mixes), *asked, reference_BE).float()
        logits = logits.chunk(len(judged))
        none = logits[0].new_zeros(())
        mismatch = discriminator_loss(logits[0], logits[2]).mean() if self.mismatch_weight else none
        mistaken = mistaken_weight * discriminator_loss(logits[0], logits[-1]).mean() if mistaken_weight else none
        return logits[0], logits[1], mismatch, mistaken

    def _penalty(self, crop: TrainingCrop, fake_BTC: Tensor, scale: PenaltyScale) -> Tensor:
        """The scaled penalties, in float32 outside of autocast: squares of small gradients vanish in bf16."""
        total = crop.real_BTC.new_zeros(())
        for name, samples, factor in (("r1", crop.real_BTC, scale.r1), ("r2", fake_BTC, scale.r2)):
            if factor:
                with torch.autocast(self.device.type, enabled=False):
                    samples = samples.float().requires_grad_()
                    logit_B = self._judged(samples, crop)
                    value = zero_centred_penalty(samples, logit_B).mean()
                self._latest[name] = value.detach()
                total = total + factor * value
        return total

    def _generator_loss(self, crop: TrainingCrop, fake_BTC: Tensor) -> Tensor:
        with torch.no_grad():
            real_B = self._judged(crop.real_BTC, crop)
        return generator_loss(self._judged(fake_BTC, crop).float(), real_B.float()).mean()

    def _judged(self, accompaniment_BTC: Tensor, crop: TrainingCrop) -> Tensor:
        asked = crop.discriminator_instrument_B, crop.anticipation_B, crop.reference_BE
        return self.discriminator(accompaniment_BTC, crop.judged_mix_BTC, *asked)

    def _regression(self, crop: TrainingCrop, fake_BTC: Tensor) -> Tensor:
        """Mean absolute difference from the real accompaniment, which counts less the further ahead it was played."""
        if self.regression_half_life is None:
            return (fake_BTC - crop.real_BTC).abs().mean()
        weight_B = 0.5 ** (crop.anticipation_B / self.regression_half_life)
        return (weight_B[:, None, None] * (fake_BTC - crop.real_BTC).abs()).mean()

    def log_norm(self, name: str, norm: Tensor) -> None:
        self._latest[f"gradient_norm/{name}"] = norm

    def _end_iteration(self, iteration: int, schedulers: Sequence[LRScheduler]) -> None:
        for scheduler in schedulers:
            scheduler.step()
        self.count_iteration()
        self.move_average(iteration)

    def _log(self, values: dict[str, Tensor], spread: Tensor) -> None:
        # Not in every iteration: to ask is to wait for the device.
        if self._iteration % max(1, self.trainer.log_every_n_steps) == 0:  # type: ignore[attr-defined]
            self._alarm(spread)
        values |= {
            **self._latest,
            "target_advantage": torch.tensor(self.target_advantage),
            "penalty_weight": self.penalty_weight,
            "spread": spread,
            "collapse_alarm": (spread < COLLAPSED_SPREAD).float(),
            "ema": torch.tensor(float(self.ema_generator is not None)),
        }
        self.log_dict({f"train/{name}": value.detach() for name, value in values.items()})
