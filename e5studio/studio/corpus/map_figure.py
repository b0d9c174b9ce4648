"""The figure of a corpus map, coloured by a column, by group, by length, or by the score of a search. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from e5studio.errors import VectorError
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
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus
from e5studio.studio.corpus.map import CorpusGroups, CorpusMap, check_same_corpus, corpus_neighbours, labels_of
from e5studio.studio.map import text as map_text

CorpusColour = Literal["plain", "column", "group", "tokens", "score"]
CORPUS_COLOURS: tuple[CorpusColour, ...] = get_args(CorpusColour)

MAX_MARKED = 50
"""More rings and numbers would cover each other."""

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


def colours_of(embedded: EmbeddedCorpus, *, has_scores: bool = False) -> tuple[CorpusColour, ...]:
    """The colours that this corpus can have; by score only after a search."""
    has = {"column": embedded.corpus.colours is not None, "tokens": embedded.n_tokens is not None, "score": has_scores}
    return tuple(colour for colour in CORPUS_COLOURS if has.get(colour, True))


def colour_corpus(
    embedded: EmbeddedCorpus,
    colour: CorpusColour = "plain",
    *,
    groups: CorpusGroups | None = None,
    scores: ArrayLike | None = None,
) -> Colouring:
    """Colour the texts of a corpus.

    Args:
        embedded: The texts.
        colour: "plain", "column" (the corpus' own), "group" (k-means), "tokens" (length) or "score" (of a search).
        groups: From `group_corpus`, for "group".
        scores: Cosine x 100 of each text with the query of a search, (n,), for "score".

    Raises:
        VectorError: The data for the colour is missing, or belongs to another corpus.
    """
    corpus = embedded.corpus
    if colour == "column":
        return _by_column(corpus)
    if colour == "group":
        return _by_group(embedded, groups)
    if colour == "tokens":
        if embedded.n_tokens is None:
            raise VectorError("Nobody counted the tokens of uploaded vectors. Take another colour.")
        return _by_value(embedded.n_tokens.astype(np.float64), "tokens read", ".0f")
    if colour == "score":
        if scores is None or np.shape(scores) != (len(corpus),):
            raise VectorError("There are no scores of these texts. Search them first, or take another colour.")
        return _by_value(np.asarray(scores, np.float64), "score", ".1f")
    return Colouring(plain_group(len(corpus)))


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
        hits: Rows that a search found, best first; up to `MAX_MARKED` get a ring and their rank.
        picked: Row of a text to join to its true neighbours.

    Raises:
        VectorError: The map belongs to another corpus.
    """
    check_same_corpus(embedded, corpus_map.of)
    labels = labels_of(embedded.corpus)
    marks = [(row, str(rank)) for rank, row in enumerate(hits[:MAX_MARKED], 1)]
    links: list[tuple[int, int]] = []
    if picked is not None:
        links = [(picked, row) for row, _ in corpus_neighbours(embedded, picked)]
        marks += [] if picked in hits[:MAX_MARKED] else [(picked, labels[picked])]
    figure = scatter_map(
        corpus_map.projection.coordinates,
        colouring.groups,
        embedded.corpus.documents,
        labels,
        links=links,
        marks=marks,
        axis_names=map_text.axis_names(corpus_map.projection),
        scale=colouring.scale,
    )
    figure["label"] = f"Map of {len(embedded.corpus):,} texts, named by their lines in {embedded.corpus.source}."
    return figure


def _by_value(values: NDArray[np.float64], name: str, tick_format: str) -> Colouring:
    return Colouring(valued_groups(values.tolist(), ""), ColourScale(name, *_ends(values), tick_format))


def _by_group(embedded: EmbeddedCorpus, groups: CorpusGroups | None) -> Colouring:
    if groups is None:
        raise VectorError("The groups of these texts are not known yet. Find them first, or take another colour.")
    check_same_corpus(embedded, groups.of)
    members = [
        (f"{number} {name}".strip(), np.flatnonzero(groups.labels == number - 1).tolist())
        for number, name in enumerate(groups.names, 1)
    ]
    return Colouring(category_groups(members, ("", [])), clusters=groups)


def _by_column(corpus: Corpus) -> Colouring:
    if corpus.colours is None or corpus.colour_name is None:
        raise VectorError("No column was chosen to colour this corpus. Choose one, or take another colour.")
    cells = [cell.strip() for cell in corpus.colours]
    numbers = _numbers(cells)
    return _by_category(cells, corpus.colour_name) if numbers is None else _by_number(numbers, corpus.colour_name)


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
