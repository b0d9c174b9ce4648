"""A score result -> points on a map, what the map is worth, and its figure in any colours. Knows no Gradio.

Placing the texts takes time and is done once for a projection; colours and the neighbours of a picked
text are drawn over the same points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.clusters import cluster_names, find_clusters
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
from e5studio.similarity import TopK
from e5studio.studio.figures import Figure, cluster_groups, role_groups, scatter_map, shaded_groups
from e5studio.studio.handlers import FloatArray, ScoreResult
from e5studio.studio.uses import wording

Method = Literal["pca", "umap", "tsne", "axis"]
Colour = Literal["role", "cluster", "kept"]
METHODS: tuple[Method, ...] = get_args(Method)
COLOURS: tuple[Colour, ...] = get_args(Colour)

N_NEIGHBOURS = 5
FEW_TEXTS = 15
"""With fewer, UMAP and t-SNE show more of themselves than of the texts."""

_MAX_LINKED = 400
_SEED = 0  # the same texts give the same map


@dataclass(frozen=True)
class TextMap:
    """Placed texts.

    Attributes:
        coordinates: float32, (n, 2) or (n, 3).
        axis_names: Titles of axes that mean something.
        caption: How it came about and what it is worth.
        neighbours: The true neighbours of each text, in all dimensions.
        kept: For each text the share of its true neighbours that are its neighbours on the map.
    """

    coordinates: FloatArray
    axis_names: tuple[str, ...]
    caption: str
    neighbours: TopK
    kept: NDArray[np.float64]


def place_texts(result: ScoreResult, method: Method, n_dims: int) -> TextMap:
    """Place the texts of a result on a map.

    Args:
        result: Whose vectors are placed.
        method: "pca", "umap", "tsne" or "axis" (from the mean of the queries to that of the passages).
        n_dims: 2 or 3.

    Raises:
        E5StudioError: Too few texts for the method, or no two sides for an axis.
    """
    found, words, axis_names = _project(result, method, n_dims)
    near = nearest_neighbours(result.vectors, n_neighbors=min(N_NEIGHBOURS, max(len(result.vectors) - 1, 1)))
    short = result.meta.name.rsplit("/", 1)[-1]
    sentences = [f"Vectors of {short}.", words, _trust(result.vectors, found.coordinates), _too_few(result, method)]
    return TextMap(
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
        colour: "role", "cluster" (k-means, named by c-TF-IDF) or "kept" (neighbours that the map keeps).
        picked: Label of a text whose true neighbours are joined to it; each text's best match if None.
    """
    labels, texts = result.points
    names = wording(result.use)
    n_queries, sides = len(result.queries), (names.left, names.right)
    caption, scale_name = placed.caption, ""
    if colour == "cluster":
        clusters = find_clusters(result.vectors)
        groups = cluster_groups(n_queries, clusters.labels.tolist(), cluster_names(texts, clusters.labels))
        caption += f" {_clusters_in_words(clusters.n_clusters, clusters.silhouette)}"
    elif colour == "kept":
        groups = shaded_groups(n_queries, placed.kept.tolist(), sides)
        scale_name = "true neighbours kept"
    else:
        groups = role_groups(n_queries, len(texts), sides)
    links = _links(result) if picked is None or picked not in labels else _links_of(placed, labels.index(picked))
    if links and picked is None:
        caption += " A line joins each text to its best match, found in all dimensions, not on the map."
    elif links:
        caption += f" Lines join {picked} to the {len(links)} texts nearest to it in all dimensions."
    figure = scatter_map(
        placed.coordinates,
        groups,
        texts,
        labels,
        links=links,
        axis_names=placed.axis_names,
        scale_name=scale_name,
    )
    return figure, caption


def true_neighbours(result: ScoreResult, placed: TextMap, label: str) -> list[tuple[str, str, float]]:
    """(label, text, cosine x 100) of the texts nearest to one in all dimensions, best first."""
    labels, texts = result.points
    if label not in labels:
        return []
    row = labels.index(label)
    ids, scores = placed.neighbours.ids[row].tolist(), placed.neighbours.scores[row].tolist()
    return [(labels[other], texts[other], 100 * score) for other, score in zip(ids, scores, strict=True)]


def _project(result: ScoreResult, method: Method, n_dims: int) -> tuple[Projection, str, Sequence[str]]:
    """Coordinates, what is said of them, and titles for axes that mean something."""
    vectors = result.vectors
    if method == "umap":
        words = f"UMAP keeps neighbours together; far distances mean little (seed {_SEED})."
        return umap(vectors, n_dims, seed=_SEED), words, ()
    if method == "tsne":
        found = tsne(vectors, n_dims, seed=_SEED)
        words = "t-SNE keeps near neighbours together; sizes and distances of groups mean nothing (perplexity "
        return found, f"{words}{found.perplexity:.0f}, seed {_SEED}).", ()
    if method == "axis":
        return _along_sides(result, n_dims)
    found = pca(vectors, n_dims)
    shares = found.explained_variance or ()
    words = f"PCA shows the directions in which the texts differ most: {sum(shares):.0%} of the variance."
    return found, words, [f"Component {number} ({share:.0%})" for number, share in enumerate(shares, 1)]


def _along_sides(result: ScoreResult, n_dims: int) -> tuple[Projection, str, Sequence[str]]:
    names = wording(result.use)
    if result.is_self:
        raise VectorError(f"This axis leads from {names.left.lower()} to {names.right.lower()}, and there is one side.")
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
    trust = trustworthiness(vectors, coordinates, k)
    return f"Trustworthiness {trust:.2f} (1: neighbours on the map are neighbours in truth)."


def _too_few(result: ScoreResult, method: Method) -> str:
    if method not in ("umap", "tsne") or len(result.vectors) >= FEW_TEXTS:
        return ""
    return f"With fewer than {FEW_TEXTS} texts its shape says little; PCA is the safer picture."


def _clusters_in_words(n_clusters: int, silhouette: float) -> str:
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
