"""The best checkpoint of a run, as recorded in every checkpoint of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor


def best_until_then(checkpoint: Mapping[str, Any]) -> str:
    """The best as text: `val/fad/log_mel 1.234: runs/…/iteration_001600.ckpt`, empty if no metric was tracked.

    It was the best when the checkpoint was written; a later one may be better. Only plain values are read.
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
