"""Figures on real data, by our own path and by mteb: E5's offline weights, and the stand-in as it is published.

They take minutes: `pytest -m long` runs them. All need the evaluation sets; E5STUDIO_EVALUATIONS names another folder
with scifact/ in BEIR's form and stsbenchmark/stsbenchmark.tsv.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from e5studio.cache import VectorCache
from e5studio.encoder import E5Encoder
from e5studio.evaluation import check, evaluate, evaluate_with_mteb, read_beir, read_sts
from e5studio.models import FOUR_BIT_MODEL
from tests.conftest import OFFLINE_MODEL
from tests.evaluation.evaluation_sets import EVALUATIONS, needs_evaluations
from tests.evaluation.local_tasks import in_mteb

pytestmark = [needs_evaluations, pytest.mark.filterwarnings("ignore:The task '.*' is superseded")]


@pytest.fixture(scope="module")
def scifact():
    return read_beir(EVALUATIONS / "scifact")


@pytest.fixture(scope="module")
def pairs():
    return read_sts(EVALUATIONS / "stsbenchmark" / "stsbenchmark.tsv")


class CountingCache(VectorCache):
    """Counts what was computed."""

    n_computed = 0

    def put_many(self, vectors):
        self.n_computed += len(vectors)
        super().put_many(vectors)


def of_both_paths(encoder, task):
    """Our own evaluation. mteb's finds all its vectors in the cache of ours: both embed the same texts."""
    cache = CountingCache()
    own = evaluate(encoder, task, cache=cache)
    n_computed = cache.n_computed
    theirs = evaluate_with_mteb(encoder, in_mteb(task), cache=cache)
    assert cache.n_computed == n_computed > 0
    assert theirs.main_score == pytest.approx(own.main_score, abs=1e-5)
    return own


def part_of(scifact, n_queries, every):
    """Some claims with all their answers, and of the other documents one in `every`."""
    queries = scifact.query_ids[:n_queries]
    answers = {document for query in queries for document in scifact.judgements[query]}
    numbered = zip(scifact.document_ids, scifact.documents(), strict=True)
    documents = [each for number, each in enumerate(numbered) if number % every == 0 or each[0] in answers]
    return replace(
        scifact,
        query_ids=queries,
        queries=scifact.queries[:n_queries],
        document_ids=tuple(document_id for document_id, _ in documents),
        documents=lambda: (document for _, document in documents),
        judgements={query: scifact.judgements[query] for query in queries},
    )


@pytest.mark.long
def test_the_stand_in_scores_pairs_as_published(pairs, offline_folder):
    with E5Encoder(OFFLINE_MODEL, backend="openvino", dtype="float32") as encoder:
        own = of_both_paths(encoder, pairs)
    assert own.main_score == pytest.approx(0.82032, abs=0.0005)
    assert [each.agrees for each in check(own)] == [True]


@pytest.fixture
def boxed_openvino(boxed_encoder, boxed_cache, monkeypatch):
    """The same weights in the backend that is faster with them."""
    monkeypatch.setenv("E5STUDIO_CACHE", str(boxed_cache))
    with E5Encoder(FOUR_BIT_MODEL, backend="openvino") as encoder:
        yield encoder


@pytest.mark.long
def test_e5_scores_pairs(pairs, boxed_openvino):
    """A part of the pairs; benchmarks/quality.py measures all, and the other precisions."""
    few = replace(pairs, first=pairs.first[:400], second=pairs.second[:400], scores=pairs.scores[:400])
    assert of_both_paths(boxed_openvino, few).main_score == pytest.approx(0.90802, abs=0.0005)


@pytest.mark.long
def test_e5_finds_the_evidence(scifact, boxed_openvino):
    own = of_both_paths(boxed_openvino, part_of(scifact, 20, every=200))
    assert own.main_score == pytest.approx(0.96934, abs=0.0005)
