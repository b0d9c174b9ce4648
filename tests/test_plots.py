"""Figures for notebooks: the page's numbers, in colours that plotly knows, with texts that stay texts."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

import e5studio
from e5studio import plots
from e5studio.errors import MissingDependencyError, PromptError, TextError, VectorError
from e5studio.studio.charts.palette import PALETTES
from e5studio.studio.charts.plotly_figure import plotly_figure
from e5studio.studio.formatting import fixed
from tests.studio.charts.test_charts import NASTY, all_figures, leaves

NOTEBOOK = Path(__file__).parent.parent / "docs" / "notebook.ipynb"
QUERIES = ["how much protein should a female eat", "summit define"]
DOCUMENTS = ["46 grams a day.", "The top of a mountain.", "A meeting of heads of state."]


@pytest.fixture
def encoder(encoders):
    return encoders("e5")


@pytest.mark.parametrize("theme", PALETTES)
def test_every_figure_of_the_page_is_one_of_plotly(theme):
    for figure in all_figures():
        plain = json.loads(plotly_figure(figure, theme).to_json())
        assert not [leaf for leaf in leaves(plain) if str(leaf[1]).startswith("@")]


def test_texts_under_the_pointer_stay_texts():
    for nasty in NASTY:
        for figure in all_figures(nasty):
            texts = [value for key, value in leaves(plotly_figure(figure).to_plotly_json()) if key == "hovertext"]
            assert not [text for text in texts if "<img" in text or "$" in text]
    assert plotly_figure(all_figures("@ink")[0]).layout.xaxis.ticktext[0].startswith("<b>@ink</b>")


def test_scores_are_those_of_the_encoder(encoder):
    figure = plots.plot_scores(encoder, QUERIES, DOCUMENTS)
    scores = encoder.scores(QUERIES, DOCUMENTS)
    heat, numbers = figure.data
    for row, line in enumerate(scores):
        for column, score in enumerate(line):
            assert heat.hovertext[row][column].startswith(f"<b>{fixed(score)}</b> cosine")
            assert DOCUMENTS[column] in heat.hovertext[row][column]
            assert fixed(score) in numbers.text[3 * row + column]
    assert np.max(heat.z) == 1  # colours compare a row
    assert encoder.meta.short_name in figure.layout.title.text


def test_a_large_matrix_names_its_texts_only(encoder):
    texts = [f"{number} " + "long " * 50 for number in range(30)]
    heat, *_ = plots.plot_scores(encoder, texts, texts).data
    assert "Q1" in heat.hovertext[0][0]
    assert "long" not in heat.hovertext[0][0]


def test_best_matches_run_along_the_diagonal(encoder):
    scores = encoder.scores(QUERIES, DOCUMENTS)
    heat, *_ = plots.plot_scores(encoder, QUERIES, DOCUMENTS, order="score").data
    assert heat.hovertext[0][0].startswith(f"<b>{fixed(scores.max())}</b>")


def test_a_map_shows_topics_categories_or_numbers(encoder):
    texts = [f"{word} {number}" for word in ("river", "mountain") for number in range(8)]
    by_topic = plots.plot_map(encoder, texts, prompt_name="document")
    assert sum(len(trace.x) for trace in by_topic.data if trace.mode.startswith("markers")) == 16
    assert "PCA, neighbours kept" in by_topic.layout.title.text
    by_word = plots.plot_map(encoder, texts, [text.split()[0] for text in texts], prompt_name="document")
    assert {trace.name for trace in by_word.data} == {"river", "mountain"}
    assert by_word.data[0].hovertext[0].endswith("mountain 0")
    by_number = plots.plot_map(encoder, texts, np.arange(16.0), prompt="", n_dims=3)
    assert list(by_number.data[0].marker.color) == list(range(16))
    missing = plots.plot_map(encoder, texts, [None, float("nan"), *["a"] * 14], prompt="")
    assert [(trace.name, len(trace.x)) for trace in missing.data] == [("none", 2), ("a", 14)]


def test_pairs_of_words_add_up_to_the_score(encoder):
    [score] = encoder.scores(QUERIES[:1], DOCUMENTS[:1])[0]
    figure = plots.plot_why(encoder, QUERIES[0], DOCUMENTS[0])
    assert np.sum(figure.data[0].z) == pytest.approx(score, abs=0.01)
    assert fixed(score) in figure.layout.title.text
    beyond = plots.plot_why(encoder, QUERIES[0], DOCUMENTS[0], others=DOCUMENTS[1:])
    assert np.sum(beyond.data[0].z) < score
    assert np.min(beyond.data[0].z) < 0


def test_mistakes_are_told(encoder, encoders):
    with pytest.raises(TextError, match="no documents"):
        plots.plot_scores(encoder, QUERIES, [])
    with pytest.raises(TextError, match="Wrap a single text"):
        plots.plot_scores(encoder, "a query", DOCUMENTS)
    with pytest.raises(VectorError, match="'written', 'score', 'group'"):
        plots.plot_scores(encoder, QUERIES, DOCUMENTS, order="best")
    with pytest.raises(PromptError):
        plots.plot_map(encoder, DOCUMENTS)
    with pytest.raises(VectorError, match="2 labels for 3 texts"):
        plots.plot_map(encoder, DOCUMENTS, ["a", "b"], prompt="")
    with pytest.raises(VectorError, match="'pca', 'umap', 'tsne'"):
        plots.plot_map(encoder, DOCUMENTS, prompt="", method="axis")
    with pytest.raises(VectorError, match="last token"):
        plots.plot_why(encoders("e5-mistral-instruct"), QUERIES[0], DOCUMENTS[0])


def test_without_plotly_it_says_what_to_install(encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "plotly", None)
    monkeypatch.setitem(__import__("sys").modules, "plotly.graph_objects", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        plots.plot_scores(encoder, QUERIES, DOCUMENTS)


def test_the_notebook_draws_what_it_shows_and_is_small(boxed_encoder, monkeypatch):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    monkeypatch.setattr(e5studio, "E5Encoder", lambda model: boxed_encoder, raising=False)
    names: dict[str, object] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    exec("".join(cells[0]["source"]), names)
    for cell in cells[1:]:
        drawn = json.loads(eval("".join(cell["source"]), names).to_json())
        [output] = cell["outputs"]
        stored = output["data"]["application/vnd.plotly.v1+json"]
        assert drawn["layout"]["title"] == stored["layout"]["title"]
        for one, other in zip(drawn["data"], stored["data"], strict=True):
            assert one["type"] == other["type"]
            if "z" in one:
                np.testing.assert_allclose(np.array(one["z"]), np.array(other["z"]), atol=0.1)
        assert base64.b64decode(output["data"]["image/png"])[1:4] == b"PNG"
    assert NOTEBOOK.stat().st_size < 400_000
