"""Smaller weights in exported graphs, by operators that are plain ONNX: what they compute stays in float32.

Weights are stored in half the bytes and cast when they are read, or in a quarter, with one scale per output channel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from livejam.errors import UserError
from livejam.export.signature import PRECISIONS

SMALLEST = 4096
"""Numbers from which a matrix is worth it."""

Array = npt.NDArray[Any]


def reduce_weights(path: Path, precision: str) -> None:
    """Store the larger matrices of a graph in another precision.

    Args:
        path: an ONNX file with weights in float32, which is replaced.
        precision: one of `PRECISIONS`.

    Raises:
        UserError: there is no such precision.
    """
    import onnx

    if precision not in PRECISIONS:
        raise UserError(f"there is no precision '{precision}' here; choose one of {', '.join(PRECISIONS)}")
    if precision not in STORED:
        return
    model = onnx.load(str(path))
    graph, kept, added = model.graph, [], []
    outputs = {node.input[1]: _output_axis(node) for node in graph.node if node.op_type in ("MatMul", "Gemm")}
    for weight in graph.initializer:
        array = onnx.numpy_helper.to_array(weight)
        if weight.name in outputs and array.ndim == 2 and array.size >= SMALLEST and array.dtype == np.float32:
            stored, node = STORED[precision](weight.name, array, outputs[weight.name])
            kept += stored
            added.append(node)
        else:
            kept.append(weight)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, str(path))


def _output_axis(node: Any) -> int:
    """The axis of a matrix that counts what comes out of it."""
    return int(1 - next((attribute.i for attribute in node.attribute if attribute.name == "transB"), 0))


def _half(name: str, array: Array, axis: int) -> tuple[list[Any], Any]:
    from onnx import TensorProto, helper, numpy_helper

    stored = numpy_helper.from_array(array.astype(np.float16), f"{name}.float16")
    return [stored], helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)


def _brain(name: str, array: Array, axis: int) -> tuple[list[Any], Any]:
    from onnx import TensorProto, helper

    # the upper half of float32, rounded to the nearest even
    bits = np.ascontiguousarray(array).view(np.uint32).astype(np.uint64)
    upper = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    stored = helper.make_tensor(f"{name}.bfloat16", TensorProto.BFLOAT16, array.shape, upper.tobytes(), raw=True)
    return [stored], helper.make_node("Cast", [stored.name], [name], to=TensorProto.FLOAT)


def _eighth(name: str, array: Array, axis: int) -> tuple[list[Any], Any]:
    from onnx import helper, numpy_helper

    scale = np.maximum(np.abs(array).max(axis=1 - axis), 1e-12).astype(np.float32) / 127
    rounded = np.rint(array / np.expand_dims(scale, 1 - axis)).astype(np.int8)
    stored = numpy_helper.from_array(rounded, f"{name}.int8")
    scales = numpy_helper.from_array(scale, f"{name}.scale")
    return [stored, scales], helper.make_node("DequantizeLinear", [stored.name, scales.name], [name], axis=axis)


STORED: dict[str, Callable[[str, Array, int], tuple[list[Any], Any]]] = {
    "float16": _half,
    "bfloat16": _brain,
    "int8": _eighth,
}
"""How a matrix is stored in a smaller precision: name, numbers, and the axis of its outputs."""
