"""Sketches for an exported model: curves of any sound, made by the model's own graph.

Shapes: T latent frames, P numbers of a packed frame, W frames of the model's window.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from livejam_player.model import AGAIN, Array, ModelError, open_graph, read_signature


def require_sketch(signature: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a signature says of sketches.

    Raises:
        ModelError: the model follows none.
    """
    facts: Mapping[str, Any] | None = signature.get("sketch")
    if facts is None:
        raise ModelError("this model follows no sketch; leave it out, or export a model that learnt to follow one")
    return facts


def sketch_of(folder: str | Path, sound_N: Array, threads: int = 1) -> Array:
    """The packed curves_TP of a sound; a last frame that is not whole ends with silence.

    Args:
        folder: the exported directory.
        sound_N: mono, at the model's rate.
        threads: that the graph may use.

    Raises:
        ModelError: the model follows no sketch, or its graph is missing or damaged.
    """
    folder = Path(folder)
    facts = require_sketch(read_signature(folder))
    graph = open_graph(folder / facts["sketcher"]["file"], threads)
    inputs = {tensor["name"]: tensor["shape"] for tensor in facts["sketcher"]["inputs"]}
    try:
        block, frames = inputs["sound"][1], facts["frames_per_step"]
        states = {name: np.zeros(shape, np.float32) for name, shape in inputs.items() if name != "sound"}
        pieces = [np.zeros((0, facts["numbers"]), np.float32)]
        for start in range(0, len(sound_N), block):
            part_N = sound_N[start : start + block].astype(np.float32)
            given = states | {"sound": np.pad(part_N, (0, block - len(part_N)))[None]}
            curves, *after = graph.run(None, given)
            pieces.append(curves[0])
            states = dict(zip(states, after, strict=True))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError(f"{folder}/signature.json is damaged; {AGAIN}") from error
    return np.concatenate(pieces)[: -(-len(sound_N) * frames // block)]


class Sketch:
    """What is asked of every frame of the accompaniment.

    Args:
        facts: what the signature says of sketches.
        curves_TP: packed, from the first frame of the mix on. A control that is not finite in a frame is not asked for
            there, and after their end nothing is.

    Raises:
        ModelError: the curves have another form.
    """

    def __init__(self, facts: Mapping[str, Any], curves_TP: Array) -> None:
        curves_TP = np.asarray(curves_TP)
        if curves_TP.ndim != 2 or curves_TP.shape[1] != facts["numbers"] or curves_TP.dtype.kind != "f":
            raise ModelError(
                f"a sketch of shape {curves_TP.shape} and type {curves_TP.dtype} does not fit; this model needs frames "
                f"of {facts['numbers']} real numbers"
            )
        with np.errstate(over="ignore"):
            curves_TP = curves_TP.astype(np.float32)
        finite_TP = np.isfinite(curves_TP)
        pitch_T = finite_TP[:, 2:].all(axis=1)
        self._facts, self._curves_TP = facts, np.where(finite_TP, curves_TP, np.float32(0))
        self._mask_TG = np.stack((finite_TP[:, 0], finite_TP[:, 1], pitch_T), axis=1).astype(np.float32)

    def controls(self, step: int) -> dict[str, Array]:
        """For `StepModel.step` number `step`."""
        first = self._facts["first_frame"] + step * self._facts["frames_per_step"]
        return {"sketch": self._window(self._curves_TP, first), "sketch_mask": self._window(self._mask_TG, first)}

    def _window(self, rows: Array, first: int) -> Array:
        out_WX = np.zeros((self._facts["frames"], rows.shape[1]), np.float32)
        start, stop = max(0, first), max(0, min(len(rows), first + len(out_WX)))
        if start < stop:
            out_WX[start - first : stop - first] = rows[start:stop]
        return out_WX[None]
