"""Writes the weights that `livejam.sketch` bundles, and what the reference says to a sung scale; not a test.

  pip install swift-f0==0.3.0 onnx
  PYTHONPATH=tests python tests/livejam/sketch/make_swift_f0.py

SwiftF0 (github.com/lars76/swift-f0, arXiv 2508.18440) is under the MIT licence; weights/swift_f0.md holds it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import swift_f0
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from sung_notes import sung

HERE = Path(__file__).parent
WEIGHTS = HERE.parents[2] / "livejam/sketch/weights/swift_f0.safetensors"
GOLDEN = HERE / "golden/swift_f0.safetensors"

CONVOLUTIONS = {
    "enter": 353,
    **{f"blocks.{block}.first": 357 + 9 * block for block in range(6)},
    **{f"blocks.{block}.second": 361 + 9 * block for block in range(6)},
    "leave": 413,
    "salience": 425,
    "voiced": 417,
    "confidence.0": 430,
    "confidence.1": 434,
}
"""Our name → number of the initialiser of its weight in the graph; the bias has the next one."""

FILTERS = {512: (342, 343), 1024: (123, 124), 2048: (241, 242)}
"""Samples of a window → initialisers with the places in its matrix (bins x 128) and the numbers there."""

if __name__ == "__main__":
    graph = onnx.load(str(Path(swift_f0.__file__).parent / "model.onnx")).graph
    held = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    tensors = {}
    for name, number in CONVOLUTIONS.items():
        tensors |= {f"{name}.weight": held[f"v{number}"], f"{name}.bias": held[f"v{number + 1}"]}
    for samples, (place, number) in FILTERS.items():
        tensors |= {f"filter_{samples}.place": held[f"v{place}"], f"filter_{samples}.gain": held[f"v{number}"]}
    save_file(tensors, str(WEIGHTS), {"source": "swift-f0 0.3.0", "licence": "MIT"})
    song = sung(16000)
    found = swift_f0.SwiftF0(threads=1).detect(song.numpy().astype(np.float32), 16000)
    GOLDEN.parent.mkdir(exist_ok=True)
    said = {"pitch_hz": found.pitch_hz, "confidence": found.confidence}
    save_file({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in said.items()}, str(GOLDEN))
