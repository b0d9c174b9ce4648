"""Ranking metrics are trec_eval's: equal to its definitions in plain Python, to pytrec_eval and to mteb."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

from e5studio.analysis.retrieval_metrics import K_VALUES, cut_off, query_scores
from e5studio.errors import MissingDependencyError, VectorError

METRICS = ("ndcg", "map", "recall", "precision", "hit_rate", "mrr")
DOCUMENTS = ["1", "10", "2", "9", "A", "a", "a ", "ab", "b", "doc-1", "doc_1", "z", "é", "中", "\uffff", "\U0001f600"]
# Few, so that most documents tie; some differ as float64 alone.
SCORES = [-1.0, 0.0, -0.0, 1e-46, 0.1, float(np.float32(0.1)), 0.5, 1.0, 1 + 1e-12, 1 + 1e-9, 1 + 1e-6]

Judged = dict[str, dict[str, int]]
Ranked = dict[str, dict[str, float]]


def trec_order(scores: dict[str, float]) -> list[str]:
    return sorted(scores, key=lambda each: (np.float32(scores[each]), each.encode()), reverse=True)


def defined_scores(judged: dict[str, int], scores: dict[str, float], k: int) -> dict[str, float]:
    """The definitions, written out."""
    gains = [max(judged.get(document, 0), 0) for document in trec_order(scores)][:k]
    ideal = sorted((grade for grade in judged.values() if grade > 0), reverse=True)
    hits = [rank for rank, gain in enumerate(gains, 1) if gain > 0]
    precisions = [number / rank for number, rank in enumerate(hits, 1)]
    return {
        f"ndcg_at_{k}": discounted(gains) / discounted(ideal[:k]),
        f"map_at_{k}": sum(precisions) / len(ideal),
        f"recall_at_{k}": len(hits) / len(ideal),
        f"precision_at_{k}": len(hits) / k,
        f"hit_rate_at_{k}": float(bool(hits)),
        f"mrr_at_{k}": 1 / hits[0] if hits else 0.0,
    }


def discounted(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


def has_relevant(judged: dict[str, int]) -> bool:
    return max(judged.values(), default=0) > 0


@st.composite
def judgements(draw: st.DrawFn) -> Judged:
    """Some queries with nothing relevant, at least one with something."""
    graded = st.dictionaries(st.sampled_from(DOCUMENTS), st.integers(-1, 3), max_size=len(DOCUMENTS))
    drawn = draw(st.dictionaries(st.sampled_from(["q1", "q2", "q3", "q4"]), graded, min_size=1))
    return drawn if any(map(has_relevant, drawn.values())) else {**drawn, "q0": {"a": 1}}


def rankings() -> st.SearchStrategy[Ranked]:
    found = st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from(SCORES), max_size=len(DOCUMENTS))
    return st.dictionaries(st.sampled_from(["q0", "q1", "q2", "q3", "q4", "never judged"]), found)


def without_ties(seed: int) -> tuple[Judged, Ranked]:
    rng = np.random.default_rng(seed)
    judged: Judged = {}
    ranked: Ranked = {}
    for query in ("q1", "q2", "q3", "q4", "q5"):
        documents = [f"d{number}" for number in rng.permutation(60)]
        grades = rng.integers(1, 4, 12)
        judged[query] = {each: int(grade) for each, grade in zip(documents, grades, strict=False)}
        judged[query] |= dict.fromkeys(documents[12:20], 0)
        scores = rng.permutation(60)[:40] / 64
        ranked[query] = {each: float(score) for each, score in zip(rng.permutation(documents), scores, strict=False)}
    return judged, ranked


class TestDefinitions:
    @given(judged=judgements(), ranked=rankings(), cuts=st.lists(st.integers(1, 24), min_size=1, max_size=4))
    # Differ as float32 by the least that SCORES has, which is rarely drawn where it decides.
    @example(judged={"q1": {"a": 1}}, ranked={"q1": {"a": 1 + 1e-6, "b": 1.0}}, cuts=[1])
    @settings(max_examples=120)
    def test_equals_the_definitions_with_ties_everywhere(self, judged: Judged, ranked: Ranked, cuts: list[int]) -> None:
        found = query_scores(judged, ranked, k_values=cuts)
        scored = [query for query in judged if has_relevant(judged[query])]
        assert found.query_ids == tuple(scored)
        assert set(found.values) == {f"{metric}_at_{k}" for metric in METRICS for k in cuts}
        for k in cuts:
            wanted = [defined_scores(judged[query], ranked.get(query, {}), k) for query in scored]
            for name in wanted[0]:
                np.testing.assert_allclose(
                    found.values[name], [each[name] for each in wanted], rtol=0, atol=1e-6, err_msg=name
                )

    def test_knows_an_example_by_hand(self) -> None:
        judged = {"q": {"a": 3, "b": 1, "c": 2, "d": 0}}
        found = query_scores(judged, {"q": {"d": 0.9, "a": 0.8, "new": 0.7, "b": 0.6}}, k_values=[2, 4]).means()
        ideal_of_2 = 3 + 2 / math.log2(3)
        assert found == pytest.approx(
            {
                "ndcg_at_2": 3 / math.log2(3) / ideal_of_2,
                "ndcg_at_4": (3 / math.log2(3) + 1 / math.log2(5)) / (ideal_of_2 + 1 / 2),
                "map_at_2": 1 / 2 / 3,
                "map_at_4": (1 / 2 + 2 / 4) / 3,
                "recall_at_2": 1 / 3,
                "recall_at_4": 2 / 3,
                "precision_at_2": 1 / 2,
                "precision_at_4": 2 / 4,
                "hit_rate_at_2": 1,
                "hit_rate_at_4": 1,
                "mrr_at_2": 1 / 2,
                "mrr_at_4": 1 / 2,
            }
        )

    @pytest.mark.parametrize(
        ("relevant", "other"), [("b", "a"), ("9", "10"), ("a", "B"), ("é", "z"), ("\U0001f600", "\uffff")]
    )
    @pytest.mark.parametrize("difference", [0, 1e-9])
    def test_of_equal_scores_the_later_id_comes_first(self, relevant: str, other: str, difference: float) -> None:
        ranked = {"q": {relevant: 1.0, other: 1 + difference}}
        assert query_scores({"q": {relevant: 1}}, ranked, k_values=[1]).means()["mrr_at_1"] == 1
        assert query_scores({"q": {other: 1}}, ranked, k_values=[1]).means()["mrr_at_1"] == 0

    @pytest.mark.parametrize("rank", [1, 2, 3, 10, 49, 98, 103, 1000])
    def test_reciprocal_rank_counts_at_its_cut_off_and_not_one_before(self, rank: int) -> None:
        ranked = {"q": {f"d{place}": 1000.0 - place for place in range(1, 1001)}}
        found = query_scores({"q": {f"d{rank}": 1}}, ranked, k_values=[max(rank - 1, 1), rank]).means()
        assert found[f"mrr_at_{rank}"] == pytest.approx(1 / rank)
        assert found[f"hit_rate_at_{rank}"] == 1
        if rank > 1:
            assert found[f"mrr_at_{rank - 1}"] == found[f"hit_rate_at_{rank - 1}"] == 0

    @pytest.mark.parametrize("ranked", [{}, {"q": {}}, {"another": {"a": 1.0}}, {"q": {"unjudged": 1.0}}])
    def test_query_that_found_nothing_relevant_scores_zero(self, ranked: Ranked) -> None:
        found = query_scores({"q": {"a": 1}, "found": {"a": 1}}, {**ranked, "found": {"a": 1.0}}, k_values=[1, 10])
        assert {name: scores[0] for name, scores in found.values.items()} == dict.fromkeys(found.values, 0)
        assert found.means()["ndcg_at_10"] == 0.5

    def test_query_without_a_relevant_document_leaves_the_means_alone(self) -> None:
        judged = {"q1": {"a": 1}, "q2": {"a": 0, "b": -2}, "q3": {}, "q4": {"b": 2}}
        ranked = {query: {"a": 1.0, "b": 0.5} for query in judged}
        found = query_scores(judged, ranked, k_values=[1])
        assert found.query_ids == ("q1", "q4")
        assert found.means()["ndcg_at_1"] == 0.5

    def test_order_of_queries_is_that_of_the_judgements(self) -> None:
        judged = {"z": {"a": 1}, "a": {"b": 1}, "m": {"a": 1}}
        found = query_scores(judged, {"a": {"a": 1.0}, "m": {"a": 1.0}, "z": {"a": 1.0}}, k_values=[1])
        assert found.query_ids == ("z", "a", "m")
        np.testing.assert_array_equal(found.values["hit_rate_at_1"], [1, 0, 1])

    def test_cut_offs_are_those_that_mteb_reports(self) -> None:
        assert K_VALUES == (1, 3, 5, 10, 20, 100, 1000)
        found = query_scores({"q": {"a": 1}}, {"q": {"a": 1.0}})
        assert set(found.values) == {f"{metric}_at_{k}" for metric in METRICS for k in K_VALUES}

    def test_leaves_its_arguments_alone(self) -> None:
        judged, ranked = without_ties(0)
        query_scores(judged, ranked)
        assert (judged, ranked) == without_ties(0)


class TestOtherPrograms:
    @given(judged=judgements(), ranked=rankings())
    @settings(max_examples=50)
    def test_equals_pytrec_eval(self, judged: Judged, ranked: Ranked) -> None:
        names = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P"}
        evaluator = pytrec_eval.RelevanceEvaluator(judged, {f"{trec}.5" for trec in names.values()})
        wanted = evaluator.evaluate({query: found for query, found in ranked.items() if found})
        found = query_scores(judged, ranked, k_values=[5])
        for place, query in enumerate(found.query_ids):
            for name, trec in names.items():
                assert found.values[f"{name}_at_5"][place] == wanted.get(query, {}).get(f"{trec}_5", 0)

    @pytest.mark.parametrize("seed", range(5))
    def test_equals_mteb_where_nothing_ties(self, seed: int) -> None:
        judged, ranked = without_ties(seed)
        cuts = [1, 3, 10, 20, 100]
        wanted: Any = calculate_retrieval_scores(ranked, judged, cuts)
        found = query_scores(judged, ranked, k_values=cuts).means()
        theirs = {
            "ndcg": (wanted.ndcg, "NDCG"),
            "map": (wanted.map, "MAP"),
            "recall": (wanted.recall, "Recall"),
            "precision": (wanted.precision, "P"),
            "hit_rate": (wanted.hit_rate, "HitRate"),
            "mrr": (wanted.mrr, "MRR"),
        }
        wanted_means = {f"{name}_at_{k}": means[f"{key}@{k}"] for name, (means, key) in theirs.items() for k in cuts}
        # All but MRR are rounded to five digits there.
        assert found == pytest.approx(wanted_means, rel=0, abs=0.5e-5 + 1e-9)
        assert [found[f"mrr_at_{k}"] for k in cuts] == pytest.approx([wanted.mrr[f"MRR@{k}"] for k in cuts])


class TestRefusals:
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_score_that_is_no_number_is_named_by_its_query(self, bad: float) -> None:
        ranked = {"good": {"a": 1.0}, "broken one": {"a": 1.0, "b": bad}}
        with pytest.raises(VectorError, match="query 'broken one' holds a score that is NaN or infinite"):
            query_scores({"good": {"a": 1}, "broken one": {"a": 1}}, ranked)

    @pytest.mark.parametrize("cuts", [[], [0], [10, -1]])
    def test_cut_off_below_one(self, cuts: list[int]) -> None:
        with pytest.raises(VectorError, match="whole numbers from 1"):
            query_scores({"q": {"a": 1}}, {"q": {"a": 1.0}}, k_values=cuts)

    @pytest.mark.parametrize("judged", [{}, {"q": {}}, {"q": {"a": 0}}, {"q": {"a": -1}, "p": {"a": 0}}])
    def test_nothing_relevant(self, judged: Judged) -> None:
        with pytest.raises(VectorError, match="No query has a relevant document"):
            query_scores(judged, {"q": {"a": 1.0}})

    def test_names_the_command_where_pytrec_eval_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "pytrec_eval", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "e5studio\[eval\]"'):
            query_scores({"q": {"a": 1}}, {"q": {"a": 1.0}})


class TestCutOff:
    @pytest.mark.parametrize("metric", METRICS)
    @pytest.mark.parametrize("k", [1, 10, 1000])
    def test_is_read_from_the_name(self, metric: str, k: int) -> None:
        assert cut_off(f"{metric}_at_{k}") == k

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "ndcg",
            "ndcg_at_",
            "ndcg_at_0",
            "ndcg_at_-1",
            "ndcg_at_010",
            "ndcg_at_1.5",
            "ndcg_at_10 ",
            "NDCG_at_10",
            "ndcg@10",
            "ndcg_cut_10",
            "P_10",
            "f1_at_10",
            "my_ndcg_at_10",
        ],
    )
    def test_unknown_name_is_refused_with_the_known_ones(self, name: str) -> None:
        with pytest.raises(VectorError, match=r"Unknown metric .* ndcg_at_10, .*mrr_at_10") as caught:
            cut_off(name)
        assert repr(name) in str(caught.value)


class TestWhatTrecEvalCannotTake:
    """It is written in C, and says nothing or ends the process."""

    @pytest.mark.parametrize("name", ["\ud800", "x\0y"])
    def test_id(self, name: str) -> None:
        for judgements, ranking in (({"q": {name: 1}}, {"q": {"a": 1.0}}), ({"q": {"a": 1}}, {"q": {name: 1.0}})):
            with pytest.raises(VectorError, match="half of a character"):
                query_scores(judgements, ranking, k_values=[1])

    @pytest.mark.parametrize("relevance", [2**40, 1.5])
    def test_relevance(self, relevance: int) -> None:
        with pytest.raises(VectorError, match="whole numbers"):
            query_scores({"q": {"a": relevance}}, {"q": {"a": 1.0}}, k_values=[1])

    def test_cut_off_that_is_no_whole_number(self) -> None:
        with pytest.raises(VectorError, match="whole numbers"):
            query_scores({"q": {"a": 1}}, {"q": {"a": 1.0}}, k_values=[2.5])  # type: ignore[list-item]

    def test_numbers_of_numpy_are_numbers(self) -> None:
        found = query_scores({"q": {"a": np.int64(1)}}, {"q": {"a": np.float32(1)}}, k_values=[1])  # type: ignore[dict-item]
        assert found.means()["ndcg_at_1"] == 1
