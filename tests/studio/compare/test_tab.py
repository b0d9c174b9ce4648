"""What the Compare tab says, draws, lists and saves of a comparison."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

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
from e5studio.studio.compare.tab import CompareTab, show_compared
from e5studio.studio.compare.tables import comparison_columns, grid_columns, grid_table, moves_table
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.serving.table_files import columns_file
from tests.studio.browsing import NASTY
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

QUERIES = ["how tall is the mountain", "who wrote the letter", "what do bees eat"]
PASSAGES = ["the summit lies at 3,000 metres", "she signed it herself", "nectar and pollen", "a train leaves at noon"]
ASKED = ScoreRequest(ENGLISH, "retrieval", "\n".join(QUERIES), "\n".join(PASSAGES))


@pytest.fixture(scope="module")
def found(engine):
    return compare(engine, ASKED, replace(ASKED, prompt_mode="none"), is_paired=True)


@pytest.fixture(scope="module")
def grid(engine):
    return try_prompts(engine, ASKED, is_paired=True)


def words_of(nodes):
    if isinstance(nodes, str):
        return nodes
    first = 2 if nodes and isinstance(nodes[0], str) else 0
    return " ".join(words_of(node) for node in nodes[first:])


def test_both_settings_are_told_apart_by_their_prompts(found):
    said = words_of(compare_text.settings(found))
    assert "Query → passage, float32 , queries  query: " in said
    assert "No prompt, float32, nothing in front of the texts" in said


def test_the_sentences_hold_the_numbers_of_the_matrices(found):
    said = words_of(compare_text.differences(found))
    first, second = found.counted
    same = int((first.argmax(axis=1) == second.argmax(axis=1)).sum())
    assert f"{same} of 3 queries keep their best match under B." in said
    assert f"{first.mean():.1f} on average under A" in said
    right = [int((np.diagonal(s) >= s[:3, :].max(axis=1) - 1e-9).sum()) for s in (first, second)]
    assert f"comes first for {right[0]} of 3 under A and {right[1]} of 3 under B" in said
    assert "easily chance" in said


def test_a_setting_compared_with_itself_is_called_so(engine, found):
    same = compare(engine, ASKED, ASKED)
    assert words_of(compare_text.differences(same)).startswith("A and B are the same setting")
    assert "same setting" not in words_of(compare_text.differences(found))


def test_nothing_is_said_of_right_passages_where_none_are_known(engine):
    found = compare(engine, ASKED, ASKED)
    assert found.right_ranks is None
    assert "right passage" not in words_of(compare_text.differences(found))


def test_the_difference_map_is_b_minus_a_and_its_colours_are_even(found):
    figure = draw_differences(found)
    heat = figure["data"][0]
    np.testing.assert_allclose(heat["z"], found.deltas, atol=1e-4)
    assert heat["zmin"] == -heat["zmax"]
    assert figure["hover"]["is_signed"]
    assert all(text[0] in "+\N{MINUS SIGN}" for text in figure["data"][1]["text"])
    json.dumps(figure)


def test_lines_lead_from_one_rank_to_the_other(found):
    ranked = ranked_passages(found, 0)
    assert sorted(passage.ranks[0] for passage in ranked) == [1, 2, 3, 4]
    for passage in ranked:
        column = PASSAGES.index(passage.text)
        assert passage.scores == (found.first.scores[0, column], found.second.scores[0, column])
        assert passage.ranks[1] == 1 + int((found.second.scores[0] > passage.scores[1]).sum())
    figure = draw_bump(found, 0)
    assert [line["y"] for line in figure["data"][:-1]] == [list(passage.ranks) for passage in ranked]


def test_of_many_passages_the_best_are_drawn(engine):
    many = "\n".join(f"passage number {n} of many" for n in range(50))
    found = compare(engine, replace(ASKED, passages=many), replace(ASKED, prompt_mode="none"))
    figure = draw_bump(found, 0)
    assert len(figure["data"]) == MAX_LINES + 1
    drawn = {text for trace in figure["data"][-1:] for text in trace["text"]}
    assert "1" in drawn
    assert f"the {MAX_LINES} best of 50" in words_of(compare_text.bump(found, 0))


def test_maps_lie_on_each_other_as_well_as_they_can(engine, found):
    same = compare(engine, ASKED, ASKED)
    one, other = draw_maps(same)
    for trace, twin in zip(one["data"], other["data"], strict=True):
        np.testing.assert_allclose(trace["x"], twin["x"], atol=1e-3)
        np.testing.assert_allclose(trace["y"], twin["y"], atol=1e-3)
    assert {len(trace["x"]) for trace in draw_maps(found)[1]["data"]} == {3, 4}


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
    assert [row[:2] for row in table["rows"]][5] == ["query prompt", "passage prompt"]
    assert table["marked"] == [5]
    assert table["rows"][5][2] == 100
    for row, cell in zip(table["rows"], grid.cells, strict=True):
        assert row[5] == pytest.approx(np.mean(1 / cell.right_ranks), abs=1e-6)
    said = words_of(compare_text.grid_differences(grid))
    assert "Mean reciprocal rank" in said


@pytest.mark.parametrize("model", [INSTRUCT, OFFLINE])
def test_every_kind_of_model_has_a_grid(engine, model):
    grid = try_prompts(engine, replace(ASKED, model=model))
    assert len(show_compared(grid)) == n_outputs()
    said = words_of(compare_text.grid_settings(grid))
    assert ("trained without prompts" in said) == (model == OFFLINE)
    assert sum(cell.is_usual for cell in grid.cells) == 1


def test_a_pair_is_told_under_both_and_under_all(found, grid):
    said = words_of(compare_text.compared_pair(found, 1, 2))
    assert QUERIES[1] in said
    assert PASSAGES[2] in said
    assert f"{found.second.scores[1, 2] - found.first.scores[1, 2]:+.1f}".replace("-", "\N{MINUS SIGN}") in said
    assert words_of(compare_text.grid_pair(grid, 1, 2)).count("rank ") == 9
    for nobody in ((-1, 0), (0, 4), (3, 0)):
        assert compare_text.compared_pair(found, *nobody) == []
        assert compare_text.grid_pair(grid, *nobody) == []


def test_texts_among_themselves_are_compared_without_themselves(engine):
    asked = replace(ASKED, prompt_mode="symmetric", passages="")
    found = compare(engine, asked, replace(asked, prompt_mode="none"))
    assert len(show_compared(found)) == n_outputs()
    assert all(row[0] != row[1] for row in moves_table(found)["rows"])
    assert len(comparison_columns(found)["row"]) == 6
    assert [passage.label for passage in ranked_passages(found, 0)].count("A1") == 0


def test_one_text_against_one_is_no_fault(engine):
    asked = replace(ASKED, queries="a", passages="b")
    found = compare(engine, asked, replace(asked, prompt_mode="none"))
    assert len(show_compared(found)) == n_outputs()


def test_of_two_models_the_vectors_are_not_compared(engine):
    found = compare(engine, ASKED, replace(ASKED, model=OFFLINE, prompt_mode="none"))
    assert shifts(found) is None
    assert "nothing in common" in words_of(compare_text.moved(None))
    assert len(show_compared(found)) == n_outputs()


def test_queries_move_as_far_as_their_vectors_say(found):
    figure = draw_shifts(found, shifts(found))
    first, second = found.first.vectors[:3], found.second.vectors[:3]
    np.testing.assert_allclose(figure["data"][0]["x"], 100 * (1 - (first * second).sum(axis=1)), atol=2e-3)


def test_saved_files_hold_all_pairs(found, grid):
    content = columns_file("comparison.csv", comparison_columns(found), {}).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert len(rows) == 12
    assert float(rows[5]["change"]) == pytest.approx(float(found.deltas[1, 1]), rel=1e-4)
    table = pyarrow.parquet.read_table(io.BytesIO(columns_file("comparison.parquet", grid_columns(grid), {}).content))
    assert table.num_rows == 9 * 12
    assert table["before_queries"][-1].as_py() == "passage prompt"


def test_texts_stay_texts(engine):
    texts = "\n".join(NASTY)
    found = compare(engine, replace(ASKED, queries=texts, passages=texts), replace(ASKED, prompt_mode="none"))
    for figure in (draw_differences(found), draw_bump(found, 2), draw_shifts(found, shifts(found))):
        drawn = json.dumps([figure["data"], figure["layout"], figure["narrow"]])
        assert "<img" not in drawn
        assert "<script" not in drawn
        assert "$" not in drawn


def n_outputs():
    return len(CompareTab.__dataclass_fields__) - len(
        {"form", "prompts", "instruction", "precision", "is_paired", "start", "stop", "status"}
    )
