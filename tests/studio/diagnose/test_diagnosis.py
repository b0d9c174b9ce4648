"""The figures of a diagnosis: planted faults are found, copies count once, 50,000 texts stay within bounds."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from e5studio.studio.corpus.corpus import CorpusSetting
from e5studio.studio.corpus.embedding import embed_corpus
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.diagnose import diagnosis
from e5studio.studio.diagnose.diagnosis import diagnose
from e5studio.studio.diagnose.subject import subject_of
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.errors import StoppedError
from tests.studio.conftest import OFFLINE
from tests.studio.corpus.conftest import ignore, make_corpus
from tests.studio.diagnose.conftest import make_side, make_subject, random_rows

UNKNOWN = "\U00012031 \U00012032 \U00012033"
LONG = "summit " * 600


def texts_of(n):
    return [f"text number {number}" for number in range(n)]


def test_copies_are_told_from_other_ways_of_writing():
    subject = make_subject(["a text", "A  Text", "another", "a text", "another", "a third"])
    [repeats] = diagnose(subject).repeats
    assert repeats.groups == ((0, 1, 3), (2, 4))
    assert repeats.n_copies == 2
    assert repeats.n_rewritten == 1


def test_copies_make_no_hubs_and_no_near_copies():
    """A hundred copies would be each other's nearest, and the first ten of them in a hundred lists."""
    rows = np.concatenate([random_rows(200), np.tile(random_rows(1, seed=1), (100, 1))])
    figures = diagnose(make_subject([*texts_of(200), *["again"] * 100], rows))
    assert len(figures.distinct) == 201
    assert figures.hubs.counts.max() < 50
    assert figures.near.groups == ()


def test_planted_near_copies_are_named_by_their_place():
    rows = random_rows(100, shared=20)
    rows[70] = rows[10] + 0.01
    figures = diagnose(make_subject(["copy", "copy", *texts_of(99)], np.concatenate([rows[:1], rows])))
    [[one, other]] = figures.near.groups
    assert [int(figures.distinct[one]), int(figures.distinct[other])] == [11, 71]


def test_a_planted_hub_is_the_most_frequent():
    rows = random_rows(300, shared=10)
    rows[42] = rows.mean(axis=0)
    figures = diagnose(make_subject(texts_of(300), rows))
    assert figures.hubs.counts.argmax() == 42
    assert figures.hubs.expected == 10
    assert figures.hubs.counts.sum() == 3_000


def test_a_passage_that_every_query_finds_is_seen():
    passages, queries = random_rows(60, seed=1), random_rows(30, seed=2, shared=8)
    passages[7] = queries.mean(axis=0)
    side = make_side([f"query {n}" for n in range(30)], queries, "queries", "Q")
    figures = diagnose(make_subject(texts_of(60), passages, queries=side))
    assert figures.query_hubs.k == 6
    assert figures.query_hubs.counts.argmax() == 7
    assert figures.query_hubs.counts[7] == 30


def test_a_script_that_lies_apart_is_seen_and_one_that_does_not_is_not():
    texts = [f"Der Gipfel des Berges {n}" if n % 2 else f"вершина горы {n}" for n in range(120)]
    rows = random_rows(120)
    apart = rows + 6 * np.eye(48)[0] * np.where(np.arange(120) % 2, 1, -1)[:, None]
    for vectors, is_apart in ((apart, True), (rows, False)):
        groups = {group.name: group.apart for group in diagnose(make_subject(texts, vectors)).groups}
        assert {"Latin", "Cyrillic"} <= groups.keys()
        assert (groups["Cyrillic"].excess > 0.9) == is_apart
        assert groups["Cyrillic"].n_texts == 60
        assert (groups["Latin"].across < -0.1) == is_apart


def test_texts_of_unknown_language_are_no_others(monkeypatch):
    """Sentences and single words of one language lie apart, and only the sentences' language is told."""
    monkeypatch.setattr(diagnosis, "language_finder", lambda: lambda text: "English" if " " in text else None)
    texts = [f"This is sentence {n}" if n % 2 else f"word{n}" for n in range(60)]
    rows = random_rows(60) + 6 * np.eye(48)[0] * np.where(np.arange(60) % 2, 1, -1)[:, None]
    assert diagnose(make_subject(texts, rows)).groups == ()
    scriptless = [text if n % 2 else f"{n}" for n, text in enumerate(texts)]
    assert diagnose(make_subject(scriptless, rows)).groups == ()


