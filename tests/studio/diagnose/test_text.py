"""What is said of a diagnosis: a level that is justified, never an alarm over few texts, texts that stay texts."""

from __future__ import annotations

import json
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from e5studio.studio.corpus.vector_store import TokenStats
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.diagnose import diagnosis, text_findings, vector_findings
from e5studio.studio.diagnose.charts import draw_cosines, draw_hubs
from e5studio.studio.diagnose.diagnosis import diagnose
from e5studio.studio.diagnose.tab import Diagnosed, DiagnoseTab
from e5studio.studio.diagnose.text import MAX_FINDINGS, done, finding_nodes, findings, summary
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import Downloads
from tests.studio.browsing import MARKS, NASTY
from tests.studio.conftest import OFFLINE
from tests.studio.diagnose.conftest import DIM, make_side, make_subject, random_rows
from tests.studio.diagnose.test_diagnosis import texts_of

pytestmark = MARKS[1:]  # no browser


def by_title(subject):
    return {finding.title: finding for finding in findings(diagnose(subject))}


def read_with(n, dropped=(), unknown=()):
    read = TokenStats(np.full(n, 20, np.int32), np.zeros(n, np.int32), np.zeros(n, np.float32))
    for row, n_dropped in dropped:
        read.n_dropped[row] = n_dropped
    for row, share in unknown:
        read.unknown_share[row] = share
    return read


def words_of(nodes):
    return json.dumps(nodes, ensure_ascii=False)


@pytest.mark.parametrize("texts", [["one"], ["one", "two"], ["same"] * 30, [f"text {n}" for n in range(12)]])
def test_few_texts_raise_no_alarm_of_their_vectors(texts):
    """Even where all vectors are the same."""
    found = by_title(make_subject(texts, np.ones((len(texts), 4))))
    for title in ("Scores of random pairs", "Variety", "Texts in many lists", "Languages and scripts"):
        assert found[title].level == "unknown", title
    assert found["Near copies"].level == "unknown"


@pytest.mark.parametrize(("n_copies", "level"), [(0, "fine"), (1, "look"), (10, "act")])
def test_copies_ask_for_action_where_they_are_many(n_copies, level):
    texts = [*texts_of(50), *texts_of(n_copies)]
    found = by_title(make_subject(texts))["Copies"]
    assert found.level == level
    assert found.figure == (
        "none" if not n_copies else f"{n_copies} of {len(texts)} in {n_copies} group" + "s" * (n_copies > 1)
    )
    assert (found.table is None) == (n_copies == 0)


def test_ways_of_writing_are_counted_separately():
    found = by_title(make_subject(["one", "One", "two", "two", *texts_of(30)]))["Copies"]
    assert found.sentences[0].startswith("1 text repeats an earlier one letter by letter. 1 more is the same but for")
    assert [row[1:] for row in found.table.rows] == [
        [1, "but for case, spaces or form"],
        [1, "but for case, spaces or form"],
        [2, "letter by letter"],
        [2, "letter by letter"],
    ]


def test_only_copies_among_what_is_searched_take_places_in_results():
    queries = make_side(["the same query"] * 30, random_rows(30, seed=2), "queries", "Q")
    found = by_title(make_subject(texts_of(30), queries=queries))["Copies"]
    assert found.level == "fine"
    assert found.figure == "none"
    assert "No text takes more than one place" in found.retrieval
    assert "of them, 29 texts repeat an earlier one" in found.sentences[1]
    assert len(found.table.rows) == 30
    other = make_side(texts_of(30), random_rows(30, seed=2), "queries", "Q")
    again = by_title(make_subject(["the same passage"] * 30, queries=other))["Copies"]
    assert again.level == "act"
    assert again.figure == "29 of 30 in 1 group"


@pytest.mark.parametrize(
    ("texts", "is_nothing_lost", "is_case_named"),
    [(["it", "it"], True, False), (["it", "IT"], False, True), (["it", "it", "IT"], True, True)],
)
def test_nothing_is_lost_with_copies_letter_by_letter_alone(texts, is_nothing_lost, is_case_named):
    found = by_title(make_subject([*texts, *texts_of(30)]))["Copies"]
    assert ("no search loses anything" in found.advice) == is_nothing_lost
    assert ("“IT” and “it”" in found.advice) == is_case_named


