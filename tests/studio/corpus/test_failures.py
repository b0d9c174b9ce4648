"""Which queries miss their answer, what stands above it, and who wins of two settings."""

from __future__ import annotations

import numpy as np
import pytest

from e5studio.studio.corpus import evaluation_text
from e5studio.studio.corpus.evaluation import measure
from e5studio.studio.corpus.failures import answer_ranks, common_words, duel, query_words
from e5studio.studio.corpus.pairs import Pairs
from e5studio.studio.corpus.selection import corpus_setting
from e5studio.studio.corpus.tables import failure_table
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.engine.catalog import Catalog
from tests.studio.conftest import ENGLISH
from tests.studio.corpus.conftest import TEXTS, make_corpus
from tests.studio.node_text import text_of

DOCUMENTS = np.eye(5, dtype=np.float32)


def ranks_of(scores, relevant):
    return answer_ranks(np.array(scores, np.float32), DOCUMENTS, relevant)


def test_an_answer_stands_below_all_that_score_higher():
    ranks = ranks_of([[0.9, 0.8, 0.7, 0.1, 0.2], [0.1, 0.5, 0.5, 0.2, 0.3]], [[2, 4], [1]])
    assert ranks.ranks.tolist() == [3, 1]  # of equal scores, the answer comes first
    assert ranks.answers.tolist() == [2, 1]
    assert ranks.scores == pytest.approx([70, 50])
    assert ranks.top_rows[0].tolist() == [0, 1, 2]
    assert ranks.worst_first().tolist() == [0, 1]
    assert (ranks.n_within(1), ranks.n_within(3)) == (1, 2)


def test_a_corpus_of_two_has_a_top_of_two():
    ranks = answer_ranks(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), [[0], [0]])
    assert (ranks.ranks.tolist(), ranks.top_rows.shape) == ([1, 2], (2, 2))


def test_more_queries_than_are_ranked_at_once():
    queries = np.eye(5, dtype=np.float32)[np.arange(600) % 5]
    ranks = answer_ranks(queries, DOCUMENTS, [[n % 5] for n in range(600)])
    assert set(ranks.ranks.tolist()) == {1}


def test_a_duel_counts_wins_and_losses_by_rank():
    scores = np.array([[0.9, 0.1, 0.2, 0, 0], [0.9, 0.5, 0.1, 0, 0], [0.5, 0.6, 0.7, 0, 0]], np.float32)
    first = ranks_of(scores, [[1], [1], [0]])
    second = ranks_of(scores[:, ::-1].copy(), [[3], [0], [4]])
    assert (first.ranks.tolist(), second.ranks.tolist()) == ([3, 2, 3], [3, 4, 3])
    result = duel(first, second)
    assert (result.wins.tolist(), result.losses.tolist(), result.n_ties) == ([], [1], 2)


@pytest.fixture(scope="module")
def evaluation(engine):
    corpus = make_corpus()
    settings = [corpus_setting(Catalog(), ENGLISH, mode, "") for mode in ("retrieval", "none")]
    pairs = Pairs(("summit define", "bread", "protein"), ((4,), (5,), (1,)))
    return corpus, measure(engine, corpus, pairs, settings, VectorStore())


def test_the_deepest_answers_are_listed_first(evaluation, encoders):
    corpus, measured = evaluation
    scores = encoders("e5").scores(list(measured.pairs.queries), TEXTS)
    expected = [1 + int((row > row[answer]).sum()) for row, answer in zip(scores, (4, 5, 1), strict=True)]
    table = failure_table(measured, corpus, 0)
    assert [row[1] for row in table.rows] == sorted(expected, reverse=True)
    index = int(np.argmax(expected))
    assert table.texts[0][0] == [f"Q{index + 1}", measured.pairs.queries[index]]
    said = text_of(evaluation_text.failures(measured, 0))
    assert f"Of 3 queries, {expected.count(1)} find their answer first" in said


