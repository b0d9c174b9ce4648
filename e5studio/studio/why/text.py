"""Sentences and marked texts of the Why panel."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from e5studio.analysis.score_context import Place
from e5studio.studio.formatting import shown, signed
from e5studio.studio.why.explanation import Explanation, TextReading, WordEffect
from e5studio.studio.widgets.nodes import Child, Node, hint, items, para, span, title

_MAX_SHOWN = 6_000
_STRONGEST = 5
_STEPS = (0.25, 1.0, 3.0)  # points from which a word's effect is marked weak, clear, strong
_WORTH_SAYING = 0.05  # points by which two backends may differ unmentioned


def is_it_high(explanation: Explanation) -> list[Node]:
    """Where the score stands among others, in sentences."""
    sentences = [_in_row(explanation), _on_page(explanation)]
    if explanation.n_columns > 1:
        share = _percent(explanation.softmax)
        sentences.append(f"In training the model compares by softmax: here it gives this pair {share} of its row.")
    return [title("Is this score high?"), items(sentence for sentence in sentences if sentence)]


def made_of(explanation: Explanation, *, is_centred: bool) -> list[Node]:
    """What the grid of words shows, and what it does not mean."""
    if explanation.shares is None:
        text = (
            "This model reads a text into its last token, so its score is no sum over words. Leave words out one by "
            "one to see what each does."
        )
        return [title("Why this score?"), *hint(text)]
    shares = explanation.centred if is_centred and explanation.centred is not None else explanation.shares
    outside = 100 * shares.of("prompt", "special")
    total = 100 * float(shares.shares.sum())
    sentences = [
        f"The model takes the mean of its tokens' vectors, so the score is a sum over pairs of words. The parts add up "
        f"to {100 * explanation.shares.cosine:.2f}."
    ]
    if is_centred:
        sentences = [
            f"What all texts of the page have in common gives {signed(100 * shares.remainder, 2)} of the "
            f"{100 * shares.cosine:.2f} points; the grid shows what these two have beyond it, {signed(total, 2)}."
        ]
    sentences.append(f"Pairs with the prompt or special tokens hold {signed(outside, 2)}.")
    if abs(explanation.difference) > _WORTH_SAYING:
        off = signed(explanation.difference, 2)
        sentences.append(f"This explains the score that {explanation.backend} computes, {off} from the one above.")
    meaning = (
        "It shows how the number is composed, not why the model gives it: every token was read with the whole text in "
        "view. For cause and effect, leave words out."
    )
    return [title("Why this score?"), para(" ".join(sentences)), *hint(meaning)]


def what_was_read(explanation: Explanation) -> list[Node]:
    """Both texts: the tail that was not read in grey, unknown pieces marked."""
    nodes = [title("What was read of the two")]
    for side in explanation.sides:
        is_whole = side.read_to >= len(side.text)
        state = "all of it" if is_whole else "the grey end was never read"
        unknown = f", {len(side.unknown)} unknown" if side.unknown else ""
        nodes.append(para(["b", "", side.label], f" {side.n_tokens} tokens{unknown}; {state}", css="e5-read-head"))
        nodes.append(para(*_marked_reading(side), css="e5-marked"))
    return nodes


def words_left_out(explanation: Explanation, effects: Sequence[WordEffect]) -> list[Node]:
    """Both texts with each word marked by what leaving it out does, and the strongest as a list."""
    n_words = sum(part == "word" for side in explanation.sides for part in side.words.parts)
    done = f" {len(effects)} of {n_words} words so far." if len(effects) < n_words else ""
    text = f"Orange words hold the score up: without them it falls. Blue ones hold it down.{done}"
    nodes = hint(text)
    for number, side in enumerate(explanation.sides):
        marks = {effect.word: _mark(effect.change) for effect in effects if effect.side == number}
        nodes.append(para(["b", "", f"{side.label} "], *marked_words(side, marks), css="e5-marked"))
    strongest = sorted(effects, key=lambda effect: -abs(effect.change))[:_STRONGEST]
    if not strongest:
        return nodes
    lines = (
        f"without “{shown(effect.name, 60)}” in {explanation.sides[effect.side].label}: {signed(effect.change, 2)}"
        for effect in strongest
    )
    return [*nodes, items(lines)]


def _in_row(explanation: Explanation) -> str:
    label = explanation.sides[0].label
    if explanation.n_columns < 2:
        return ""
    text = f"Rank {explanation.rank} of {explanation.n_columns} for {label}"
    if explanation.in_row is None:
        return f"{text}; too few others to say more."
    return f"{text}: above {explanation.in_row.percentile:.0%} of the others{_spread(explanation.in_row)}."


def _on_page(explanation: Explanation) -> str:
    if explanation.on_page is None:
        return "There are too few pairs on the page to compare it with; add texts."
    return (
        f"Among all {explanation.on_page.n_others:,} other pairs of your texts it is above "
        f"{explanation.on_page.percentile:.0%}{_spread(explanation.on_page)}."
    )


def _spread(position: Place) -> str:
    return "" if position.z_score is None else f", {signed(position.z_score, 1)} standard deviations from their mean"


def _marked_reading(side: TextReading) -> list[Child]:
    borders = sorted({0, side.read_to, len(side.text), *(border for unknown in side.unknown for border in unknown)})
    nodes: list[Child] = []
    for start, end in itertools.pairwise(borders):
        piece = shown(side.text[start : min(end, _MAX_SHOWN)], _MAX_SHOWN)
        if start >= side.read_to:
            nodes.append(span(piece, css="e5-unread"))
        elif any(first <= start < last for first, last in side.unknown):
            nodes.append(span(piece, css="e5-unknown"))
        else:
            nodes.append(piece)
        if end > _MAX_SHOWN:
            return [*nodes, " …"]
    return nodes


def marked_words(
    side: TextReading, marks: Mapping[int, str], limit: int = _MAX_SHOWN, start_at: int = 0, end_at: int | None = None
) -> list[Child]:
    """A text as nodes, words marked.

    Args:
        side: The text.
        marks: For indices of `side.words` the class of the mark.
        limit: Characters after which it is cut.
        start_at: Characters to leave out at the beginning.
        end_at: Characters after which the rest is left out, without an ellipsis.
    """
    nodes: list[Child] = ["… "] if start_at else []
    last = start_at
    for index, ((start, end), part) in enumerate(zip(side.words.spans.tolist(), side.words.parts, strict=True)):
        if part != "word" or start < last:
            continue
        if end_at is not None and start >= end_at:
            break
        word = span(shown(side.text[start:end], 200), css=marks.get(index, ""))
        nodes += [shown(side.text[last:start], 20), word]
        last = end
        if last > start_at + limit:
            return [*nodes, " …"]
    return nodes


def _mark(change: float) -> str:
    step = sum(abs(change) >= border for border in _STEPS)
    return f"e5-holds-{'up' if change < 0 else 'down'}-{step}" if step else ""


def _percent(share: float) -> str:
    return f"{share:.1f}%" if share < 9.95 else f"{share:.0f}%"
