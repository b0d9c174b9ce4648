"""A score result -> points on a map, and what the map is worth.

Placing the texts takes time and is done once for a projection; colours and the neighbours of a picked text are drawn
over the same points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.map_quality import kept_neighbours, trustworthiness
from e5studio.analysis.neighbours import nearest_neighbours
from e5studio.analysis.projection import MIN_TSNE_POINTS, Projection, axis_between, pca, tsne
from e5studio.analysis.umap_projection import MIN_UMAP_POINTS, umap
from e5studio.similarity import FloatArray, TopK
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.widgets.table_data import Choice

Method = Literal["pca", "umap", "tsne", "axis"]
Colour = Literal["role", "cluster", "kept", "best", "tokens"]
METHODS: tuple[Method, ...] = get_args(Method)
COLOURS: tuple[Colour, ...] = get_args(Colour)

N_NEIGHBOURS = 5
MAX_NEIGHBOURHOOD = 100
MAX_SEED = 2**32 - 1

_MAX_LINKED = 400
_SLOW: tuple[Method, ...] = ("umap", "tsne")
TITLES: dict[Method, str] = {"pca": "PCA", "umap": "UMAP", "tsne": "t-SNE", "axis": "Query\N{EN DASH}passage axis"}


@dataclass(frozen=True)
class MapSettings:
    """How texts are placed.

    UMAP and t-SNE of few texts use fewer neighbours than these fields say: `projection` has what was used.

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
    """Settings from what came over the wire: what is no valid value becomes the default."""
    default = MapSettings()
    return MapSettings(
        method=next((each for each in METHODS if each == method), default.method),
        n_dims=3 if n_dims == 3 else 2,
        n_neighbors=int(_within(n_neighbors, 2, MAX_NEIGHBOURHOOD, default.n_neighbors)),
        min_dist=_within(min_dist, 0, 1, default.min_dist),
        perplexity=_within(perplexity, 1, MAX_NEIGHBOURHOOD, default.perplexity),
        seed=int(_within(seed, 0, MAX_SEED, default.seed)),
    )


def method_choices(
    n_texts: int, *, sides: bool = True, has_axis: bool = True, max_tsne: int | None = None
) -> list[Choice]:
    """The projections; those that cannot place these texts with the reason.

    Args:
        n_texts: How many there are.
        sides: Whether they are of two sides, between which there is an axis.
        has_axis: Whether there can be sides at all.
        max_tsne: More take too long; None for no limit.
    """
    is_too_many = max_tsne is not None and n_texts > max_tsne
    reasons: dict[Method, str] = {
        "umap": f"needs {MIN_UMAP_POINTS} texts" if n_texts < MIN_UMAP_POINTS else "",
        "tsne": f"needs {MIN_TSNE_POINTS} texts" if n_texts < MIN_TSNE_POINTS else "",
        "axis": "" if sides else "needs texts in both boxes",
    }
    if is_too_many:
        reasons["tsne"] = f"up to {max_tsne:,} texts"
    methods = [method for method in METHODS if has_axis or method != "axis"]
    return [Choice(TITLES[method], method, reasons.get(method, "")) for method in methods]


def reason_against(method: Method, result: ScoreResult) -> str:
    """Why a method cannot place these texts; "" where it can."""
    choices = method_choices(len(result.vectors), sides=not result.is_self)
    return next(choice.reason for choice in choices if choice.value == method)


def valid_colour(colour: Any) -> Colour:
    """The colouring of this name, or the default."""
    return next((each for each in COLOURS if each == colour), "role")


