"""An embedded corpus -> points on a map, groups, and the figure in any colours; up to 50,000 texts. Knows no Gradio.

Placing takes seconds (UMAP up to a minute) and is done once for a projection; colours, marks of what a search found
and the neighbours of a picked text are drawn over the same points. What a map is worth is estimated on some texts
drawn at random: to compare all with all would take longer than the map.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.analysis.clusters import cluster_names, find_clusters
from e5studio.analysis.neighbours import OnProgress, nearest_neighbours
from e5studio.analysis.projection import Projection, kept_neighbours, pca, trustworthiness, tsne, umap
from e5studio.errors import VectorError
from e5studio.similarity import TopK
from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.palette import MAX_CATEGORIES
from e5studio.studio.charts.points import (
    ColourScale,
    PointGroup,
    category_groups,
    plain_group,
    scatter_map,
    valued_groups,
)
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus, FloatArray
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.map import text as map_text
from e5studio.studio.map.placing import (
    N_NEIGHBOURS,
    MapSettings,
    Method,
)

CorpusColour = Literal["plain", "column", "group", "tokens", "score"]
CORPUS_COLOURS: tuple[CorpusColour, ...] = get_args(CorpusColour)
CORPUS_METHODS: tuple[Method, ...] = ("pca", "umap", "tsne")

MAX_TSNE_TEXTS = 3_000
"""t-SNE of so many takes some 20 seconds, in which nothing can end it."""

MAX_MARKED = 50
"""Rings and numbers of more texts would cover each other."""

_MANY_TEXTS = 20_000
_NEIGHBOURS_OF_MANY = 30  # UMAP's time grows with them: 50,000 texts with 15 take half a minute
_N_JUDGED = 500
_MAX_GROUPED = 2_000
_MAX_NAMED, _MAX_NAMED_CHARACTERS = 5_000, 1_000
_NUMBERS_SHARE = 0.95
_FEW_NUMBERS = 100


@dataclass(frozen=True)
class CorpusMap:
    """Placed texts of a corpus.

    Attributes:
        of: The key of the embedded corpus.
        method: "pca", "umap" or "tsne".
        coordinates: float32, (n, 2) or (n, 3).
        axis_names: Titles of axes that mean something.
        caption: How it came about and what it is worth.
        trust: Trustworthiness, 0 to 1; None of fewer than three texts.
        kept: Share of the true neighbours of the texts looked at that are neighbours on the map, 0 to 1.
        n_judged: How many texts `trust` and `kept` are estimated on.
    """

    of: str
    method: Method
    coordinates: FloatArray
    axis_names: tuple[str, ...]
    caption: str
    trust: float | None
    kept: float
    n_judged: int


@dataclass(frozen=True)
class CorpusGroups:
    """Groups of the texts of a corpus.

    Attributes:
        of: The key of the embedded corpus.
        labels: The group of each text, (n,), numbered from the largest.
        names: The words that stand for each group.
        silhouette: How well they are apart, -1 to 1.
        n_fitted: Texts that the groups were found in; the others were put to the nearest.
    """

    of: str
    labels: NDArray[np.int64]
    names: tuple[str, ...]
    silhouette: float
    n_fitted: int


def place_corpus(embedded: EmbeddedCorpus, settings: MapSettings, on_stage: OnStage | None = None) -> CorpusMap:
    """Place the texts of a corpus on a map.

    Args:
        embedded: The texts and their vectors.
        settings: How; "axis" has no meaning here. UMAP of more than 20,000 texts counts 30 neighbours at most.
        on_stage: Told what is being done.

    Raises:
        VectorError: Too few texts for the method, or too many for t-SNE, or a setting out of its range.
        MissingDependencyError: The method's package is not installed.
        StoppedError: `on_stage` asked to stop.
    """
    stage = on_stage or _no_stage
    vectors, n = embedded.vectors, len(embedded.vectors)
    _check_method(settings.method, n)
    stage(None, "Placing the texts")
    near = _umap_neighbours(vectors, settings, stage) if settings.method == "umap" else None
    found = _project(vectors, settings, near, stage)
    stage(None, "Judging the map")
    judged = _drawn_at_random(n, _N_JUDGED)
    true = _of_rows(near, judged) if near is not None else _nearest(vectors, judged)
    kept = float(kept_neighbours(true, found.coordinates, rows_of=judged).mean())
    trust = _trust(vectors, found.coordinates, judged)
    words, axis_names = map_text.method(found, settings), map_text.axis_names(found)
    sentences = [
        f"Vectors of {embedded.meta.name.rsplit('/', 1)[-1]}.",
        words,
        _worth(trust, kept, true.ids.shape[1], len(judged), n),
        map_text.few_texts(n, settings.method),
    ]
    caption = " ".join(sentence for sentence in sentences if sentence)
    return CorpusMap(
        embedded.key, settings.method, found.coordinates, tuple(axis_names), caption, trust, kept, len(judged)
    )


def group_corpus(embedded: EmbeddedCorpus, on_stage: OnStage | None = None) -> CorpusGroups:
    """Group the texts of a corpus by k-means and name the groups by their words, in a few seconds for any number.

    Args:
        embedded: The texts and their vectors.
        on_stage: Told what is being done.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
        StoppedError: `on_stage` asked to stop.
    """
    stage = on_stage or _no_stage
    stage(None, "Finding groups")
    found = find_clusters(embedded.vectors, max_fitted=_MAX_GROUPED)
    stage(None, "Naming the groups")
    n, texts = len(found.labels), embedded.corpus.documents
    read = _drawn_at_random(n, _MAX_NAMED)
    names = cluster_names([texts[row][:_MAX_NAMED_CHARACTERS] for row in read.tolist()], found.labels[read])
    names += [""] * (found.n_clusters - len(names))  # of groups so small that no text of them was read
    return CorpusGroups(embedded.key, found.labels, tuple(names), found.silhouette, min(n, _MAX_GROUPED))


def colours_of(embedded: EmbeddedCorpus, *, has_scores: bool = False) -> tuple[CorpusColour, ...]:
    """The colourings that this corpus can have; that by score only after a search."""
    has = {"column": embedded.corpus.colours is not None, "tokens": embedded.n_tokens is not None, "score": has_scores}
    return tuple(colour for colour in CORPUS_COLOURS if has.get(colour, True))


def draw_corpus_map(
    embedded: EmbeddedCorpus,
    placed: CorpusMap,
    colour: CorpusColour = "plain",
    *,
    groups: CorpusGroups | None = None,
    scores: ArrayLike | None = None,
    hits: Sequence[int] = (),
    picked: int | None = None,
) -> tuple[Figure, str]:
    """The figure of placed texts and its caption.

    Args:
        embedded: The texts.
        placed: From `place_corpus`.
        colour: "plain", "column" (the corpus' own), "group" (k-means), "tokens" (length) or "score" (of a search).
        groups: From `group_corpus`, for "group".
        scores: Cosine x 100 of each text with the query of a search, (n,), for "score".
        hits: Rows that a search found, best first; up to `MAX_MARKED` get a ring and their rank.
        picked: Row of a text whose true neighbours are joined to it.

    Raises:
        VectorError: What the colour needs is not there, or belongs to another corpus.
    """
    _check_same(embedded, placed.of)
    shown = _coloured(embedded, colour, groups, scores)
    sentences = [placed.caption, shown.words]
    marks = [(row, str(rank)) for rank, row in enumerate(hits[:MAX_MARKED], 1)]
    links: list[tuple[int, int]] = []
    if marks:
        sentences.append(f"Rings mark the {_best(len(marks), len(hits))} of the search, numbered by rank.")
    if picked is not None:
        links = [(picked, row) for row, _ in corpus_neighbours(embedded, picked)]
        label = labels_of(embedded.corpus)[picked]
        marks += [] if picked in hits[:MAX_MARKED] else [(picked, label)]
        sentences.append(f"Lines join text {label} to the {len(links)} texts nearest to it in all dimensions.")
    figure = scatter_map(
        placed.coordinates,
        shown.groups,
        embedded.corpus.documents,
        labels_of(embedded.corpus),
        links=links,
        marks=marks,
        axis_names=placed.axis_names,
        scale=shown.scale,
    )
    figure["label"] = f"Map of {len(embedded.corpus):,} texts, named by their lines in {embedded.corpus.source}."
    return figure, " ".join(sentence for sentence in sentences if sentence)


def corpus_neighbours(embedded: EmbeddedCorpus, row: int, count: int = N_NEIGHBOURS) -> list[tuple[int, float]]:
    """(row, cosine x 100) of the texts nearest to one in all dimensions, best first."""
    near = _nearest(embedded.vectors, np.array([row]), count)
    return [(int(other), 100 * float(score)) for other, score in zip(near.ids[0], near.scores[0], strict=True)]


def labels_of(corpus: Corpus) -> tuple[str, ...]:
    """What the points of a map are called: the line on which each text begins."""
    return tuple(map(str, corpus.lines))


def row_of_label(corpus: Corpus, label: str) -> int | None:
    """The row of the text that a point of this name stands for; None where there is none."""
    return next((row for row, line in enumerate(corpus.lines) if str(line) == label), None)


@dataclass(frozen=True)
class _Coloured:
    """Points in groups, the scale of their shades, and what is said of the colours."""

    groups: list[PointGroup]
    scale: ColourScale | None
    words: str


def _check_method(method: Method, n: int) -> None:
    if method not in CORPUS_METHODS:
        raise VectorError("An axis between two sides needs two sides, and a corpus is one. Take PCA or UMAP.")
    if method == "tsne" and n > MAX_TSNE_TEXTS:
        raise VectorError(
            f"t-SNE would take minutes for {n:,} texts; it is drawn here for up to {MAX_TSNE_TEXTS:,}. "
            "Take UMAP, which also keeps neighbours together, or PCA."
        )


def _check_same(embedded: EmbeddedCorpus, of: str) -> None:
    if of != embedded.key:
        raise VectorError("This map or these groups are of another corpus, or of other vectors of it. Make them anew.")


def _umap_neighbours(vectors: FloatArray, settings: MapSettings, stage: OnStage) -> TopK:
    """As many neighbours as UMAP wants, and no fewer than the map is judged by."""
    count = max(_umap_size(vectors, settings) - 1, N_NEIGHBOURS)
    return nearest_neighbours(
        vectors, n_neighbors=count, on_progress=_telling(stage, 0.0, 0.5, "Finding the neighbours of each text")
    )


def _umap_size(vectors: FloatArray, settings: MapSettings) -> int:
    return min(settings.n_neighbors, _NEIGHBOURS_OF_MANY) if len(vectors) > _MANY_TEXTS else settings.n_neighbors


def _project(vectors: FloatArray, settings: MapSettings, near: TopK | None, stage: OnStage) -> Projection:
    if settings.method == "umap":
        return umap(
            vectors,
            settings.n_dims,
            n_neighbors=_umap_size(vectors, settings),
            min_dist=settings.min_dist,
            seed=settings.seed,
            precomputed_knn=near,
            on_epoch=_telling(stage, 0.5, 1.0, "Laying out the map"),
        )
    if settings.method == "tsne":
        return tsne(vectors, settings.n_dims, perplexity=settings.perplexity, seed=settings.seed)
    return pca(vectors, settings.n_dims)


def _telling(stage: OnStage, start: float, end: float, words: str) -> OnProgress:
    return lambda done, of: stage(start + (end - start) * done / max(of, 1), words)


def _drawn_at_random(n: int, count: int) -> NDArray[np.int64]:
    """Rows, ascending; all where there are no more. The same rows each time, so that maps can be compared."""
    if n <= count:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, count, replace=False))


def _nearest(vectors: FloatArray, rows: NDArray[np.int64], count: int = N_NEIGHBOURS) -> TopK:
    return nearest_neighbours(vectors, n_neighbors=min(count, max(len(vectors) - 1, 1)), rows_of=rows)


def _of_rows(near: TopK, rows: NDArray[np.int64]) -> TopK:
    return TopK(near.scores[rows, :N_NEIGHBOURS], near.ids[rows, :N_NEIGHBOURS])


def _trust(vectors: FloatArray, coordinates: FloatArray, judged: NDArray[np.int64]) -> float | None:
    k = min(N_NEIGHBOURS, (len(vectors) - 1) // 2)
    return trustworthiness(vectors, coordinates, k, rows_of=judged) if k >= 1 else None


def _worth(trust: float | None, kept: float, k: int, n_judged: int, n: int) -> str:
    if trust is None:
        return ""
    words = f"{map_text.trust(trust)} Of the {k} texts nearest to each, {kept:.0%} are nearest to it on the map too."
    return words if n_judged == n else f"{words} Both are estimated on {n_judged:,} of the {n:,} texts."


def _coloured(
    embedded: EmbeddedCorpus, colour: CorpusColour, groups: CorpusGroups | None, scores: ArrayLike | None
) -> _Coloured:
    corpus = embedded.corpus
    if colour == "column":
        return _by_column(corpus)
    if colour == "group":
        return _by_group(embedded, groups)
    if colour == "tokens":
        if embedded.n_tokens is None:
            raise VectorError("These vectors were brought, so nobody counted tokens. Take another colour.")
        return _by_value(embedded.n_tokens.astype(np.float64), "tokens read", ".0f")
    if colour == "score":
        if scores is None or np.shape(scores) != (len(corpus),):
            raise VectorError("There are no scores of these texts. Search them first, or take another colour.")
        return _by_value(np.asarray(scores, np.float64), "score", ".1f")
    return _Coloured(plain_group(len(corpus)), None, "")


def _by_value(values: NDArray[np.float64], name: str, tick_format: str) -> _Coloured:
    return _Coloured(valued_groups(values.tolist(), ""), ColourScale(name, *_ends(values), tick_format), "")


def _by_group(embedded: EmbeddedCorpus, groups: CorpusGroups | None) -> _Coloured:
    if groups is None:
        raise VectorError("The groups of these texts have not been found yet. Find them first, or take another colour.")
    _check_same(embedded, groups.of)
    members = [
        (f"{number} {name}".strip(), np.flatnonzero(groups.labels == number - 1).tolist())
        for number, name in enumerate(groups.names, 1)
    ]
    words = map_text.groups(len(groups.names), groups.silhouette)
    if groups.n_fitted < len(groups.labels):
        words += f" Found in {groups.n_fitted:,} texts drawn at random; the others went to the nearest group."
    return _Coloured(category_groups(members, ("", [])), None, words)


def _by_column(corpus: Corpus) -> _Coloured:
    if corpus.colours is None or corpus.colour_name is None:
        raise VectorError("No column was chosen to colour this corpus by. Choose one, or take another colour.")
    cells = [cell.strip() for cell in corpus.colours]
    numbers = _numbers(cells)
    return _by_category(cells, corpus.colour_name) if numbers is None else _by_number(numbers, corpus.colour_name)


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The cells as numbers, NaN where one is none; None where more than a few are none."""
    values = np.array([_number(cell) for cell in cells])
    n_filled = sum(map(bool, cells))
    return values if n_filled and np.isfinite(values).sum() >= _NUMBERS_SHARE * n_filled else None


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


def _by_number(values: NDArray[np.float64], name: str) -> _Coloured:
    low, high = _ends(values)
    n_missing = int(np.isnan(values).sum())
    words = f"Coloured by {name}."
    if n_missing:
        words += f" Grey: {n_missing:,} texts without a number."
    if low > np.nanmin(values) or high < np.nanmax(values):
        words += " The last hundredth at either end shares a colour."
    return _Coloured(valued_groups(values.tolist(), "no number"), ColourScale(name, low, high, "~g"), words)


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """Where the colours begin and end: a few wild values of many must not take them all."""
    ends = np.nanpercentile(values, [1, 99] if len(values) > _FEW_NUMBERS else [0, 100])
    return float(ends[0]), float(ends[1])


def _by_category(cells: Sequence[str], name: str) -> _Coloured:
    ordered = [cell for cell, _ in sorted(Counter(filter(None, cells)).items(), key=lambda each: (-each[1], each[0]))]
    chosen = ordered if len(ordered) <= MAX_CATEGORIES else ordered[: MAX_CATEGORIES - 1]
    members: dict[str, list[int]] = {each: [] for each in chosen}
    rest: list[int] = []
    for row, cell in enumerate(cells):
        members.get(cell, rest).append(row)
    n_other, has_empty = len(ordered) - len(chosen), "" in cells
    grey = " or ".join(["other"] * (n_other > 0) + ["none"] * has_empty)
    words = f"Coloured by {name}."
    if n_other:
        words = f"Coloured by {name}: its {len(chosen)} most frequent values of {len(ordered):,}; the others are grey."
    return _Coloured(category_groups(list(members.items()), (grey, rest)), None, words)


def _best(n_marked: int, n_hits: int) -> str:
    return f"best {n_marked}" if n_marked < n_hits else f"{n_marked} hits"


def _no_stage(share: float | None, words: str) -> None:
    return None
