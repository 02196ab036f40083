"""Smaller weights: every matrix of a graph is stored in them, and comes back near to what it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from livejam.export.precisions import reduce_weights
from livejam.export.signature import PRECISIONS

pytestmark = pytest.mark.export


@pytest.mark.parametrize(("precision", "share"), [("float16", 0.66), ("bfloat16", 0.66), ("int8", 0.48)])
def test_sizes(precision: str, share: float, exported: Path, tmp_path: Path) -> None:
    assert precision in PRECISIONS
    whole = smaller = 0
    for path in exported.glob("*.onnx"):
        shutil.copy(path, tmp_path / path.name)
        reduce_weights(tmp_path / path.name, precision)
        whole, smaller = whole + path.stat().st_size, smaller + (tmp_path / path.name).stat().st_size
    assert smaller < share * whole


@pytest.mark.parametrize(("precision", "error"), [("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 1 / 250)])
@pytest.mark.parametrize("kind", ["MatMul", "Gemm", "Gemm of a transposed matrix"])
def test_a_matrix_in_every_order(kind: str, precision: str, error: float, tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save
    from onnxruntime import InferenceSession

    rng, path = np.random.default_rng(0), tmp_path / "matrix.onnx"
    # the columns differ a thousandfold, which one scale for all of them would lose
    matrix_KN = (rng.standard_normal((80, 60)) * np.geomspace(0.01, 10, 60)).astype(np.float32)
    stored = matrix_KN.T.copy() if "transposed" in kind else matrix_KN
    node = helper.make_node(kind.split()[0], ["x", "w"], ["y"], **({"transB": 1} if "transposed" in kind else {}))
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (80, n)) for name, n in (("x", 80), ("y", 60))]
    graph = helper.make_graph([node], "g", sides[:1], sides[1:], [numpy_helper.from_array(stored, "w")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    reduce_weights(path, precision)
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (made_KN,) = session.run(None, {"x": np.eye(80, dtype=np.float32)})
    assert (np.abs(made_KN - matrix_KN).max(axis=0) <= error * np.abs(matrix_KN).max(axis=0)).all()
