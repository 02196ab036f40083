"""What the training of all recipes shares: reproducible draws, guarded optimiser steps, averages, warm-up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import lightning
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from livejam.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

LOWEST_SCALE = 1.0
"""A scaler halves its scale after each overflow. Gradients that overflow below this scale are themselves to blame."""


OF_LAYERS = 0x5EED1A7E
"""Bits in which the seeds of layers differ from those of the recipe's own draws."""


class Recipe(lightning.LightningModule):
    """Base of the recipes: random draws and optimiser steps.

    The draws of an iteration depend only on `seed`, rank and iteration, so that a resumed run equals an uninterrupted
    one. A gradient that is not finite stops training before it touches the weights; others are clipped.

    Args:
        seed: seed of all draws.
        gradient_clip: largest gradient norm of any network; None = unlimited.
    """

    shown: tuple[str, ...] = ("train/loss",)
    """Curves whose last value `callbacks.TrainingProgress` shows. Lightning's own way, `prog_bar=True`, reads them from
    the device in every batch."""

    def __init__(self, seed: int, gradient_clip: float | None) -> None:
        super().__init__()
        self.seed, self.gradient_clip = seed, gradient_clip
        self._norms: dict[str, Tensor] = {}
        self._latest: dict[str, Tensor] = {}
        self._measured: dict[str, Tensor] = {}

    def on_fit_start(self) -> None:
        self._rng, self._shared_rng = torch.Generator(self.device), torch.Generator()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep of how many processes the run is, where curves stand that not every iteration moves, and the numbers.

        Early stopping looks at the numbers of a validation when the epoch ends, which may be after a break.
        """
        checkpoint["recipe"] = {
            "processes": self.trainer.world_size,
            "latest": dict(self._latest),
            "measured": dict(self.trainer._logger_connector._callback_metrics),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with curves, and say what a run loses that goes on in another number of processes."""
        if self._trainer is None or not self.trainer.training:
            return
        kept, now = checkpoint.get("recipe", {"processes": None, "latest": {}}), self.trainer.world_size
        self._latest, self._measured = dict(kept["latest"]), dict(kept.get("measured", {}))
        before = kept["processes"]
        if before not in (None, now):
            rank_zero_info(
                f"this run was trained in {before} and goes on in {now} processes: weights, optimisers, averages and "
                f"iteration go on as they were, but a step now takes {now} batches instead of {before}, and crops, "
                f"noise and dropouts differ from here on from those of a run in {before}"
            )

    def on_train_start(self) -> None:
        """Callbacks find the numbers of the last validation, and repeated steps do not stand in the curves twice."""
        self.trainer._logger_connector._callback_metrics.update(self._measured)
        # Lightning's count of logged steps lags by one in a checkpoint of the end of a batch or of a validation
        batches: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        done = self.trainer.global_step if self.automatic_optimization else batches.processed
        for logger in self.loggers:
            repeat_from = getattr(logger, "repeat_from", None)  # of lightning_modules.RunLogger
            if repeat_from is not None and done and not is_dry_run(self.trainer):
                repeat_from(done)

    def begin_iteration(self, iteration: int) -> None:
        """Seed what is drawn: `_rng` differs from rank to rank, `_shared_rng` is the same on all of them."""
        draw = draw_seed(self.seed, iteration)
        self._iteration = iteration
        self._shared_rng.manual_seed(draw)
        own = draw * self.trainer.world_size + self.global_rank
        self._rng.manual_seed(own)
        seed_layers(own)

    def chance(self, batch: int, share: float) -> Tensor:
        """Which rows of a batch something happens to (bool), each with the same probability."""
        return torch.rand(batch, generator=self._rng, device=self.device) < share

    def about_to_step(self, name: str, loss: Tensor) -> Tensor:
        """Say which network, by the name of its attribute, the next optimiser step trains, and by which loss."""
        self._stepping = name, loss.detach()
        return loss

    @property
    def optimizers_in_order(self) -> list[LightningOptimizer]:
        """Those of manual optimisation, as `configure_optimizers` gives them."""
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    @property
    def schedulers(self) -> list[LRScheduler]:
        """Those of the learning rates, as `configure_optimizers` gives them."""
        return [config.scheduler for config in self.trainer.lr_scheduler_configs]

    def take_step(self, optimizer: LightningOptimizer, name: str, loss: Tensor) -> None:
        """One optimiser step of manual optimisation, after the backward pass."""
        self.about_to_step(name, loss)
        optimizer.step()
        optimizer.zero_grad()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        name, loss = self._stepping
        norm = clipped_norm(self.trainer, optimizer, getattr(self, name).parameters(), self.gradient_clip)
        if has_diverged(self.trainer, norm):
            raise self._divergence(name, loss, norm)
        self._norms[name] = norm
        self.log_norm(name, norm)

    def log_norm(self, name: str, norm: Tensor) -> None:
        """Log the gradient norm of a network; recipes with several networks tell them apart."""
        self.log("train/gradient_norm", norm)

    def _divergence(self, name: str, loss: Tensor, norm: Tensor) -> UserError:
        """What to say of a gradient that is not finite."""
        known = ", ".join(f"{network} {last.item():.4g}" for network, last in self._norms.items())
        keepers = [keeper for keeper in self.trainer.checkpoint_callbacks if isinstance(keeper, ModelCheckpoint)]
        saved = next((keeper.best_model_path for keeper in keepers if keeper.monitor is None), "")
        return UserError(
            f"training diverged at iteration {self._iteration}: {name} loss {loss.item():.4g}, gradient norm "
            f"{norm.item():.4g} (last norms: {known or 'none'}); lower its learning rate or gradient_clip, and resume "
            f"from {saved or 'the last checkpoint, whose weights are finite'}"
        )


