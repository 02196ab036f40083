"""Which checkpoint of a run is the best, as every checkpoint of the run says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def best_until_then(checkpoint: Mapping[str, Any]) -> str:
    """For people: `val/fad/log_mel 1.234: runs/…/iteration_001600.ckpt`, empty where no number was watched.

    It is the best when the checkpoint was written; a later one may be better. Only plain values are looked at.
    """
    return "; ".join(f"{metric} {score:.4g}: {path}" for metric, score, path in _watched(checkpoint.get("callbacks")))


def _watched(states: Any) -> Iterator[tuple[str, float, str]]:
    """Metric, number and file of every ModelCheckpoint's state that has all three."""
    for state in states.values() if isinstance(states, Mapping) else ():
        if not isinstance(state, Mapping):
            continue
        metric, score, path = (state.get(name) for name in ("monitor", "best_model_score", "best_model_path"))
        if isinstance(metric, str) and isinstance(path, str) and isinstance(score, Tensor) and score.numel() == 1:
            yield metric, float(score), path