def test_two_settings_list_the_queries_on_which_they_differ(evaluation):
    corpus, measured = evaluation
    first, second = (evaluation_text.answers_of(measured, index) for index in (0, 1))
    table = failure_table(measured, corpus, 0, 1)
    assert all(row[1] != row[2] for row in table.rows)
    assert len(table.rows) == np.count_nonzero(first.ranks != second.ranks)
    assert "stay." in text_of(evaluation_text.failures(measured, 0, 1))


def test_a_query_shows_what_stands_above_its_answer(evaluation):
    corpus, measured = evaluation
    ranks = evaluation_text.answers_of(measured, 0)
    query = int(ranks.worst_first()[0])
    nodes = evaluation_text.failure(measured, corpus, query, [0])
    said = text_of(nodes)
    assert measured.pairs.queries[query] in said
    assert evaluation_text.query_order(measured, 0)[0] == query
    assert f"rank {ranks.ranks[query]}" in said
    assert str(nodes).count("e5-answer") == 1
    if ranks.ranks[query] > 1:
        assert corpus.label(int(ranks.top_rows[query, 0])) in said


@pytest.fixture(scope="module")
def failed(engine):
    """Queries whose answers stand below a copy, below a text with the query's words, and below their better half."""
    corpus = make_corpus(("Bread is baked.", "Bread  is baked.", "Rivers run.", "salt " * 600))
    settings = [corpus_setting(Catalog(), ENGLISH, mode, "") for mode in ("retrieval", "none")]
    pairs = Pairs(("bread", "bread for rivers", "bread, baked"), ((1,), (2,), (3,)))
    return corpus, measure(engine, corpus, pairs, settings, VectorStore())


def test_each_failure_says_what_can_be_seen_of_its_cause(failed):
    corpus, measured = failed
    for query in range(len(measured.pairs)):
        answers = evaluation_text.answers_of(measured, 0)
        why = evaluation_text.reasons(measured, corpus, query, 0)
        if answers.ranks[query] == 1:
            assert why is None
            continue
        first, answer = (corpus.document(row) for row in (answers.top_rows[query, 0], answers.answers[query]))
        assert why.is_copy == (first.split() == answer.split())
        assert (why.n_dropped > 0) == answer.startswith("salt")
        assert set(why.words) == {
            word
            for word in ("bread", "baked", "rivers")
            if word in measured.pairs.queries[query] and word in first.casefold() and word not in answer.casefold()
        }
    last = evaluation_text.reasons(measured, corpus, 2, 0)
    assert last.n_dropped > 0
    assert "answer cut" in evaluation_text.reasons_in_short(last)
    said = text_of(evaluation_text.failure(measured, corpus, 2, [0]))
    assert f"does not read the last {last.n_dropped:,} tokens" in said


def test_a_copy_above_an_answer_is_called_one(failed):
    corpus, measured = failed
    copied = {corpus.document(row).split()[0] for row in evaluation_text.answers_of(measured, 0).top_rows[0]}
    assert "Bread" in copied
    why = evaluation_text.Reasons(is_copy=True, is_near=True, n_dropped=0, unknown_share=0.5, words=("bread",))
    short = evaluation_text.reasons_in_short(why)
    assert short == "copy of the answer, unknown words, words of the query"
    assert evaluation_text.reasons_in_short(None) == ""


def test_texts_that_are_nearly_the_answer_are_near_on_the_scale_of_their_corpus():
    documents = np.array([[1, 0, 0], [0.999, 0.045, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    ranks = answer_ranks(np.array([[0.9, 0.44, 0], [0, 0, 1]], np.float32), documents, [[0], [2]])
    assert ranks.top_rows[0, 0] == 1
    assert ranks.likeness[0, 0] == pytest.approx(0.999, abs=1e-3)
    assert ranks.likeness[0, 0] >= ranks.near
    assert ranks.likeness[1, 0] < ranks.near


def test_words_that_tell_a_text_from_the_answer_are_rare_ones_of_the_query():
    texts = [f"the river number{n}" for n in range(30)] + ["the summit"]
    common = common_words(texts)
    assert common == {"river"}
    assert query_words("The Summit of the river, summit?", "summit, the river", "a lake", common) == ("summit",)
    assert query_words("summit", "a summit", "Summit!", common) == ()
