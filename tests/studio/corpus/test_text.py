"""What the Corpus tab says, lists and draws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio.analysis.attribution import Words
from e5studio.errors import TextError
from e5studio.prompts import Prompt
from e5studio.studio.corpus import evaluation_text
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.charts import draw_evaluation
from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.corpus.embedding import EmbeddingProgress, embed_corpus
from e5studio.studio.corpus.evaluation import FailedSetting, measure
from e5studio.studio.corpus.pairs import Pairs
from e5studio.studio.corpus.search import CarryingWords, SearchHit, SearchResult, carrying_words, search_corpus
from e5studio.studio.corpus.selection import corpus_setting
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.tables import evaluation_table, preview_table
from e5studio.studio.corpus.vector_store import VectorStore
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.why.explanation import TextReading
from tests.studio.browsing import NASTY
from tests.studio.conftest import ABSENT, ENGLISH, INSTRUCT

TEXTS = tuple(f"text number {n} about {what}" for n, what in enumerate(["bees", "stars", "rivers", "letters"] * 4))


def words_of(nodes):
    if isinstance(nodes, str):
        return nodes
    first = 2 if nodes and isinstance(nodes[0], str) else 0
    return " ".join(words_of(node) for node in nodes[first:])


@pytest.fixture(scope="module")
def corpus():
    return Corpus("texts.csv", TEXTS, tuple(range(2, 18)), n_missing=1, n_empty=2, bad_rows=("line 9 is bad",))


@pytest.fixture(scope="module")
def embedded(engine, corpus):
    setting = corpus_setting(Catalog(), ENGLISH, "retrieval", "")
    return embed_corpus(engine, corpus, setting, VectorStore(), lambda news: None)


@pytest.fixture(scope="module")
def measured(engine, corpus):
    pairs = Pairs(tuple(f"query {n}" for n in range(12)), tuple((n,) for n in range(12)), left_out=(7,))
    left = corpus_setting(Catalog(), ENGLISH, "retrieval", "")
    settings = [
        left,
        corpus_setting(Catalog(), ENGLISH, "none", ""),
        corpus_setting(Catalog(), ABSENT, "retrieval", ""),
    ]
    return measure(engine, corpus, pairs, settings, VectorStore())


def test_what_could_not_be_read_is_named_by_line():
    bad = tuple(f"line {n} has 1 cells, the header 2" for n in range(10))
    words = words_of(corpus_text.file_read(SourceTable("a.csv", ("a", "b"), (("x",), ("y",)), (2,), bad)))
    assert "a.csv : 1 row, 2 columns." in words
    assert "10 rows could not be read" in words
    assert "line 0 has 1 cells" in words
    assert "and 4 more" in words


def test_what_is_left_out_is_counted(corpus):
    words = words_of(corpus_text.chosen(corpus))
    assert "16 texts to embed." in words
    assert "1 row without a value, 2 rows with an empty text, 1 row that could not be read" in words


def test_whether_titles_are_embedded_is_said(corpus):
    titled = replace(corpus, titles=("A title",) * len(corpus))
    assert "Each title is embedded in front of its text." in words_of(corpus_text.chosen(titled))
    assert "title" not in words_of(corpus_text.chosen(replace(corpus, titles=None)))


def test_progress_tells_counts_speed_and_time():
    assert corpus_text.embedding_progress(EmbeddingProgress("Loading x", None, 0, 9)) == "Loading x"
    sentence = corpus_text.embedding_progress(EmbeddingProgress("Embedding", 0.5, 1200, 50_000, 310.4, 157.0))
    assert sentence == "Embedding, 1,200 of 50,000 texts, 310 a second, 3 min left"


def test_what_was_embedded_is_told_with_its_prompt(embedded):
    words = words_of(corpus_text.embedded(embedded))
    assert "16 texts of texts.csv embedded with e5-small-v2" in words
    assert "passage: " in words


def test_hits_come_at_once_and_their_words_are_marked_later(engine, embedded):
    result = search_corpus(engine, embedded, "bees", top_k=3)
    at_once = corpus_text.hits(result)
    assert "3 of 16 in" in words_of(at_once["head"])
    assert at_once["more"]
    for hit, card in zip(result.hits, at_once["hits"], strict=True):
        assert (card["label"], words_of(card["body"])) == (hit.label, hit.text)
    carrying = carrying_words(engine, embedded, "bees", [hit.row for hit in result.hits])
    later = corpus_text.hits(result, carrying=carrying)
    assert "Orange words carry" in words_of(later["head"])
    assert "e5-holds-" in json.dumps(later)


def test_a_hit_shows_the_other_cells_of_its_row_and_can_be_copied(engine, embedded):
    result = search_corpus(engine, embedded, "bees", top_k=1)
    [card] = corpus_text.hits(result, [[("year", "1999"), ("note", " ")]])["hits"]
    assert card["fields"] == [["year", "1999"]]
    [hit] = result.hits
    assert card["plain"] == [card["score"], hit.label, "", hit.text]


def test_a_filter_that_leaves_nothing_is_a_sentence(engine, embedded):
    result = search_corpus(engine, embedded, "bees", among=np.zeros(16, np.bool_))
    shown = corpus_text.hits(result)
    assert "another filter" in words_of(shown["head"])
    assert not shown["hits"]
    assert not shown["more"]


@pytest.mark.parametrize("n_before", [0, 300])
def test_a_title_stands_apart_from_its_text(n_before):
    parts = ["Eggs", *["filler"] * n_before, "keep", "cold"]
    text = " ".join(parts)
    starts = np.cumsum([0, *(len(part) + 1 for part in parts[:-1])])
    spans = np.stack([starts, starts + [len(part) for part in parts]], axis=1)
    values = np.zeros(len(parts))
    values[[0, -2, -1]] = 1.0
    reading = TextReading("1", text, Words(tuple(parts), ("word",) * len(parts), spans, None), 9, len(text), ())
    carrying = CarryingWords(0, reading, values, values)
    hit = SearchHit(0, "2", 80.0, text.removeprefix("Eggs "), "Eggs")
    result = SearchResult("eggs", Prompt(""), (hit,), np.zeros(1, np.float32), False, 0.1, "", 1)
    for marks in ((), (carrying,)):
        title, body = corpus_text.hits(result, carrying=marks)["hits"][0]["body"]
        assert words_of([title]).split() == ["Eggs"]
        assert "e5-hit-title" in title[1]
        assert "Eggs" not in words_of([body])
    assert words_of([body]).split()[:2] == (["…", "filler"] if n_before else ["keep", "cold"])


def test_of_a_long_passage_the_part_that_carries_the_score_is_shown():
    text = " ".join(f"word{n:03}" for n in range(300))
    spans = np.array([[8 * n, 8 * n + 7] for n in range(300)])
    values = np.zeros(300)
    values[200:210] = 1.0
    reading = TextReading("1", text, Words(tuple(text.split()), ("word",) * 300, spans, None), 300, len(text), ())
    passage = CarryingWords(0, reading, values, values)
    shown = json.dumps(corpus_text._card(1, SearchHit(0, "1", 90.0, text, ""), passage, ())["body"])
    assert "word205" in shown
    assert "word001" not in shown
    assert len(shown) < 6000


def test_a_measurement_is_told_with_what_failed_and_how_sure_it_is(measured):
    assert words_of(evaluation_text.measured(measured)) == "Measured 3 settings on 12 queries."
    words = words_of(evaluation_text.verdict(measured))
    assert "lines 7" in words
    assert "e5-large-v2: " in words
    assert "is not on this machine" in words
    assert "e5-small-v2, no prompt: nDCG@10" in words
    assert "chance" in words


def test_the_table_of_settings_holds_the_figures(measured):
    table = evaluation_table(measured)
    titles = [column["title"] for column in table.columns]
    for cells, row in zip(table.rows, measured.rows, strict=True):
        assert len(cells) == len(titles)
        if isinstance(row, FailedSetting):
            assert set(cells[1:]) == {None}
            continue
        assert cells[1] == pytest.approx(row.means["ndcg_at_10"].value, abs=1e-6)
        assert cells[titles.index("Recall@5")] == pytest.approx(row.means["recall_at_5"].value, abs=1e-6)
    figure = draw_evaluation(measured)
    assert figure["data"][0]["x"] == pytest.approx([row[1] for row in table.rows[:2]], abs=1e-6)
    assert all(length >= 0 for length in figure["data"][0]["error_x"]["arrayminus"])


def test_names_of_files_columns_and_settings_stay_texts():
    table = SourceTable(NASTY[2], tuple(NASTY), tuple((text,) for text in NASTY), (2,))
    assert preview_table(table).rows == [[2, *NASTY[:8]]]
    setting = corpus_setting(Catalog(), INSTRUCT, "retrieval", NASTY[2])
    row = FailedSetting(setting, Catalog().offered(INSTRUCT), TextError("no matter"))
    assert NASTY[2] in evaluation_text.setting_name(row)
