"""What the Compare tab says, draws, lists and saves of a comparison."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pyarrow.parquet
import pytest

from e5studio.studio.compare import text as compare_text
from e5studio.studio.compare.charts import (
    MAX_LINES,
    draw_bump,
    draw_differences,
    draw_maps,
    draw_ranks,
    ranked_passages,
)
from e5studio.studio.compare.comparison import compare, try_prompts
from e5studio.studio.compare.tab import CompareTab
from e5studio.studio.compare.tables import comparison_columns, first_table, prompt_table
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.result import ScoreRequest, best_passages
from e5studio.studio.formatting import fixed
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import Downloads
from e5studio.studio.serving.table_files import columns_file
from tests.studio.browsing import MARKS, NASTY
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

pytestmark = MARKS[1:]  # no browser

QUERIES = ["how tall is the mountain", "who wrote the letter", "what do bees eat"]
PASSAGES = ["the summit lies at 3,000 metres", "she signed it herself", "nectar and pollen", "a train leaves at noon"]
REQUEST = ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES))
INT8 = replace(REQUEST, dtype="int8")


@pytest.fixture(scope="module")
def comparison(engine):
    return compare(engine, REQUEST, replace(REQUEST, prompt_mode="none"), is_paired=True)


@pytest.fixture(scope="module")
def tab(engine):
    with gr.Blocks():
        return CompareTab(Services(engine, Downloads(), VisitorStores()), ENGLISH)


def rescored(comparison, first, second, n_queries=3):
    """The comparison with other scores, of its first queries only."""
    sides = []
    for result, scores in ((comparison.first, first), (comparison.second, second)):
        queries = replace(
            result.queries, texts=result.queries.texts[:n_queries], labels=result.queries.labels[:n_queries]
        )
        own = np.array(scores, np.float32)[:n_queries]
        sides.append(replace(result, queries=queries, scores=own, best=best_passages(own, False)))
    return replace(comparison, first=sides[0], second=sides[1], of_form=sides[0])


UP, DOWN = [4, 3, 2, 1], [1, 2, 3, 4]


def words_of(nodes):
    if isinstance(nodes, str):
        return nodes
    first = 2 if nodes and isinstance(nodes[0], str) else 0
    return " ".join(words_of(node) for node in nodes[first:])


@pytest.mark.parametrize(
    ("second", "n_queries", "headline"),
    [
        ([UP, DOWN, UP], 3, "Without prompts, another passage comes first for 1 of 3 queries: Q2."),
        ([DOWN, UP, DOWN], 3, "Without prompts, another passage comes first for 2 of 3 queries: Q1, Q3."),
        ([DOWN] * 3, 3, "Without prompts, another passage comes first for all 3 queries."),
        ([UP] * 3, 3, "Without prompts, the same passage comes first for all 3 queries."),
        ([UP] * 2, 2, "Without prompts, the same passage comes first for both queries."),
        ([DOWN], 1, "Without prompts, another passage comes first."),
        ([UP], 1, "Without prompts, the same passage comes first."),
        ([[4, 4, 4, 4]] * 3, 3, "Without prompts, the same passage comes first for all 3 queries."),
    ],
)
def test_the_headline_names_the_queries_for_which_another_passage_comes_first(comparison, second, n_queries, headline):
    changed = rescored(comparison, [UP] * 3, second, n_queries)
    assert compare_text.headline(changed) == headline
    assert words_of(compare_text.conclusion(changed)).startswith(headline)


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        ([UP] * 3, "No rank changes."),
        ([[4, 3, 1, 2], UP, UP], "Below the first place the order changes for 1 of 3 queries."),
        ([[4, 3, 1, 2], DOWN, UP], "Below the first place the order changes for 1 more."),
    ],
)
def test_what_changes_below_the_first_place_is_said(comparison, second, sentence):
    assert sentence in words_of(compare_text.conclusion(rescored(comparison, [UP] * 3, second)))


def test_the_headline_says_under_what(engine, comparison):
    assert compare_text.headline(compare(engine, REQUEST, REQUEST)).startswith("Both are the same setting")
    models = compare(engine, REQUEST, replace(REQUEST, model=OFFLINE))
    assert compare_text.headline(models).startswith("With all-MiniLM-L6-v2, ")
    assert "on two scales" in words_of(compare_text.conclusion(models))
    tuned = replace(comparison, is_trained=True)
    assert compare_text.headline(tuned).startswith("After training, ")
    one = compare(engine, replace(REQUEST, passages="one"), replace(REQUEST, prompt_mode="none"))
    assert compare_text.headline(one) == "Nothing can change places: there is one passage to rank."
    alone = replace(REQUEST, prompt_mode="symmetric", passages="")
    texts = compare_text.headline(compare(engine, alone, replace(alone, prompt_mode="none")))
    assert " text comes first for " in texts
    assert " 3 texts" in texts


def test_known_answers_are_counted_under_both(comparison):
    words = words_of(compare_text.conclusion(comparison))
    right = [int((np.diagonal(s) >= s[:3, :].max(axis=1) - 1e-9).sum()) for s in comparison.counted]
    assert f"comes first for {right[0]} of 3 with prompts and {right[1]} of 3 without prompts" in words
    assert "easily chance" in words
    assert "right passage" not in words_of(compare_text.conclusion(replace(comparison, is_paired=False)))


def test_both_settings_are_told_apart_by_their_prompts(comparison):
    words = words_of(compare_text.conclusion(comparison))
    assert "Query → passage, float32, torch , queries  query: " in words
    assert "No prompt, float32, torch, nothing in front of the texts" in words


def test_the_matrix_shows_ranks_and_how_they_change(comparison):
    figure = draw_ranks(rescored(comparison, [UP] * 3, [UP, DOWN, [4, 3, 1, 2]]))
    heat, numbers = figure["data"]
    changes = [[0, 0, 0, 0], [-0.5, -1 / 6, 1 / 6, 0.5], [0, 0, -1 / 12, 1 / 12]]
    np.testing.assert_allclose(heat["z"], changes, atol=1e-4)
    up, down, lower = (numbers["text"][row : row + 4] for row in (0, 4, 8))
    assert up == ["<b>1</b>", "2", "3", "4"]
    assert down == ["1→4", "2→3", "3→2", "<b>4→1</b>"]
    assert lower == ["<b>1</b>", "2", "3→4", "4→3"]
    assert figure["hover"]["values"][1] == [-3, -1, 1, 3]
    json.dumps(figure)


def test_heights_are_drawn_where_both_scales_are_the_same_only(engine, tab, comparison):
    assert draw_differences(comparison) is None
    assert tab.show(comparison)[tab.differences] is None
    assert not tab.show(comparison)[tab.scores]["visible"]
    figure = draw_differences(compare(engine, REQUEST, INT8))
    heat = figure["data"][0]
    np.testing.assert_allclose(heat["z"], 0, atol=1e-3)  # the stand-in computes in one precision
    assert heat["zmin"] == -heat["zmax"]
    assert figure["hover"]["is_signed"]


def test_lines_lead_from_one_rank_to_the_other(comparison):
    ranked = ranked_passages(comparison, 0)
    assert sorted(passage.ranks[0] for passage in ranked) == [1, 2, 3, 4]
    for passage in ranked:
        own = comparison.second.scores[0]
        assert passage.ranks[1] == 1 + int((own > own[PASSAGES.index(passage.text)]).sum())
    figure = draw_bump(comparison, 0)
    assert [line["y"] for line in figure["data"][:-1]] == [list(passage.places) for passage in ranked]


def test_passages_that_tie_share_a_rank_and_are_drawn_beside_each_other(comparison):
    tied = ranked_passages(rescored(comparison, [[4, 4, 2, 1]] * 3, [UP] * 3), 0)
    assert [passage.ranks for passage in tied] == [(1, 1), (1, 2), (3, 3), (4, 4)]
    assert [passage.places[0] for passage in tied] == [1, 2, 3, 4]


def test_of_many_passages_the_best_are_drawn(engine):
    many = "\n".join(f"passage number {n} of many" for n in range(50))
    comparison = compare(engine, replace(REQUEST, passages=many), replace(REQUEST, prompt_mode="none"))
    assert len(draw_bump(comparison, 0)["data"]) == MAX_LINES + 1
    assert f"The {MAX_LINES} best of 50" in words_of(compare_text.order_of(comparison, 0))


def test_maps_lie_on_each_other_as_well_as_they_can(engine, comparison):
    same = compare(engine, REQUEST, REQUEST)
    one, other = draw_maps(same)
    for trace, twin in zip(one["data"], other["data"], strict=True):
        np.testing.assert_allclose(trace["x"], twin["x"], atol=1e-3)
        np.testing.assert_allclose(trace["y"], twin["y"], atol=1e-3)
    assert {len(trace["x"]) for trace in draw_maps(comparison)[1]["data"]} == {3, 4}


def test_the_table_has_what_comes_first_in_two_columns_with_changes_on_top(comparison):
    table = first_table(rescored(comparison, [UP] * 3, [UP, DOWN, UP]))
    assert [column["title"] for column in table.columns] == ["Query", "First with prompts", "First without prompts"]
    assert list(table.rows) == [[1, 0, 3], [0, 0, 0], [2, 0, 0]]
    assert list(table.marked) == [0]
    tied = rescored(comparison, [[4, 4, 2, 1]] * 3, [[1, 4, 2, 3]] * 3)
    assert [row[1:] for row in first_table(tied).rows] == [[1, 1]] * 3  # as the headline says
    assert "each comes first" in words_of(compare_text.conclusion(tied))


def test_all_prompts_are_a_link_away_where_prompts_are_compared(engine, tab, comparison):
    def has_link(each):
        return compare_text.ALL_PROMPTS in json.dumps(compare_text.how_to_read(each))

    assert has_link(comparison)
    assert not has_link(compare(engine, REQUEST, INT8))
    assert not has_link(compare(engine, REQUEST, replace(REQUEST, model=OFFLINE)))
    grid = try_prompts(engine, comparison)
    table = prompt_table(grid)
    assert [row[:2] for row in table.rows][5] == ["query prompt", "passage prompt"]
    assert list(table.marked) == [5]
    assert table.rows[5][2:4] == [100, ""]
    for row, pair in zip(table.rows, grid.pairs, strict=True):
        assert row[3] == ", ".join(pair.other_firsts)
        assert row[4] == pytest.approx(np.mean(1 / pair.right_ranks), abs=1e-6)
    assert "mean reciprocal rank" in words_of(compare_text.all_prompts(grid))


def test_a_new_comparison_takes_the_table_of_all_prompts_away(tab, comparison):
    changes = tab.show(comparison)
    assert changes[tab.prompts] is None
    assert changes[tab.prompts_text] == []


def test_a_pair_is_told_under_both(comparison):
    words = words_of(compare_text.compared_pair(comparison, 1, 2))
    assert QUERIES[1] in words
    assert PASSAGES[2] in words
    assert f"{fixed(float(comparison.first.scores[1, 2]))} with prompts" in words
    for nobody in ((-1, 0), (0, 4), (3, 0)):
        assert compare_text.compared_pair(comparison, *nobody) == []


def test_texts_among_themselves_are_compared_without_themselves(engine, tab):
    request = replace(REQUEST, prompt_mode="symmetric", passages="")
    comparison = compare(engine, request, replace(request, prompt_mode="none"))
    assert tab.show(comparison)[tab.pair] == []
    assert all(row[0] not in row[1:] for row in first_table(comparison).rows)
    assert len(comparison_columns(comparison)["row"]) == 6
    assert [passage.label for passage in ranked_passages(comparison, 0)].count("A1") == 0
    assert [text for text in draw_ranks(comparison)["data"][1]["text"] if not text] == [""] * 3


def test_one_text_against_one_is_no_fault(engine, tab):
    request = replace(REQUEST, queries="a", passages="b")
    comparison = compare(engine, request, replace(request, prompt_mode="none"))
    assert tab.show(comparison)[tab.comparison] is comparison


def test_saved_files_hold_all_pairs(comparison):
    columns = comparison_columns(comparison)
    rows = list(csv.DictReader(io.StringIO(columns_file("comparison.csv", columns, {}).content.decode("utf-8-sig"))))
    assert len(rows) == 12
    assert float(rows[5]["score_b"]) == pytest.approx(float(comparison.second.scores[1, 1]), rel=1e-4)
    table = pyarrow.parquet.read_table(io.BytesIO(columns_file("comparison.parquet", columns, {}).content))
    assert table["rank_a"].to_pylist() == comparison.ranks[0].ravel().tolist()


def test_texts_stay_texts(engine):
    texts = "\n".join(NASTY)
    comparison = compare(engine, replace(REQUEST, queries=texts, passages=texts), replace(REQUEST, prompt_mode="none"))
    for figure in (draw_ranks(comparison), draw_bump(comparison, 2)):
        drawn = json.dumps([figure["data"], figure["layout"], figure["narrow"]])
        assert "<img" not in drawn
        assert "<script" not in drawn
        assert "$" not in drawn


def test_chips_fill_b_and_follow_the_form(tab, monkeypatch):
    monkeypatch.setattr("e5studio.studio.compare.tab.has_int8", lambda: False)
    assert tab.on_form(OFFLINE, "none")[tab.chips] == []
    assert tab.setting.dtype not in tab.on_form(OFFLINE, "none")
    assert "Another instruction" in words_of(tab.on_form(INSTRUCT, "retrieval")[tab.chips])
    monkeypatch.setattr("e5studio.studio.compare.tab.has_int8", lambda: True)
    assert ("int8", "int8") in tab.on_form(OFFLINE, "none")[tab.setting.dtype]["choices"]
    changes = tab.setting.fill(replace(INT8, instruction="Find it"))
    assert (changes[tab.setting.dtype], changes[tab.setting.first_dtype]) == ("int8", "auto")
    assert changes[tab.setting.instruction]["value"] == "Find it"


def test_a_chip_that_no_longer_fits_the_form_is_refused_in_words(tab):
    event = gr.EventData(None, {"key": "instruction"})
    request = SimpleNamespace(session_hash="a")
    typed = (ENGLISH, "retrieval", "a", "b", "", "line")
    (changes,) = tab.on_chip(None, None, False, "", request, event, *typed)
    assert "does not work with the model in the form" in words_of(changes[tab.status])
