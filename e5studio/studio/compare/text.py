"""Comparisons -> sentences on the page, as nodes for `widgets.text_tree`. Differences, no verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e5studio.analysis.ranking import ranks
from e5studio.studio.compare.charts import MAX_LINES
from e5studio.studio.compare.comparison import (
    PROMPT_NAMES,
    Comparison,
    PromptCell,
    PromptGrid,
    Shift,
    agreement,
    mean_reciprocal_rank,
)
from e5studio.studio.engine.prompt_modes import prompt_modes_of, side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import shown
from e5studio.studio.widgets.nodes import Node, prompt_code

FEW_PAIRS = 50
"""With fewer known answers a difference between two settings is easily chance."""


_MINUS = "\N{MINUS SIGN}"


MAPS = "PCA of each setting's vectors; B is turned and scaled onto A as closely as that goes (Procrustes)."


def done(found: Comparison | PromptGrid) -> list[Node]:
    """One line: what was compared, and what it took."""
    usual = found.usual if isinstance(found, PromptGrid) else found.first
    n = len(usual.queries)
    size = f"{n} texts with each other" if usual.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(usual.passages)}"
    how = f"under {len(found.cells)} pairs of prompts" if isinstance(found, PromptGrid) else "under A and B"
    return [["p", "e5-done", f"Scored {size} {how}."]]


def settings(found: Comparison) -> list[Node]:
    """What A and B are."""
    entries: list[Node] = []
    for name, result in (("A", found.first), ("B", found.second)):
        entries += [["dt", "", name], ["dd", "", *_setting(result)]]
    return [["dl", "e5-pair e5-settings", *entries]]


def differences(found: Comparison) -> list[Node]:
    """How alike the orders are, how the scores differ, and what to make of it."""
    said = agreement(found)
    names = side_labels(found.first.prompt_mode)
    rows, columns = names.left.lower(), "texts" if found.first.is_self else names.right.lower()
    n = said.n_queries
    best = f"{said.n_same_best} of {n} {rows} keep their best match under B."
    sentences: list[str] = [*_sameness(found), best]
    known = said.taus[np.isfinite(said.taus)]
    if known.size:
        lowest = int(np.nanargmin(said.taus))
        sentences.append(
            f"Order of the {columns}: Kendall's tau {_number(float(known.mean()), 2)} on average (1 is the same order, "
            f"0 no relation), lowest {_number(float(said.taus[lowest]), 2)} at {found.first.queries.labels[lowest]}."
        )
    if found.first.scores.shape[1] - found.first.is_self > said.k:
        overlap = float(np.mean(said.overlaps))
        sentences.append(f"Of the {said.k} best of each, {overlap:.0%} are the same.")
    first, second = (float(np.nanmean(scores)) for scores in found.counted)
    sentences.append(
        f"Scores are {_number(first, 1)} on average under A and {_number(second, 1)} under B; the largest change is "
        f"{_signed(said.largest)} points. Height alone says nothing: compare the orders."
    )
    return [["p", "", sentence] for sentence in sentences] + _paired(found)


def moved(shifts: Sequence[Shift] | None) -> list[Node]:
    """What the chart of moved queries says."""
    if shifts is None:
        text = "The vectors of two models have nothing in common, so how far a query moves cannot be said."
        return [["p", "e5-hint", text]]
    gains = sum(shift.gained > 0 for shift in shifts)
    text = (
        f"Each point is a query. To the right: its own vector moves more from A to B. Up: what A finds best is further "
        f"ahead of the others under B ({gains} of {len(shifts)}); down: it has lost ground."
    )
    return [["p", "e5-hint", text]]


def bump(found: Comparison, row: int) -> list[Node]:
    """What the bump chart shows."""
    label, text = found.first.queries.labels[row], found.first.queries.texts[row]
    n = found.first.scores.shape[1] - found.first.is_self
    part = f"the {MAX_LINES} best of {n}" if n > MAX_LINES else f"all {n}"
    hint = f"Ranks from A to B, {part}. Orange rises, blue falls. Click a cell or a row for another."
    return [["p", "", ["strong", "", f"{label} "], shown(text, 300)], ["p", "e5-hint", hint]]


def compared_pair(found: Comparison, row: int, column: int) -> list[Node]:
    """One pair under both settings; nothing for what is none."""
    if not found.first.has_pair(row, column):
        return []
    one, other = found.counted
    (before, after), (rank, new_rank) = (
        (float(one[row, column]), float(other[row, column])),
        (int(ranks(one)[row, column]), int(ranks(other)[row, column])),
    )
    first = found.first
    return [
        [
            "div",
            "e5-pair-head",
            ["strong", "", _signed(after - before)],
            ["span", "", f"A {_number(before, 1)}, rank {rank} \N{RIGHTWARDS ARROW} B {_number(after, 1)}, "],
            ["span", "", f"rank {new_rank}"],
        ],
        _texts(first, row, column),
    ]


def grid_settings(grid: PromptGrid) -> list[Node]:
    """What was tried, in front of what."""
    usual = grid.usual
    short = usual.meta.name.rsplit("/", 1)[-1]
    kind = usual.meta.prompt_kind
    nodes: list[Node] = []
    if kind == "none":
        text = f"{short} was trained without prompts; tried are those of E5, to see what they do to it."
        nodes.append(["p", "e5-hint", text])
    kept = next((cell for cell in grid.cells if cell.is_usual), None)
    where = f"The table marks what the form has ({_pair_of(kept)})." if kept else ""
    text = f"All in the colours of one scale; frames mark the best of each row. {where}"
    return [*nodes, ["p", "e5-hint", text.strip()]]


def grid_differences(grid: PromptGrid) -> list[Node]:
    """What the prompts change, in sentences."""
    kept = next((cell for cell in grid.cells if cell.is_usual), None)
    others = [cell for cell in grid.cells if not cell.is_usual]
    n = len(grid.usual.queries)
    fewest, most = min(others, key=lambda cell: cell.n_same_best), max(others, key=lambda cell: cell.n_same_best)
    text = "Every query keeps its best match, whatever stands in front."
    if fewest.n_same_best < n:
        text = (
            f"Of the {n} best matches under the form's prompts, fewest stay the best with {_pair_of(fewest)} "
            f"({fewest.n_same_best}), most with {_pair_of(most)} ({most.n_same_best})."
        )
    nodes: list[Node] = [["p", "", text]]
    if kept is not None and kept.right_ranks is not None:
        best = max(grid.cells, key=lambda cell: mean_reciprocal_rank(cell.right_ranks))
        nodes.append(
            [
                "p",
                "",
                f"Mean reciprocal rank of the right passages: {mean_reciprocal_rank(kept.right_ranks):.3f} with "
                f"{_pair_of(kept)}; the highest is {mean_reciprocal_rank(best.right_ranks):.3f} ({_pair_of(best)}). "
                f"{chance(len(kept.right_ranks))}",
            ]
        )
    return nodes


def grid_pair(grid: PromptGrid, row: int, column: int) -> list[Node]:
    """One pair under all prompts; nothing for what is none."""
    if not grid.usual.has_pair(row, column):
        return []
    entries: list[Node] = []
    for cell in grid.cells:
        rank = int(ranks(cell.scores)[row, column])
        mark = ", as in the form" if cell.is_usual else ""
        entries += [
            ["dt", "", f"{_number(float(cell.scores[row, column]), 1)}"],
            ["dd", "", f"rank {rank}: {_pair_of(cell)}{mark}"],
        ]
    return [_texts(grid.usual, row, column), ["dl", "e5-pair e5-near", *entries]]


def chance(n_pairs: int) -> str:
    """A warning where there are few known answers."""
    if n_pairs >= FEW_PAIRS:
        return ""
    return f"With {n_pairs} answers such a difference is easily chance; Corpus measures many, with intervals."


def _sameness(found: Comparison) -> list[str]:
    settings = [
        (each.fingerprint, [report.prompt.text for report in each.reports]) for each in (found.first, found.second)
    ]
    is_same = settings[0] == settings[1]
    return ["A and B are the same setting, so nothing changes. Choose something else for B."] if is_same else []


def _paired(found: Comparison) -> list[Node]:
    right = found.right_ranks
    if right is None:
        return []
    at_top = [f"{int((side == 1).sum())} of {len(side)}" for side in right]
    mrr = [f"{mean_reciprocal_rank(side):.3f}" for side in right]
    text = (
        f"The right passage comes first for {at_top[0]} under A and {at_top[1]} under B; mean reciprocal rank {mrr[0]} "
        f"and {mrr[1]}. {chance(len(right[0]))}"
    )
    return [["p", "", text]]


def _setting(result: ScoreResult) -> list[Node | str]:
    short = result.meta.name.rsplit("/", 1)[-1]
    prompt_mode = next(
        choice.label for choice in prompt_modes_of(result.meta.prompt_kind) if choice.prompt_mode == result.prompt_mode
    )
    asked = result.request
    how = ", ".join(
        [short, prompt_mode]
        + (["float32" if asked.dtype == "auto" else asked.dtype])
        + ([] if asked.backend == "auto" else [asked.backend])
    )
    names = side_labels(result.prompt_mode)
    if not any(report.prompt.text for report in result.reports):
        return [f"{how}, nothing in front of the texts"]
    fronts: list[Node | str] = []
    for name, report in zip((names.left, names.right), result.reports, strict=False):
        fronts += [f", {name.lower()} ", prompt_code(report.prompt.text)]
    return [how, *fronts]


def _texts(result: ScoreResult, row: int, column: int) -> Node:
    entries: list[Node] = []
    for box, place in ((result.queries, row), (result.passages, column)):
        entries += [["dt", "", box.labels[place]], ["dd", "", shown(box.texts[place])]]
    return ["dl", "e5-pair", *entries]


def _pair_of(cell: PromptCell | None) -> str:
    if cell is None:
        return ""
    return f"queries: {PROMPT_NAMES[cell.left]}, passages: {PROMPT_NAMES[cell.right]}"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", _MINUS)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", _MINUS)
