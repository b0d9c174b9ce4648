"""Retrieval metrics against relevance judgements: nDCG, MAP, recall, precision, MRR, hit rate.

Computed by trec_eval through pytrec_eval, including its treatment of ties: of equal scores the
document with the later id comes first, and scores are compared as float32.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import MissingDependencyError, VectorError

Judgements = Mapping[str, Mapping[str, int]]
"""Query id -> document id -> relevance; 0 and below is irrelevant."""

Ranking = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score of the retrieved documents."""

K_VALUES = (1, 3, 5, 10, 20, 100, 1000)
"""The cut-offs that mteb reports."""

MAX_CUT_OFF = 100_000

MAX_RELEVANCE = 1_000_000
"""trec_eval sums gains in 32 bits, and larger judgements overflow without an error."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TREC_NAMES = {
    "ndcg": "ndcg_cut",
    "map": "map_cut",
    "recall": "recall",
    "precision": "P",
    "hit_rate": "success",
}
_METRIC = re.compile(rf"(?:{'|'.join(_TREC_NAMES)}|mrr)_at_([1-9]\d*)")


@dataclass(frozen=True)
class QueryScores:
    """The scores of each query, for means, intervals and tests.

    Attributes:
        query_ids: The queries that have a relevant document, in the order of the judgements.
        values: mteb's names ("ndcg_at_10") -> float64 (n_queries,), 0 to 1.
    """

    query_ids: tuple[str, ...]
    values: dict[str, NDArray[np.float64]]

    def means(self) -> dict[str, float]:
        """The mean of each metric over the queries."""
        return {name: float(scores.mean()) for name, scores in self.values.items()}


def query_scores(judgements: Judgements, ranking: Ranking, *, k_values: Sequence[int] = K_VALUES) -> QueryScores:
    """Score a ranking query by query.

    A query without results scores 0. A query without a relevant document is ignored, as in mteb.

    `mrr_at_k` is the reciprocal rank of the first relevant document, 0 if it ranks after k.

    Args:
        judgements: The relevant documents.
        ranking: The retrieved documents, at least the best k of each query.
        k_values: Cut-offs, each at least 1.

    Raises:
        VectorError: A score is NaN or infinite, trec_eval cannot process an id or a relevance, a cut-off is not a
            positive whole number, or no query has a relevant document.
        MissingDependencyError: pytrec_eval is not installed.
    """
    check_cut_offs(k_values)
    _check_judgements(judgements)
    _check_ranking(ranking)
    judged = {
        query: {document: int(relevance) for document, relevance in relevances.items()}
        for query, relevances in judgements.items()
        if any(relevance > 0 for relevance in relevances.values())
    }
    if not judged:
        raise VectorError("No query has a relevant document, so there is nothing to score a ranking by.")
    cuts = ",".join(str(k) for k in sorted(set(k_values)))
    measures = {f"{name}.{cuts}" for name in _TREC_NAMES.values()} | {"recip_rank"}
    evaluator = import_pytrec_eval().RelevanceEvaluator(judged, measures)
    run = {
        query: {document: float(score) for document, score in ranking[query].items()}
        for query in judged
        if ranking.get(query)
    }
    metrics: dict[str, dict[str, float]] = evaluator.evaluate(run)
    values = {
        f"{name}_at_{k}": np.array([metrics[query][f"{trec}_{k}"] if query in metrics else 0.0 for query in judged])
        for name, trec in _TREC_NAMES.items()
        for k in k_values
    }
    reciprocal = np.array([metrics[query]["recip_rank"] if query in metrics else 0.0 for query in judged])
    for k in k_values:
        values[f"mrr_at_{k}"] = np.where(reciprocal * k >= 1 - 1e-9, reciprocal, 0.0)
    return QueryScores(tuple(judged), values)


def cut_off(metric: str) -> int:
    """The k of a metric's name: 10 of "ndcg_at_10"."""
    match = _METRIC.fullmatch(metric)
    if match is None:
        known = ", ".join(f"{name}_at_10" for name in (*_TREC_NAMES, "mrr"))
        raise VectorError(f"Unknown metric {metric!r}. Give one such as {known}, with any k in place of 10.")
    return int(match[1])


def is_metric(name: str) -> bool:
    """Whether `query_scores` has a metric of this name, for some k."""
    return _METRIC.fullmatch(name) is not None


def is_usable_id(name: str) -> bool:
    """Whether trec_eval, which is written in C, can process an id: no zero byte, no lone surrogate."""
    return "\0" not in name and not _SURROGATE.search(name)


def check_cut_offs(k_values: Sequence[int]) -> None:
    """Refuse cut-offs other than whole numbers from 1 to `MAX_CUT_OFF`, and none at all, with a VectorError."""
    if not k_values or not all(isinstance(k, int) and 1 <= k <= MAX_CUT_OFF for k in k_values):
        raise VectorError(
            f"k_values={tuple(k_values)}; give whole numbers from 1 to {MAX_CUT_OFF:,}, at least one of them."
        )


def _check_judgements(judgements: Judgements) -> None:
    for query, relevances in judgements.items():
        _check_ids(query, relevances)
        for document, relevance in relevances.items():
            if int(relevance) != relevance or abs(relevance) > MAX_RELEVANCE:
                raise VectorError(
                    f"The relevance of {document!r} for query {query!r} is {relevance}; give whole numbers up to "
                    f"{MAX_RELEVANCE:,}."
                )


def _check_ranking(ranking: Ranking) -> None:
    for query, scores in ranking.items():
        _check_ids(query, scores)
        if not np.isfinite(np.fromiter(scores.values(), np.float64, len(scores))).all():
            raise VectorError(f"The ranking of query {query!r} holds a score that is NaN or infinite.")


def _check_ids(query: str, documents: Iterable[str]) -> None:
    bad = [name for name in (query, *documents) if not is_usable_id(name)]
    if bad:
        raise VectorError(f"The id {bad[0]!r} holds a zero byte or half of a character. Give it another name.")


def import_pytrec_eval() -> Any:
    """The module `pytrec_eval`; a MissingDependencyError if it is not installed."""
    try:
        return importlib.import_module("pytrec_eval")
    except ImportError as error:
        raise MissingDependencyError(
            'Scoring a ranking needs pytrec_eval. Install it with: pip install "e5studio[eval]"'
        ) from error
