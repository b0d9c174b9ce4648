"""The figure of a corpus map, coloured by any column, by topic, by length, or by the score of a search. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError
from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.palette import MAX_CATEGORIES
from e5studio.studio.charts.point_groups import ColourScale, PointGroup, category_groups, plain_group, valued_groups
from e5studio.studio.charts.points import scatter_map
from e5studio.studio.charts.topics import topics_on
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.map import CorpusGroups, CorpusMap, check_same_corpus, corpus_neighbours
from e5studio.studio.formatting import shown
from e5studio.studio.map import text as map_text
from e5studio.studio.widgets.table_data import Choice

CorpusColour = Literal["group", "plain", "tokens", "score"]

MAX_MARKED = 50
"""More hits would cover each other."""

_TITLES: dict[CorpusColour, str] = {
    "group": "Topic",
    "plain": "One colour",
    "tokens": "Length",
    "score": "Score of the search",
}
COLUMN = "column:"
"""In front of a column's name in a choice of colour."""

_COLUMN_GROUP = "Columns of the file"

_NUMBERS_SHARE = 0.95
_FEW_NUMBERS = 100


@dataclass(frozen=True)
class Colouring:
    """The points in groups, and what a caption tells about them.

    Attributes:
        groups: The points, each with its colour.
        scale: Of shades; None for categories.
        column: Name of the column; None for other colours.
        n_without_number: Grey texts of a column of numbers.
        is_clipped: Whether the ends of the scale leave out extreme values.
        n_values: Different values of a column of categories; 0 for numbers.
        n_named: How many of them have a colour; the others are grey.
        clusters: The groups by k-means; None for other colours.
    """

    groups: list[PointGroup]
    scale: ColourScale | None = None
    column: str | None = None
    n_without_number: int = 0
    is_clipped: bool = False
    n_values: int = 0
    n_named: int = 0
    clusters: CorpusGroups | None = None


def colour_choices(
    embedded: EmbeddedCorpus | None, columns: Sequence[str] = (), *, has_scores: bool = False
) -> list[Choice]:
    """The colourings of a corpus: its own first, then the columns beside its texts."""
    has_tokens = embedded is None or embedded.n_tokens is not None
    reasons: dict[CorpusColour, str] = {
        "tokens": "" if has_tokens else "unknown of uploaded vectors",
        "score": "" if has_scores else "search first",
    }
    own = [Choice(title, colour, reasons.get(colour, "")) for colour, title in _TITLES.items()]
    return own + [Choice(shown(name, 80), COLUMN + name, group=_COLUMN_GROUP) for name in columns]


def column_of(colour: str) -> str | None:
    """The column that a choice of `colour_choices` names; None for the others."""
    return colour.removeprefix(COLUMN) if colour.startswith(COLUMN) else None


def colour_corpus(
    embedded: EmbeddedCorpus,
    colour: str = "plain",
    *,
    groups: CorpusGroups | None = None,
    scores: ArrayLike | None = None,
    cells: Sequence[str] | None = None,
) -> Colouring:
    """Colour the texts of a corpus.

    Args:
        embedded: The texts.
        colour: A value of `colour_choices`: "plain", "group" (k-means), "tokens" (length), "score" (of a search), or a
            column.
        groups: From `group_corpus`, for "group".
        scores: Cosine x 100 of each text with the query of a search, (n,), for "score".
        cells: Of the column, (n,).

    Raises:
        VectorError: The data for the colour is missing, or belongs to another corpus.
    """
    n, column = len(embedded.corpus), column_of(colour)
    if column is not None:
        if cells is None or len(cells) != n:
            raise VectorError(f"The cells of column {column!r} are not those of these texts. Take another colour.")
        return _by_column([cell.strip() for cell in cells], column)
    if colour == "group":
        return _by_group(embedded, groups)
    if colour == "tokens":
        if embedded.n_tokens is None:
            raise VectorError("Nobody counted the tokens of uploaded vectors. Take another colour.")
        return _by_value(embedded.n_tokens.astype(np.float64), "tokens read", ".0f")
    if colour == "score":
        if scores is None or np.shape(scores) != (n,):
            raise VectorError("There are no scores of these texts. Search them first, or take another colour.")
        return _by_score(np.asarray(scores, np.float64))
    return Colouring(plain_group(n))


