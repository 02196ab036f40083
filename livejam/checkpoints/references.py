"""How the references are made that a model takes, rebuilt from what its checkpoint says."""

from __future__ import annotations

from typing import Any

from livejam.accompanist import TAKES_NONE, Accompanist
from livejam.checkpoints.player import Builder
from livejam.embedding import Embedding
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis

ENCODERS = ("metrics.cocola_embedding", "metrics.embeddings")
"""The packages whose encoders any checkpoint may name; they are loaded only where a reference is asked for."""


def reference_analysis(accompanist: Accompanist[Any]) -> ReferenceAnalysis:
    """How the references are made that a model takes.

    Raises:
        UserError: it takes none, or its encoder, or the encoder's weights, are not here.
    """
    settings = getattr(accompanist, "reference", None)
    if settings is None:
        raise UserError(TAKES_NONE)
    try:
        kept = {name: value for name, value in settings.items() if name not in ("encoder", "identity")}
        encoder = Builder(ENCODERS)(settings["encoder"])
        analysis = ReferenceAnalysis(encoder, **kept)
    except (KeyError, TypeError, ValueError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the model's references do not fit this version of livejam ({reason}); update it") from error
    if not isinstance(encoder, Embedding):
        raise UserError("the checkpoint names an encoder of references that is none; it cannot be played with one")
    if encoder.identity != settings.get("identity", encoder.identity):
        raise UserError(
            f"the model was trained on references by {settings['identity']}, and here is {encoder.identity}; use the "
            "weights that it was trained with"
        )
    return analysis
