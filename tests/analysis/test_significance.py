"""Correlations equal scipy's; intervals hold the truth as often as they say; tests find a difference, and no more."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from e5studio.analysis import significance
from e5studio.analysis.correlation import pearson, spearman
from e5studio.analysis.significance import (
    MIN_SAMPLES,
    Comparison,
    Interval,
    compare_means,
    compare_spearman,
    mean_interval,
    spearman_interval,
)
from e5studio.errors import MissingDependencyError, VectorError

Correlation = Callable[..., float]

FEW = 199  # resamples, where a test draws often


def bernoulli(n: int, seed: int, rate: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).binomial(1, rate, n).astype(np.float64)


def rated(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two systems equally far from what people said, and what they said."""
    rng = np.random.default_rng(seed)
    people = rng.standard_normal(n)
    return people + rng.standard_normal(n), people + rng.standard_normal(n), people


def holds(interval: Interval, figure: float) -> bool:
    return interval.low - 1e-12 <= figure <= interval.high + 1e-12


def width(interval: Interval) -> float:
    return interval.high - interval.low


def numbers(found: Comparison) -> list[float]:
    return [found.difference, found.interval.low, found.interval.high, found.p_value]


def exact_p_value(nulls: list[float], observed: float) -> float:
    """Two-sided, by all ways of swapping."""
    null = np.array(nulls)
    above, below = np.mean(null >= observed - 1e-12), np.mean(null <= observed + 1e-12)
    return float(min(1, 2 * min(above, below)))


def swaps(first: np.ndarray, second: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    patterns = (np.array(pattern) for pattern in itertools.product([False, True], repeat=len(first)))
    return [(np.where(swap, second, first), np.where(swap, first, second)) for swap in patterns]


class TestCorrelation:
    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [(spearman, scipy.stats.spearmanr), (pearson, scipy.stats.pearsonr)],
        ids=["spearman", "pearson"],
    )
    @given(data=st.data())
    @settings(max_examples=50)
    def test_equals_scipy_with_ties(self, ours: Correlation, theirs: Callable, data: st.DataObject) -> None:
        n = data.draw(st.integers(2, 40))
        values = st.lists(st.integers(-3, 3) | st.floats(-5, 5, width=16), min_size=n, max_size=n)
        found, wanted = data.draw(values), data.draw(values)
        # Subnormal differences are beyond both.
        assume(np.ptp(found) > 1e-3 and np.ptp(wanted) > 1e-3)
        assert ours(found, wanted) == pytest.approx(theirs(found, wanted).statistic, abs=1e-9)

    @pytest.mark.parametrize("correlation", [spearman, pearson])
    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 200))
    @settings(max_examples=50)
    def test_lies_between_minus_one_and_one(self, correlation: Correlation, seed: int, n: int) -> None:
        rng = np.random.default_rng(seed)
        row = rng.standard_normal(n) * rng.exponential(100)
        assert 1 - 1e-12 < correlation(row, 3 * row + 1) <= 1
        assert -1 <= correlation(row, -row / 7) < -1 + 1e-12
        assert type(correlation(row, row)) is float

    def test_spearman_sees_order_alone_and_pearson_does_not(self) -> None:
        found, wanted = [1.0, 2, 3, 4], [0.0, 1, 10, 1000]
        assert spearman(found, wanted) == 1
        assert pearson(found, wanted) < 0.9

    @pytest.mark.parametrize("correlation", [spearman, pearson])
    @pytest.mark.parametrize(
        ("found", "wanted", "message"),
        [
            ([1, 2, 3], [1, 2], r"of one length; got shapes \(3,\) and \(2,\)"),
            ([[1, 2]], [[1, 2]], "two rows of numbers"),
            (1, 2, "two rows of numbers"),
            ([1, math.nan], [1, 2], "NaN or infinite"),
            ([1, 2], [math.inf, 2], "NaN or infinite"),
            ([1, 1, 1], [1, 2, 3], "all with one value on a side"),
            ([1, 2, 3], [0, 0, 0], "all with one value on a side"),
            ([1], [2], "two pairs or more that differ; got 1"),
            ([], [], "two pairs or more that differ; got 0"),
        ],
    )
    def test_refuses_what_has_no_correlation(
        self, correlation: Correlation, found: object, wanted: object, message: str
    ) -> None:
        with pytest.raises(VectorError, match=message):
            correlation(found, wanted)


