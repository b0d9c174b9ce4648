"""Sentences of the Compare tab, as nodes for `widgets.text_tree`: differences, no verdict. Pure."""

from __future__ import annotations

import numpy as np

from e5studio.analysis.ranking import kendall_tau, top_k_overlap
from e5studio.studio.compare.charts import MAX_LINES
from e5studio.studio.compare.comparison import (
    PROMPT_NAMES,
    Comparison,
    PromptGrid,
    PromptPair,
    mean_reciprocal_rank,
    prompt_choices,
)
from e5studio.studio.compare.names import in_words, names, side_nouns
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.form.text import size
from e5studio.studio.formatting import fixed, listed, shown, signed
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.nodes import Node, pairs, para

FEW_PAIRS = 50
"""With fewer known answers a difference between two settings is easily chance."""
TOP_K = 3
"""How many passages of each query count as its best."""
ALL_PROMPTS = "all-prompts"
"""Key of the button that tries every pair of prompts."""

HINT = "Differences, no verdict: prompts sometimes hurt. Only known answers show which setting searches better."
NOT_WITH_THIS = "This comparison does not work with the model in the form. Take one of those that are offered."
CHANGED = "Changed since it was compared. Press Compare again."
MAPS = (
    "PCA of the vectors under each; the second is turned and scaled onto the first as well as it can be (Procrustes)."
)


def done(comparison: Comparison) -> list[Node]:
    """One line: what was compared."""
    return nodes.done(f"Compared {size(comparison.of_form)}.")


def tried(grid: PromptGrid) -> list[Node]:
    """One line: which prompts were tried."""
    return nodes.done(f"Tried {len(grid.pairs)} combinations of prompts on {size(grid.of_form)}.")


def conclusion(comparison: Comparison) -> list[Node]:
    """The headline, what it leaves open, what the two settings are, and more numbers on request."""
    rest = " ".join(filter(None, [_below(comparison), _answers(comparison), _caution(comparison)]))
    entries: list[Node] = []
    for name, result in zip(names(comparison), (comparison.first, comparison.second), strict=True):
        entries += [["dt", "", _capitalised(name)], ["dd", "", *in_words(result)]]
    settings: Node = ["dl", "e5-pair", *entries]
    return [
        para(headline(comparison), css="e5-headline"),
        *([para(rest)] if rest else []),
        ["details", "e5-in-numbers", ["summary", "", "Both settings, in numbers"], settings, *_numbers(comparison)],
    ]


def headline(comparison: Comparison) -> str:
    """One sentence: for which queries another passage comes first."""
    if comparison.is_same_setting:
        return "Both are the same setting, so nothing changes. Choose something else for B."
    rows, column = side_nouns(comparison.first)
    if comparison.n_ranked < 2:
        return f"Nothing can change places: there is one {column} to rank."
    labels = comparison.first.queries.labels
    others, n = comparison.other_firsts(), len(labels)
    lead = _capitalised("after training" if comparison.is_trained else names(comparison)[1])
    if not others:
        return f"{lead}, the same {column} comes first{_for_all(n, rows)}."
    if len(others) == n:
        return f"{lead}, another {column} comes first{_for_all(n, rows)}."
    return f"{lead}, another {column} comes first for {len(others)} of {n} {rows}: {listed(labels[i] for i in others)}."


def _below(comparison: Comparison) -> str:
    """What changes below the first place."""
    if comparison.is_same_setting or comparison.n_ranked < 2:
        return ""
    others = comparison.other_firsts()
    below = len(set(comparison.reordered()) - set(others))
    if not below:
        return "" if others else "No rank changes."
    n, (rows, column) = len(comparison.first.queries), side_nouns(comparison.first)
    where = "" if n == 1 else f" for {below} more" if others else f" for {below} of {n} {rows}"
    ties = f" Where {column}s tie for the first place, each comes first." if comparison.has_ties else ""
    return f"Below the first place the order changes{where}.{ties}"


def _answers(comparison: Comparison) -> str:
    """What is known of which is better."""
    right = comparison.right_ranks
    if right is None:
        return "Only known answers show which is better." if comparison.other_firsts() else ""
    first, second = names(comparison)
    before, after = (f"{int((side == 1).sum())} of {len(side)}" for side in right)
    mrr = [f"{mean_reciprocal_rank(side):.3f}" for side in right]
    return (
        f"The right passage comes first for {before} {first} and {after} {second}; mean reciprocal rank {mrr[0]} and "
        f"{mrr[1]}. {chance(len(right[0]))}"
    )


def _caution(comparison: Comparison) -> str:
    if comparison.is_trained:
        base, tuned = comparison.first.meta.short_name, comparison.second.meta.short_name
        return f"{tuned} has the shape of {base}; if another model was its base, compare it with that one."
    return ""