def test_cut_texts_are_listed_the_worst_first():
    found = by_title(make_subject(texts_of(40), read=read_with(40, dropped=[(3, 7), (30, 900), (4, 8)])))[
        "Texts cut off"
    ]
    assert found.level == "look"
    assert found.figure == "3 of 40"
    assert "the worst loses 900." in found.sentences[0]
    assert [found.table.texts[0][row[0]][0] for row in found.table.rows] == ["P31", "P5", "P4"]
    assert [row[2] for row in found.table.rows] == [900, 8, 7]


def test_a_loss_that_was_not_counted_to_the_end_is_at_least_so_large():
    texts = texts_of(3)
    side = make_side(texts, random_rows(3), read=read_with(3, dropped=[(1, 900)]), is_exact=False)
    found = text_findings.cut_ends(diagnose(replace(make_subject(texts), searched=side)))
    assert "the worst loses at least 900." in found.sentences[0]


def test_unknown_tokens_count_from_a_share_that_matters():
    subject = make_subject(texts_of(40), read=read_with(40, unknown=[(3, 0.02)]))
    few = by_title(subject)["Unknown characters"]
    assert few.level == "fine"
    assert "hidden from the model" in few.retrieval
    none = by_title(make_subject(texts_of(40)))["Unknown characters"]
    assert "hidden" not in none.retrieval
    assert "any two words" not in few.retrieval + none.retrieval
    subject = make_subject(
        texts_of(40), read=read_with(40, unknown=[(3, 0.02), (5, 0.5), *((n, 0.06) for n in range(10, 14))])
    )
    found = by_title(subject)["Unknown characters"]
    assert found.level == "act"
    assert found.figure == "5 of 40"
    assert found.table.rows[0] == [0, 50]
    assert len(found.table.rows) == 5


def test_of_imported_vectors_it_is_unknown_what_the_model_read():
    found = by_title(make_subject(texts_of(40), read=None))
    for title in ("Texts cut off", "Unknown characters"):
        assert found[title].level == "unknown"
        assert "imported" in found[title].sentences[0]


def test_a_high_mean_alone_is_called_normal_for_e5():
    rows = random_rows(200, shared=13)
    found = by_title(make_subject(texts_of(200), rows))["Scores of random pairs"]
    assert float(found.figure.split()[0]) > 70
    assert found.level == "fine"
    assert any("A high mean alone is normal" in sentence for sentence in found.sentences)
    for model in (OFFLINE, "intfloat/e5-mistral-7b-instruct"):  # trained at other temperatures
        other = by_title(make_subject(texts_of(200), rows, model=model))["Scores of random pairs"]
        assert not any("normal" in sentence or "70" in sentence for sentence in other.sentences[1:])


def test_of_two_sides_it_is_said_which_pairs_are_meant():
    queries = make_side(["query"], random_rows(1, seed=2), "queries", "Q")
    found = by_title(make_subject(texts_of(30), queries=queries))["Scores of random pairs"]
    assert found.sentences[1] == "These are pairs of passages with passages; the queries are not among them."
    alone = by_title(make_subject(texts_of(30)))["Scores of random pairs"]
    assert not any("These are pairs" in sentence for sentence in alone.sentences)


@pytest.mark.parametrize(("shared", "level"), [(40, "look"), (120, "act")])
def test_scores_that_hardly_differ_are_no_longer_normal(shared, level):
    assert (
        by_title(make_subject(texts_of(200), random_rows(200, shared=shared)))["Scores of random pairs"].level == level
    )


def test_vectors_of_few_directions_are_worth_a_look():
    flat = random_rows(300, 3) @ np.eye(48, dtype=np.float32)[:3]
    assert by_title(make_subject(texts_of(300), flat))["Variety"].level == "look"
    assert by_title(make_subject(texts_of(300)))["Variety"].level == "fine"