class TestMeanInterval:
    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 80), kind=st.sampled_from(["graded", "hit or miss"]))
    @settings(max_examples=60)
    def test_holds_the_mean(self, seed: int, n: int, kind: str) -> None:
        scores = np.random.default_rng(seed).random(n) if kind == "graded" else bernoulli(n, seed)
        found = mean_interval(scores, n_resamples=FEW, seed=seed)
        if n < MIN_SAMPLES:
            assert found is None
            return
        assert holds(found, scores.mean())
        assert scores.min() - 1e-12 <= found.low <= found.high <= scores.max() + 1e-12
        assert found.level == 0.95

    def test_covers_the_true_mean_as_often_as_it_says(self) -> None:
        intervals = [mean_interval(bernoulli(100, seed), n_resamples=499, seed=seed) for seed in range(200)]
        assert 0.88 <= np.mean([holds(each, 0.3) for each in intervals]) <= 0.99

    def test_is_as_wide_as_the_normal_theory_says(self) -> None:
        scores = np.random.default_rng(0).random(400)
        assert width(mean_interval(scores)) == pytest.approx(2 * 1.96 * scores.std() / 20, rel=0.05)

    def test_halves_with_four_times_the_queries(self) -> None:
        scores = np.random.default_rng(0).random(50)
        assert width(mean_interval(np.tile(scores, 4))) == pytest.approx(width(mean_interval(scores)) / 2, rel=0.1)

    def test_same_seed_same_interval(self) -> None:
        scores = np.random.default_rng(0).random(40)
        assert mean_interval(scores) == mean_interval(scores)
        assert mean_interval(scores, seed=1) == mean_interval(scores, seed=1) != mean_interval(scores, seed=2)

    def test_drawing_in_batches_draws_as_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scores = np.random.default_rng(0).random(40)
        at_once = mean_interval(scores, n_resamples=1000)
        monkeypatch.setattr(significance, "_BATCH_NUMBERS", 40 * 7)
        in_batches = mean_interval(scores, n_resamples=1000)
        assert (in_batches.low, in_batches.high) == pytest.approx((at_once.low, at_once.high), abs=0.02)
        monkeypatch.setattr(significance, "_BATCH_NUMBERS", 1)
        one_by_one = mean_interval(scores, n_resamples=1000)
        assert (one_by_one.low, one_by_one.high) == pytest.approx((at_once.low, at_once.high), abs=0.02)

    @pytest.mark.parametrize("scores", [[0.0] * 10, [1.0] * 50, [0.1] * 17])
    def test_scores_all_alike_have_no_width(self, scores: list[float]) -> None:
        found = mean_interval(scores)
        assert found.low == found.high == pytest.approx(scores[0])

    @pytest.mark.parametrize("n", [1, 2, 9])
    def test_a_handful_has_no_interval(self, n: int) -> None:
        scores = np.linspace(0.1, 0.9, n)
        assert mean_interval(scores) is None
        assert compare_means(scores, scores[::-1]).interval is None
        if n > 1:
            assert spearman_interval(scores, scores**2) is None

    @pytest.mark.parametrize("scores", [[], [[0.5, 0.5]], [0.5, math.nan], 0.5])
    def test_refuses_what_is_no_row_of_finite_scores(self, scores: object) -> None:
        with pytest.raises(VectorError, match="at least one finite score"):
            mean_interval(scores)  # type: ignore[arg-type]


