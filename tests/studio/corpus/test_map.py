"""The map of a corpus: places, what they are worth, colours that say what they stand for, and stopping in mid-run."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from tqdm import tqdm

from e5studio.analysis.map_quality import kept_neighbours, trustworthiness
from e5studio.analysis.projection import Projection, pca
from e5studio.errors import VectorError
from e5studio.models import get_model_meta
from e5studio.spec import EncoderSpec
from e5studio.studio.corpus import map as corpus_map
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.map import corpus_neighbours, group_corpus, place_corpus
from e5studio.studio.corpus.map_figure import colour_choices, colour_corpus, draw_corpus_map
from e5studio.studio.corpus.text import map_caption, map_quality
from e5studio.studio.errors import StoppedError
from e5studio.studio.map.placing import MapSettings
from e5studio.studio.serving.downloads import MAX_INLINE_CHARACTERS, Downloads
from tests.studio.conftest import ENGLISH
from tests.studio.node_text import text_of

TOPICS = ("mountain summit", "river valley", "protein food")


def embedded(n=90, *, dim=16, texts=None, **corpus_changes):
    """Texts of three topics; vectors of a topic lie together."""
    rng = np.random.default_rng(1)
    topic = np.arange(n) % 3
    vectors = (8 * np.eye(3, dim)[topic] + rng.normal(size=(n, dim))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    listed = texts or tuple(f"{TOPICS[each]} number {row}" for row, each in enumerate(topic))
    # The file has a head and a line without a text after each text.
    corpus = Corpus("notes.csv", listed, tuple(range(2, 2 * n + 2, 2)), **corpus_changes)
    setting = CorpusSetting(ENGLISH, "retrieval")
    n_tokens = np.arange(5, n + 5, dtype=np.int32)
    spec = EncoderSpec(
        model=ENGLISH,
        revision="r",
        prompt_kind="query_passage",
        pooling="mean",
        max_tokens=512,
        backend="torch",
        dtype="float32",
        embed_dim=dim,
    )
    return EmbeddedCorpus(corpus, setting, get_model_meta(ENGLISH), spec, "passage: ", vectors, n_tokens, 0, n, 1.0)


def drawn(embedded, placed, colour="plain", *, groups=None, scores=None, hits=(), picked=None, cells=None):
    """The figure and its caption."""
    colouring = colour_corpus(embedded, colour, groups=groups, scores=scores, cells=cells)
    figure = draw_corpus_map(embedded, placed, colouring, hits=hits, picked=picked)
    return figure, map_caption(embedded, placed, colouring, len(hits), picked)


def caption_of(embedded, placed):
    return map_caption(embedded, placed, colour_corpus(embedded))


@pytest.fixture(scope="module")
def some():
    return embedded()


@pytest.fixture(scope="module")
def placed(some):
    return place_corpus(some, MapSettings())


@pytest.fixture
def quick_umap(monkeypatch):
    """In each new process the real one compiles for a quarter of a minute; its own tests are in tests/analysis."""

    def of_pca(vectors, n_components, *, n_neighbors, min_dist, seed=None, precomputed_knn, on_epoch=None):
        points = pca(vectors, n_components).coordinates
        n_neighbors = min(n_neighbors, len(vectors) - 1)
        return Projection(points, "umap", n_neighbors=n_neighbors, min_dist=min_dist, seed=seed)

    monkeypatch.setattr(corpus_map, "umap", of_pca)


class TestPlaces:
    @pytest.mark.parametrize("n_dims", [2, 3])
    @pytest.mark.parametrize("method", ["pca", pytest.param("umap", marks=pytest.mark.long), "tsne"])
    def test_every_text_has_its_place_and_the_caption_says_what_the_map_is_worth(self, some, method, n_dims):
        placed = place_corpus(some, MapSettings(method, n_dims))
        coordinates, quality = placed.projection.coordinates, text_of(map_quality(placed, len(some.corpus)))
        assert coordinates.shape == (90, n_dims)
        assert np.isfinite(coordinates).all()
        assert placed.trust == pytest.approx(trustworthiness(some.vectors, coordinates, 5))
        assert f"Trustworthiness {placed.trust:.2f}" in quality
        assert f"Of the 5 texts nearest to each, {placed.kept_share:.0%} are" in quality
        assert "estimated" not in quality  # the sample holds all texts
        assert "Vectors of e5-small-v2." in caption_of(some, placed)

    def test_pca_is_pca(self, some, placed):
        np.testing.assert_array_equal(placed.projection.coordinates, pca(some.vectors, 2).coordinates)
        assert "Component 1 (" in json.dumps(drawn(some, placed)[0]["layout"])

    def test_a_map_of_many_is_judged_on_a_sample_and_says_so(self, some, placed, monkeypatch):
        monkeypatch.setattr(corpus_map, "_N_SAMPLED", 60)
        sampled = place_corpus(some, MapSettings())
        assert sampled.n_sampled == 60
        assert "estimated on 60 texts" in text_of(map_quality(sampled, len(some.corpus)))
        assert sampled.trust == pytest.approx(placed.trust, abs=0.05)
        assert sampled.kept_share == pytest.approx(placed.kept_share, abs=0.1)
        again = place_corpus(some, MapSettings())
        assert (again.trust, again.kept_share) == (sampled.trust, sampled.kept_share)

    @pytest.mark.usefixtures("quick_umap")
    def test_umap_is_judged_by_the_true_neighbours_though_it_looks_at_fewer(self, some):
        placed = place_corpus(some, MapSettings("umap", n_neighbors=3))
        near = corpus_map.nearest_neighbours(some.vectors, n_neighbors=5)
        assert placed.kept_share == pytest.approx(kept_neighbours(near, placed.projection.coordinates).mean())

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_few_texts_make_a_map_too(self, n):
        few = embedded(n)
        figure, _ = drawn(few, place_corpus(few, MapSettings()))
        json.dumps(figure, allow_nan=False)

    def test_methods_that_are_not_for_it_are_refused_with_a_way_out(self, some, monkeypatch):
        with pytest.raises(VectorError, match="Take PCA or UMAP"):
            place_corpus(some, MapSettings("axis"))
        monkeypatch.setattr(corpus_map, "MAX_TSNE_TEXTS", 89)
        with pytest.raises(VectorError, match=r"up to 89\. Take UMAP"):
            place_corpus(some, MapSettings("tsne"))

    @pytest.mark.usefixtures("quick_umap")
    def test_umap_of_many_counts_fewer_neighbours_and_says_so(self, some, monkeypatch):
        monkeypatch.setattr(corpus_map, "_MANY_TEXTS", 50)
        caption = caption_of(some, place_corpus(some, MapSettings("umap", n_neighbors=60)))
        assert "(30 neighbours in place of 60, for there are many texts, " in caption

    @pytest.mark.usefixtures("quick_umap")
    def test_umap_of_few_counts_all_others_and_says_so(self):
        few = embedded(8)
        caption = caption_of(few, place_corpus(few, MapSettings("umap", n_neighbors=15)))
        assert "(7 neighbours in place of 15, for there are few texts, " in caption


class TestStages:
    @pytest.mark.long
    def test_umap_tells_its_neighbours_and_its_epochs(self, some):
        told = []
        place_corpus(some, MapSettings("umap"), lambda *stage: told.append(stage))
        shares = [share for share, _ in told if share is not None]
        assert shares == sorted(shares)
        assert 0.5 in shares
        assert {words for _, words in told} >= {"Finding the neighbours of each text", "Laying out the map"}

    @pytest.mark.long
    def test_umap_stops_in_mid_run_and_the_next_one_runs(self, some, monkeypatch):
        monkeypatch.setattr("e5studio.analysis.umap_projection._SECONDS_BETWEEN_NEWS", 0.001)
        epochs = []

        def stop(share, words):
            if words == "Laying out the map":
                epochs.append(share)
                if share > 0.5:
                    raise StoppedError

        with pytest.raises(StoppedError):
            place_corpus(some, MapSettings("umap"), stop)
        assert epochs[-1] < 0.99
        # tqdm's lock is one for all bars of the process: a model that is loaded shows one, too.
        other = threading.Thread(target=lambda: list(tqdm(range(3), file=io.StringIO())), daemon=True)
        other.start()
        other.join(20)
        assert not other.is_alive()
        assert len(place_corpus(some, MapSettings("umap")).projection.coordinates) == 90

    @pytest.mark.parametrize("method", ["pca", "umap", "tsne"])
    def test_whoever_stops_at_once_waits_for_nothing(self, some, method):
        def stop(share, words):
            raise StoppedError

        with pytest.raises(StoppedError):
            place_corpus(some, MapSettings(method), stop)


def members(figure):
    """Name of each group in the legend -> the labels of its points."""
    pairs = zip(figure["data"], figure["hover"]["traces"], strict=True)
    return {trace.get("name", ""): [label for label, _ in texts] for trace, texts in pairs}


class TestDrawing:
    def test_points_are_called_by_their_line_and_hold_their_texts(self, some, placed):
        figure, caption = drawn(some, placed)
        assert figure["hover"]["traces"][0][:2] == [["#2", "mountain summit number 0"], ["#4", "river valley number 1"]]
        assert figure["data"][0]["x"][1] == pytest.approx(float(placed.projection.coordinates[1, 0]), abs=1e-3)
        assert caption == caption_of(some, placed)
        assert some.corpus.row_of("#4") == 1
        assert some.corpus.row_of("#3") is None
        assert some.corpus.row_of(["#4"]) is None

    def test_titles_stand_in_front_of_texts(self):
        titled = embedded(3, titles=("Alps", "", "Bread"))
        figure, _ = drawn(titled, place_corpus(titled, MapSettings()))
        assert figure["hover"]["traces"][0][0] == ["#2", "Alps mountain summit number 0"]

    def test_categories_have_colours_and_rare_ones_are_grey_together(self):
        cells = [f"kind {row % 4}" for row in range(60)] + [f"rare {row}" for row in range(28)] + ["", " "]
        many = embedded()
        figure, caption = drawn(many, place_corpus(many, MapSettings()), "column:kind", cells=cells)
        named = members(figure)
        assert named["kind 1"] == [many.corpus.labels[row] for row in range(1, 60, 4)]
        assert len(named) == 10
        assert sum(map(len, named.values())) == 90
        assert len(named["other or none"]) == 25
        assert "its 9 most frequent values of 32; the others are grey" in caption

    def test_a_column_of_numbers_is_a_scale_and_a_gap_is_grey(self):
        cells = [str(row / 2) for row in range(88)] + ["", "n/a"]
        priced = embedded()
        figure, caption = drawn(priced, place_corpus(priced, MapSettings()), "column:price", cells=cells)
        gap, scale = figure["data"]
        assert gap["name"] == "no number"
        assert len(gap["x"]) == 2
        assert scale["marker"]["color"] == pytest.approx([row / 2 for row in range(88)])
        assert (scale["marker"]["cmin"], scale["marker"]["cmax"]) == (0, 43.5)
        assert "Grey: 2 texts without a number" in caption
        json.dumps(figure, allow_nan=False)

    def test_a_few_wild_numbers_do_not_take_all_colours(self):
        cells = ["1e9", *(str(row) for row in range(299))]
        priced = embedded(300)
        figure, caption = drawn(priced, place_corpus(priced, MapSettings()), "column:price", cells=cells)
        assert figure["data"][1]["marker"]["cmax"] < 300
        assert "shares a colour" in caption

    @pytest.mark.parametrize("cells", [("",) * 90, ("nan",) * 90, ("a",) * 90])
    def test_columns_that_say_little_are_drawn_all_the_same(self, cells):
        dull = embedded()
        figure, _ = drawn(dull, place_corpus(dull, MapSettings()), "column:dull", cells=cells)
        assert sum(map(len, members(figure).values())) == 90

    def test_groups_are_those_of_the_topics_and_carry_their_words(self, some, placed):
        groups = group_corpus(some)
        figure, caption = drawn(some, placed, "group", groups=groups)
        assert {frozenset(labels) for labels in members(figure).values()} == {
            frozenset(some.corpus.labels[topic::3]) for topic in range(3)
        }
        assert any("mountain" in name for name in members(figure))
        assert "3 topics by k-means" in caption
        names = [each["text"] for each in figure["layout"]["annotations"]]
        assert any("mountain" in name for name in names)

    def test_groups_of_many_are_found_in_a_sample_and_hold_all(self, some, placed, monkeypatch):
        whole = group_corpus(some)
        monkeypatch.setattr(corpus_map, "_MAX_GROUPED", 30)
        monkeypatch.setattr(corpus_map, "_MAX_NAMED", 20)
        groups = group_corpus(some)
        pairs = set(zip(groups.labels.tolist(), whole.labels.tolist(), strict=True))
        assert len(pairs) == 3  # the same groups, though perhaps in another order
        assert len(groups.names) == 3
        assert "Found in 30 texts drawn at random" in drawn(some, placed, "group", groups=groups)[1]

    def test_lengths_and_scores_are_shades(self, some, placed):
        scores = 100 * some.vectors @ some.vectors[0]
        for colour, values in (("tokens", some.n_tokens), ("score", scores)):
            figure, _ = drawn(some, placed, colour, scores=scores)
            assert figure["data"][0]["marker"]["color"] == pytest.approx(values.tolist(), abs=1e-3)

    def test_what_a_search_found_lights_up_with_its_rank(self, some, placed):
        figure, caption = drawn(some, placed, hits=[7, 3])
        lights = figure["data"][-1]
        assert lights["text"] == ["1", "2"]
        assert lights["y"] == pytest.approx(placed.projection.coordinates[[7, 3], 1].tolist(), abs=1e-3)
        assert [label for label, _ in figure["hover"]["traces"][-1]] == ["#16", "#8"]
        assert "The 2 hits of the search light up" in caption
        _, caption = drawn(some, placed, hits=list(range(60)))
        assert "The best 50 of the search light up" in caption

    def test_a_picked_text_is_joined_to_its_true_neighbours(self, some, placed):
        order = (some.vectors @ some.vectors[4]).argsort()[::-1][1:6].tolist()
        near = corpus_neighbours(some, 4)
        assert [row for row, _ in near] == order
        assert near[0][1] == pytest.approx(100 * float(some.vectors[4] @ some.vectors[order[0]]), abs=1e-3)
        figure, caption = drawn(some, placed, picked=4)
        assert len(figure["data"][0]["x"]) == 3 * 5
        assert figure["data"][-1]["text"] == ["#10"]
        assert "Lines join #10 to the 5 texts" in caption

    def test_a_colour_that_is_not_to_be_had_is_a_sentence(self, some, placed):
        bare = replace(some, n_tokens=None)
        reasons = {choice.value: choice.reason for choice in colour_choices(some, ["kind"])}
        assert reasons == {"group": "", "plain": "", "tokens": "", "score": "search first", "column:kind": ""}
        reasons = {choice.value: choice.reason for choice in colour_choices(bare, has_scores=True)}
        assert reasons == {"group": "", "plain": "", "tokens": "unknown of uploaded vectors", "score": ""}
        for colour, words in (("tokens", "counted"), ("column:x", "cells"), ("group", "Find"), ("score", "Search")):
            with pytest.raises(VectorError, match=words):
                drawn(bare, placed, colour)
        with pytest.raises(VectorError, match="Search"):
            drawn(some, placed, "score", scores=[1.0])

    def test_maps_and_groups_of_other_texts_are_not_mixed_up(self, some, placed):
        other = embedded()
        with pytest.raises(VectorError, match="another corpus"):
            drawn(other, placed)
        with pytest.raises(VectorError, match="another corpus"):
            drawn(some, placed, "group", groups=group_corpus(other))


def at_points(embedded, points):
    return corpus_map.CorpusMap(embedded.key, MapSettings(), Projection(points, "pca"), None, 0.0, 0, 0)


@pytest.mark.parametrize("n_dims", [2, 3])
def test_fifty_thousand_long_texts_reach_the_page_in_a_few_megabytes(n_dims):
    n = 50_000
    large = embedded(n, dim=3, texts=("word " * 200,) * n)
    placed = at_points(large, np.zeros((n, n_dims), np.float32))
    figure, _ = drawn(large, placed, "tokens", hits=[1])
    points = 1 if n_dims == 2 else 0  # after the lines of density
    assert figure["data"][points]["type"] == ("scattergl" if n_dims == 2 else "scatter3d")
    assert len(figure["hover"]["traces"][points][0][1]) <= 81
    downloads = Downloads()
    key = downloads.as_payload(figure)["payload"].rsplit("/", 1)[-1]
    assert MAX_INLINE_CHARACTERS < len(downloads.get(key).content) < 8_000_000


def test_over_a_crowd_lines_and_rings_are_drawn_last_and_by_webgl():
    n = 3_000
    large = embedded(n, dim=3)
    placed = at_points(large, large.vectors[:, :2])
    figure, _ = drawn(large, placed, hits=[1], picked=2)
    assert [trace["mode"] for trace in figure["data"][1:]] == ["markers", "lines", "markers+text", "markers+text"]
    assert {trace["type"] for trace in figure["data"][1:]} == {"scattergl"}  # it hides whatever is drawn otherwise
    assert [len(texts) for texts in figure["hover"]["traces"]] == [0, n, 0, 1, 1]