def test_hubs_are_listed_and_ordinary_unevenness_is_not():
    assert by_title(make_subject(texts_of(300)))["Texts in many lists"].level == "fine"
    rows = random_rows(300, shared=10)
    rows[42] = rows.mean(axis=0)
    found = by_title(make_subject(texts_of(300), rows))["Texts in many lists"]
    assert found.level == "look"
    assert "The counts cannot tell which" in found.retrieval
    assert found.table.texts[0][0][0] == "P43"
    assert found.table.rows[0][1] > 290
    assert all(row[1] >= 50 for row in found.table.rows)


def test_a_sample_whose_lists_are_too_few_tells_of_no_text_in_many(monkeypatch):
    """Of texts without any structure, chance alone puts some into many times the mean."""
    rows = random_rows(1_000, dim=DIM)
    for n_lists, level in ((60, "unknown"), (499, "unknown"), (500, "fine")):
        monkeypatch.setattr(diagnosis, "_MAX_WORK", n_lists * 1_000 * DIM)
        found = diagnose(make_subject(texts_of(1_000), rows))
        finding = vector_findings.hubs(found)
        assert found.n_sampled == n_lists
        assert finding.level == level
        assert (f"in {n_lists / 100:.1f} on average" in finding.sentences[0]) == (level == "unknown")
        assert ("the mean is 5.0" in finding.sentences[0]) == (level == "fine")
        if n_lists == 60:
            assert found.hubs.counts.max() >= 5 * found.hubs.expected


def test_an_answer_to_everything_is_named():
    passages, queries = random_rows(60, seed=1), random_rows(30, seed=2, shared=8)
    passages[7] = queries.mean(axis=0)
    side = make_side([f"query {n}" for n in range(30)], queries, "queries", "Q")
    found = by_title(make_subject(texts_of(60), passages, queries=side))["Hub passages"]
    assert found.level == "look"
    assert found.figure == "the most frequent for 100% of queries"
    assert all(row[1] >= 15 for row in found.table.rows)
    assert found.table.texts[0][0][0] == "P8"
    few = make_side(["query 1", "query 2"], queries[:2], "queries", "Q")
    assert by_title(make_subject(texts_of(60), passages, queries=few))["Hub passages"].level == "unknown"


def test_scripts_apart_are_told_with_both_figures():
    texts = [f"Der Gipfel {n}" if n % 3 else f"вершина горы {n}" for n in range(120)]
    rows = random_rows(120) + 6 * np.eye(48)[0] * np.where(np.arange(120) % 3, 1, -1)[:, None]
    found = by_title(make_subject(texts, rows))["Languages and scripts"]
    assert found.level == "look"
    rows = {row[0]: row for row in found.table.rows}
    _, n_texts, own, by_chance, within, across, is_apart = rows["Cyrillic (script)"]
    assert n_texts == 40
    assert own > 90
    assert by_chance == pytest.approx(100 * 39 / 119, abs=0.01)
    assert within > 30 > 0 > across
    assert is_apart == "yes"
    small = by_title(make_subject(texts[:50], random_rows(50)))["Languages and scripts"]  # 17 of them in Cyrillic
    assert small.table is None


def test_without_the_package_for_languages_that_is_said(monkeypatch):
    def missing():
        raise diagnosis.MissingDependencyError("no py3langid")

    monkeypatch.setattr(diagnosis, "language_finder", missing)
    found = by_title(make_subject(texts_of(60)))["Languages and scripts"]
    assert any("not installed" in sentence for sentence in found.sentences)


def test_what_was_estimated_is_said_to_be(monkeypatch):
    monkeypatch.setattr(diagnosis, "_MAX_WORK", 100 * 400 * 48)
    rows = random_rows(400)
    rows[350:] = rows[:50] + 0.001
    for vectors, level in ((rows, "look"), (random_rows(400), "unknown")):
        found = by_title(make_subject(texts_of(400), vectors))
        near = found["Near copies"]
        assert near.level == level
        assert any("The neighbours of 100 of 400 texts" in sentence for sentence in near.sentences)
        assert any("at most about 44% of all near pairs" in sentence for sentence in near.sentences)
        assert "say different things" not in near.retrieval
        assert any("drawn at random" in sentence for sentence in found["Texts in many lists"].sentences)
    assert near.figure == "none found in a part"


