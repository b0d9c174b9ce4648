"""Which queries gained and lost most between two evaluations of the same task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.analysis.retrieval_metrics import QueryScores
from e5studio.evaluation.run import Evaluation


@dataclass(frozen=True)
class Mover:
    """One query whose score changed.

    Attributes:
        query: Its id.
        before: Its score in the first evaluation.
        after: Its score in the second.
    """

    query: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """What it gained."""
        return self.after - self.before


def movers(first: Evaluation, second: Evaluation, n: int) -> Sequence[Mover]:
    """The `n` queries that gained most and the `n` that lost most, best first; none where queries are not known."""
    a, b = first.sample, second.sample
    if not isinstance(a, QueryScores) or not isinstance(b, QueryScores) or a.query_ids != b.query_ids:
        return ()
    before, after = a.values[first.metric], b.values[first.metric]
    changes = after - before
    order = np.argsort(-changes, kind="stable")
    gained, lost = order[:n][changes[order[:n]] > 0], order[-n:][changes[order[-n:]] < 0]
    return [Mover(a.query_ids[row], float(before[row]), float(after[row])) for row in (*gained, *lost)]
