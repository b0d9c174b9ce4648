"""Whether a group of texts, such as those of one language, is separated from the others.

Two measures: the nearest neighbours of the group's texts, and their scores with the others. Neither says why: a group
of one language that is also about one subject may be separated for both reasons. Texts of unknown group are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.geometry import mean_vector
from e5studio.similarity import FloatArray, IdArray, ignoring_underflow


@dataclass(frozen=True)
class Separation:
    """How far a group is separated.

    Attributes:
        n_texts: Texts in the group.
        own: Share of its texts' nearest neighbours that are of the group, 0 to 1, among neighbours of known group.
        by_chance: That share if neighbours were drawn at random: (n_texts - 1) / (n_known - 1).
        within: Mean cosine of pairs inside the group.
        across: Mean cosine of pairs with one text inside and one known to be outside.
    """

    n_texts: int
    own: float
    by_chance: float
    within: float
    across: float

    @property
    def excess(self) -> float:
        """`own` rescaled to 0 for chance and 1 for certainty, to compare large and small groups."""
        return (self.own - self.by_chance) / (1 - self.by_chance)


@ignoring_underflow
def separation(
    embeddings: FloatArray,
    neighbours: IdArray,
    rows_of: NDArray[np.int64],
    is_member: NDArray[np.bool_],
    is_other: NDArray[np.bool_],
) -> Separation | None:
    """How far a group is separated; None without others, without neighbours, or for fewer than two texts.

    Args:
        embeddings: Shape (n, dim).
        neighbours: Rows of the nearest of each of `rows_of`, (m, k).
        rows_of: Rows of these neighbours, (m,).
        is_member: Which vectors are of the group, (n,).
        is_other: Which are known to be outside, (n,).
    """
    size, n_others = int(is_member.sum()), int(is_other.sum())
    near = neighbours[is_member[rows_of]]
    n_own, n_other = int(is_member[near].sum()), int(is_other[near].sum())
    if size < 2 or not n_others or not n_own + n_other:
        return None
    # The mean cosine of all pairs of two sets is the product of their mean vectors.
    members, others = (mean_vector(embeddings, np.flatnonzero(chosen)) for chosen in (is_member, is_other))
    within = (size * float(members @ members) - 1) / (size - 1)  # without each text's cosine with itself
    by_chance = (size - 1) / (size + n_others - 1)
    return Separation(size, n_own / (n_own + n_other), by_chance, within, float(members @ others))