def draw_corpus_map(
    embedded: EmbeddedCorpus,
    corpus_map: CorpusMap,
    colouring: Colouring,
    *,
    hits: Sequence[int] = (),
    picked: int | None = None,
) -> Figure:
    """The figure of a map.

    Args:
        embedded: The texts.
        corpus_map: From `place_corpus`.
        colouring: From `colour_corpus`.
        hits: Rows that a search found, best first; up to `MAX_MARKED` light up.
        picked: Row of a text to join to its true neighbours.

    Raises:
        VectorError: The map belongs to another corpus.
    """
    check_same_corpus(embedded, corpus_map.of)
    clusters, points = colouring.clusters, corpus_map.projection.coordinates
    figure = scatter_map(
        points,
        colouring.groups,
        embedded.corpus.documents,
        embedded.corpus.labels,
        links=[] if picked is None else [(picked, row) for row, _ in corpus_neighbours(embedded, picked)],
        hits=hits[:MAX_MARKED],
        picked=picked,
        axis_names=map_text.axis_names(corpus_map.projection),
        scale=colouring.scale,
        topics=[] if clusters is None or clusters.n_topics < 2 else topics_on(points, clusters.labels, clusters.names),
    )
    used, kept_share = corpus_map.settings.method, corpus_map.kept_share
    figure["title"] = map_text.picture_title(embedded.meta, used, kept_share, corpus_map.trust)
    figure["label"] = f"Map of {len(embedded.corpus):,} texts, named by their lines in {embedded.corpus.source}."
    return figure


def _by_value(values: NDArray[np.float64], name: str, tick_format: str) -> Colouring:
    return Colouring(valued_groups(values.tolist(), ""), ColourScale(name, *_ends(values), tick_format))


def _by_group(embedded: EmbeddedCorpus, groups: CorpusGroups | None) -> Colouring:
    if groups is None:
        raise VectorError("The groups of these texts are not known yet. Find them first, or take another colour.")
    check_same_corpus(embedded, groups.of)
    if groups.n_topics < 2:
        return Colouring(plain_group(len(groups.labels)), clusters=groups)
    members = [
        (f"{number} {name}".strip(), np.flatnonzero(groups.labels == number - 1).tolist())
        for number, name in enumerate(groups.names, 1)
    ]
    return Colouring(category_groups(members, ("", [])), clusters=groups)


def _by_score(scores: NDArray[np.float64]) -> Colouring:
    """The best texts in the strongest colours: the scale ends at the best, not short of it."""
    low = float(np.percentile(scores, 1 if len(scores) > _FEW_NUMBERS else 0))
    return Colouring(valued_groups(scores.tolist(), ""), ColourScale("score", low, float(scores.max()), ".1f"))


def _by_column(cells: Sequence[str], column: str) -> Colouring:
    numbers = _numbers(cells)
    return _by_category(cells, column) if numbers is None else _by_number(numbers, column)


def _numbers(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """The cells as numbers, NaN for other cells; None where more than a few are no numbers."""
    values = np.array([_number(cell) for cell in cells])
    n_filled = sum(map(bool, cells))
    return values if n_filled and np.isfinite(values).sum() >= _NUMBERS_SHARE * n_filled else None


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")


def _by_number(values: NDArray[np.float64], column: str) -> Colouring:
    low, high = _ends(values)
    return Colouring(
        valued_groups(values.tolist(), "no number"),
        ColourScale(column, low, high, "~g"),
        column,
        n_without_number=int(np.isnan(values).sum()),
        is_clipped=bool(low > np.nanmin(values) or high < np.nanmax(values)),
    )


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the scale: of many values, a few extreme ones must not take most of the colours."""
    ends = np.nanpercentile(values, [1, 99] if len(values) > _FEW_NUMBERS else [0, 100])
    return float(ends[0]), float(ends[1])


def _by_category(cells: Sequence[str], column: str) -> Colouring:
    ordered = [cell for cell, _ in sorted(Counter(filter(None, cells)).items(), key=lambda each: (-each[1], each[0]))]
    named = ordered if len(ordered) <= MAX_CATEGORIES else ordered[: MAX_CATEGORIES - 1]
    members: dict[str, list[int]] = {each: [] for each in named}
    rest: list[int] = []
    for row, cell in enumerate(cells):
        members.get(cell, rest).append(row)
    grey = " or ".join(["other"] * (len(ordered) > len(named)) + ["none"] * ("" in cells))
    return Colouring(
        category_groups(list(members.items()), (grey, rest)), column=column, n_values=len(ordered), n_named=len(named)
    )