def data_module(trainer: Trainer) -> LightningDataModule | None:
    """Where the batches come from; None where plain loaders were given."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares it nowhere


def is_dry_run(trainer: Trainer) -> bool:
    """Whether this is a `fast_dev_run`, which writes nothing."""
    return bool(trainer.fast_dev_run)  # type: ignore[attr-defined]  # nor this


def draw_seed(seed: int, iteration: int) -> int:
    """The seed of what all ranks draw alike in an iteration."""
    return seed * 1_000_003 + iteration


def seed_layers(seed: int) -> None:
    """Seed the generators of the process: dropout and other layers draw from nowhere else.

    A checkpoint does not hold their state, which also depends on how often data were read. Seeded in every iteration,
    they draw in a resumed run what they would have drawn without the break.

    Args:
        seed: as of the recipe's own generator, of whose draws these are independent.
    """
    torch.manual_seed(seed ^ OF_LAYERS)


def clipped_norm(
    trainer: Trainer, optimizer: Optimizer, parameters: Iterable[nn.Parameter], largest: float | None
) -> Tensor:
    """The norm of gradients, without the scale of 16-bit training, before they are clipped in place.

    For `on_before_optimizer_step`: there Lightning has taken off the scale.

    Args:
        trainer: of the recipe.
        optimizer: what is about to step.
        parameters: whose gradients.
        largest: norm to which they are clipped; None = no clipping.
    """
    scaler = _scaler(trainer)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        # Lightning leaves it to the step of fused optimisers
        scaler.unscale_(optimizer)
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None])
    norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(moved, largest, norm)
    return norm


def has_diverged(trainer: Trainer, norm: Tensor) -> bool:
    """Whether a norm is not finite, and not because 16-bit training tries how large a scale may be.

    After such an overflow the scaler skips the step and halves its scale.
    """
    scaler = _scaler(trainer)
    return not torch.isfinite(norm) and (scaler is None or scaler.get_scale() < LOWEST_SCALE)


def _scaler(trainer: Trainer) -> Any:
    return getattr(trainer.precision_plugin, "scaler", None)


def require_precision(trainer: Trainer) -> None:
    """Refuse precisions in which nothing here is computed as it should be.

    Raises:
        UserError: the trainer's precision is another one.
    """
    if trainer.precision not in PRECISIONS:
        raise UserError(
            f"trainer.precision {trainer.precision} does not work: codecs, spectra and averaged weights are float32; "
            f"set it to one of {', '.join(PRECISIONS)}"
        )


@torch.no_grad()
def update_average(averaged: nn.Module, trained: nn.Module, decay: float, iteration: int) -> None:
    """Move averaged weights towards trained ones.

    Args:
        averaged: same parameters as `trained`; changed in place.
        trained: the network that an optimiser has just changed.
        decay: in [0, 1), reached as training goes on.
        iteration: iterations done before this one, 0 or more. The average's memory grows with the run, so that it
            forgets the untrained start.
    """
    decay = min(decay, (1 + iteration) / (10 + iteration))
    torch._foreach_lerp_(list(averaged.parameters()), list(trained.parameters()), 1 - decay)


def linear_warmup(
    optimizer: Optimizer, steps: float, rest: int = 0, decay_from: int | None = None, decay_steps: int = 0
) -> LambdaLR:
    """The optimiser's own rate after so many of its steps, a linear rise from 0 until then.

    Args:
        optimizer: of one network.
        steps: of the optimiser; 0 = no rise.
        rest: steps before the rise, in which the rate is 0.
        decay_from: steps after which the rate falls linearly; None = it stays.
        decay_steps: steps of that fall to 0.
    """

    def share(done: int) -> float:
        risen = min(1.0, max(0.0, (done + 1 - rest) / max(1, steps)))
        fallen = 0.0 if decay_from is None else min(1.0, max(0, done - decay_from) / max(1, decay_steps))
        return risen * (1 - fallen)

    return LambdaLR(optimizer, share)


def warm_cosine(warmup_steps: int, total: Callable[[], float]) -> Callable[[int], float]:
    """A learning rate's share after so many steps: a linear rise, times a cosine that falls to 0 at the end.

    Args:
        warmup_steps: of the rise; 0 = none.
        total: the number of all steps, asked for after the first one only. To tell it, Lightning sets up the training
            data, and before that a resumed run must know where it stands in them.
    """

    def share(step: int) -> float:
        begun = min(1.0, (step + 1) / max(1, warmup_steps))
        return begun * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total()))) if step else begun

    return share
