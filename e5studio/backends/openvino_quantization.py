"""From a float OpenVINO graph to int8: the linear layers, with scales measured once. Imported for conversions only.

Weights become integers with a scale for each row, activations with one scale for the whole tensor, fixed here, so that
a text's vector depends on the text alone. Attention, norms and sums stay float. How far the spread of the inputs moves
from activations into weights (SmoothQuant, Xiao et al., arXiv 2211.10438) is chosen for each tensor: whatever loses
least at the output, on real activations. The few inputs of a narrowing layer that carry most are multiplied in float
(as in LLM.int8(), Dettmers et al., arXiv 2208.07339), and the mean of the remaining error goes into the bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from e5studio.similarity import FloatArray

_Node = Any  # OpenVINO's nodes and outputs

_MAX_ROWS = 1_500  # tokens of which the loss is measured
_MAX_ROW_BYTES = 2**30
_SMOOTHINGS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)  # 0: none
_N_OUTLIERS = 8
_STEPS = 255  # between the least and the largest activation
# Of the largest weight. With 127, two products overflow the 16 bits in which chips without VNNI add them, which costs
# more than the finer steps gain.
_WEIGHT_STEPS = 63


def quantize(graph: Any, samples: Sequence[dict[str, NDArray[Any]]]) -> Any:
    """Quantise the linear layers of a model's graph, in place.

    Args:
        graph: In float32.
        samples: Inputs of the graph on which the scales are measured.

    Returns:
        The graph.
    """
    groups = _linear_layers(graph)
    measured = _measure(graph, [group[0] for group in groups], samples)
    for group, inputs in zip(groups, measured, strict=True):
        _quantize_group(group, inputs)
    graph.validate_nodes_and_infer_types()
    return graph


@dataclass(frozen=True)
class _Linear:
    """One product of activations with a matrix of weights: `tensor @ weights.T`."""

    product: _Node
    tensor: _Node
    weights: FloatArray


@dataclass(frozen=True)
class _Inputs:
    """What reaches a linear layer: a sample of its rows, and the range of each column over all rows."""

    rows: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def largest(self) -> FloatArray:
        return np.maximum(np.maximum(np.abs(self.low), np.abs(self.high)), np.float32(1e-5))

    def without(self, columns: NDArray[np.intp]) -> _Inputs:
        """The same with zeros in some columns."""
        rows, low, high = self.rows.copy(), self.low.copy(), self.high.copy()
        rows[:, columns] = low[columns] = high[columns] = 0
        return _Inputs(rows, low, high)


@dataclass(frozen=True)
class _Scheme:
    """How the inputs of a group of layers become integers: divided by `smoothing`, between `low` and `high`."""

    smoothing: FloatArray
    low: float
    high: float

    def rounded_inputs(self, rows: FloatArray) -> FloatArray:
        """The smoothed inputs as integers can hold them."""
        step = (self.high - self.low) / _STEPS
        levels = np.clip(np.round((rows / self.smoothing - self.low) / step), 0, _STEPS)
        result: FloatArray = (levels * step + self.low).astype(np.float32)
        return result


def _linear_layers(graph: Any) -> list[list[_Linear]]:
    """The linear layers, those that read the same tensor together."""
    groups: dict[str, list[_Linear]] = {}
    for node in graph.get_ordered_ops():
        weights = _weights(node) if node.get_type_name() == "MatMul" else None
        if weights is not None:
            tensor = node.input_value(0)
            key = f"{tensor.get_node().get_friendly_name()}:{tensor.get_index()}"
            groups.setdefault(key, []).append(_Linear(node, tensor, weights))
    return list(groups.values())


def _weights(product: _Node) -> FloatArray | None:
    """The matrix of a linear layer, (outputs, inputs); None where both factors are computed."""
    node = product.input_value(1).get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant" or node.data.ndim != 2:
        return None
    weights = np.array(node.data, np.float32)
    return weights if product.get_attributes()["transpose_b"] else np.ascontiguousarray(weights.T)


def _measure(graph: Any, layers: Sequence[_Linear], samples: Sequence[dict[str, NDArray[Any]]]) -> list[_Inputs]:
    """Run the samples and look at what reaches some layers."""
    part = openvino.Model([layer.tensor for layer in layers], graph.get_parameters(), "inputs")
    probe = openvino.Core().compile_model(part, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    width = sum(layer.weights.shape[1] for layer in layers)
    share = max(1, min(_MAX_ROWS, _MAX_ROW_BYTES // (4 * width)) // len(samples))
    random = np.random.default_rng(0)
    parts = [[_summary(values, share, random) for values in probe(sample).values()] for sample in samples]
    return [
        _Inputs(
            np.concatenate([part.rows for part in of_tensor]),
            np.min([part.low for part in of_tensor], axis=0),
            np.max([part.high for part in of_tensor], axis=0),
        )
        for of_tensor in zip(*parts, strict=True)
    ]


def _summary(values: FloatArray, n_rows: int, random: np.random.Generator) -> _Inputs:
    rows = values.reshape(-1, values.shape[-1])
    return _Inputs(rows[random.permutation(len(rows))[:n_rows]], rows.min(axis=0), rows.max(axis=0))


def _quantize_group(group: Sequence[_Linear], inputs: _Inputs) -> None:
    """Put integers into the layers that read one tensor."""
    weights = np.concatenate([layer.weights for layer in group])
    outliers = _outliers(inputs, weights)
    rest = inputs.without(outliers)
    matrices = [_without(layer.weights, outliers) for layer in group]
    scheme = _best_scheme(rest, np.concatenate(matrices))
    integers = _as_integers(group[0].tensor, scheme)
    for layer, matrix in zip(group, matrices, strict=True):
        levels, scale = _levels(matrix * scheme.smoothing)
        product = ops.matmul(integers, _constant_levels(levels, scale), False, True)
        error = rest.rows @ matrix.T - scheme.rounded_inputs(rest.rows) @ (levels * scale).T
        result = ops.add(product, ops.constant(error.mean(axis=0, dtype=np.float32).reshape(1, 1, -1)))
        if len(outliers):
            result = ops.add(result, _float_product(layer, outliers))
        _replace(layer.product, result)


def _outliers(inputs: _Inputs, weights: FloatArray) -> NDArray[np.intp]:
    """The columns of the inputs that carry most, (n,); none of a layer that does not narrow.

    There, with the real multilingual-e5-small, they halve the loss; elsewhere the gain is smaller and another product
    costs more.
    """
    n_outputs, n_inputs = weights.shape
    if n_inputs <= n_outputs or n_inputs <= 4 * _N_OUTLIERS:
        return np.empty(0, np.intp)
    carried = inputs.largest * np.linalg.norm(weights, axis=0)
    return np.sort(np.argsort(-carried)[:_N_OUTLIERS])


def _without(weights: FloatArray, columns: NDArray[np.intp]) -> FloatArray:
    rest = weights.copy()
    rest[:, columns] = 0
    return rest


def _best_scheme(inputs: _Inputs, weights: FloatArray) -> _Scheme:
    """The scheme whose output is nearest to the float one."""
    output = inputs.rows @ weights.T
    schemes = [_scheme(inputs, weights, smoothing) for smoothing in _SMOOTHINGS]
    return min(schemes, key=lambda scheme: _loss(scheme, inputs, weights, output))


def _scheme(inputs: _Inputs, weights: FloatArray, smoothing: float) -> _Scheme:
    """Divide columns by `largest ** smoothing / weights ** (1 - smoothing)`, and span what is left."""
    factors = np.ones_like(inputs.largest)
    if smoothing:
        heaviest = np.maximum(np.abs(weights).max(axis=0), np.float32(1e-5))
        factors = inputs.largest**smoothing / heaviest ** (1 - smoothing)
        factors /= np.exp(np.log(factors).mean())
    low = min(0.0, float((inputs.low / factors).min()))
    high = max(1e-6, float((inputs.high / factors).max()))
    step = (high - low) / _STEPS
    zero = round(-low / step)  # zero must be a level of its own
    return _Scheme(factors.astype(np.float32), -zero * step, (_STEPS - zero) * step)


def _loss(scheme: _Scheme, inputs: _Inputs, weights: FloatArray, output: FloatArray) -> float:
    levels, scale = _levels(weights * scheme.smoothing)
    return float(np.square(scheme.rounded_inputs(inputs.rows) @ (levels * scale).T - output).mean())


def _levels(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weights as whole numbers, and the scale of each row, (rows, 1)."""
    scale = np.maximum(np.abs(weights).max(axis=1, keepdims=True), np.float32(1e-12)) / np.float32(_WEIGHT_STEPS)
    return np.round(weights / scale), scale


def _as_integers(tensor: _Node, scheme: _Scheme) -> _Node:
    """The tensor after smoothing, rounded to its levels; OpenVINO computes what follows in integers."""
    smoothed = ops.multiply(tensor, ops.constant((1 / scheme.smoothing).reshape(1, 1, -1)))
    low, high = (ops.constant(np.float32(bound)) for bound in (scheme.low, scheme.high))
    return ops.fake_quantize(smoothed, low, high, low, high, _STEPS + 1)


def _constant_levels(levels: FloatArray, scale: FloatArray) -> _Node:
    return ops.multiply(ops.convert(ops.constant(levels.astype(np.int8)), "f32"), ops.constant(scale))


def _float_product(layer: _Linear, columns: NDArray[np.intp]) -> _Node:
    """The part of a layer's output that comes from a few of its inputs."""
    few = ops.gather(layer.tensor, ops.constant(columns.astype(np.int64)), ops.constant(np.int64(-1)))
    return ops.matmul(few, ops.constant(np.ascontiguousarray(layer.weights[:, columns])), False, True)


def _replace(node: _Node, replacement: _Node) -> None:
    """Let all that read a node read another one."""
    for reader in list(node.output(0).get_target_inputs()):
        reader.replace_source_output(replacement.output(0))
