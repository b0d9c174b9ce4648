"""Products of int8 vectors: by the processor's own instructions where it has them, else in float32."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Int8Array = NDArray[np.int8]
_ROWS_TRIED = 4096


class Int8Products:
    """The products of all rows of blocks with some queries; the faster of two ways is chosen by trying both.

    Args:
        queries: (n_queries, dim).
    """

    def __init__(self, queries: Int8Array) -> None:
        import torch

        self._torch = torch
        self._queries = torch.from_numpy(np.ascontiguousarray(queries.T))
        self._floats = self._queries.float()
        self._is_native: bool | None = None

    def of(self, rows: Int8Array) -> NDArray[Any]:
        """The products with each row, (n_queries, n); whole numbers, exact up to 1,024 dimensions."""
        block = self._torch.from_numpy(rows)
        if self._is_native is None:
            self._is_native = self._is_faster(block[:_ROWS_TRIED])
        products = self._torch._int_mm(block, self._queries) if self._is_native else block.float() @ self._floats
        result: NDArray[Any] = np.ascontiguousarray(products.numpy().T)
        return result

    def _is_faster(self, block: torch.Tensor) -> bool:
        seconds = []
        for _ in range(2):  # the first call prepares
            started = time.perf_counter()
            try:
                self._torch._int_mm(block, self._queries)
            except (RuntimeError, AttributeError):  # a name that torch may change
                return False
            between = time.perf_counter()
            block.float() @ self._floats
            seconds.append((between - started, time.perf_counter() - between))
        return seconds[-1][0] < seconds[-1][1]
