"""What the Compare tab says, draws, lists and saves of a comparison."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import gradio as gr
import numpy as np
import pyarrow.parquet
import pytest

from e5studio.studio.compare import text as compare_text
from e5studio.studio.compare.charts import (
    MAX_LINES,
    draw_bump,
    draw_differences,
    draw_grid,
    draw_maps,
    draw_shifts,
    ranked_passages,
)
from e5studio.studio.compare.comparison import compare, shifts, try_prompts
from e5studio.studio.compare.tab import CompareTab
from e5studio.studio.compare.tables import comparison_columns, grid_columns, grid_table, moves_table
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.formatting import signed
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import Downloads
from e5studio.studio.serving.table_files import columns_file
from tests.studio.browsing import MARKS, NASTY
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

pytestmark = MARKS[1:]  # no browser

QUERIES = ["how tall is the mountain", "who wrote the letter", "what do bees eat"]
PASSAGES = ["the summit lies at 3,000 metres", "she signed it herself", "nectar and pollen", "a train leaves at noon"]
REQUEST = ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES))


@pytest.fixture(scope="module")
def comparison(engine):
    return compare(engine, REQUEST, replace(REQUEST, prompt_mode="none"), is_paired=True)


@pytest.fixture(scope="module")
def tab(engine):
    with gr.Blocks():
        return CompareTab(Services(engine, Downloads(), VisitorStores()), ENGLISH)


@pytest.fixture(scope="module")
def grid(engine):
    return try_prompts(engine, REQUEST, is_paired=True)


def words_of(nodes):
    if isinstance(nodes, str):
        return nodes
    first = 2 if nodes and isinstance(nodes[0], str) else 0
    return " ".join(words_of(node) for node in nodes[first:])


def test_both_settings_are_told_apart_by_their_prompts(comparison):
    words = words_of(compare_text.settings(comparison))
    assert "Query → passage, float32 , queries  query: " in words
    assert "No prompt, float32, nothing in front of the texts" in words


def test_the_sentences_hold_the_numbers_of_the_matrices(comparison):
    words = words_of(compare_text.differences(comparison))
    first, second = comparison.counted
    same = int((first.argmax(axis=1) == second.argmax(axis=1)).sum())
    assert f"{same} of 3 queries keep their best match under B." in words
    assert f"{first.mean():.1f} on average under A" in words
    right = [int((np.diagonal(s) >= s[:3, :].max(axis=1) - 1e-9).sum()) for s in (first, second)]
    assert f"comes first for {right[0]} of 3 under A and {right[1]} of 3 under B" in words
    assert "easily chance" in words


def test_a_setting_compared_with_itself_is_called_so(engine, comparison):
    same = compare(engine, REQUEST, REQUEST)
    assert words_of(compare_text.differences(same)).startswith("A and B are the same setting")
    assert "same setting" not in words_of(compare_text.differences(comparison))


def test_nothing_is_said_of_right_passages_where_none_are_known(engine):
    comparison = compare(engine, REQUEST, REQUEST)
    assert comparison.right_ranks is None
    assert "right passage" not in words_of(compare_text.differences(comparison))


def test_the_difference_map_is_b_minus_a_and_its_colours_are_even(comparison):
    figure = draw_differences(comparison)
    heat = figure["data"][0]
    np.testing.assert_allclose(heat["z"], comparison.deltas, atol=1e-4)
    assert heat["zmin"] == -heat["zmax"]
    assert figure["hover"]["is_signed"]
    assert all(text[0] in "+\N{MINUS SIGN}" for text in figure["data"][1]["text"])
    json.dumps(figure)


def test_lines_lead_from_one_rank_to_the_other(comparison):
    ranked = ranked_passages(comparison, 0)
    assert sorted(passage.ranks[0] for passage in ranked) == [1, 2, 3, 4]
    for passage in ranked:
        column = PASSAGES.index(passage.text)
        assert passage.scores == (comparison.first.scores[0, column], comparison.second.scores[0, column])
        assert passage.ranks[1] == 1 + int((comparison.second.scores[0] > passage.scores[1]).sum())
    figure = draw_bump(comparison, 0)
    assert [line["y"] for line in figure["data"][:-1]] == [list(passage.ranks) for passage in ranked]


def test_of_many_passages_the_best_are_drawn(engine):
    many = "\n".join(f"passage number {n} of many" for n in range(50))
    comparison = compare(engine, replace(REQUEST, passages=many), replace(REQUEST, prompt_mode="none"))
    figure = draw_bump(comparison, 0)
    assert len(figure["data"]) == MAX_LINES + 1
    drawn = {text for trace in figure["data"][-1:] for text in trace["text"]}
    assert "1" in drawn
    assert f"the {MAX_LINES} best of 50" in words_of(compare_text.bump(comparison, 0))


def test_maps_lie_on_each_other_as_well_as_they_can(engine, comparison):
    same = compare(engine, REQUEST, REQUEST)
    one, other = draw_maps(same)
    for trace, twin in zip(one["data"], other["data"], strict=True):
        np.testing.assert_allclose(trace["x"], twin["x"], atol=1e-3)
        np.testing.assert_allclose(trace["y"], twin["y"], atol=1e-3)
    assert {len(trace["x"]) for trace in draw_maps(comparison)[1]["data"]} == {3, 4}


def test_a_grid_holds_a_matrix_for_each_pair_of_prompts(grid):
    figure = draw_grid(grid)
    heats = [trace for trace in figure["data"] if trace["type"] == "heatmap"]
    assert len(heats) == 9
    assert len({(heat["xaxis"], heat["yaxis"]) for heat in heats}) == 9
    assert len({(heat["zmin"], heat["zmax"]) for heat in heats}) == 1
    for heat, cell in zip(heats, grid.cells, strict=True):
        np.testing.assert_allclose(heat["z"], cell.scores, atol=1e-4)
    titles = [note["text"] for note in figure["layout"]["annotations"]]
    assert titles == ["passages<br>nothing", "passages<br>query prompt", "passages<br>passage prompt"]
    json.dumps(figure)


def test_the_table_of_prompts_counts_and_marks_the_page_s_own(grid):
    table = grid_table(grid)
    assert [row[:2] for row in table.rows][5] == ["query prompt", "passage prompt"]
    assert table.marked == [5]
    assert table.rows[5][2] == 100
    for row, cell in zip(table.rows, grid.cells, strict=True):
        assert row[5] == pytest.approx(np.mean(1 / cell.right_ranks), abs=1e-6)
    words = words_of(compare_text.grid_differences(grid))
    assert "Mean reciprocal rank" in words


@pytest.mark.parametrize("model", [INSTRUCT, OFFLINE])
def test_every_kind_of_model_has_a_grid(engine, tab, model):
    grid = try_prompts(engine, replace(REQUEST, model=model))
    assert tab.show(grid)[tab.comparison] is grid
    words = words_of(compare_text.grid_settings(grid))
    assert ("trained without prompts" in words) == (model == OFFLINE)
    assert sum(cell.is_usual for cell in grid.cells) == 1


def test_a_pair_is_told_under_both_and_under_all(comparison, grid):
    words = words_of(compare_text.compared_pair(comparison, 1, 2))
    assert QUERIES[1] in words
    assert PASSAGES[2] in words
    assert signed(float(comparison.deltas[1, 2])) in words
    assert words_of(compare_text.grid_pair(grid, 1, 2)).count("rank ") == 9
    for nobody in ((-1, 0), (0, 4), (3, 0)):
        assert compare_text.compared_pair(comparison, *nobody) == []
        assert compare_text.grid_pair(grid, *nobody) == []


def test_texts_among_themselves_are_compared_without_themselves(engine, tab):
    request = replace(REQUEST, prompt_mode="symmetric", passages="")
    comparison = compare(engine, request, replace(request, prompt_mode="none"))
    assert tab.show(comparison)[tab.pair] == []
    assert all(row[0] != row[1] for row in moves_table(comparison).rows)
    assert len(comparison_columns(comparison)["row"]) == 6
    assert [passage.label for passage in ranked_passages(comparison, 0)].count("A1") == 0


def test_one_text_against_one_is_no_fault(engine, tab):
    request = replace(REQUEST, queries="a", passages="b")
    comparison = compare(engine, request, replace(request, prompt_mode="none"))
    assert tab.show(comparison)[tab.comparison] is comparison


def test_of_two_models_the_vectors_are_not_compared(engine, tab):
    comparison = compare(engine, REQUEST, replace(REQUEST, model=OFFLINE, prompt_mode="none"))
    assert shifts(comparison) is None
    assert tab.show(comparison)[tab.shifts] is None
    assert "nothing in common" in words_of(tab.show(comparison)[tab.shift_text])


def test_queries_move_as_far_as_their_vectors_say(comparison):
    figure = draw_shifts(comparison, shifts(comparison))
    first, second = comparison.first.vectors[:3], comparison.second.vectors[:3]
    np.testing.assert_allclose(figure["data"][0]["x"], 100 * (1 - (first * second).sum(axis=1)), atol=2e-3)


def test_saved_files_hold_all_pairs(comparison, grid):
    content = columns_file("comparison.csv", comparison_columns(comparison), {}).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert len(rows) == 12
    assert float(rows[5]["change"]) == pytest.approx(float(comparison.deltas[1, 1]), rel=1e-4)
    table = pyarrow.parquet.read_table(io.BytesIO(columns_file("comparison.parquet", grid_columns(grid), {}).content))
    assert table.num_rows == 9 * 12
    assert table["before_queries"][-1].as_py() == "passage prompt"


def test_texts_stay_texts(engine):
    texts = "\n".join(NASTY)
    comparison = compare(engine, replace(REQUEST, queries=texts, passages=texts), replace(REQUEST, prompt_mode="none"))
    for figure in (draw_differences(comparison), draw_bump(comparison, 2), draw_shifts(comparison, shifts(comparison))):
        drawn = json.dumps([figure["data"], figure["layout"], figure["narrow"]])
        assert "<img" not in drawn
        assert "<script" not in drawn
        assert "$" not in drawn


def test_a_comparison_after_a_grid_shows_its_details_and_a_grid_hides_them(tab, comparison, grid):
    for shown, is_detailed in ((comparison, True), (grid, False)):
        changes = tab.show(shown)
        assert changes[tab.details]["visible"] == is_detailed
        assert all((changes[plot] is not None) == is_detailed for plot in (tab.bump, tab.first_map, tab.second_map))


def test_presets_fill_b_or_say_why_not(tab):
    typed = ("retrieval", "a", "b", "Find it", "line", "")
    changes = tab.on_precision(ENGLISH, *typed)
    assert (changes[tab.setting.dtype], changes[tab.setting.first_dtype]) == ("int8", "auto")
    assert changes[tab._is_filled]
    refused = tab.on_instruction(ENGLISH, *typed)
    assert "takes no instruction" in words_of(refused[tab.status])
    assert not refused[tab._is_filled]
    changes = tab.on_instruction(INSTRUCT, *typed)
    assert changes[tab.setting.instruction]["value"] not in ("", "Find it")
