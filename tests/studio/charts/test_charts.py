"""Figures: the data they carry, colours that can be read, and texts that stay texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from e5studio.studio.charts.density import density_lines
from e5studio.studio.charts.figure import plot_text, typed
from e5studio.studio.charts.matrix import (
    MAX_CELLS_WITH_NUMBERS,
    colour_range,
    difference_map,
    heat_map,
    rank_map,
    word_grid,
)
from e5studio.studio.charts.palette import COLOUR_KEYS, PALETTES, number_colours
from e5studio.studio.charts.point_groups import (
    ColourScale,
    cluster_groups,
    plain_group,
    role_groups,
    shaded_groups,
    valued_groups,
)
from e5studio.studio.charts.points import scatter_map
from e5studio.studio.charts.topics import Topic, topic_names, topics_on
from e5studio.studio.compare.charts import RankedPassage, bump_chart
from e5studio.studio.corpus.charts import interval_chart
from e5studio.studio.corpus.evaluation import Mean
from e5studio.studio.diagnose.charts import count_bars, outlines

NASTY = ["<img src=x onerror=alert(1)>", "${alert(1)} and $\\href{x}$", "{{x}} & `code` C:\\users"]


def figure_of(scores, best=None):
    n, m = scores.shape
    texts = [[f"{letter}{i}" for i in range(size)] for letter, size in (("q", n), ("p", m))]
    return heat_map(scores, *texts, *texts, best or [None] * n)


def lightness(colour):
    rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]]) @ linear)
    return float(np.array([0.2105, 0.7936, -0.0041]) @ lms)


def contrast(one, other):
    def luminance(colour):
        rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def colour_of(token, theme):
    """As the page's script finds it."""
    part = PALETTES[theme]
    for key in token.removeprefix("@").split(":"):
        part = part[int(key) if isinstance(part, list) else key]
    return part