@pytest.mark.parametrize("n", [1, 2, 3, 19])
def test_of_few_texts_little_is_said(n):
    figures = diagnose(make_subject(texts_of(n)))
    assert figures.near is None
    assert figures.hubs is None
    assert figures.groups is None
    assert len(figures.pairs.cosines) == n * (n - 1) // 2
    assert figures.effective_rank < max(n, 2)


def test_texts_that_are_all_equal_are_one():
    figures = diagnose(make_subject(["same"] * 80, np.ones((80, 4))))
    assert len(figures.distinct) == 1
    assert len(figures.pairs.cosines) == 0
    assert figures.repeats[0].n_copies == 79


def test_where_exact_takes_too_long_texts_are_drawn_and_it_is_known(monkeypatch):
    rows = random_rows(400)
    rows[350:] = rows[:50] + 0.001
    whole = diagnose(make_subject(texts_of(400), rows))
    monkeypatch.setattr(diagnosis, "_MAX_WORK", 100 * 400 * rows.shape[1])
    drawn = diagnose(make_subject(texts_of(400), rows))
    assert not whole.is_sampled
    assert drawn.is_sampled
    assert drawn.n_sampled == 100
    assert drawn.hubs.expected == 2.5
    assert 0 < len(drawn.near.groups) < len(whole.near.groups) == 50
    assert set(drawn.near.groups) < set(whole.near.groups)
    assert drawn.near.groups == diagnose(make_subject(texts_of(400), rows)).near.groups


def test_fifty_thousand_texts_take_little_memory_beside_their_vectors(monkeypatch):
    monkeypatch.setattr(diagnosis, "_MAX_WORK", 2_000 * 50_000 * 48)  # the search's own memory has its test elsewhere
    monkeypatch.setattr(diagnosis, "language_finder", lambda: lambda text: "English")
    subject = make_subject(texts_of(50_000), random_rows(50_000))
    tracemalloc.start()
    figures = diagnose(subject)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(figures.distinct) == 50_000
    assert figures.n_sampled == 2_000
    assert figures.effective_rank == pytest.approx(48, rel=0.02)
    assert peak < 150_000_000


def test_it_stops_when_it_is_told_to():
    stages = []

    def stop(share, doing):
        stages.append(doing)
        if doing.startswith("Finding the neighbours"):
            raise StoppedError

    with pytest.raises(StoppedError):
        diagnose(make_subject(texts_of(100)), stop)
    assert stages[0] == "Looking for copies"


class TestOfRealTexts:
    def test_what_was_scored(self, engine):
        request = ScoreRequest(OFFLINE, "none", f"{LONG}\na query", f"{UNKNOWN}\nwhole\n\nsummit")
        result = engine.score(request)
        subject = subject_of(result)
        assert [side.is_dropped_exact for side in subject.sides] == [result.reports[0].truncated[0].exact, True]
        assert [side.name for side in subject.sides] == ["queries", "passages"]
        assert subject.queries.read.n_dropped.tolist() == [result.reports[0].truncated[0].n_dropped, 0]
        assert subject.searched.read.unknown_share[0] > 0.5
        assert subject.searched.read.unknown_share[1:].tolist() == [0, 0]
        assert list(subject.searched.labels) == ["P1", "P2", "P4"]
        np.testing.assert_array_equal(subject.searched.vectors, result.vectors[2:])
        assert diagnose(subject).query_hubs is None

    def test_texts_with_each_other(self, engine):
        subject = subject_of(engine.score(ScoreRequest(OFFLINE, "none", "a\nb\na", "")))
        assert subject.queries is None
        assert len(subject.searched) == 3
        assert diagnose(subject).repeats[0].n_copies == 1

    def test_a_corpus(self, engine):
        corpus = make_corpus([LONG, "a summit", UNKNOWN], titles=("", "A title", ""))
        embedded = embed_corpus(engine, corpus, CorpusSetting(OFFLINE, "none"), VectorStore(), ignore)
        subject = subject_of(embedded)
        assert list(subject.searched.labels) == ["#2", "#3", "#4"]
        assert subject.searched.texts[1] == "A title a summit"
        assert (subject.searched.read.n_dropped > 0).tolist() == [True, False, False]
        assert subject.searched.read.unknown_share[2] > 0.5
