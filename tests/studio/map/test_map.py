"""What the map shows of a result and says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from e5studio.studio.map import text as map_text
from e5studio.studio.map.charts import draw_map
from e5studio.studio.map.placing import (
    COLOURS,
    MapSettings,
    method_choices,
    place_texts,
    true_neighbours,
    valid_settings,
)
from e5studio.studio.map.table import chosen_table, map_table
from tests.studio.node_text import text_of

QUESTIONS = "summit of a mountain\nvalley of a river\nprotein a day\nstone in a river\nmountain top"
ANSWERS = "the top of a mountain\na river in a valley\n46 grams of protein\nrivers carry stones\nsummits are high"


@pytest.mark.parametrize("n_dims", [2, 3])
def test_the_map_says_what_it_is_worth(score, n_dims):
    result = score("protein\nsummit\ntop", "one\ntwo\nthree")
    text_map = place_texts(result, MapSettings("pca", n_dims))
    caption = map_text.caption(result, text_map, "role")
    assert "% of the variance" in caption
    assert caption.startswith("Vectors of e5-small-v2.")
    quality = text_of(map_text.quality(0.256, 5, text_map.trust, 500))
    assert quality.startswith("Neighbours kept 26%")
    assert "Of the 5 texts nearest to each" in quality
    assert f"Trustworthiness {text_map.trust:.2f}" in quality
    assert "estimated on 500 texts" in quality
    assert map_text.quality(1, 1, None) == []
    assert len(draw_map(result, text_map, "role")["data"]) == 3


@pytest.mark.parametrize("texts", ["a\nb", "same\nsame"])
def test_two_points_make_a_map_too(score, texts):
    result = score(texts, "", prompt_mode="symmetric")
    text_map = place_texts(result, MapSettings("pca", 3))
    for colour in COLOURS:
        json.dumps(draw_map(result, text_map, colour), allow_nan=False)


@pytest.mark.parametrize("method", ["tsne", "axis"])
@pytest.mark.parametrize("n_dims", [2, 3])
def test_other_projections_say_what_they_are(score, method, n_dims):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings(method, n_dims))
    assert text_map.coordinates.shape == (10, n_dims)
    caption = map_text.caption(result, text_map, "role")
    assert ("t-SNE keeps near neighbours" if method == "tsne" else "mean of the queries") in caption
    assert ("fewer than 15" in caption) == (method == "tsne")
    json.dumps(draw_map(result, text_map, "role"), allow_nan=False)


def test_a_method_that_cannot_place_the_texts_is_named_and_pca_takes_its_place(score):
    result = score(QUESTIONS, "", prompt_mode="symmetric")
    text_map = place_texts(result, MapSettings("axis", 3))
    assert (text_map.settings, text_map.instead_of) == (MapSettings("pca", 3), "axis")
    caption = map_text.caption(result, text_map, "role")
    assert "Query\N{EN DASH}passage axis needs texts in both boxes: this is PCA." in caption
    assert not draw_map(result, text_map, "role")["is_stand_in"]


def test_a_method_that_takes_seconds_waits_until_somebody_looks(score):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings("umap"), is_quick=True)
    assert "UMAP follows: this is PCA." in map_text.caption(result, text_map, "role")
    assert draw_map(result, text_map, "role")["is_stand_in"]
    assert place_texts(result, MapSettings("axis"), is_quick=True).instead_of is None


def test_groups_are_counted_and_named(score):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings("pca", 2))
    assert "topics by k-means" in map_text.caption(result, text_map, "cluster")
    figure = draw_map(result, text_map, "cluster")
    assert any("mountain" in trace.get("name", "") for trace in figure["data"])


def test_a_picked_text_is_joined_to_its_true_neighbours(score):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings("pca", 2))
    near = true_neighbours(result, text_map, "Q1")
    order = (result.vectors @ result.vectors[0]).argsort()[::-1][1:6]
    assert [label for label, _, _ in near] == [result.points[0][row] for row in order]
    assert near[0][2] == pytest.approx(100 * float(result.vectors[order[0]] @ result.vectors[0]), abs=1e-3)
    assert len(draw_map(result, text_map, "role", "Q1")["data"][0]["x"]) == 3 * 5
    figure = draw_map(result, text_map, "role", "Q1")
    assert figure["hover"]["traces"][-1] == [["Q1", "summit of a mountain"]]  # in a ring
    caption = map_text.caption(result, text_map, "role", "Q1")
    assert "best match" not in caption
    assert "Lines join Q1 to the 5 texts" in caption
    assert "Nearest in all dimensions" in text_of(map_text.point(result, "Q1", near))
    assert true_neighbours(result, text_map, "Q99") == []


def test_texts_that_were_cut_are_marked_on_the_map(score):
    result = score("summit", "short\n" + "word " * 700 + "\nriver")
    text_map = place_texts(result, MapSettings())
    figure = draw_map(result, text_map, "role")
    names = [name for trace in figure["data"] for name in trace.get("text", [])]
    assert [name for name in names if "!" in name] == ["P2 !"]
    [reason] = [entry[2:] for trace in figure["hover"]["traces"] for entry in trace if entry[0] == "P2"]
    assert "Cut off" in reason[0]
    assert [entry[0] for entry in map_table(result, text_map).texts[0] if len(entry) > 2] == ["P2"]


def test_shades_of_score_and_length_are_those_of_the_texts(score):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings())
    for colour, values in (
        ("best", [*result.scores.max(axis=1), *result.scores.max(axis=0)]),
        ("tokens", [n for report in result.reports for n in report.n_tokens]),
    ):
        figure = draw_map(result, text_map, colour)
        shades = [value for trace in figure["data"][1:] for value in trace["marker"]["color"]]
        assert shades == pytest.approx([float(value) for value in values], abs=1e-3)
        assert figure["data"][1]["marker"]["cmin"] == pytest.approx(min(shades), abs=1e-3)
        assert figure["data"][1]["marker"]["cmax"] == pytest.approx(max(shades), abs=1e-3)


def test_the_texts_of_a_map_are_listed_with_their_true_neighbours(score):
    result = score(QUESTIONS, ANSWERS)
    text_map = place_texts(result, MapSettings())
    table = map_table(result, text_map)
    cosines = 100 * result.vectors @ result.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    for row in table.rows:
        assert row[1] == cosines[row[0]].argmax()
        assert row[2] == pytest.approx(cosines[row[0]].max(), abs=0.01)
    some = chosen_table(*result.points, ["Q2", "P1", "nothing", None])
    assert [some.texts[0][row[0]] for row in some.rows] == [["Q2", "valley of a river"], ["P1", ANSWERS.split("\n")[0]]]
    assert some.caption == "Texts in the loop: 2"
    json.dumps(asdict(table))


def test_settings_from_strangers_are_taken_where_they_are_some():
    assert valid_settings() == MapSettings()
    assert valid_settings("umap", 3, 30, 0.5, 12, 7) == MapSettings("umap", 3, 30, 0.5, 12, 7)
    assert valid_settings("<b>", 4, None, "0.5", True, float("nan")) == MapSettings()
    wild = valid_settings("tsne", "3", -1, 7, 1e9, -5)
    assert (wild.n_dims, wild.n_neighbors, wild.min_dist, wild.perplexity, wild.seed) == (2, 2, 1, 100, 0)
    assert [valid_settings(seed=seed).seed for seed in (1.7, 99_999_999_999)] == [1, 4_294_967_295]


def test_settings_change_the_map_and_are_told(score):
    result = score(QUESTIONS, ANSWERS)
    one, other = (place_texts(result, MapSettings("tsne", perplexity=each)) for each in (1.0, 3.0))
    assert not np.allclose(one.coordinates, other.coordinates)
    assert "perplexity 1, seed 0" in map_text.caption(result, one, "role")
    few = place_texts(result, MapSettings("tsne"))
    assert "perplexity 3 in place of 30, for there are few texts" in map_text.caption(result, few, "role")


def test_projections_that_cannot_work_say_why():
    reasons = {choice.value: choice.reason for choice in method_choices(4, sides=False)}
    assert reasons == {"pca": "", "umap": "needs 5 texts", "tsne": "needs 5 texts", "axis": "needs texts in both boxes"}
    assert not any(choice.reason for choice in method_choices(5))
    assert [(choice.value, choice.reason) for choice in method_choices(90, has_axis=False, max_tsne=80)] == [
        ("pca", ""),
        ("umap", ""),
        ("tsne", "up to 80 texts"),
    ]


def test_the_lines_of_a_map_are_said_of_the_texts_that_have_one(score):
    def caption(result):
        return map_text.caption(result, place_texts(result, MapSettings()), "role")

    assert "A line joins each query to its best passage" in caption(score("a\nb", "c\nd\ne"))
    assert "each text to its best match" in caption(score("a\nb\nc", "", prompt_mode="symmetric"))
    assert "each of the texts" in caption(score("a\nb", "c\nd\ne", prompt_mode="symmetric"))


def test_a_text_is_shown_in_full_where_there_is_one(score):
    result = score("protein\nsummit", "one\ntwo\nthree")
    assert text_of(map_text.point(result, "P2")) == "P2two"
    assert map_text.point(result, "<b>") == []
