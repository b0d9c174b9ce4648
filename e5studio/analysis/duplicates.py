"""Repeated texts of a set: equal, equal but for their way of writing, or nearly equal by cosine."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.similarity import TopK

NEAR_SHARE = 0.05
"""Share of the mean distance of two texts below which they count as nearly the same."""


@dataclass(frozen=True)
class NearTexts:
    """Groups of vectors that are nearly the same.

    Attributes:
        groups: Rows of each, ascending; the largest group first. Each row is near to another of its group, so the ends
            of a long chain may be further apart.
        nearest: For each row of a group the highest cosine with another row of it.
    """

    groups: tuple[tuple[int, ...], ...]
    nearest: dict[int, float]


def folded(text: str) -> str:
    """A text without differences of letter case, white space and Unicode form (NFC)."""
    # Case folding may decompose a letter, so the result is composed again.
    lowered = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(lowered.split())


def equal_groups(keys: Sequence[str]) -> list[list[int]]:
    """Indices of keys that occur more than once, the largest group first, then by index."""
    indices: defaultdict[str, list[int]] = defaultdict(list)
    for index, key in enumerate(keys):
        indices[key].append(index)
    return sorted((group for group in indices.values() if len(group) > 1), key=lambda group: (-len(group), group))


def near_threshold(mean_cosine: float) -> float:
    """The cosine from which two texts of a set count as nearly the same.

    A fixed cosine cannot be used: two unrelated texts have 0.05 with one model and 0.8 with another. So the distance
    1 - cosine (half the squared Euclidean distance of unit vectors) is compared with that of two random texts of the
    same set, and at most `NEAR_SHARE` of it counts as near. The share is a convention, not from a study.

    Args:
        mean_cosine: Mean cosine of random pairs of the set.
    """
    return 1 - NEAR_SHARE * (1 - mean_cosine)


def near_texts(neighbours: TopK, rows_of: ArrayLike, threshold: float) -> NearTexts:
    """Join vectors to those of their neighbours that are nearly the same.

    Args:
        neighbours: Of each of `rows_of`, (m, k).
        rows_of: Rows whose neighbours they are, (m,). Pairs of two other rows are not found.
        threshold: The cosine from which two count as nearly the same.
    """
    row_index, column = np.nonzero(neighbours.scores >= threshold)
    one = np.asarray(rows_of, np.int64)[row_index]
    other, cosines = neighbours.ids[row_index, column], neighbours.scores[row_index, column]
    nearest: dict[int, float] = {}
    for row, cosine in zip(np.concatenate([one, other]).tolist(), np.tile(cosines, 2).tolist(), strict=True):
        nearest[row] = max(cosine, nearest.get(row, -1.0))
    return NearTexts(_joined(zip(one.tolist(), other.tolist(), strict=True)), nearest)


def first_of_each(keys: Sequence[str]) -> NDArray[np.int64]:
    """The index of the first of each different key, ascending."""
    firsts: dict[str, int] = {}
    for index, key in enumerate(keys):
        firsts.setdefault(key, index)
    return np.fromiter(firsts.values(), np.int64, len(firsts))


def _joined(pairs: Iterable[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Connected rows."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for one, other in pairs:
        parent[root(one)] = root(other)
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for row in sorted(parent):
        groups[root(row)].append(row)
    return tuple(sorted(map(tuple, groups.values()), key=lambda group: (-len(group), group)))
