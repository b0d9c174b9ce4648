"""Sentences of the Map tab."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.analysis.projection import Projection
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import fixed, shown
from e5studio.studio.map.placing import TITLES, Colour, MapSettings, Method, TextMap, joined_texts, reason_against
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.nodes import Node

_FEW_TEXTS = 15  # with fewer, UMAP and t-SNE show more of themselves than of the texts


def invitation() -> list[Node]:
    """What the empty tab says."""
    return nodes.invitation("See which texts lie near each other", "Press Score first: the map shows the same texts.")


def point_help(coordinates: FloatArray) -> list[Node]:
    """What can be done with points."""
    lasso = " Choose the lasso beside the map and loop some to list them." if coordinates.shape[1] == 2 else ""
    return nodes.hint(f"Click a point to see what truly lies next to it.{lasso} Ctrl + wheel zooms.")


def placing(method: Method) -> str:
    """What is being done while the map before is still shown."""
    first = "; the first time loads the library" if method == "umap" else ""
    return f"Placing the texts{first}"


def caption(result: ScoreResult, text_map: TextMap, colour: Colour, picked: str | None = None, n_hits: int = 0) -> str:
    """How the map came about, and what its colours and lines mean."""
    sentences = [
        f"Vectors of {result.meta.short_name}.",
        _instead(result, text_map.instead_of) if text_map.instead_of else "",
        _sides(result, text_map)
        if text_map.settings.method == "axis"
        else method(text_map.projection, text_map.settings),
        few_texts(len(result.vectors), text_map.settings.method),
        _colours(result) if colour == "cluster" else "",
        _lines(result, text_map, picked) if picked or not n_hits else "",
        f"The {n_hits} hits of the search light up." if n_hits else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def quality(kept_share: float, n_compared: int, trust: float | None, n_sampled: int | None = None) -> list[Node]:
    """What a map is worth: a figure, and on request what it means.

    Args:
        kept_share: Share of the nearest texts that are nearest on the map as well, 0 to 1.
        n_compared: How many nearest texts that compares.
        trust: Trustworthiness; None for too few texts, which have no quality.
        n_sampled: Texts that both are estimated on; None for all.
    """
    if trust is None:
        return []
    nearest = f"Of the {n_compared} texts nearest to each, {kept_share:.0%} are nearest to it on the map too."
    trusted = f"Trustworthiness {trust:.2f} (1: neighbours on the map are neighbours in truth)."
    sample = "" if n_sampled is None else f" Both are estimated on {n_sampled:,} texts."
    summary: Node = ["summary", "", f"Neighbours kept {kept_share:.0%}"]
    return [["details", "e5-chip", summary, nodes.para(f"{nearest} {trusted}{sample}")]]


def picture_title(meta: ModelMeta, used: Method, kept_share: float, trust: float | None) -> str:
    """Above a saved map: model, projection and quality, which `quality` explains."""
    title = f"{meta.short_name}, {TITLES[used]}"
    return title if trust is None else f"{title}, neighbours kept {kept_share:.0%}"


def method(projection: Projection, settings: MapSettings) -> str:
    """What PCA, UMAP or t-SNE shows, and with which settings."""
    if projection.method == "umap":
        # UMAP itself takes n - 1 for less; a caller took fewer because there are many texts.
        amount = "few" if projection.n_neighbors == len(projection.coordinates) - 1 else "many"
        fewer = _instead_of(projection.n_neighbors, settings.n_neighbors, amount)
        how = f"{projection.n_neighbors} neighbours{fewer}, distance {projection.min_dist:g}, seed {projection.seed}"
        return f"UMAP keeps neighbours together; far distances mean little ({how})."
    if projection.method == "tsne":
        fewer = _instead_of(projection.perplexity, settings.perplexity, "few")
        how = f"perplexity {projection.perplexity:.0f}{fewer}, seed {projection.seed}"
        return f"t-SNE keeps near neighbours together; sizes and distances of groups mean nothing ({how})."
    share = sum(projection.explained_variance or ())
    return f"PCA shows the directions in which the texts differ most: {share:.0%} of the variance."


def axis_names(projection: Projection, sides: tuple[str, str] = ("", "")) -> list[str]:
    """Titles of axes that mean something; of the query-passage axis, `sides` are the names."""
    shares = projection.explained_variance or ()
    if projection.method == "pca":
        return [f"Component {number} ({share:.0%})" for number, share in enumerate(shares, 1)]
    first = f"{sides[0].lower()} \N{RIGHTWARDS ARROW} {sides[1].lower()}"
    return [f"{'across it' if index else first} ({share:.0%})" for index, share in enumerate(shares)]


def few_texts(n_texts: int, method: Method) -> str:
    """A warning where UMAP or t-SNE show more of themselves than of so few texts; "" elsewhere."""
    if method not in ("umap", "tsne") or n_texts >= _FEW_TEXTS:
        return ""
    return f"With fewer than {_FEW_TEXTS} texts its shape says little; PCA is the safer picture."


def groups(n_groups: int, silhouette: float) -> str:
    """How far apart the topics by k-means are."""
    if n_groups < 2:
        return "No topics: the texts form no groups."
    how = "clearly" if silhouette >= 0.5 else "somewhat" if silhouette >= 0.2 else "hardly"
    return f"{n_groups} topics by k-means, {how} apart (silhouette {silhouette:.2f}), named by their own words."


def point(result: ScoreResult, label: str, neighbours: Sequence[tuple[str, str, float]] = ()) -> list[Node]:
    """One text of the map in full, and the texts nearest to it in truth."""
    labels, texts = result.points
    if label not in labels:
        return []
    return text_and_neighbours(label, texts[labels.index(label)], neighbours)


def text_and_neighbours(label: str, text: str, neighbours: Sequence[tuple[str, str, float]]) -> list[Node]:
    """A text in full, and the (label, text, cosine x 100) of those nearest to it in all dimensions."""
    whole: Node = ["dl", "e5-pair", *_named(label, "", shown(text))]
    if not neighbours:
        return [whole]
    near = [part for name, other, score in neighbours for part in _named(name, fixed(score), shown(other, 200))]
    heading = nodes.title("Nearest in all dimensions")
    scale = nodes.para("Cosine \N{MULTIPLICATION SIGN} 100; lines join them on the map.", css="e5-hint")
    return [whole, heading, scale, ["dl", "e5-pair e5-near", *near]]


def _named(label: str, score: str, text: str) -> list[Node]:
    """A text under its grey label and its bold score."""
    return [["dt", "", ["span", "e5-label", label], *([["b", "", score]] if score else [])], ["dd", "", text]]


def _instead_of(used: float | None, requested: float, amount: str) -> str:
    if used is None or used >= requested:
        return ""
    return f" in place of {requested:.0f}, for there are {amount} texts"


def _instead(result: ScoreResult, method: Method) -> str:
    reason = reason_against(method, result)
    return f"{TITLES[method]} {reason}: this is PCA." if reason else f"{TITLES[method]} follows: this is PCA."


def _sides(result: ScoreResult, text_map: TextMap) -> str:
    names = side_labels(result.prompt_mode)
    [share, *_] = text_map.projection.explained_variance or (0.0,)
    ends = f"the mean of the {names.left.lower()} to that of the {names.right.lower()}"
    return f"The first axis leads from {ends}: {share:.0%} of the variance."


def _colours(result: ScoreResult) -> str:
    sentence = groups(result.clusters.n_clusters, result.clusters.silhouette)
    if result.is_self:
        return sentence
    names = side_labels(result.prompt_mode)
    return f"{sentence} Circles are {names.left.lower()}, diamonds {names.right.lower()}."


def _lines(result: ScoreResult, text_map: TextMap, picked: str | None) -> str:
    n_lines = len(joined_texts(result, text_map, picked))
    if not n_lines:
        return ""
    if picked in result.points[0]:
        return f"Lines join {picked} to the {n_lines} texts nearest to it in all dimensions."
    if result.is_self:
        joined = "A line joins each text to its best match"
    elif result.prompt_mode == "symmetric":
        joined = "A line joins each of the texts to its best match among those that they are compared with"
    else:
        joined = "A line joins each query to its best passage"
    return f"{joined}, found in all dimensions, not on the map."