class TestCompareMeans:
    def test_identical_systems_do_not_differ(self) -> None:
        scores = np.random.default_rng(0).random(50)
        assert compare_means(scores, scores.copy()) == Comparison(0.0, Interval(0.0, 0.0), 1.0)

    def test_a_better_second_is_a_positive_difference_and_certain(self) -> None:
        rng = np.random.default_rng(0)
        first = rng.random(100) * 0.8
        second = first + rng.uniform(0, 0.1, 100)
        found = compare_means(first, second)
        assert found.difference == pytest.approx(second.mean() - first.mean())
        assert 0.04 < found.interval.low < found.difference < found.interval.high < 0.06
        assert found.p_value < 0.001

    def test_swapping_the_systems_turns_the_sign(self) -> None:
        rng = np.random.default_rng(1)
        first, second = rng.random(40), rng.random(40)
        there, back = compare_means(first, second), compare_means(second, first)
        assert back.difference == -there.difference
        assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))
        assert back.p_value == pytest.approx(there.p_value, abs=1e-9)

    def test_p_value_is_uniform_where_the_systems_are_equally_good(self) -> None:
        rng = np.random.default_rng(2)
        found = [
            compare_means(rng.random(50), rng.random(50), n_resamples=FEW, seed=seed).p_value for seed in range(200)
        ]
        assert np.mean(np.array(found) < 0.05) <= 0.12
        assert 0.4 < np.mean(found) < 0.6

    @pytest.mark.parametrize("seed", range(5))
    def test_p_value_of_few_queries_counts_every_way_of_swapping(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        first, second = rng.random(8), rng.random(8) + 0.2
        nulls = [float((b - a).mean()) for a, b in swaps(first, second)]
        expected = exact_p_value(nulls, float((second - first).mean()))
        assert compare_means(first, second).p_value == pytest.approx(expected)

    def test_interval_covers_the_true_difference_as_often_as_it_says(self) -> None:
        rng = np.random.default_rng(3)
        pairs = [(rng.random(100), rng.random(100) + 0.1) for _ in range(120)]
        intervals = [compare_means(*pair, n_resamples=FEW, seed=seed).interval for seed, pair in enumerate(pairs)]
        assert 0.88 <= np.mean([holds(each, 0.1) for each in intervals]) <= 0.99

    @pytest.mark.parametrize(("n", "p_value"), [(1, 1.0), (2, 0.5), (3, 0.25)])
    def test_few_queries_prove_little(self, n: int, p_value: float) -> None:
        found = compare_means(np.linspace(0.1, 0.3, n), np.linspace(0.5, 0.9, n))
        assert found.p_value == p_value
        assert found.difference > 0
        assert found.interval is None

    def test_same_seed_same_answer(self) -> None:
        rng = np.random.default_rng(4)
        first, second = rng.random(60), rng.random(60)
        assert compare_means(first, second) == compare_means(first, second)
        assert compare_means(first, second, seed=1).interval != compare_means(first, second, seed=2).interval

    def test_other_numbers_of_queries(self) -> None:
        with pytest.raises(VectorError, match="same queries on both sides; got 2 and 3"):
            compare_means([1, 2], [1, 2, 3])


class TestSpearmanInterval:
    def test_holds_the_correlation_and_shrinks_with_more_pairs(self) -> None:
        found, _, people = rated(400, 0)
        few = spearman_interval(found[:50], people[:50], n_resamples=999)
        many = spearman_interval(found, people, n_resamples=999)
        assert holds(few, spearman(found[:50], people[:50]))
        assert holds(many, spearman(found, people))
        assert width(many) < width(few) / 2

    def test_covers_the_true_correlation_as_often_as_it_says(self) -> None:
        true = 6 / math.pi * math.asin(math.sqrt(0.5) / 2)  # of normal pairs
        intervals = []
        for seed in range(120):
            found, _, people = rated(100, seed)
            intervals.append(spearman_interval(found, people, n_resamples=FEW, seed=seed))
        assert 0.88 <= np.mean([holds(each, true) for each in intervals]) <= 0.99

    def test_same_seed_same_interval(self) -> None:
        found, _, people = rated(40, 0)
        assert spearman_interval(found, people) == spearman_interval(found, people)
        assert spearman_interval(found, people, seed=1) != spearman_interval(found, people, seed=2)

    def test_perfect_agreement_has_no_width(self) -> None:
        found = spearman_interval(np.arange(30), np.arange(30) ** 2)
        assert (found.low, found.high) == pytest.approx((1, 1))

    def test_people_who_gave_two_grades_only(self) -> None:
        found, _, people = rated(60, 5)
        grades = (people > 0).astype(float)
        assert holds(spearman_interval(found, grades), scipy.stats.spearmanr(found, grades).statistic)

    @pytest.mark.parametrize(
        ("found", "wanted"),
        [(range(10), [1] + 9 * [0]), ([1] + 9 * [0], range(10)), (range(30), [1] + 29 * [0])],
    )
    def test_resamples_without_a_correlation_leave_it_finite(self, found: list[int], wanted: list[int]) -> None:
        interval = spearman_interval(found, wanted)
        assert -1 <= interval.low <= interval.high <= 1

    def test_refuses_what_has_no_correlation(self) -> None:
        with pytest.raises(VectorError, match="all with one value on a side"):
            spearman_interval([1, 2, 3], [5, 5, 5])


class TestCompareSpearman:
    def test_identical_systems_do_not_differ(self) -> None:
        found, _, people = rated(50, 0)
        assert compare_spearman(found, found.copy(), people) == Comparison(0.0, Interval(0.0, 0.0), 1.0)

    def test_a_better_second_is_a_positive_difference_and_certain(self) -> None:
        rng = np.random.default_rng(0)
        first, _, people = rated(150, 0)
        second = people + 0.1 * rng.standard_normal(150)
        found = compare_spearman(first, second, people, n_resamples=2999)
        assert found.difference == pytest.approx(spearman(second, people) - spearman(first, people))
        assert 0 < found.interval.low < found.difference < found.interval.high
        assert found.p_value < 0.001

    def test_swapping_the_systems_turns_the_sign(self) -> None:
        first, second, people = rated(60, 1)
        there = compare_spearman(first, second, people, n_resamples=999)
        back = compare_spearman(second, first, people, n_resamples=999)
        assert back.difference == -there.difference
        assert (back.interval.low, back.interval.high) == pytest.approx((-there.interval.high, -there.interval.low))
        assert back.p_value == pytest.approx(there.p_value, abs=1e-9)

    def test_p_value_is_uniform_where_the_systems_are_equally_good(self) -> None:
        found = [compare_spearman(*rated(50, seed), n_resamples=FEW, seed=seed).p_value for seed in range(120)]
        assert np.mean(np.array(found) < 0.05) <= 0.12
        assert 0.4 < np.mean(found) < 0.6

    def test_interval_covers_no_difference_as_often_as_it_says(self) -> None:
        intervals = [compare_spearman(*rated(80, seed), n_resamples=FEW, seed=seed).interval for seed in range(120)]
        assert 0.88 <= np.mean([holds(each, 0) for each in intervals]) <= 0.99

    def test_draws_the_same_pairs_for_both_systems(self) -> None:
        first, _, people = rated(100, 2)
        second = first + 0.01 * np.random.default_rng(2).standard_normal(100)
        found = compare_spearman(first, second, people, n_resamples=999)
        assert width(found.interval) < width(spearman_interval(first, people, n_resamples=999)) / 10

    @pytest.mark.parametrize("rescale", [np.tanh, np.exp, lambda scores: scores / 100 - 7])
    @pytest.mark.parametrize("which", ["first", "second"])
    def test_another_scale_with_the_same_order_changes_nothing(
        self, rescale: Callable[[np.ndarray], np.ndarray], which: str
    ) -> None:
        first, second, people = rated(60, 3)
        plain = compare_spearman(first, second, people, n_resamples=FEW)
        if which == "first":
            rescaled = compare_spearman(rescale(first), second, people, n_resamples=FEW)
        else:
            rescaled = compare_spearman(first, rescale(second), people, n_resamples=FEW)
        assert rescaled == plain

    @pytest.mark.parametrize("n", [2, 3, 4])
    @pytest.mark.parametrize("seed", range(4))
    def test_tiny_samples_give_finite_numbers(self, n: int, seed: int) -> None:
        found = compare_spearman(*rated(n, seed))
        assert np.isfinite([found.difference, found.p_value]).all()
        assert found.p_value >= 2 / 2**n

    @pytest.mark.parametrize("seed", range(5))
    def test_p_value_of_few_pairs_counts_every_way_of_swapping(self, seed: int) -> None:
        first, second, people = rated(9, seed)
        order = scipy.stats.rankdata(people)

        def difference(a: np.ndarray, b: np.ndarray) -> float:
            return float(np.corrcoef(b, order)[0, 1] - np.corrcoef(a, order)[0, 1])

        ranks = scipy.stats.rankdata(first), scipy.stats.rankdata(second)
        expected = exact_p_value([difference(a, b) for a, b in swaps(*ranks)], difference(*ranks))
        assert compare_spearman(first, second, people).p_value == pytest.approx(expected)

    def test_same_seed_same_answer(self) -> None:
        first, again, one, other = (
            compare_spearman(*rated(60, 4), n_resamples=FEW, **seed) for seed in ({}, {}, {"seed": 1}, {"seed": 2})
        )
        assert first == again
        assert one.interval != other.interval

    @pytest.mark.parametrize(
        ("first", "second", "people"),
        [
            ([1, 2], [1, 2, 3], [1, 2, 3]),
            ([1, 2, 3], [1, 2], [1, 2, 3]),
            ([1, 2, 3], [1, 3, 2], [1, 2]),
            ([1, 1, 1], [1, 3, 2], [1, 2, 3]),
            ([1, 2, 3], [4, 4, 4], [1, 2, 3]),
            ([1, 2, 3], [1, 3, 2], [5, 5, 5]),
            ([1, 2, math.nan], [1, 3, 2], [1, 2, 3]),
            ([1], [2], [3]),
        ],
    )
    def test_refuses_what_has_no_correlation(
        self, first: list[float], second: list[float], people: list[float]
    ) -> None:
        with pytest.raises(VectorError, match=r"of one length|NaN or infinite|two pairs or more that differ"):
            compare_spearman(first, second, people)


@pytest.mark.parametrize(
    "call",
    [
        lambda: spearman([1, 2], [1, 2]),
        lambda: compare_means([0.1, 0.2], [0.2, 0.4]),
        lambda: spearman_interval(range(10), range(10)),
        lambda: compare_spearman([1, 2], [2, 1], [1, 2]),
    ],
)
def test_names_the_command_where_scipy_is_missing(call: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "e5studio\[eval\]"'):
        call()


def test_size_of_the_numbers_does_not_matter() -> None:
    for scale in (1e-200, 1.0, 1e200):
        assert pearson([1 * scale, 3 * scale, 2 * scale], [1, 2, 3]) == pytest.approx(0.5)
