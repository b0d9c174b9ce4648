"""What the page says of a result, and the table beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio.encode_report import Truncation
from e5studio.errors import E5StudioError
from e5studio.studio.corpus.visitor_store import VISITOR_STORES
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.map import text as map_text
from e5studio.studio.map.placing import COLOURS, MapSettings, draw_map, place_texts, true_neighbours, valid_settings
from e5studio.studio.map.table import map_table
from e5studio.studio.page import privacy
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.table import score_table
from e5studio.studio.serving.downloads import DOWNLOADS
from e5studio.studio.serving.sessions import CLOSED_SECONDS
from e5studio.studio.serving.uploads import KEPT_SECONDS
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.table_data import MAX_ROWS
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE


def said(nodes):
    """All texts of a tree."""
    if isinstance(nodes, str):
        return nodes
    return "".join(said(child) for child in (nodes if not nodes or isinstance(nodes[0], list) else nodes[2:]))


@pytest.fixture
def score(engine):
    def ask(queries, passages, model=ENGLISH, prompt_mode="retrieval", **more):
        return engine.score(ScoreRequest(model, prompt_mode, queries, passages, **more))

    return ask


def test_a_clean_result_says_which_prompts_and_that_nothing_was_lost(score):
    text = said(scores_text.notes(score("protein", "a guideline")))
    assert "In front of queries: query:" in text
    assert "In front of passages: passage:" in text
    assert "read whole" in text


def test_a_line_break_in_a_prompt_can_be_seen(score):
    text = said(scores_text.notes(score("protein", "a guideline", INSTRUCT, instruction="Find it")))
    assert "Instruct: Find it↵Query:" in text
    assert "In front of passages: nothing" in text


def test_a_default_instruction_is_confessed(score):
    assert "No instruction was given" in said(scores_text.notes(score("protein", "a guideline", INSTRUCT)))


def test_what_was_cut_is_named_with_both_numbers(score):
    text = said(scores_text.notes(score("protein", "short\n" + "word " * 700, OFFLINE, "none")))
    assert "1 of 2 passages are longer than the 256 tokens" in text
    assert "(P2: 446 tokens)" in text


def test_the_line_that_it_is_done_says_how_many_texts_were_cut(score):
    long = "word " * 700
    assert ", 2 texts cut off." in said(
        scores_text.summary(score(f"protein\n{long}", f"short\n{long} too", OFFLINE, "none"))
    )
    assert ", 1 text cut off." in said(scores_text.summary(score("protein", f"short\n{long}", OFFLINE, "none")))
    assert "cut" not in said(scores_text.summary(score("protein", "short", OFFLINE, "none")))


def test_empty_lines_unknown_tokens_and_prompts_in_the_text_are_told(score):
    text = said(scores_text.notes(score("query: protein\n\nधन्यवाद 漢字 한국어", "a guideline")))
    assert "line 2 of queries" in text
    assert "does not know (Q3: " in text
    assert "Q3" in text
    assert "1 of 2 queries already begin with a prompt (Q1)" in text


def test_a_word_too_long_for_the_tokenizer_is_not_taken_for_another_language_alone(score):
    assert "length of a word" in said(scores_text.notes(score("x" * 101, "a guideline", OFFLINE, "none")))
    assert "length of a word" not in said(scores_text.notes(score("धन्यवाद 漢字 한국어", "a guideline")))


def test_the_caption_promises_outlines_only_where_they_are_drawn(score):
    few, many = ("\n".join(f"text {number}" for number in range(count)) for count in (3, 64))
    assert "outlined" in said(scores_text.reading_help(score(few, few)))
    assert not score_table(score(few, few))["is_marked_only"]
    result = score(many, few)
    assert "outlined" in said(scores_text.reading_help(result))
    crowded = replace(result, queries=replace(result.queries, texts=("one more",) * 65))
    assert "outlined" not in said(scores_text.reading_help(crowded))
    assert "the table marks the best" in said(scores_text.reading_help(crowded))


def test_an_error_says_so_where_an_earlier_result_is_still_in_sight():
    assert said(nodes.error("It failed.")) == "It failed."
    assert said(nodes.error("It failed.", is_result_left=True)) == "It failed. What is shown is the result before."


def test_broken_characters_are_told(score):
    assert "1 of 1 queries have broken characters" in said(scores_text.notes(score("a \ud800 b", "a guideline")))


def test_a_pair_shows_both_texts_and_only_pairs_that_exist(score):
    result = score("protein\nsummit", "one\ntwo\nthree")
    text = said(scores_text.pair(result, 1, 2))
    assert "Q2summit" in text
    assert "P3three" in text
    assert "of 3" in text
    assert scores_text.pair(result, 2, 0) == []
    assert scores_text.pair(result, -1, 0) == []
    assert said(map_text.point(result, "P2")) == "P2two"
    assert map_text.point(result, "<b>") == []


def test_errors_are_short_enough_to_read_and_can_be_sent():
    text = said(nodes.error("\ud800" + "x" * 5000))
    assert len(text) < 1000
    text.encode()


def test_the_table_has_every_pair_of_the_heat_map_and_marks_the_best(score):
    result = score("protein\nsummit", "one\ntwo\nthree")
    table = score_table(result)
    assert {(row[0], row[1]) for row in table["rows"]} == {(i, j) for i in range(2) for j in range(3)}
    for i, j, score_, rank, _ in table["rows"]:
        assert score_ == pytest.approx(float(result.scores[i, j]), abs=0.006)
        assert (rank == 1) == (result.best[i] == j)
    assert sum(row[4] for row in table["rows"]) == pytest.approx(200, abs=0.1)
    assert [table["rows"][place][3] for place in table["marked"]] == [1, 1]
    json.dumps(table)


def test_the_table_of_texts_among_themselves_leaves_out_the_diagonal(score):
    table = score_table(score("a\nb\nc", "", prompt_mode="symmetric"))
    assert len(table["rows"]) == 6
    assert all(i != j for i, j, *_ in table["rows"])


def test_a_table_too_large_for_a_page_keeps_the_best_and_says_so(score):
    lines = [f"text number {i}" for i in range(60)]
    result = score("\n".join(lines), "\n".join(lines))
    table = score_table(result)
    assert len(table["rows"]) <= MAX_ROWS
    assert {(row[0], row[1]) for row in table["rows"]} >= set(enumerate(result.best))
    assert "best 25 of 60" in table["caption"]


@pytest.mark.parametrize("n_dims", [2, 3])
def test_the_map_says_what_it_is_worth(score, n_dims):
    result = score("protein\nsummit\ntop", "one\ntwo\nthree")
    figure, caption = draw_map(result, place_texts(result, MapSettings("pca", n_dims)), "role")
    assert "% of the variance" in caption
    assert caption.startswith("Vectors of e5-small-v2.")
    assert "Trustworthiness" in caption
    assert len(figure["data"]) == 3


@pytest.mark.parametrize("texts", ["a\nb", "same\nsame"])
def test_two_points_make_a_map_too(score, texts):
    result = score(texts, "", prompt_mode="symmetric")
    placed = place_texts(result, MapSettings("pca", 3))
    for colour in COLOURS:
        figure, _ = draw_map(result, placed, colour)
        json.dumps(figure, allow_nan=False)


QUESTIONS = "summit of a mountain\nvalley of a river\nprotein a day\nstone in a river\nmountain top"
ANSWERS = "the top of a mountain\na river in a valley\n46 grams of protein\nrivers carry stones\nsummits are high"


@pytest.mark.parametrize("method", ["tsne", "axis"])
@pytest.mark.parametrize("n_dims", [2, 3])
def test_other_projections_say_what_they_are(score, method, n_dims):
    result = score(QUESTIONS, ANSWERS)
    placed = place_texts(result, MapSettings(method, n_dims))
    assert placed.coordinates.shape == (10, n_dims)
    assert ("perplexity" if method == "tsne" else "mean of the queries") in placed.caption
    assert ("fewer than 15" in placed.caption) == (method == "tsne")
    json.dumps(draw_map(result, placed, "role")[0], allow_nan=False)


def test_an_axis_between_sides_needs_two(score):
    with pytest.raises(E5StudioError, match="one side"):
        place_texts(score(QUESTIONS, "", prompt_mode="symmetric"), MapSettings("axis", 2))


def test_groups_are_counted_and_named(score):
    result = score(QUESTIONS, ANSWERS)
    figure, caption = draw_map(result, place_texts(result, MapSettings("pca", 2)), "cluster")
    assert "groups by k-means" in caption
    assert any("mountain" in trace.get("name", "") for trace in figure["data"])


def test_a_picked_text_is_joined_to_its_true_neighbours(score):
    result = score(QUESTIONS, ANSWERS)
    placed = place_texts(result, MapSettings("pca", 2))
    near = true_neighbours(result, placed, "Q1")
    order = (result.vectors @ result.vectors[0]).argsort()[::-1][1:6]
    assert [label for label, _, _ in near] == [result.points[0][place] for place in order]
    assert near[0][2] == pytest.approx(100 * float(result.vectors[order[0]] @ result.vectors[0]), abs=1e-3)
    figure, caption = draw_map(result, placed, "role", "Q1")
    assert len(figure["data"][0]["x"]) == 3 * 5
    assert "best match" not in caption
    assert "Lines join Q1 to the 5 texts" in caption
    assert "Nearest in all dimensions" in said(map_text.point(result, "Q1", near))
    assert true_neighbours(result, placed, "Q99") == []


def test_shades_of_score_and_length_are_those_of_the_texts(score):
    result = score(QUESTIONS, ANSWERS)
    placed = place_texts(result, MapSettings())
    for colour, values in (
        ("best", [*result.scores.max(axis=1), *result.scores.max(axis=0)]),
        ("tokens", [n for report in result.reports for n in report.n_tokens]),
    ):
        figure, _ = draw_map(result, placed, colour)
        shades = [value for trace in figure["data"][1:] for value in trace["marker"]["color"]]
        assert shades == pytest.approx([float(value) for value in values], abs=1e-3)
        assert figure["data"][1]["marker"]["cmin"] == pytest.approx(min(shades), abs=1e-3)
        assert figure["data"][1]["marker"]["cmax"] == pytest.approx(max(shades), abs=1e-3)


def test_the_texts_of_a_map_are_listed_with_their_true_neighbours(score):
    result = score(QUESTIONS, ANSWERS)
    placed = place_texts(result, MapSettings())
    table = map_table(result, placed)
    cosines = 100 * result.vectors @ result.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    for row in table["rows"]:
        assert row[1] == cosines[row[0]].argmax()
        assert row[2] == pytest.approx(cosines[row[0]].max(), abs=0.01)
    some = map_table(result, placed, {"Q2", "P1", "nothing"})
    assert [table["texts"][0][row[0]][0] for row in some["rows"]] == ["Q2", "P1"]
    assert some["caption"] == "Texts of the map: 2"
    json.dumps(table)


def test_settings_from_strangers_are_taken_where_they_are_some():
    assert valid_settings() == MapSettings()
    assert valid_settings("umap", 3, 30, 0.5, 12, 7) == MapSettings("umap", 3, 30, 0.5, 12, 7)
    assert valid_settings("<b>", 4, None, "0.5", True, float("nan")) == MapSettings()
    wild = valid_settings("tsne", "3", -1, 7, 1e9, -5)
    assert (wild.n_dims, wild.n_neighbors, wild.min_dist, wild.perplexity, wild.seed) == (2, 2, 1, 100, 0)


def test_settings_change_the_map_and_are_told(score):
    result = score(QUESTIONS, ANSWERS)
    one, other = (place_texts(result, MapSettings("tsne", perplexity=each)) for each in (1.0, 3.0))
    assert not np.allclose(one.coordinates, other.coordinates)
    assert "perplexity 1, seed 0" in one.caption


def test_what_is_said_of_what_is_kept_is_what_is_kept():
    said = str(privacy.PRIVACY_NOTICE)
    assert f"{CLOSED_SECONDS // 60} minutes after it is closed" in said
    assert {DOWNLOADS._kept_seconds, VISITOR_STORES._kept_seconds, KEPT_SECONDS} == {3600}  # "an hour"


def test_a_text_that_was_not_counted_to_its_end_gets_no_number_that_could_be_taken_for_its_length(score):
    cut = Truncation(0, 256, 232, exact=False)
    result = score("protein", "a guideline", OFFLINE, "none")
    result = replace(result, reports=(result.reports[0], replace(result.reports[1], truncated=(cut,))))
    text = said(scores_text.notes(result))
    assert "(P1: at least 232 tokens)" in text
    assert "488" not in text


def test_who_writes_too_long_texts_hears_what_helps(score):
    text = said(scores_text.notes(score("protein", "word " * 700, OFFLINE, "none")))
    assert "split_to_fit" in text
    assert "e5-small-v2 reads 512" in text
    assert "split_to_fit" not in said(scores_text.notes(score("protein", "short", OFFLINE, "none")))


GERMAN = "Die Donau fließt durch zehn Länder, bevor sie das Schwarze Meer erreicht."


def test_another_language_under_an_english_model_is_told(score):
    text = said(
        scores_text.notes(score("what do bees eat", f"{GERMAN}\nnectar and pollen\n日本語の文章です", OFFLINE, "none"))
    )
    assert "Hardly English: P1 (German), P3 (Japanese). all-MiniLM-L6-v2 is made for English" in text
    assert "multilingual-e5-small" in text


def test_another_language_is_no_matter_to_a_multilingual_model(score):
    assert "English" not in said(scores_text.notes(score("what do bees eat", GERMAN, INSTRUCT)))


def test_the_lines_of_a_map_are_said_of_the_texts_that_have_one(score):
    def caption(result):
        return draw_map(result, place_texts(result, MapSettings()), "role")[1]

    assert "A line joins each query to its best passage" in caption(score("a\nb", "c\nd\ne"))
    assert "each text to its best match" in caption(score("a\nb\nc", "", prompt_mode="symmetric"))
    assert "each of the texts" in caption(score("a\nb", "c\nd\ne", prompt_mode="symmetric"))
