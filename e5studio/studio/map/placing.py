"""A score result -> points on a map, what the map is worth, and its figure in any colours. Knows no Gradio.

Placing the texts takes time and is done once for a projection; colours and the neighbours of a picked
text are drawn over the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.clusters import cluster_names
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.projection import (
    Projection,
    axis_between,
    kept_neighbours,
    pca,
    trustworthiness,
    tsne,
    umap,
)
from e5studio.errors import VectorError
from e5studio.similarity import FloatArray, TopK
from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.points import ColourScale, cluster_groups, role_groups, scatter_map, shaded_groups
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult

Method = Literal["pca", "umap", "tsne", "axis"]
Colour = Literal["role", "cluster", "kept", "best", "tokens"]
METHODS: tuple[Method, ...] = get_args(Method)
COLOURS: tuple[Colour, ...] = get_args(Colour)

N_NEIGHBOURS = 5
FEW_TEXTS = 15
"""With fewer, UMAP and t-SNE show more of themselves than of the texts."""

MAX_NEIGHBOURHOOD = 100
MAX_SEED = 2**32 - 1

_MAX_LINKED = 400


@dataclass(frozen=True)
class MapSettings:
    """How texts are placed.

    Attributes:
        method: "pca", "umap", "tsne" or "axis" (from the mean of the queries to that of the passages).
        n_dims: 2 or 3.
        n_neighbors: UMAP: size of a neighbourhood, the point itself included.
        min_dist: UMAP: how close points may lie, 0 to 1.
        perplexity: t-SNE: how many neighbours count, about.
        seed: UMAP and t-SNE: the same seed gives the same map.
    """

    method: Method = "pca"
    n_dims: Literal[2, 3] = 2
    n_neighbors: int = 15
    min_dist: float = 0.1
    perplexity: float = 30.0
    seed: int = 0


def valid_settings(
    method: Any = None,
    n_dims: Any = None,
    n_neighbors: Any = None,
    min_dist: Any = None,
    perplexity: Any = None,
    seed: Any = None,
) -> MapSettings:
    """Settings of what came over the wire: each is taken where it is one, and else as usual."""
    usual = MapSettings()
    return MapSettings(
        method=next((each for each in METHODS if each == method), usual.method),
        n_dims=3 if n_dims == 3 else 2,
        n_neighbors=int(_within(n_neighbors, 2, MAX_NEIGHBOURHOOD, usual.n_neighbors)),
        min_dist=_within(min_dist, 0, 1, usual.min_dist),
        perplexity=_within(perplexity, 1, MAX_NEIGHBOURHOOD, usual.perplexity),
        seed=int(_within(seed, 0, MAX_SEED, usual.seed)),
    )


def valid_colour(colour: Any) -> Colour:
    """The colouring of this name, or the usual one."""
    return next((each for each in COLOURS if each == colour), "role")


def _within(value: Any, low: float, high: float, usual: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # NaN
        return usual
    return min(max(value, low), high)


@dataclass(frozen=True)
class TextMap:
    """Placed texts.

    Attributes:
        of: The key of the result whose texts they are.
        coordinates: float32, (n, 2) or (n, 3).
        axis_names: Titles of axes that mean something.
        caption: How it came about and what it is worth.
        neighbours: The true neighbours of each text, in all dimensions.
        kept: For each text the share of its true neighbours that are its neighbours on the map.
    """

    of: str
    coordinates: FloatArray
    axis_names: tuple[str, ...]
    caption: str
    neighbours: TopK
    kept: NDArray[np.float64]


def place_texts(result: ScoreResult, settings: MapSettings) -> TextMap:
    """Place the texts of a result on a map.

    Raises:
        E5StudioError: Too few texts for the method, no two sides for an axis, or a setting out of its range.
    """
    found, words, axis_names = _project(result, settings)
    n_texts = len(result.vectors)
    near = nearest_neighbours(result.vectors, n_neighbors=min(N_NEIGHBOURS, max(n_texts - 1, 1)))
    short = result.meta.name.rsplit("/", 1)[-1]
    sentences = [
        f"Vectors of {short}.",
        words,
        _trust(result.vectors, found.coordinates),
        too_few(n_texts, settings.method),
    ]
    return TextMap(
        result.key,
        found.coordinates,
        tuple(axis_names),
        " ".join(sentence for sentence in sentences if sentence),
        near,
        kept_neighbours(near, found.coordinates),
    )


def draw_map(result: ScoreResult, placed: TextMap, colour: Colour, picked: str | None = None) -> tuple[Figure, str]:
    """The figure of placed texts and its caption.

    Args:
        result: Whose texts they are.
        placed: From `place_texts`.
        colour: "role", "cluster" (k-means, named by c-TF-IDF), "kept" (neighbours that the map keeps), "best" (highest
            score with the other side) or "tokens" (length).
        picked: Label of a text whose true neighbours are joined to it; each text's best match if None.
    """
    labels, texts = result.points
    names = side_labels(result.prompt_mode)
    n_queries, sides = len(result.queries), (names.left, names.right)
    caption, scale = placed.caption, None
    if colour == "cluster":
        clusters = result.clusters
        groups = cluster_groups(n_queries, clusters.labels.tolist(), cluster_names(texts, clusters.labels))
        caption += f" {groups_in_words(clusters.n_clusters, clusters.silhouette)}"
        caption += "" if result.is_self else f" Circles are {names.left.lower()}, diamonds {names.right.lower()}."
    elif colour == "role":
        groups = role_groups(n_queries, len(texts), sides)
    else:
        values, scale = _shades(result, placed, colour)
        groups = shaded_groups(n_queries, values, sides)
    links = _links(result) if picked is None or picked not in labels else _links_of(placed, labels.index(picked))
    if links and picked is None:
        caption += f" {_joined(result)}, found in all dimensions, not on the map."
    elif links:
        caption += f" Lines join {picked} to the {len(links)} texts nearest to it in all dimensions."
    figure = scatter_map(
        placed.coordinates,
        groups,
        texts,
        labels,
        links=links,
        axis_names=placed.axis_names,
        scale=scale,
    )
    return figure, caption


def _joined(result: ScoreResult) -> str:
    """Which texts have a line; where there are two sides, those of the second have none of their own."""
    if result.is_self:
        return "A line joins each text to its best match"
    if result.prompt_mode == "symmetric":
        return "A line joins each of the texts to its best match among those that they are compared with"
    return "A line joins each query to its best passage"


def true_neighbours(result: ScoreResult, placed: TextMap, label: str) -> list[tuple[str, str, float]]:
    """(label, text, cosine x 100) of the texts nearest to one in all dimensions, best first."""
    labels, texts = result.points
    if label not in labels:
        return []
    row = labels.index(label)
    ids, scores = placed.neighbours.ids[row].tolist(), placed.neighbours.scores[row].tolist()
    return [(labels[other], texts[other], 100 * score) for other, score in zip(ids, scores, strict=True)]


def _shades(result: ScoreResult, placed: TextMap, colour: Colour) -> tuple[Sequence[float], ColourScale]:
    """A value for each text, and what it is."""
    if colour == "tokens":
        n_tokens = [float(n) for report in result.reports for n in report.n_tokens]
        return n_tokens, ColourScale("tokens read", min(n_tokens), max(n_tokens), ".0f")
    if colour == "best":
        best = best_scores(result)
        return best, ColourScale("best score", min(best), max(best), ".1f")
    return placed.kept.tolist(), ColourScale("true neighbours kept", 0, 1, ".0%")


def best_scores(result: ScoreResult) -> list[float]:
    """The highest score of each text with the other side (never with itself), in the order of `result.vectors`."""
    scores = result.counted.astype(np.float64)
    sides = [np.nanmax(scores, axis=1)] if result.is_self else [scores.max(axis=1), scores.max(axis=0)]
    return [float(score) for side in sides for score in side]


def _project(result: ScoreResult, settings: MapSettings) -> tuple[Projection, str, Sequence[str]]:
    """Coordinates, what is said of them, and titles for axes that mean something."""
    vectors, n_dims, seed = result.vectors, settings.n_dims, settings.seed
    if settings.method == "axis":
        return _along_sides(result, n_dims)
    if settings.method == "umap":
        found = umap(vectors, n_dims, n_neighbors=settings.n_neighbors, min_dist=settings.min_dist, seed=seed)
    elif settings.method == "tsne":
        found = tsne(vectors, n_dims, perplexity=settings.perplexity, seed=seed)
    else:
        found = pca(vectors, n_dims)
    return found, *in_words(found, settings)


def in_words(found: Projection, settings: MapSettings) -> tuple[str, Sequence[str]]:
    """What is said of PCA, UMAP or t-SNE, and titles for axes that mean something."""
    if found.method == "umap":
        # UMAP itself reduces them to n - 1 alone; whoever asked it for fewer did so because there are many texts.
        amount = "few" if found.n_neighbors == len(found.coordinates) - 1 else "many"
        fewer = _in_place_of(found.n_neighbors, settings.n_neighbors, amount)
        how = f"{found.n_neighbors} neighbours{fewer}, distance {found.min_dist:g}, seed {found.seed}"
        return f"UMAP keeps neighbours together; far distances mean little ({how}).", ()
    if found.method == "tsne":
        words = "t-SNE keeps near neighbours together; sizes and distances of groups mean nothing (perplexity "
        fewer = _in_place_of(found.perplexity, settings.perplexity, "few")
        return f"{words}{found.perplexity:.0f}{fewer}, seed {found.seed}).", ()
    shares = found.explained_variance or ()
    words = f"PCA shows the directions in which the texts differ most: {sum(shares):.0%} of the variance."
    return words, [f"Component {number} ({share:.0%})" for number, share in enumerate(shares, 1)]


def _in_place_of(used: float | None, asked: float, amount: str) -> str:
    if used is None or used >= asked:
        return ""
    return f" in place of {asked:.0f}, for there are {amount} texts"


def _along_sides(result: ScoreResult, n_dims: int) -> tuple[Projection, str, Sequence[str]]:
    names = side_labels(result.prompt_mode)
    if result.is_self:
        raise VectorError(
            f"This axis leads from {names.left.lower()} to {names.right.lower()}, and there is one side. "
            "Write texts in both boxes, or take another projection."
        )
    n = len(result.queries)
    ends = result.vectors[:n].mean(axis=0), result.vectors[n:].mean(axis=0)
    found = axis_between(result.vectors, *ends, n_dims)
    shares = found.explained_variance or ()
    left, right = names.left.lower(), names.right.lower()
    words = f"The first axis leads from the mean of the {left} to that of the {right}: {shares[0]:.0%} of the variance."
    titles = [f"{left} \N{RIGHTWARDS ARROW} {right} ({shares[0]:.0%})"]
    return found, words, titles + [f"most beside it ({share:.0%})" for share in shares[1:]]


def _trust(vectors: FloatArray, coordinates: FloatArray) -> str:
    k = min(N_NEIGHBOURS, (len(vectors) - 1) // 2)
    if k < 1:
        return ""
    return trust_in_words(trustworthiness(vectors, coordinates, k))


def trust_in_words(trust: float) -> str:
    """What a trustworthiness means."""
    return f"Trustworthiness {trust:.2f} (1: neighbours on the map are neighbours in truth)."


def too_few(n_texts: int, method: Method) -> str:
    """What is to be said where UMAP or t-SNE show more of themselves than of so few texts; "" elsewhere."""
    if method not in ("umap", "tsne") or n_texts >= FEW_TEXTS:
        return ""
    return f"With fewer than {FEW_TEXTS} texts its shape says little; PCA is the safer picture."


def groups_in_words(n_clusters: int, silhouette: float) -> str:
    """What is said of groups by k-means."""
    if n_clusters < 2:
        return "There are too few different texts for groups."
    how = "clearly" if silhouette >= 0.5 else "somewhat" if silhouette >= 0.2 else "hardly"
    return f"{n_clusters} groups by k-means, {how} apart (silhouette {silhouette:.2f}), named by their own words."


def _links(result: ScoreResult) -> list[tuple[int, int]]:
    offset = 0 if result.is_self else len(result.queries)
    pairs = [(row, column + offset) for row, column in enumerate(result.best) if column is not None]
    return sorted({(min(pair), max(pair)) for pair in pairs}) if len(pairs) <= _MAX_LINKED else []


def _links_of(placed: TextMap, row: int) -> list[tuple[int, int]]:
    return [(row, int(other)) for other in placed.neighbours.ids[row]]
