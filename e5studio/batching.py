"""From token lengths to batches: `TokenBatch`, a backend's `Limits`, and the planner.

Pure functions over numpy arrays. Padding and masks belong to the backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
_LONG_PLAN = 16  # batches


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

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.lengths, dtype=np.int64)

    def select(self, rows: Sequence[int] | NDArray[np.intp]) -> TokenBatch:
        """A batch of some of the rows, in this order."""
        ends = self._ends
        parts = [self.ids[ends[row] - self.lengths[row] : ends[row]] for row in rows]
        ids = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return TokenBatch(ids, self.lengths[np.asarray(rows, np.intp)])

    def padded(self, pad_id: int, length: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids and mask, both (rows, longest) or (rows, length), padded on the right."""
        length = int(self.lengths.max(initial=0)) if length is None else length
        mask = (np.arange(length) < self.lengths[:, None]).astype(np.int64)
        ids = np.full(mask.shape, pad_id, np.int64)
        ids[mask.astype(bool)] = self.ids
        return ids, mask


@dataclass(frozen=True)
class Limits:
    """Limits and costs of a batch on a backend.

    Attributes:
        token_budget: Tokens of a batch, padding included: rows x longest.
        max_rows: Texts of a batch.
        overhead: Fixed cost of a batch, in tokens; the larger, the fewer batches and the more padding.
        shape_cost: Extra cost of a batch of new shape (rows x longest), in tokens. If it is above 0, lengths are
            rounded up by `rounded` and batches are filled, so that shapes repeat: backends keep memory for every
            shape they have seen.
    """

    token_budget: int
    max_rows: int = 4096
    overhead: int = 0
    shape_cost: int = 0


def rounded(lengths: IntArray) -> IntArray:
    """Lengths rounded up by at most a 32nd: few different lengths, and little padding."""
    exponents = np.floor(np.log2(np.maximum(lengths, 1))).astype(np.int32)
    steps = 1 << np.maximum(exponents - 5, 0)
    longer: IntArray = (-(-lengths // steps) * steps).astype(np.int32)
    return longer


def plan_batches(lengths: IntArray, limits: Limits) -> list[NDArray[np.intp]]:
    """Group texts of similar length under a backend's limits, for the least cost of padding and batches.

    Longest first, so that memory runs out at the start or not at all, and the remaining time
    is overestimated rather than underestimated. A text longer than the budget is a batch alone.

    Args:
        lengths: Tokens of each text, shape (n,).
        limits: Of the backend.

    Returns:
        Row numbers of each batch; together every row exactly once.
    """
    order = np.argsort(-lengths, kind="stable")
    sizes = (rounded(lengths) if limits.shape_cost else lengths)[order].astype(np.int64)
    if not len(order):
        return []
    return _cut(order, sizes, _cheapest_groups(sizes, limits), limits)


def padding_share(lengths: IntArray, limits: Limits) -> float:
    """Share of padding among the tokens of the batches from `plan_batches`, 0 to 1."""
    if not len(lengths):
        return 0.0
    padded = rounded(lengths) if limits.shape_cost else lengths
    computed = sum(len(rows) * int(padded[rows].max()) for rows in plan_batches(lengths, limits))
    return 1 - int(lengths.sum()) / computed


def _cheapest_groups(sizes: NDArray[np.int64], limits: Limits) -> list[int]:
    """Ends of the groups of sorted lengths that are padded to one length.

    Texts of equal length stay together, so the choice is among the different lengths, which are few.
    Dynamic programming: the least cost up to a length follows from the least costs up to the shorter ones.
    """
    borders = np.flatnonzero(np.diff(sizes, prepend=-1)).astype(np.int64)  # first text of each length
    ends = np.append(borders[1:], len(sizes))
    longest = sizes[borders]
    room = np.clip(limits.token_budget // np.maximum(longest, 1), 1, limits.max_rows)
    cost = np.zeros(len(ends) + 1, np.float64)
    came_from = np.zeros(len(ends) + 1, np.int64)
    for group, end in enumerate(ends, 1):
        rows = end - borders[:group]
        n_batches = -(-rows // room[:group])
        ways = cost[:group] + rows * longest[:group] + n_batches * limits.overhead + limits.shape_cost
        came_from[group] = int(np.argmin(ways))
        cost[group] = ways[came_from[group]]
    cuts: list[int] = []
    group = len(ends)
    while group > 0:
        cuts.append(int(ends[group - 1]))
        group = int(came_from[group])
    return cuts[::-1]


def _cut(order: NDArray[np.intp], sizes: NDArray[np.int64], ends: list[int], limits: Limits) -> list[NDArray[np.intp]]:
    """The groups as batches; all but the last of a group are full."""
    batches: list[NDArray[np.intp]] = []
    start = 0
    for end in ends:
        while start < end:
            room = int(np.clip(limits.token_budget // max(int(sizes[start]), 1), 1, limits.max_rows))
            stop = start + room
            if stop <= end or (limits.shape_cost and _is_worth_filling(sizes, start, end, stop, limits)):
                batches.append(order[start:stop])
                start = stop
                continue
            for rows in _familiar_sizes(end - start, len(batches), limits):
                batches.append(order[start : start + rows])
                start += rows
    return batches


def _is_worth_filling(sizes: NDArray[np.int64], start: int, end: int, stop: int, limits: Limits) -> bool:
    """Whether to fill the last batch of a group with shorter texts of the next group.

    A full batch has the shape of the other full batches of its length, not a new one.
    """
    if stop > len(sizes):
        return False
    padding = (stop - end) * int(sizes[start]) - int(sizes[end:stop].sum())
    return padding <= limits.overhead + limits.shape_cost


def _familiar_sizes(rows: int, n_batches: int, limits: Limits) -> list[int]:
    """Sizes for the rows of a batch that is not full: powers of two if a few more batches cost little.

    Each block of a stream ends with such a batch; with arbitrary sizes there would be ever new shapes.
    """
    if not limits.shape_cost or n_batches < _LONG_PLAN:
        return [rows]
    return [1 << bit for bit in range(rows.bit_length() - 1, -1, -1) if rows >> bit & 1]
