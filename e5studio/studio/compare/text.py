"""Sentences of the Compare tab, as nodes for `widgets.text_tree`: differences, no verdict. Pure."""

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
from e5studio.studio.formatting import fixed, shown, signed
from e5studio.studio.widgets.nodes import Node, hint, pairs, prompt_code

FEW_PAIRS = 50
"""With fewer known answers a difference between two settings is easily chance."""

HINT = "Differences, no verdict: prompts sometimes hurt. Only known answers show which setting searches better."
SETTING_A = "Its model, prompts, instruction and texts are those of the form, which ends with the Score button."
CHANGED = "Changed since it was compared. Press Compare again."
NO_INSTRUCTION = (
    "This model takes no instruction. Choose one that does in the form, such as multilingual-e5-large-instruct, or try "
    "its prompts."
)
MAPS = "PCA of each setting's vectors; B is turned and scaled onto A as closely as that goes (Procrustes)."


def done(comparison: Comparison | PromptGrid) -> list[Node]:
    """One line: what was compared."""
    usual = comparison.usual if isinstance(comparison, PromptGrid) else comparison.first
    n = len(usual.queries)
    size = f"{n} texts with each other" if usual.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(usual.passages)}"
    how = f"under {len(comparison.cells)} pairs of prompts" if isinstance(comparison, PromptGrid) else "under A and B"
    return [["p", "e5-done", f"Scored {size} {how}."]]


def settings(comparison: Comparison) -> list[Node]:
    """What A and B are."""
    entries: list[Node] = []
    for name, result in (("A", comparison.first), ("B", comparison.second)):
        entries += [["dt", "", name], ["dd", "", *_setting(result)]]
    return [["dl", "e5-pair e5-settings", *entries]]


def differences(comparison: Comparison) -> list[Node]:
    """How similar the orders are, and how the scores differ."""
    alike = agreement(comparison)
    names = side_labels(comparison.first.prompt_mode)
    rows, columns = names.left.lower(), "texts" if comparison.first.is_self else names.right.lower()
    n = alike.n_queries
    best = f"{alike.n_same_best} of {n} {rows} keep their best match under B."
    sentences: list[str] = [*_sameness(comparison), best]
    known = alike.taus[np.isfinite(alike.taus)]
    if known.size:
        lowest = int(np.nanargmin(alike.taus))
        label = comparison.first.queries.labels[lowest]
        sentences.append(
            f"Order of the {columns}: Kendall's tau {fixed(float(known.mean()), 2)} on average (1 is the same order, "
            f"0 no relation), lowest {fixed(float(alike.taus[lowest]), 2)} at {label}."
        )
    if comparison.first.scores.shape[1] - comparison.first.is_self > alike.k:
        overlap = float(np.mean(alike.overlaps))
        sentences.append(f"Of the {alike.k} best of each, {overlap:.0%} are the same.")
    first, second = (float(np.nanmean(scores)) for scores in comparison.counted)
    sentences.append(
        f"Scores are {fixed(first)} on average under A and {fixed(second)} under B; the largest change is "
        f"{signed(alike.largest)} points. Higher scores alone mean nothing: compare the orders."
    )
    return [["p", "", sentence] for sentence in sentences] + _paired(comparison)


def moved(shifts: Sequence[Shift] | None) -> list[Node]:
    """How to read the chart of moved queries."""
    if shifts is None:
        return hint("The vectors of two models have nothing in common, so no distance between them can be measured.")
    gains = sum(shift.gained > 0 for shift in shifts)
    return hint(
        f"Each point is a query. To the right: its vector moves more from A to B. Up: A's best match is further ahead "
        f"of the others under B ({gains} of {len(shifts)}); down: it has lost ground."
    )


def bump(comparison: Comparison, row: int) -> list[Node]:
    """How to read the bump chart."""
    label, text = comparison.first.queries.labels[row], comparison.first.queries.texts[row]
    n = comparison.first.scores.shape[1] - comparison.first.is_self
    part = f"the {MAX_LINES} best of {n}" if n > MAX_LINES else f"all {n}"
    hint = f"Ranks from A to B, {part}. Orange rises, blue falls. Click a cell or a row for another."
    return [["p", "", ["strong", "", f"{label} "], shown(text, 300)], ["p", "e5-hint", hint]]


def compared_pair(comparison: Comparison, row: int, column: int) -> list[Node]:
    """One pair under both settings; nothing where there is no such pair."""
    if not comparison.first.has_pair(row, column):
        return []
    one, other = comparison.counted
    before, after = float(one[row, column]), float(other[row, column])
    rank, new_rank = int(ranks(one)[row, column]), int(ranks(other)[row, column])
    return [
        [
            "div",
            "e5-pair-head",
            ["strong", "", signed(after - before)],
            ["span", "", f"A {fixed(before)}, rank {rank} \N{RIGHTWARDS ARROW} B {fixed(after)}, rank {new_rank}"],
        ],
        _texts(comparison.first, row, column),
    ]


