"""What the page says of a result, and the table beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from e5studio.encode_report import Truncation
from e5studio.models import get_model_meta
from e5studio.studio.engine.doubts import doubts
from e5studio.studio.scores import table as table_module
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.charts import ordered_heat_map
from e5studio.studio.scores.table import score_table
from e5studio.studio.widgets.table_data import MAX_ROWS
from tests.studio.conftest import INSTRUCT, OFFLINE
from tests.studio.node_text import text_of


def test_a_clean_result_says_which_prompts_and_that_nothing_was_lost(score):
    text = text_of(scores_text.notes(score("protein", "a guideline")))
    assert "In front of queries: query:" in text
    assert "In front of passages: passage:" in text
    assert "read whole" in text


def test_a_line_break_in_a_prompt_can_be_seen(score):
    text = text_of(scores_text.notes(score("protein", "a guideline", INSTRUCT, instruction="Find it")))
    assert "Instruct: Find it↵Query:" in text
    assert "In front of passages: nothing" in text


def test_a_default_instruction_is_confessed(score):
    assert "No instruction was given" in text_of(scores_text.notes(score("protein", "a guideline", INSTRUCT)))


def test_what_was_cut_is_named_with_both_numbers(score):
    text = text_of(scores_text.notes(score("protein", "short\n" + "word " * 700, OFFLINE, "none")))
    assert "1 of 3 texts are longer than the 256 tokens" in text
    assert "(P2: 446 tokens)" in text


def test_the_line_that_it_is_done_says_how_many_texts_were_cut(score):
    long = "word " * 700
    assert ", 2 texts cut off." in text_of(
        scores_text.summary(score(f"protein\n{long}", f"short\n{long} too", OFFLINE, "none"))
    )
    assert ", 1 text cut off." in text_of(scores_text.summary(score("protein", f"short\n{long}", OFFLINE, "none")))
    assert "cut" not in text_of(scores_text.summary(score("protein", "short", OFFLINE, "none")))


def test_empty_lines_unknown_tokens_and_prompts_in_the_text_are_told(score):
    text = text_of(scores_text.notes(score("query: protein\n\nधन्यवाद 漢字 한국어", "a guideline")))
    assert "line 2 of queries" in text
    assert "does not know (Q3: " in text
    assert "Q3" in text
    assert "1 of 2 queries already begin with a prompt (Q1)" in text


def test_what_is_not_read_is_told(score):
    text = text_of(scores_text.notes(score("protein\n\ufffd\ufffd\nsumm\ufffdt", "a guideline")))
    assert "reads nothing of it: Q2" in text
    assert "does not read at all (Q3: 1)" in text


def test_a_word_too_long_for_the_tokenizer_is_not_taken_for_another_language_alone(score):
    assert "length of a word" in text_of(scores_text.notes(score("x" * 101, "a guideline", OFFLINE, "none")))
    assert "length of a word" not in text_of(scores_text.notes(score("धन्यवाद 漢字 한국어", "a guideline")))


def test_the_sentence_above_promises_outlines_only_where_they_are_drawn(score):
    few, many = ("\n".join(f"text {number}" for number in range(count)) for count in (4, 64))
    assert "outlined" in text_of(scores_text.reading_help(score(few, few), is_by_row=True))
    assert len(score_table(score(few, few)).first) == 4 * 3
    result = score(many, few)
    assert "outlined" in text_of(scores_text.reading_help(result, is_by_row=True))
    crowded = replace(result, queries=replace(result.queries, texts=("one more",) * 65))
    assert "outlined" not in text_of(scores_text.reading_help(crowded, is_by_row=True))
    assert "the table lists the best" in text_of(scores_text.reading_help(crowded, is_by_row=False))


def test_the_table_begins_with_the_three_best_of_each_query_or_the_best_alone(score, monkeypatch):
    texts = "\n".join(f"text {number}" for number in range(5))
    for most_outlined, n_first in ((5, 3), (4, 1)):
        monkeypatch.setattr(table_module, "MAX_ROWS_WITH_OUTLINES", most_outlined)
        table = score_table(score(texts, texts))
        assert len(table.rows) == 25
        assert sorted({table.rows[index][3] for index in table.first}) == list(range(1, n_first + 1))


def test_texts_whose_scores_mean_little_are_marked_in_matrix_and_table(score):
    result = score(f"protein\n{'x' * 101}", "short\n" + "word " * 700, OFFLINE, "none")
    of_queries, of_passages = doubts(result)
    assert list(of_queries) == list(of_passages) == [1]
    assert "unknown to all-MiniLM-L6-v2" in of_queries[1]
    assert "read the first 256 tokens, and not the 446 after them" in of_passages[1]
    figure = ordered_heat_map(result, "score")
    drawn = [figure["hover"][axis] for axis in ("rows", "columns")]
    assert [{entry[0]: entry[2:] for entry in side} for side in drawn] == [
        {"Q1": [], "Q2": [of_queries[1]]},
        {"P1": [], "P2": [of_passages[1]]},
    ]
    assert sum("!" in tick for tick in figure["layout"]["yaxis"]["ticktext"]) == 1
    assert sum("!" in tick for tick in figure["layout"]["xaxis"]["ticktext"]) == 1
    hatched = figure["layout"]["shapes"][-1]["path"]
    assert hatched.count("M") == 3 * 3  # three of the four cells
    assert [len(entry) for texts in score_table(result).texts for entry in texts] == [2, 3, 2, 3]
    assert "1 text cut off, 1 text largely unknown" in text_of(scores_text.summary(result))
    marked = "Marked with ! and hatched, cut off: P2; largely unknown to the model: Q2."
    assert marked in text_of(scores_text.reading_help(result, is_by_row=True))
    assert "e5-doubtful" in str(scores_text.summary(result))
    assert "e5-doubtful" not in str(scores_text.summary(score("protein", "short")))


def test_broken_characters_are_told(score):
    assert "1 of 1 queries have broken characters" in text_of(scores_text.notes(score("a \ud800 b", "a guideline")))


def test_the_table_has_every_pair_of_the_heat_map_and_marks_the_best(score):
    result = score("protein\nsummit", "one\ntwo\nthree")
    table = score_table(result)
    assert {(row[0], row[1]) for row in table.rows} == {(i, j) for i in range(2) for j in range(3)}
    for i, j, score_, rank, _ in table.rows:
        assert score_ == pytest.approx(float(result.scores[i, j]), abs=0.006)
        assert (rank == 1) == (result.best[i] == j)
    assert sum(row[4] for row in table.rows) == pytest.approx(200, abs=0.1)
    assert [table.rows[index][3] for index in table.marked] == [1, 1]
    json.dumps(asdict(table))


def test_the_table_of_texts_among_themselves_leaves_out_the_diagonal(score):
    table = score_table(score("a\nb\nc", "", prompt_mode="symmetric"))
    assert len(table.rows) == 6
    assert all(i != j for i, j, *_ in table.rows)


def test_a_table_too_large_for_a_page_keeps_the_best_and_says_so(score):
    lines = [f"text number {i}" for i in range(60)]
    result = score("\n".join(lines), "\n".join(lines))
    table = score_table(result)
    assert len(table.rows) <= MAX_ROWS
    assert {(row[0], row[1]) for row in table.rows} >= set(enumerate(result.best))
    assert "best 25 of 60" in table.caption


def test_a_text_that_was_not_counted_to_its_end_gets_no_number_that_could_be_taken_for_its_length(score):
    cut = Truncation(0, 256, 232, exact=False)
    result = score("protein", "a guideline", OFFLINE, "none")
    result = replace(result, reports=(result.reports[0], replace(result.reports[1], truncated=(cut,))))
    text = text_of(scores_text.notes(result))
    assert "(P1: at least 232 tokens)" in text
    assert "488" not in text


def test_who_writes_too_long_texts_hears_what_helps(score):
    text = text_of(scores_text.notes(score("protein", "word " * 700, OFFLINE, "none")))
    assert "split_to_fit" in text
    assert "e5-small-v2 reads 512" in text
    assert "split_to_fit" not in text_of(scores_text.notes(score("protein", "short", OFFLINE, "none")))


GERMAN = "Die Donau fließt durch zehn Länder, bevor sie das Schwarze Meer erreicht."


def test_another_language_under_an_english_model_is_told(score):
    text = text_of(
        scores_text.notes(score("what do bees eat", f"{GERMAN}\nnectar and pollen\n日本語の文章です", OFFLINE, "none"))
    )
    assert "Hardly English: P1 (German), P3 (Japanese). all-MiniLM-L6-v2 is made for English" in text
    assert text.count("P3") == 1  # one sentence for one fault
    assert "multilingual-e5-small" in text
    result = score("what do bees eat", GERMAN, OFFLINE, "none")
    assert "Use e5-small-v2" in text_of(scores_text.notes(result, get_model_meta("e5-small-v2")))


def test_another_language_is_no_matter_to_a_multilingual_model(score):
    assert "English" not in text_of(scores_text.notes(score("what do bees eat", GERMAN, INSTRUCT)))