def _within(value: Any, low: float, high: float, default: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value:  # NaN
        return default
    return min(max(value, low), high)


@dataclass(frozen=True)
class TextMap:
    """Placed texts.

    Attributes:
        of: The key of the result whose texts they are.
        settings: How the texts are placed.
        instead_of: The method that was asked for where PCA takes its place.
        projection: Where the texts lie, and how they came there.
        trust: The map's trustworthiness; None for too few texts.
        neighbours: The true neighbours of each text, in all dimensions.
        neighbours_kept: For each text the share of its true neighbours that are its neighbours on the map.
    """

    of: str
    settings: MapSettings
    projection: Projection
    trust: float | None
    neighbours: TopK
    neighbours_kept: NDArray[np.float64]
    instead_of: Method | None = None

    @property
    def coordinates(self) -> FloatArray:
        """float32, (n, 2) or (n, 3)."""
        return self.projection.coordinates


def place_texts(result: ScoreResult, settings: MapSettings, *, is_quick: bool = False) -> TextMap:
    """Place the texts of a result on a map; by PCA where the method cannot place these texts.

    Args:
        result: Has the texts.
        settings: How to place them.
        is_quick: Whether PCA takes the place of a method that takes seconds, too.

    Raises:
        E5StudioError: A package is missing.
    """
    if (is_quick and settings.method in _SLOW) or reason_against(settings.method, result):
        return replace(place_texts(result, replace(settings, method="pca")), instead_of=settings.method)
    projection = _project(result, settings)
    n_texts = len(result.vectors)
    neighbours = nearest_neighbours(result.vectors, n_neighbors=min(N_NEIGHBOURS, max(n_texts - 1, 1)))
    return TextMap(
        of=result.key,
        settings=settings,
        projection=projection,
        trust=trust_of(result.vectors, projection.coordinates),
        neighbours=neighbours,
        neighbours_kept=kept_neighbours(neighbours, projection.coordinates),
    )


def true_neighbours(result: ScoreResult, text_map: TextMap, label: str) -> list[tuple[str, str, float]]:
    """(label, text, cosine x 100) of the texts nearest to one in all dimensions, best first."""
    labels, texts = result.points
    if label not in labels:
        return []
    row = labels.index(label)
    ids, scores = text_map.neighbours.ids[row].tolist(), text_map.neighbours.scores[row].tolist()
    return [(labels[other], texts[other], 100 * score) for other, score in zip(ids, scores, strict=True)]


def joined_texts(result: ScoreResult, text_map: TextMap, picked: str | None = None) -> list[tuple[int, int]]:
    """Rows of the texts that lines join: the picked text and its true neighbours, or else each text and its best match.

    Many best matches are not joined.
    """
    labels, _ = result.points
    if picked in labels:
        row = labels.index(picked)
        return [(row, int(other)) for other in text_map.neighbours.ids[row]]
    offset = 0 if result.is_self else len(result.queries)
    pairs = [(row, column + offset) for row, column in enumerate(result.best) if column is not None]
    return sorted({(min(pair), max(pair)) for pair in pairs}) if len(pairs) <= _MAX_LINKED else []


def best_scores(result: ScoreResult) -> list[float]:
    """The highest score of each text with the other side (never with itself), in the order of `result.vectors`."""
    scores = result.counted.astype(np.float64)
    sides = [np.nanmax(scores, axis=1)] if result.is_self else [scores.max(axis=1), scores.max(axis=0)]
    return [float(score) for side in sides for score in side]


def _project(result: ScoreResult, settings: MapSettings) -> Projection:
    vectors, n_dims, seed = result.vectors, settings.n_dims, settings.seed
    if settings.method == "axis":
        return _along_sides(result, n_dims)
    if settings.method == "umap":
        return umap(vectors, n_dims, n_neighbors=settings.n_neighbors, min_dist=settings.min_dist, seed=seed)
    if settings.method == "tsne":
        return tsne(vectors, n_dims, perplexity=settings.perplexity, seed=seed)
    return pca(vectors, n_dims)


def _along_sides(result: ScoreResult, n_dims: int) -> Projection:
    n = len(result.queries)
    return axis_between(result.vectors, result.vectors[:n].mean(axis=0), result.vectors[n:].mean(axis=0), n_dims)


def trust_of(vectors: FloatArray, coordinates: FloatArray, rows_of: NDArray[np.int64] | None = None) -> float | None:
    """Trustworthiness of a map, judged by some of its texts or by all; None with fewer than three texts."""
    k = min(N_NEIGHBOURS, (len(vectors) - 1) // 2)
    return None if k < 1 else trustworthiness(vectors, coordinates, k, rows_of=rows_of)
