"""Statistical uncertainty: bootstrap intervals, and paired tests between two systems.

Retrieval is measured query by query, so its scores are means; agreement with people is one
correlation over all pairs. Both are resampled with a fixed seed, so that runs are reproducible.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap (percentile interval); Smucker,
Allan and Carterette, A comparison of statistical significance tests for information retrieval
evaluation, CIKM 2007 (the randomisation test).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.analysis.correlation import checked_pair, correlate, ranks, scipy_stats
from e5studio.errors import VectorError

Values = NDArray[np.float64]

N_RESAMPLES = 9999
MIN_SAMPLES = 10
"""Fewer queries or pairs have no interval: resamples of so few say nothing about others."""
LEVEL = 0.95
_MAX_RANKED = 20_000_000
_BATCH_NUMBERS = 4_000_000  # numbers of resamples in memory at a time: 32 MB


@dataclass(frozen=True)
class Interval:
    """The range of a score if the test had other queries of the same kind.

    Attributes:
        low: Lower end.
        high: Upper end.
        level: How often such an interval contains the true score: 0.95.
    """

    low: float
    high: float
    level: float = LEVEL


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same queries or pairs.

    Attributes:
        difference: Score of the second minus score of the first.
        interval: Bootstrap interval of the difference, with the same queries drawn for both; None for too few.
        p_value: Probability of a difference at least as large if both were equally good (two-sided).
    """

    difference: float
    interval: Interval | None
    p_value: float


def mean_interval(scores: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Interval | None:
    """Percentile bootstrap interval of the mean of scores, (n_queries,); None for fewer than `MIN_SAMPLES`."""
    values = _checked_scores(scores)
    return _interval((values,), _mean, n_resamples, seed)


def compare_means(first: ArrayLike, second: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two systems by their scores on the same queries, (n_queries,) each.

    Fisher's randomisation test: under the null hypothesis each query's two scores may be swapped.
    """
    a, b = _checked_scores(first), _checked_scores(second)
    if a.shape != b.shape:
        raise VectorError(f"A paired test needs the same queries on both sides; got {len(a)} and {len(b)}.")
    differences = b - a
    p_value = _swapping_p_value((b, a), lambda x, y, axis=-1: (x - y).mean(axis=axis), n_resamples, seed)
    return Comparison(float(differences.mean()), _interval((differences,), _mean, n_resamples, seed), p_value)


def spearman_interval(
    scores: ArrayLike, gold: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Interval | None:
    """Percentile bootstrap interval of Spearman's correlation over pairs, (n_pairs,) each; None for too few."""
    left, right = checked_pair(scores, gold)
    return _interval((left, right), _spearman, _affordable(n_resamples, len(left)), seed)


def compare_spearman(
    first: ArrayLike, second: ArrayLike, gold_scores: ArrayLike, *, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two systems by Spearman's correlation with the same gold scores, (n_pairs,) each.

    The interval is of the difference of correlations. The test swaps each pair's two ranks: ranks, because
    scores of different models lie on different scales and could not be exchanged.
    """
    a, gold = checked_pair(first, gold_scores)
    b, _ = checked_pair(second, gold_scores)
    ranks_a, ranks_b, gold_ranks = ranks(a), ranks(b), ranks(gold)

    def difference(x: Values, y: Values, axis: int = -1) -> Values:
        # Swaps of a few pairs may make all ranks equal; such a side has correlation 0 with everything.
        return np.nan_to_num(correlate(x, gold_ranks)) - np.nan_to_num(correlate(y, gold_ranks))

    def resampled(x: Values, y: Values, z: Values) -> Values:
        return _spearman(y, z) - _spearman(x, z)

    return Comparison(
        float(difference(ranks_b, ranks_a)),
        _interval((a, b, gold), resampled, _affordable(n_resamples, len(a)), seed),
        _swapping_p_value((ranks_b, ranks_a), difference, n_resamples, seed),
    )


def _affordable(n_resamples: int, n_pairs: int) -> int:
    """Every resample of pairs is ranked again, which takes minutes for the largest sets; they get fewer resamples."""
    return min(n_resamples, max(999, _MAX_RANKED // n_pairs))


def _mean(values: Values) -> Values:
    means: Values = values.mean(axis=-1)
    return means


def _spearman(scores: Values, gold: Values) -> Values:
    return correlate(ranks(scores), ranks(gold))


def _interval(
    samples: tuple[Values, ...], statistic: Callable[..., Values], n_resamples: int, seed: int
) -> Interval | None:
    if len(samples[0]) < MIN_SAMPLES:
        return None
    rng, n_drawn = np.random.default_rng(seed), len(samples[0])
    batch = max(1, _BATCH_NUMBERS // n_drawn)
    figures = []
    for start in range(0, n_resamples, batch):
        drawn = rng.integers(0, n_drawn, (min(batch, n_resamples - start), n_drawn))
        figures.append(statistic(*(sample[drawn] for sample in samples)))
    # If most values are equal, a resample may contain only these and has no correlation.
    low, high = np.nanquantile(np.concatenate(figures), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _swapping_p_value(
    samples: tuple[Values, Values], statistic: Callable[..., Values], n_resamples: int, seed: int
) -> float:
    if len(samples[0]) < 2 or np.array_equal(*samples):
        return 1.0
    test = scipy_stats().permutation_test(
        samples,
        statistic,
        permutation_type="samples",
        vectorized=True,
        n_resamples=n_resamples,
        batch=max(1, _BATCH_NUMBERS // len(samples[0])),
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _checked_scores(scores: ArrayLike) -> Values:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise VectorError(f"Give at least one finite score, shape (n_queries,); got shape {values.shape}.")
    return values
