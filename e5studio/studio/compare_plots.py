"""Comparisons -> figures for the page. Knows no Gradio."""

from __future__ import annotations

from e5studio.analysis.alignment import aligned
from e5studio.analysis.projection import pca
from e5studio.analysis.ranking import ranks
from e5studio.studio.compare_words import prompt_name
from e5studio.studio.comparing import Comparison, PromptGrid, Shift
from e5studio.studio.figures.differences import (
    GridCell,
    RankedPassage,
    bump_chart,
    matrix_grid,
    shift_chart,
)
from e5studio.studio.figures.form import Figure, FloatArray
from e5studio.studio.figures.heat import difference_map
from e5studio.studio.figures.points import role_groups, scatter_map
from e5studio.studio.handlers import ScoreResult, best_passages
from e5studio.studio.uses import wording

_MAP_HEIGHT = 400


def draw_differences(found: Comparison) -> Figure:
    """B's scores minus A's."""
    first = found.first
    names = wording(first.use)
    return difference_map(
        found.deltas,
        first.queries.texts,
        first.passages.texts,
        first.queries.labels,
        first.passages.labels,
        (names.left, names.left if first.is_self else names.right),
    )


def draw_grid(grid: PromptGrid) -> Figure:
    """The matrices of all prompts."""
    usual = grid.usual
    cells = [
        GridCell(
            f"queries: {prompt_name(cell.left)}",
            f"passages: {prompt_name(cell.right)}",
            cell.scores,
            best_passages(cell.scores, usual.is_self),
        )
        for cell in grid.cells
    ]
    return matrix_grid(cells, usual.queries.texts, usual.passages.texts, usual.queries.labels, usual.passages.labels)


def ranked_passages(found: Comparison, row: int) -> list[RankedPassage]:
    """What one query was compared with, best under either setting first."""
    one, other = found.counted
    before, after = ranks(one[[row]])[0], ranks(other[[row]])[0]
    passages = found.first.passages
    ranked = [
        RankedPassage(
            passages.labels[place],
            passages.texts[place],
            (int(before[place]), int(after[place])),
            (float(one[row, place]), float(other[row, place])),
        )
        for place in range(len(passages))
        if found.first.has_pair(row, place)
    ]
    return sorted(ranked, key=lambda passage: (min(passage.ranks), passage.ranks))


def draw_bump(found: Comparison, row: int) -> Figure:
    """Ranks of one query's passages under both."""
    return bump_chart(ranked_passages(found, row))


def draw_shifts(found: Comparison, moved: list[Shift]) -> Figure:
    """How far each query moves and what it gains."""
    queries = found.first.queries
    return shift_chart(
        [shift.moved for shift in moved], [shift.gained for shift in moved], queries.labels, queries.texts
    )


def draw_maps(found: Comparison) -> tuple[Figure, Figure]:
    """The texts on a PCA map of each setting, the second turned and scaled onto the first."""
    first = pca(found.first.vectors, 2).coordinates
    second = aligned(pca(found.second.vectors, 2).coordinates, onto=first)
    return _map(found.first, first), _map(found.second, second.astype("float32"))


def _map(result: ScoreResult, points: FloatArray) -> Figure:
    labels, texts = result.points
    names = wording(result.use)
    groups = role_groups(len(result.queries), len(texts), (names.left, names.right))
    return {**scatter_map(points, groups, texts, labels), "height": _MAP_HEIGHT}
