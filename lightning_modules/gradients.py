"""Gradients just before an optimiser's step, in every precision that recipes train in.

Everything here is for `on_before_optimizer_step`: there Lightning has taken off the scale of 16-bit training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from livejam.errors import UserError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")

LOWEST_SCALE = 1.0
"""A scaler halves its scale after each overflow. Gradients that overflow at a scale below this do so by themselves."""


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


def clipped_norm(
    module: LightningModule, optimizer: Optimizer, parameters: Iterable[nn.Parameter], largest: float | None
) -> Tensor:
    """The norm of gradients, without the scale of 16-bit training, before they are clipped in place.

    Args:
        module: the recipe.
        optimizer: what is about to step.
        parameters: whose gradients.
        largest: norm to which they are clipped; None = no clipping.
    """
    scaler = _scaler(module)
    if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
        # Lightning leaves it to the step of fused optimisers
        scaler.unscale_(optimizer)
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in moved if parameter.grad is not None])
    if largest is not None:
        torch.nn.utils.clip_grads_with_norm_(moved, largest, norm)
    return norm


def has_diverged(module: LightningModule, norm: Tensor) -> bool:
    """Whether a norm is not finite, and not because 16-bit training tries how large a scale may be.

    After such an overflow the scaler skips the step and halves its scale.
    """
    scaler = _scaler(module)
    return not torch.isfinite(norm) and (scaler is None or scaler.get_scale() < LOWEST_SCALE)


def divergence(
    module: LightningModule, iteration: int, network: str, loss: Tensor, norm: Tensor, latest: Mapping[str, Tensor]
) -> UserError:
    """What to say of a gradient that is not finite.

    Args:
        module: the recipe.
        iteration: that of the step, which is not taken.
        network: name of what was trained.
        loss: its loss.
        norm: of its gradient.
        latest: what was logged last, by name.
    """
    known = ", ".join(f"{k} {v.item():.4g}" for k, v in latest.items() if k.startswith("gradient_norm"))
    saved = getattr(module.trainer.checkpoint_callback, "best_model_path", "")
    return UserError(
        f"training diverged at iteration {iteration}: {network} loss {loss.item():.4g}, gradient norm "
        f"{norm.item():.4g} (last norms: {known or 'none'}); lower its learning rate or gradient_clip, and resume "
        f"from {saved or 'the last checkpoint, whose weights are finite'}"
    )


def _scaler(module: LightningModule) -> Any:
    return getattr(module.trainer.precision_plugin, "scaler", None)
