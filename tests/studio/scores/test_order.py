"""Another order of rows and columns shows the same scores, and a click still finds its texts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from e5studio.studio.charts.matrix import row_shades
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.scores.charts import ordered_heat_map
from e5studio.studio.scores.order import ORDERS, matrix_order, valid_shading
from tests.studio.conftest import OFFLINE

QUERIES = "how long to boil an egg\nwhy is the sky blue\nwho painted the Mona Lisa"
PASSAGES = (
    "Leonardo da Vinci painted it.\nSunlight is scattered, so the sky is blue.\nSix minutes in boiling water.\nTides."
)


@pytest.fixture(scope="module")
def result(engine):
    return engine.score(ScoreRequest(OFFLINE, "none", QUERIES, PASSAGES))


@pytest.mark.parametrize("order", ORDERS)
def test_every_row_and_column_is_there_once(result, order):
    rows, columns = matrix_order(result, order)
    assert sorted(rows) == [0, 1, 2]
    assert sorted(columns) == [0, 1, 2, 3]


def test_best_first_puts_matches_on_the_diagonal(result):
    rows, columns = matrix_order(result, "score")
    sorted_scores = result.scores[np.ix_(rows, columns)]
    assert (np.diff(sorted_scores.max(axis=1)) <= 0).all()
    assert sorted_scores.argmax(axis=1)[0] == 0
    assert (np.diff(sorted_scores.argmax(axis=1)) > 0).all()


@pytest.mark.parametrize("order", ORDERS)
def test_a_cell_keeps_its_score_texts_and_place(result, order):
    figure = ordered_heat_map(result, order)
    hover, cells = figure["hover"], np.array(figure["data"][0]["z"])
    for drawn_row, row in enumerate(hover["row_places"]):
        assert hover["rows"][drawn_row] == [result.queries.labels[row], result.queries.texts[row]]
        for drawn_column, column in enumerate(hover["column_places"]):
            assert hover["columns"][drawn_column][1] == result.passages.texts[column]
            assert cells[drawn_row, drawn_column] == pytest.approx(result.scores[row, column], abs=1e-3)


def test_row_by_row_the_colours_are_a_rows_own_and_the_scores_stay(result):
    figure = ordered_heat_map(result, "written", "row")
    shades = np.array(figure["data"][0]["z"])
    assert (shades.max(axis=1) == 1).all()
    assert (shades >= 0).all()
    assert (shades.argsort(axis=1) == result.scores.argsort(axis=1)).all()
    np.testing.assert_allclose(figure["hover"]["values"], result.scores, atol=1e-3)
    assert not figure["data"][0]["showscale"]  # it would be another one for each row
    assert ordered_heat_map(result, "written", "all")["hover"]["values"] is None


def test_scores_that_lie_close_are_not_painted_as_if_they_lay_far_apart():
    np.testing.assert_allclose(row_shades(np.array([[80, 80.5]], np.float32)), [[0.75, 1]])


def test_e5_is_coloured_row_by_row_and_others_together(engine, result, score):
    assert valid_shading(None, result) == "all"
    of_e5 = score(QUERIES, PASSAGES)
    assert valid_shading(None, of_e5) == valid_shading("<b>", of_e5) == "row"
    assert valid_shading("all", of_e5) == "all"
    assert valid_shading(None, score(QUERIES, "one passage")) == "all"


def test_the_outline_follows_its_cell(result):
    for order in ORDERS:
        figure = ordered_heat_map(result, order)
        cells = np.array(figure["data"][0]["z"])
        (frames,) = figure["layout"]["shapes"]
        corners = [tuple(map(float, start.split(","))) for start in re.findall("M([^H]+)H", frames["path"])]
        assert corners == [(int(cells[row].argmax()) - 0.5, row - 0.5) for row in range(3)]


@pytest.mark.parametrize("order", ORDERS)
def test_texts_among_themselves_keep_a_blank_diagonal(engine, order):
    figure = ordered_heat_map(engine.score(ScoreRequest(OFFLINE, "none", QUERIES, "")), order)
    assert [figure["data"][0]["z"][place][place] for place in range(3)] == [None] * 3
