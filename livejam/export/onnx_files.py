"""Graphs as ONNX files, and ONNX files as steps."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from livejam.errors import UserError
from livejam.export.graphs import NEXT, StepGraph
from livejam.export.signature import Signature, TensorFacts

Array = npt.NDArray[Any]

OPSET = 18
"""ONNX Runtime from 1.14 on, onnxruntime-web and OpenVINO read it."""

IR_VERSION = 8
"""Of the file; that of ONNX 1.13, as the operators."""

DTYPES = {torch.float32: "float32", torch.int32: "int32"}


def write_onnx(graph: StepGraph, path: Path) -> None:
    """Write a graph with its weights as one file."""
    try:
        import onnxscript  # noqa: F401 (torch.onnx needs it, and says so in a whole page)
    except ModuleNotFoundError as error:
        raise UserError("export needs the package onnxscript: pip install 'livejam[export]'") from error
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                graph.examples(),
                str(path),
                input_names=graph.input_names,
                output_names=graph.output_names,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    _simplify(path)


def _simplify(path: Path) -> None:
    """Keep what computes, in the oldest form of the file that has these operators, for older runtimes."""
    import onnx

    model = onnx.load(str(path))
    model.ir_version = IR_VERSION
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    _lay_out(model.graph)
    onnx.save(model, str(path))


def _lay_out(graph: Any) -> None:
    """Every matrix with its inputs first: ONNX Runtime fuses smaller weights with no product of another layout."""
    from onnx import numpy_helper

    weights = {weight.name: weight for weight in graph.initializer}
    turned = [node for node in graph.node if node.op_type == "Gemm" and _transposes(node) and node.input[1] in weights]
    for name in {node.input[1] for node in turned}:
        matrix = np.ascontiguousarray(numpy_helper.to_array(weights[name]).T)
        weights[name].CopyFrom(numpy_helper.from_array(matrix, name))
    for node in turned:
        node.attribute.remove(next(attribute for attribute in node.attribute if attribute.name == "transB"))


def _transposes(node: Any) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def inputs_of(graph: StepGraph) -> tuple[TensorFacts, ...]:
    """The inputs of a graph, as the signature says them."""
    given = zip(graph.input_names, graph.examples(), strict=True)
    return tuple(TensorFacts(name, DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in given)


def outputs_of(graph: StepGraph, last: bool) -> tuple[TensorFacts, ...]:
    """The outputs of a graph, as the signature says them."""
    with torch.no_grad():
        made = zip(graph.output_names, graph(*graph.examples()), strict=True)
    return tuple(
        TensorFacts(
            name,
            DTYPES[tensor.dtype],
            tuple(tensor.shape),
            ("" if last else name) if name == graph.output else name.removeprefix(NEXT),
        )
        for name, tensor in made
    )


class OnnxSteps:
    """An exported model in ONNX Runtime.

    Args:
        folder: the directory.
        signature: of it.
        states: before the first step, as they are stored.
        threads: that a graph may use.
    """

    def __init__(self, folder: Path, signature: Signature, states: Mapping[str, Array], threads: int = 1) -> None:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = threads
        self.signature = signature
        self.graphs = [
            (graph, InferenceSession(str(folder / graph.file), options, providers=["CPUExecutionProvider"]))
            for graph in signature.graphs
        ]
        self._states, self._values = states, dict[str, Array]()

    def begin(self, instrument: int) -> None:
        """Begin anew with an instrument."""
        names = [name for name in self._states if "@" not in name]
        self._values = {name: self._states.get(f"{name}@{instrument}", self._states[name]) for name in names}

    def step(
        self,
        mix: Array,
        instrument: int,
        noise: Array,
        heard: Mapping[str, Array] = MappingProxyType({}),
        controls: Mapping[str, Array] = MappingProxyType({}),
    ) -> dict[str, Array]:
        """Hear a block; what every graph gives, by its name.

        Args:
            mix: the block.
            instrument: class index.
            noise: of this step.
            heard: what later graphs hear instead of what earlier ones gave, by its name.
            controls: what else is asked, by its name; it stays until something else is.
        """
        given = (
            self._values | dict(controls) | {"mix": mix, "instrument": np.array([instrument], np.int32), "noise": noise}
        )
        made: dict[str, Array] = {}
        for graph, session in self.graphs:
            out = session.run(None, {tensor.name: given[tensor.name] for tensor in graph.inputs})
            made |= {tensor.feeds or tensor.name: array for tensor, array in zip(graph.outputs, out, strict=True)}
            given |= made | dict(heard)
        self._values = given
        return made
