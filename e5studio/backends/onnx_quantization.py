"""From a float ONNX graph to int8. Imported for conversions only; needs no torch.

Written out, since ONNX Runtime's `quantize_dynamic` holds five copies of a model, and makes the same operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_MOST_IN_ONE_FILE = 2_000_000_000


def quantize(source: Path, path: Path, *, may_overflow: bool) -> None:
    """Write a graph with int8 weights, which quantizes its activations as it goes.

    Products get one scale for each column of weights (with one for each matrix, all-MiniLM-L6-v2 falls to a cosine
    of 0.90), tables of embeddings one for each row.

    Args:
        source: The float graph.
        path: The file to write.
        may_overflow: Whether sums of 8-bit products may overflow on this processor; weights then have 7 bits.
    """
    model = onnx.load(source)
    graph = model.graph
    weights = {each.name: each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
    written = _Written(weights, highest=64 if may_overflow else 127)
    nodes = [new for node in graph.node for new in written.replacements(node)]
    needed = {name for node in nodes for name in node.input}
    weights_left = [each for each in [*graph.initializer, *written.weights.values()] if each.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights_left)
    is_large = sum(len(each.raw_data) for each in weights_left) > _MOST_IN_ONE_FILE
    onnx.save_model(model, path, save_as_external_data=is_large, location=f"{path.name}_data")


class _Written:
    """The operations and weights of the int8 graph; weights of products are numbers up to `highest`."""

    def __init__(self, floats: dict[str, onnx.TensorProto], highest: int) -> None:
        self.weights: dict[str, onnx.TensorProto] = {}
        self._floats = floats
        self._highest = highest
        self._quantized: set[str] = set()

    def replacements(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """Operations that compute the same in int8, or the operation itself."""
        if node.op_type == "MatMul" and self._is_matrix(node.input[1]):
            yield from self._product(*node.input, *node.output)
        elif node.op_type == "Gather" and self._is_matrix(node.input[0]) and not any(axis.i for axis in node.attribute):
            yield from self._rows(*node.input, *node.output)
        else:
            yield node

    def _product(self, source: str, matrix: str, result: str) -> Iterator[onnx.NodeProto]:
        self._add(matrix, axis=0, highest=self._highest)
        if source not in self._quantized:  # queries, keys and values share one
            self._quantized.add(source)
            yield helper.make_node(
                "DynamicQuantizeLinear", [source], [f"{source}_int8", f"{source}_scale", f"{source}_zero"]
            )
        inputs = [f"{source}_int8", f"{matrix}_int8", f"{source}_zero", f"{matrix}_zero"]
        yield helper.make_node("MatMulInteger", inputs, [f"{result}_sums"])
        yield helper.make_node("Cast", [f"{result}_sums"], [f"{result}_unscaled"], to=onnx.TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{source}_scale", f"{matrix}_scale"], [f"{result}_scales"])
        yield helper.make_node("Mul", [f"{result}_unscaled", f"{result}_scales"], [result])

    def _rows(self, table: str, ids: str, result: str) -> Iterator[onnx.NodeProto]:
        self._add(table, axis=1, highest=127)
        yield helper.make_node("Gather", [f"{table}_int8", ids], [f"{result}_int8"])
        yield helper.make_node("Gather", [f"{table}_scale", ids], [f"{result}_scales"])
        yield helper.make_node("Cast", [f"{result}_int8"], [f"{result}_unscaled"], to=onnx.TensorProto.FLOAT)
        yield helper.make_node("Mul", [f"{result}_unscaled", f"{result}_scales"], [result])

    def _is_matrix(self, name: str) -> bool:
        return name in self._floats and len(self._floats[name].dims) == 2

    def _add(self, name: str, *, axis: int, highest: int) -> None:
        """Quantize a matrix, with one scale along the axis."""
        if f"{name}_int8" in self.weights:
            return
        values = numpy_helper.to_array(self._floats[name])
        scales = np.abs(values).max(axis=axis, keepdims=True) / np.float32(highest)
        scales[scales == 0] = 1
        rounded = values / scales
        np.rint(rounded, out=rounded)
        self._put(f"{name}_int8", rounded.astype(np.int8))
        self._put(f"{name}_scale", scales[0] if axis == 0 else scales)
        if axis == 0:
            self._put(f"{name}_zero", np.zeros(scales.shape[1], np.int8))

    def _put(self, name: str, values: NDArray[Any]) -> None:
        self.weights[name] = numpy_helper.from_array(values, name)
