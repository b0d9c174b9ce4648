"""How fast this machine multiplies matrices in each precision, with torch and with OpenVINO: the bound of all encoding.

Single products, a large square one among them, and all linear layers of a model one after the other without
anything between them.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops

ROWS = (128, 256, 512, 1024, 2048, 4096)
SQUARE = 2048
_SECONDS = 0.4  # of each measurement
_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "bf16"}


def torch_peak(precision: str, rows: int, inner: int, columns: int) -> float:
    """Operations a second of one product of (rows, inner) and (inner, columns)."""
    left, right = torch.randn(rows, inner), torch.randn(inner, columns)
    if precision == "int8":
        a, b = (matrix.mul(20).clamp(-127, 127).to(torch.int8) for matrix in (left, right))
        return 2 * rows * inner * columns / _fastest(lambda: torch._int_mm(a, b))
    dtype = getattr(torch, precision)
    x, y = left.to(dtype), right.to(dtype)
    with torch.inference_mode():
        return 2 * rows * inner * columns / _fastest(lambda: x @ y)


def torch_chain(precision: str, rows: int, weights: list[tuple[int, int]]) -> float:
    """Operations a second of a chain of products, in float32 or bfloat16, as `openvino_peak`."""
    dtype = getattr(torch, precision)
    given = torch.randn(rows, weights[0][0]).to(dtype)
    matrices = [(torch.randn(inner, columns) / inner**0.5).to(dtype) for inner, columns in weights]

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return functools.reduce(torch.matmul, matrices, given)

    return sum(2 * rows * inner * columns for inner, columns in weights) / _fastest(run)


def openvino_peak(precision: str, rows: int, weights: list[tuple[int, int]]) -> float:
    """Operations a second of a chain of products: (rows, first inner) with each (inner, columns) in turn."""
    compiled = openvino.Core().compile_model(_chain(precision, rows, weights), "CPU", _config(precision))
    request = compiled.create_infer_request()
    given = np.random.default_rng(0).standard_normal((rows, weights[0][0]), np.float32)
    n_operations = sum(2 * rows * inner * columns for inner, columns in weights)
    return n_operations / _fastest(lambda: request.infer([given], share_inputs=True))


def linear_layers(n_layers: int, hidden: int, intermediate: int) -> list[tuple[int, int]]:
    """Shapes of a model's linear layers: query, key, value, output, and the two of the feed-forward part."""
    return [*[(hidden, hidden)] * 4, (hidden, intermediate), (intermediate, hidden)] * n_layers


def _chain(precision: str, rows: int, weights: list[tuple[int, int]]) -> Any:
    random = np.random.default_rng(0)
    start = ops.parameter([rows, weights[0][0]], np.float32)
    node: Any = start
    for inner, columns in weights:
        values = random.standard_normal((inner, columns), np.float32) / np.float32(np.sqrt(inner))
        matrix: Any = ops.constant(values)
        if precision == "int8":
            node = _quantised(node, 4.0, 256)
            matrix = _quantised(matrix, float(np.abs(values).max()), 255)
        node = ops.matmul(node, matrix, False, False)
    return openvino.Model([node], [start], "chain")


def _quantised(node: Any, largest: float, levels: int) -> Any:
    """What post-training quantisation puts in front of a product: from it OpenVINO makes an int8 one."""
    lowest = -largest if levels % 2 else -largest * 128 / 127
    low, high = (ops.constant(np.float32(value)) for value in (lowest, largest))
    return ops.fake_quantize(node, low, high, low, high, levels)


def _config(precision: str) -> dict[str, Any]:
    return {"INFERENCE_PRECISION_HINT": _HINTS[precision], "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}


def _fastest(run: Callable[[], object]) -> float:
    """Least seconds of a call, after two to warm up."""
    run()
    run()
    least, end = float("inf"), time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        run()
        least = min(least, time.perf_counter() - started)
    return least
