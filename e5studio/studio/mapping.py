"""A score result -> points on a map, and the sentence that says what the map is worth. Knows no Gradio."""

from __future__ import annotations

from typing import Literal

from e5studio.analysis.projection import pca, trustworthiness, umap
from e5studio.studio.figures import Figure, scatter_map
from e5studio.studio.handlers import FloatArray, ScoreResult
from e5studio.studio.uses import wording

Method = Literal["pca", "umap"]

_MAX_LINKED = 400
_TRUST_NEIGHBOURS = 5
_SEED = 0  # the same texts give the same map


def draw_map(result: ScoreResult, method: Method, n_dims: int) -> tuple[Figure, str]:
    """The figure of a map and its caption.

    Args:
        result: Whose vectors are drawn.
        method: "pca" or "umap".
        n_dims: 2 or 3.

    Raises:
        E5StudioError: Too few texts for the method.
    """
    points, words, axis_names = _project(result.vectors, method, n_dims)
    short = result.meta.name.rsplit("/", 1)[-1]
    caption = f"Vectors of {short}. {words}"  # stays true when another model is picked beside it
    labels, texts = result.points
    names = wording(result.use)
    n_left = len(result.queries)
    links = _links(result)
    figure = scatter_map(
        points, n_left, texts, labels, links=links, names=(names.left, names.right), axis_names=axis_names
    )
    if links:
        caption += " A line joins each text to its best match, found in all dimensions, not on the map."
    return figure, caption


def _project(vectors: FloatArray, method: Method, n_dims: int) -> tuple[FloatArray, str, list[str]]:
    """Coordinates, what is said of them, and titles for axes that mean something."""
    if method == "umap":
        found = umap(vectors, n_dims, seed=_SEED)
        words = f"UMAP keeps neighbours together; far distances mean little (seed {_SEED})."
        return found.coordinates, f"{words} {_trust(vectors, found.coordinates)}".strip(), []
    found = pca(vectors, n_dims)
    shares = found.explained_variance or ()
    words = f"PCA shows the directions in which the texts differ most: {sum(shares):.0%} of the variance."
    axes = [f"Component {number} ({share:.0%})" for number, share in enumerate(shares, 1)]
    return found.coordinates, f"{words} {_trust(vectors, found.coordinates)}".strip(), axes


def _trust(vectors: FloatArray, coordinates: FloatArray) -> str:
    k = min(_TRUST_NEIGHBOURS, (len(vectors) - 1) // 2)
    if k < 1:
        return ""
    trust = trustworthiness(vectors, coordinates, k)
    return f"Trustworthiness {trust:.2f} (1: neighbours on the map are neighbours in truth)."


def _links(result: ScoreResult) -> list[tuple[int, int]]:
    offset = 0 if result.is_self else len(result.queries)
    pairs = [(row, column + offset) for row, column in enumerate(result.best) if column is not None]
    return sorted({(min(pair), max(pair)) for pair in pairs}) if len(pairs) <= _MAX_LINKED else []