def _numbers(comparison: Comparison) -> list[Node]:
    """How similar the orders are, and the scores where they share a scale."""
    sentences = []
    first, second = comparison.counted
    taus = kendall_tau(first, second)
    if np.isfinite(taus).any():
        lowest = int(np.nanargmin(taus))
        sentences.append(
            f"Kendall's tau of the two orders: {fixed(float(np.nanmean(taus)), 2)} on average (1 is the same order, "
            f"0 no relation), lowest {fixed(float(taus[lowest]), 2)} at {comparison.first.queries.labels[lowest]}."
        )
    if comparison.n_ranked > TOP_K:
        overlap = float(np.mean(top_k_overlap(first, second, TOP_K)))
        sentences.append(f"Of the {TOP_K} best under each, {overlap:.0%} are the same.")
    if comparison.is_same_scale:
        largest = float(comparison.deltas.ravel()[np.nanargmax(np.abs(comparison.deltas))])
        sentences.append(f"The score that changes most changes by {signed(largest, 2)} points.")
    else:
        sentences.append("The scores are on two scales, so their heights are not compared.")
    return [para(sentence) for sentence in sentences]


def how_to_read(comparison: Comparison) -> list[Node]:
    """How to read the matrix of ranks; for two prompt modes of one model, with the way to all prompts."""
    first, second = names(comparison)
    text = f"Ranks in each row, {first} \N{RIGHTWARDS ARROW} {second}; framed is the first {second}. "
    text += "Orange rises, blue falls, one number stays. Click one for its order."
    meta = comparison.first.meta
    is_of_prompts = meta.name == comparison.second.meta.name and (
        comparison.first.prompt_mode != comparison.second.prompt_mode
    )
    n = len(prompt_choices(meta.prompt_kind)) ** 2
    link = [nodes.pick(ALL_PROMPTS, f"All {n} combinations of prompts")] if is_of_prompts else []
    return [para(text, *link, css="e5-hint")]


def order_of(comparison: Comparison, row: int) -> list[Node]:
    """Whose order the bump chart shows."""
    label, text = comparison.first.queries.labels[row], comparison.first.queries.texts[row]
    n = comparison.n_ranked
    part = f" The {MAX_LINES} best of {n}." if n > MAX_LINES else ""
    return [para(["strong", "", f"{label} "], shown(text, 300), part)]


def compared_pair(comparison: Comparison, row: int, column: int) -> list[Node]:
    """One pair under both settings; nothing where there is no such pair."""
    if not comparison.first.has_pair(row, column):
        return []
    before, after = (int(ranks[row, column]) for ranks in comparison.ranks)
    scores = [fixed(float(scores[row, column])) for scores in comparison.counted]
    ranks = f"rank {before}" if before == after else f"rank {before} \N{RIGHTWARDS ARROW} {after}"
    each = [f"{score} {name}" for score, name in zip(scores, names(comparison), strict=True)]
    head: Node = ["div", "e5-pair-head", ["strong", "", ranks], nodes.span(", ".join(each))]
    return [head, _texts(comparison.first, row, column)]


def all_prompts(grid: PromptGrid) -> list[Node]:
    """What the pairs of prompts change."""
    usual = next(pair for pair in grid.pairs if pair.is_usual)
    widest = max(grid.pairs, key=lambda pair: len(pair.other_firsts))
    n, n_others = len(grid.of_form.queries), len(widest.other_firsts)
    rows, column = side_nouns(grid.of_form)
    text = f"Under all prompts, the same {column} comes first{_for_all(n, rows)}."
    if n_others:
        text = f"The most changes with {_pair_of(widest)}: another {column} comes first for {n_others} of {n} {rows}."
    if usual.right_ranks is not None:
        best = max(grid.pairs, key=lambda pair: mean_reciprocal_rank(pair.right_ranks))
        text += (
            f" The highest mean reciprocal rank is {mean_reciprocal_rank(best.right_ranks):.3f} ({_pair_of(best)}); "
            f"with the prompts of the form it is {mean_reciprocal_rank(usual.right_ranks):.3f}. "
            f"{chance(len(usual.right_ranks))}"
        )
    return [para(text)]


def chance(n_pairs: int) -> str:
    """A warning where few answers are known."""
    if n_pairs >= FEW_PAIRS:
        return ""
    return f"With {n_pairs} answers such a difference is easily chance; Corpus measures many, with intervals."


def _for_all(n: int, rows: str) -> str:
    return "" if n == 1 else f" for both {rows}" if n == 2 else f" for all {n} {rows}"


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _texts(result: ScoreResult, row: int, column: int) -> Node:
    sides = (result.queries, row), (result.passages, column)
    return pairs((box.labels[index], shown(box.texts[index])) for box, index in sides)


def _pair_of(pair: PromptPair) -> str:
    return f"{PROMPT_NAMES[pair.left]} before queries, {PROMPT_NAMES[pair.right]} before passages"
