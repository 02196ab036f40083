"""Numbers that are not finite never pass for music: a file of silence looks like a model that chose to rest."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from livejam.errors import UserError


def require_finite_weights(weights: Mapping[str, Tensor], owner: str) -> None:
    """Refuse the weights of a training that diverged.

    Args:
        weights: by name.
        owner: whose they are, the beginning of a sentence.

    Raises:
        UserError: names the first weight that is not finite.
    """
    bad = [name for name, weight in weights.items() if not torch.isfinite(weight).all()]
    if bad:
        raise UserError(
            f"{owner} holds weights that are not finite ({bad[0]}, {len(bad)} of {len(weights)} in all): its training "
            "has diverged; use an earlier one, or train anew with a lower learning rate"
        )


def require_finite_sound(audio: Tensor, made_by: str) -> None:
    """Refuse audio that a file would keep as silence.

    Raises:
        UserError: a sample is not finite.
    """
    if not torch.isfinite(audio).all():
        raise UserError(
            f"{made_by} gave samples that are not finite, so nothing was written; its training has diverged"
        )