def test_what_asks_for_action_comes_first_and_the_rest_is_closed():
    found = diagnose(make_subject(["copy"] * 10 + texts_of(40)))
    listed = findings(found)
    assert [listed[0].level, listed[0].title] == ["act", "Copies"]
    assert listed[-1].level == "unknown"
    words = words_of(summary(listed))
    assert "Act on this: 1" in words
    assert "Copies" in words
    assert finding_nodes(listed[0])[0][0] == "div"
    assert finding_nodes(listed[-1])[0][0] == "details"
    assert "Diagnosed 50 texts as they were scored, with e5-small-v2." in words_of(done(found))


def test_white_space_at_the_end_is_told_where_the_model_reads_it():
    texts = ["a ", "b\n\u200b", "c\u00a0", "d", " e"]
    subject = replace(make_subject(texts), reads_end_spaces=True)
    found = by_title(subject)["White space at the end"]
    assert (found.level, found.figure) == ("look", "3 of 5")
    assert [row[1] for row in found.table.rows] == ["' '", r"'\n\u200b'", r"'\xa0'"]
    assert "White space at the end" not in by_title(replace(subject, reads_end_spaces=False))
    assert "White space at the end" not in by_title(replace(make_subject(texts_of(4)), reads_end_spaces=True))


def test_every_finding_has_a_slot_and_none_stays_when_other_texts_come(engine):
    queries = make_side([f"query {n}" for n in range(30)], random_rows(30, seed=2), "queries", "Q")
    texts = ["copy", "copy", "ends in a space ", *texts_of(117)]
    rows = random_rows(120)
    rows[50] = rows[51] + 0.001
    read = read_with(120, dropped=[(2, 5)], unknown=[(3, 0.5)])
    subject = replace(make_subject(texts, rows, read=read, queries=queries), reads_end_spaces=True)
    result = diagnose(subject)
    assert len(findings(result)) == MAX_FINDINGS
    assert len([finding for finding in findings(result) if finding.table]) >= 4
    with gr.Blocks():
        tab = DiagnoseTab(Services(engine, Downloads(), VisitorStores()))
    changes, cleared = tab.show(result), tab.on_texts(None, "", Diagnosed("key", "scores"))
    assert changes.keys() | {tab.status} == cleared.keys()
    for slot in tab.slots:
        assert changes[slot.panel]["visible"]
        assert not cleared[slot.panel]["visible"]
        assert cleared[slot.finding] == []
    assert changes[tab.diagnosed] == Diagnosed("key", "scores")
    assert cleared[tab.diagnosed] is cleared[tab.hubs] is None


def test_figures_hold_the_shares_and_the_counts():
    found = diagnose(make_subject(texts_of(120), random_rows(120, shared=13)))
    cosines, hubs = draw_cosines(found), draw_hubs(found)
    for trace, hover in zip(cosines["data"], cosines["hover"]["traces"], strict=True):
        assert len(trace["x"]) == len(trace["y"]) == len(hover)
        assert sum(trace["y"]) / 2 == pytest.approx(100, abs=0.1)
    assert sum(n or 0 for n in hubs["data"][0]["y"]) == 120
    assert len(hubs["data"][0]["x"]) == len(hubs["hover"]["traces"][0])
    json.dumps([cosines, hubs])
    alone = diagnose(make_subject(texts_of(3)))
    assert draw_cosines(alone) is draw_hubs(alone) is None


def test_texts_are_told_only_in_tables_and_bounded(monkeypatch):
    monkeypatch.setattr("e5studio.studio.diagnose.tables.MAX_LISTED", 5)
    texts = [*NASTY, *NASTY, "x" * 5_000, "x" * 5_000]
    found = diagnose(make_subject(texts))
    copies = by_title(make_subject(texts))["Copies"]
    assert len(copies.table.rows) == 5
    assert max(len(text) for _, text in copies.table.texts[0]) < 1_000
    words = words_of([finding_nodes(finding) for finding in findings(found)])
    assert "onerror" not in words