def leaves(part, key=""):
    """All (key, value) of a figure; the items of a list have the key of the list."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield from leaves(value, name)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from leaves(value, key)
    else:
        yield key, part


def all_figures(text="a text"):
    """One figure of each kind, with `text` for every text, label and name."""
    scores = np.array([[91.9, 3.0], [70.4, 92.1]], np.float32)
    texts = [[text, text]] * 4
    points = np.arange(15, dtype=np.float32).reshape(5, 3)
    marked = {"links": [(0, 1)], "hits": [2], "picked": 1, "topics": [Topic(text, 1, 1, 3)]}
    shades = shaded_groups(2, [0.0, 0.5, 1.0, 0.2, 0.1], (text, text))
    passages = [RankedPassage(text, text, ranks, ranks) for ranks in ((1, 2), (2, 1), (3, 3))]
    values = np.arange(9, dtype=np.float32)
    return [
        heat_map(scores, *texts, [0, 1], (text, text)),
        heat_map(scores, *texts, [0, 1], (text, text), is_by_row=True, doubts=({0: text}, {1: text})),
        difference_map(scores, *texts, (text, text)),
        rank_map((np.array([[1, 2], [2, 1]]),) * 2, *texts, [0, 1], (text, text)),
        *(word_grid(scores, [text] * 2, [text] * 2, is_centred=is_centred) for is_centred in (True, False)),
        scatter_map(points, shades, [text] * 5, [text] * 5, scale=ColourScale(text, 0, 1, ".0%"), **marked),
        scatter_map(points[:, :2], cluster_groups(2, [0, 1, 0, 1, 1], [text] * 2), [text] * 5, [text] * 5, **marked),
        scatter_map(points[:, :2], valued_groups([0, float("nan"), 1, 2, 3], text), [text] * 5, [text] * 5),
        bump_chart(passages, (text, text)),
        outlines({text: values, f"{text}, again": values}, text, mark=3, mark_name=text),
        count_bars(values, text, expected=3, expected_name=text),
        interval_chart([(text, Mean(0.5, None))], text),
    ]


@pytest.mark.parametrize("theme", PALETTES)
def test_every_colour_is_a_token_of_the_palette(theme):
    for figure in all_figures():
        for key, value in leaves([figure["data"], figure["layout"], figure["narrow"]]):
            if key in COLOUR_KEYS and isinstance(value, str):
                assert colour_of(value, theme)
            else:
                assert not str(value).startswith(("@", "#", "rgb")), (key, value)


def test_no_text_stands_where_the_script_looks_for_tokens():
    for plain, tricky in zip(all_figures(), all_figures("@ink"), strict=True):
        one, other = (
            [(key, str(value)) for part in ("data", "layout", "narrow") for key, value in leaves(figure[part])]
            for figure in (plain, tricky)
        )
        assert [leaf for leaf in one if leaf[0] in COLOUR_KEYS] == [leaf for leaf in other if leaf[0] in COLOUR_KEYS]
        assert [leaf for leaf in other if "@ink" in leaf[1] and leaf[0] not in COLOUR_KEYS]


@pytest.mark.parametrize("theme", PALETTES)
def test_equal_steps_of_score_are_equal_steps_of_lightness(theme):
    steps = np.diff([lightness(colour) for colour in colour_of("@scale:score", theme)])
    assert (np.sign(steps) == np.sign(steps[0])).all()
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.08)


@pytest.mark.parametrize(("scale", "least"), [("score", 4.3), ("difference", 4.1)])
@pytest.mark.parametrize("theme", PALETTES)
def test_numbers_stand_out_from_every_colour_of_the_scale(theme, scale, least):
    cells = colour_of(f"@scale:{scale}", theme)
    scores = np.linspace(0, 100, len(cells), dtype=np.float32)[None]
    inks = [colour_of(token, theme) for token in number_colours(scores, scale, colour_range(scores))]
    assert all(contrast(ink, cell) >= least for ink, cell in zip(inks, cells, strict=True))


def test_the_heat_map_shows_one_decimal_and_outlines_the_best():
    figure = figure_of(np.array([[91.93, -0.04], [70.38, 92.13]], np.float32), [0, 1])
    assert figure["data"][1]["text"] == ["<b>91.9</b>", "0.0", "70.4", "<b>92.1</b>"]
    (frames,) = figure["layout"]["shapes"]
    assert frames["path"] == "M-0.5,-0.5H0.5V0.5H-0.5Z" + "M0.5,0.5H1.5V1.5H0.5Z"
    json.dumps(figure)


def test_the_colours_span_the_data_but_never_a_sliver():
    assert colour_range(np.array([[70, 95]], np.float32)) == (70, 95)
    assert colour_range(np.array([[80, 80.5]], np.float32)) == (79.25, 81.25)
    low, high = colour_range(np.array([[83]], np.float32))
    assert high - low == 2


def test_a_large_matrix_drops_its_numbers_and_stays_an_array():
    scores = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    figure = figure_of(scores)
    assert scores.size > MAX_CELLS_WITH_NUMBERS
    assert len(figure["data"]) == 1
    np.testing.assert_array_equal(figure["data"][0]["z"], scores)
    assert len(figure["layout"]["yaxis"]["ticktext"]) <= 40
    assert figure["zoom"]


def test_small_arrays_stay_readable():
    assert typed(np.array([1.23456789], np.float32)) == [1.2346]


@pytest.mark.parametrize("text", NASTY)
def test_labels_of_the_plot_hold_no_markup_and_no_formulas(text):
    label = plot_text(text)
    assert "<" not in label
    assert "$" not in label
    assert ">" not in label.replace("<br>", "")


def test_labels_are_short_and_one_word_is_cut_too():
    assert len(plot_text("x" * 500, 26)) == 26
    assert plot_text("  many   spaces \n and lines ", 26) == "many spaces and lines"
    assert plot_text("one two three four", 120, width=9) == "one two<br>three<br>four"


def test_hover_texts_are_data_and_complete_beside_short_labels():
    figure = heat_map(np.zeros((1, 1), np.float32), [NASTY[0]], ["long " * 20], ["Q1"], ["P1"], [0])
    assert figure["hover"]["rows"] == [["Q1", NASTY[0]]]
    assert figure["hover"]["columns"] == [["P1", "long " * 20]]
    assert "<img" not in json.dumps([figure["data"], figure["layout"], figure["narrow"]])


@pytest.mark.parametrize("n_dims", [2, 3])
def test_the_map_tells_queries_and_passages_apart_by_colour_and_shape(n_dims):
    points = np.arange(5 * n_dims, dtype=np.float32).reshape(5, n_dims)
    groups = role_groups(2, 5, ("Queries", "Passages"))
    figure = scatter_map(points, groups, list("abcde"), ["Q1", "Q2", "P1", "P2", "P3"], links=[(0, 2), (1, 4)])
    lines, queries, passages = figure["data"]
    assert (queries["marker"]["symbol"], passages["marker"]["symbol"]) == ("circle", "diamond")
    assert queries["marker"]["color"] != passages["marker"]["color"]
    assert len(lines["x"]) == 6
    assert lines["x"][2] is None
    assert [len(named) for named in figure["hover"]["traces"]] == [0, 2, 3]
    assert ("z" in queries) == (n_dims == 3)
    json.dumps(figure)


def test_texts_of_one_side_make_one_kind_of_point():
    groups = role_groups(3, 3, ("Texts", "Compare with"))
    figure = scatter_map(np.zeros((3, 2), np.float32), groups, list("abc"), ["A1", "A2", "A3"])
    assert len(figure["data"]) == 1


def test_many_points_lose_their_labels_not_their_texts():
    n = 3000
    groups = role_groups(n, n, ("Texts", "Compare with"))
    figure = scatter_map(np.zeros((n, 2), np.float32), groups, ["t"] * n, [f"A{i}" for i in range(n)])
    lines, points = figure["data"]
    assert lines["type"] == "contour"
    assert points["type"] == "scattergl"
    assert points["mode"] == "markers"
    assert isinstance(points["x"], np.ndarray)
    assert [len(texts) for texts in figure["hover"]["traces"]] == [0, n]


def test_lines_of_density_rise_where_the_points_are():
    rng = np.random.default_rng(0)
    points = np.vstack([rng.normal([0, 0], 0.5, (200, 2)), rng.normal([10, 5], 0.5, (400, 2))]).astype(np.float32)
    lines = density_lines(points)
    z = np.array(lines["z"])
    row, column = np.unravel_index(z.argmax(), z.shape)
    assert (lines["x"][column], lines["y"][row]) == pytest.approx((10, 5), abs=0.7)
    assert z.sum() == pytest.approx(600, rel=0.01)
    same = density_lines(np.zeros((300, 2), np.float32))
    assert np.isfinite(same["z"]).all()
    json.dumps([lines, same])


def test_a_group_is_named_once_and_keeps_both_shapes():
    groups = cluster_groups(2, [0, 1, 0, 1, 1], ["summit, <b>peak</b>", ""])
    assert [(group.members, group.symbol) for group in groups] == [
        ((0,), "circle"),
        ((2,), "diamond"),
        ((1,), "circle"),
        ((3, 4), "diamond"),
    ]
    assert [group.name for group in groups] == ["1 summit, &lt;b&gt;peak&lt;/b&gt;", "", "2", ""]
    assert groups[0].colour == groups[1].colour != groups[2].colour
    figure = scatter_map(np.zeros((5, 2), np.float32), groups, list("abcde"), list("vwxyz"))
    assert [trace["showlegend"] for trace in figure["data"]] == [True, False, True, False]


def test_shades_have_one_scale_for_all():
    groups = shaded_groups(2, [0.0, 0.5, 1.0], ("Queries", "Passages"))
    figure = scatter_map(
        np.zeros((3, 2), np.float32), groups, list("abc"), list("xyz"), scale=ColourScale("kept", 0, 1, ".0%")
    )
    assert [trace["marker"]["color"] for trace in figure["data"]] == [[0.0, 0.5], [1.0]]
    assert [trace["marker"]["showscale"] for trace in figure["data"]] == [True, False]
    assert {trace["marker"]["colorscale"] for trace in figure["data"]} == {"@scale:shade"}


def test_the_name_of_a_scale_is_no_markup():
    groups = shaded_groups(2, [0.0, 1.0], ("Texts", ""))
    scale = ColourScale('<a href="javascript:1">score</a> $x$ ' + "long " * 50, 0, 1, ".0%")
    figure = scatter_map(np.zeros((2, 2), np.float32), groups, list("ab"), list("xy"), scale=scale)
    title = figure["data"][0]["marker"]["colorbar"]["title"]["text"]
    assert title.startswith("&lt;a href=")
    assert "<" not in title
    assert "$" not in title
    assert len(title) < 80


def test_each_number_that_is_written_into_a_cell_is_known_as_one():
    figure = figure_of(np.zeros((2, 3), np.float32))
    assert [figure["data"][index]["mode"] for index in figure["numbers"]] == ["text"]
    large = figure_of(np.zeros((64, 64), np.float32))
    assert large["numbers"] == []


def test_every_column_has_a_name_and_few_have_words():
    few, many = (figure_of(np.zeros((1, n), np.float32))["headings"] for n in (5, 100))
    assert few[4] == ["<b>p4</b>", "p4"]
    assert many[99] == ["<b>p99</b>", ""]
    words = [f"<word{i}>" for i in range(20)]
    headings = word_grid(np.zeros((3, 20), np.float32), words[:3], words, is_centred=False)["headings"]
    assert [name for name, _ in headings] == [f"&lt;word{i}&gt;" for i in range(20)]


def test_what_a_search_found_lights_up_with_its_rank_and_the_rest_fades():
    points = np.arange(6, dtype=np.float32).reshape(3, 2)
    figure = scatter_map(points, plain_group(3), list("abc"), ["11", "12", "13"], hits=[1], picked=2)
    plain, hits, ring = figure["data"]
    assert plain["text"] == [" ", " ", " "]
    assert plain["marker"]["opacity"] < 0.5
    assert (hits["text"], ring["text"]) == (["1"], ["13"])
    assert ring["marker"]["symbol"] == "circle-open"
    assert figure["hover"]["traces"] == [[["11", "a"], ["12", "b"], ["13", "c"]], [["12", "b"]], [["13", "c"]]]


def test_ranks_that_would_cover_a_better_one_are_left_out():
    points = np.array([[0, 0], [0, 0.01], [9, 9]], np.float32)
    figure = scatter_map(points, plain_group(3), list("abc"), list("xyz"), hits=[1, 0, 2])
    assert figure["data"][-1]["text"] == ["1", " ", "3"]


def test_topics_are_named_where_they_lie_and_only_if_they_lie_together():
    rng = np.random.default_rng(1)
    points = (np.repeat([[0, 0], [9, 0]], 30, axis=0) + rng.normal(size=(60, 2))).astype(np.float32)
    labels = np.repeat([0, 1], 30)
    labels[::6] = 2
    first, second = topics_on(points, labels, ["rivers", "bread", "scattered"])
    assert (first.name, second.name) == ("rivers", "bread")
    assert (first.x, second.x) == pytest.approx((0, 9), abs=1)
    figure = scatter_map(points, plain_group(60), ["t"] * 60, ["n"] * 60, topics=[first, second])
    assert [each["text"] for each in figure["layout"]["annotations"]] == ["<b>rivers</b>", "<b>bread</b>"]


def test_of_topics_that_would_overlap_the_larger_is_named():
    points = np.array([[0, 0], [9, 9]], np.float32)
    topics = [Topic("<b>small", 5, 5, 3), Topic("<b>large", 5.1, 5, 9), Topic("apart", 1, 8, 4)]
    names = [each["text"] for each in topic_names(points, topics, 600, 500)]
    assert names == ["<b>&lt;b&gt;large</b>", "<b>apart</b>"]


def test_names_of_neighbours_stand_apart():
    # A query below its passage, and one far from everything.
    points = np.array([[0, 0], [9, 9], [0, 0.3]], np.float32)
    queries, passages = scatter_map(points, role_groups(2, 3, ("Queries", "Passages")), list("abc"), list("xyz"))[
        "data"
    ]
    assert queries["textposition"] == ["bottom center", "top center"]
    assert passages["textposition"] == ["top center"]


def test_names_in_space_have_room_before_the_walls():
    points = np.array([[0, 0, 5], [10, 1, 5]], np.float32)
    scene = scatter_map(points, role_groups(1, 2, ("Queries", "Passages")), ["a", "b"], ["Q1", "P1"])["layout"]["scene"]
    assert scene["xaxis"]["range"] == pytest.approx([-1.4, 11.4])
    assert scene["zaxis"]["range"] == [4, 6]  # no spread at all is no range