def grid_settings(grid: PromptGrid) -> list[Node]:
    """Which prompts were tried, and how to read the matrices."""
    meta = grid.usual.meta
    usual = _usual(grid)
    sentences = ["All matrices share one colour scale; frames mark the best of each row."]
    if meta.prompt_kind == "none":
        sentences.insert(0, f"{meta.short_name} was trained without prompts, so those of E5 were tried.")
    if usual is not None:
        sentences.append(f"The table marks the prompts of the form ({_pair_of(usual)}).")
    return [["p", "e5-hint", " ".join(sentences)]]


def grid_differences(grid: PromptGrid) -> list[Node]:
    """What the prompts change."""
    usual = _usual(grid)
    others = [cell for cell in grid.cells if not cell.is_usual]
    n = len(grid.usual.queries)
    fewest, most = min(others, key=lambda cell: cell.n_same_best), max(others, key=lambda cell: cell.n_same_best)
    text = "Every query keeps its best match under all prompts."
    if fewest.n_same_best < n:
        text = (
            f"Of the {n} best matches under the form's prompts, fewest stay the best with {_pair_of(fewest)} "
            f"({fewest.n_same_best}), most with {_pair_of(most)} ({most.n_same_best})."
        )
    nodes: list[Node] = [["p", "", text]]
    if usual is not None and usual.right_ranks is not None:
        best = max(grid.cells, key=lambda cell: mean_reciprocal_rank(cell.right_ranks))
        text = (
            f"Mean reciprocal rank of the right passages: {mean_reciprocal_rank(usual.right_ranks):.3f} with "
            f"{_pair_of(usual)}; the highest is {mean_reciprocal_rank(best.right_ranks):.3f} ({_pair_of(best)}). "
            f"{chance(len(usual.right_ranks))}"
        )
        nodes.append(["p", "", text])
    return nodes


def grid_pair(grid: PromptGrid, row: int, column: int) -> list[Node]:
    """One pair under all prompts; nothing where there is no such pair."""
    if not grid.usual.has_pair(row, column):
        return []
    entries = []
    for cell in grid.cells:
        mark = ", as in the form" if cell.is_usual else ""
        rank = f"rank {ranks(cell.scores)[row, column]}: {_pair_of(cell)}{mark}"
        entries.append((fixed(float(cell.scores[row, column])), rank))
    return [_texts(grid.usual, row, column), pairs(entries, css="e5-pair e5-near")]


def chance(n_pairs: int) -> str:
    """A warning where few answers are known."""
    if n_pairs >= FEW_PAIRS:
        return ""
    return f"With {n_pairs} answers such a difference is easily chance; Corpus measures many, with intervals."


def _sameness(comparison: Comparison) -> list[str]:
    first, second = (
        (each.fingerprint, [report.prompt.text for report in each.reports])
        for each in (comparison.first, comparison.second)
    )
    is_same = first == second
    return ["A and B are the same setting, so nothing changes. Choose something else for B."] if is_same else []


def _paired(comparison: Comparison) -> list[Node]:
    right = comparison.right_ranks
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
    short = result.meta.short_name
    prompt_mode = next(
        choice.label for choice in prompt_modes_of(result.meta.prompt_kind) if choice.prompt_mode == result.prompt_mode
    )
    request = result.request
    dtype = "float32" if request.dtype == "auto" else request.dtype
    how = ", ".join([short, prompt_mode, dtype, *([] if request.backend == "auto" else [request.backend])])
    names = side_labels(result.prompt_mode)
    if not any(report.prompt.text for report in result.reports):
        return [f"{how}, nothing in front of the texts"]
    fronts: list[Node | str] = []
    for name, report in zip((names.left, names.right), result.reports, strict=False):
        fronts += [f", {name.lower()} ", prompt_code(report.prompt.text)]
    return [how, *fronts]


def _texts(result: ScoreResult, row: int, column: int) -> Node:
    sides = (result.queries, row), (result.passages, column)
    return pairs((box.labels[index], shown(box.texts[index])) for box, index in sides)


def _usual(grid: PromptGrid) -> PromptCell | None:
    """The cell with the prompts of the form; they may be none of those that are tried."""
    return next((cell for cell in grid.cells if cell.is_usual), None)


def _pair_of(cell: PromptCell) -> str:
    return f"queries: {PROMPT_NAMES[cell.left]}, passages: {PROMPT_NAMES[cell.right]}"
