"""From token lengths to batches: `TokenBatch`, a back end's `Limits`, and the planner.

Pure functions over numpy arrays. No padding and no mask here: those belong to the back end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]


@dataclass(frozen=True)
class TokenBatch:
    """Texts as token ids, one after the other, without padding.

    Attributes:
        ids: All token ids, shape (sum of lengths,), int32.
        lengths: Tokens of each text, shape (rows,), int32.
    """

    ids: IntArray
    lengths: IntArray

    def __len__(self) -> int:
        return len(self.lengths)

    def select(self, rows: Sequence[int] | NDArray[np.intp]) -> TokenBatch:
        """The batch of some of the rows, in the order given."""
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        parts = [self.ids[starts[row] : ends[row]] for row in rows]
        ids = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return TokenBatch(ids, self.lengths[np.asarray(rows, np.intp)])

    def padded(self, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask, both (rows, longest), padded on the right."""
        mask = (np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]).astype(np.int64)
        ids = np.full(mask.shape, pad_id, np.int64)
        ids[mask.astype(bool)] = self.ids
        return ids, mask


@dataclass(frozen=True)
class Limits:
    """What a batch may cost a back end.

    Attributes:
        token_budget: Tokens of a batch: rows x longest where it pads, their sum where it packs.
        max_rows: Texts of a batch.
        packed: Whether padding costs nothing.
    """

    token_budget: int
    max_rows: int = 4096
    packed: bool = False


def plan_batches(lengths: IntArray, limits: Limits) -> Iterator[NDArray[np.intp]]:
    """Group texts of similar length under a back end's limits.

    Longest first, so that memory runs out at the start or not at all, and the progress
    shown errs on the careful side. A text longer than the budget is a batch of its own.

    Args:
        lengths: Tokens of each text, shape (n,).
        limits: What a batch may cost.

    Yields:
        Row numbers of one batch; together every row exactly once.
    """
    order = np.argsort(-lengths, kind="stable")
    sizes = lengths[order].astype(np.int64)
    start = 0
    while start < len(order):
        window = sizes[start : start + limits.max_rows]
        costs = np.cumsum(window) if limits.packed else window[0] * np.arange(1, len(window) + 1)
        rows = max(1, int(np.searchsorted(costs, limits.token_budget, side="right")))
        yield order[start : start + rows]
        start += rows
