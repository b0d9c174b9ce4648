"""An explanation -> sentences and marked texts on the page, as nodes for `widgets.text_tree`. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from e5studio.analysis.score_context import Place
from e5studio.studio.formatting import shown
from e5studio.studio.why.explanation import Explanation, TextReading, WordEffect

Node = list[Any]

_MINUS = "\N{MINUS SIGN}"
_MAX_SHOWN = 6_000
_STRONGEST = 5
_STEPS = (0.25, 1.0, 3.0)  # points from which a word's effect is marked weak, clear, strong
_WORTH_SAYING = 0.05  # points by which two back ends may differ without a word


def is_it_high(found: Explanation) -> list[Node]:
    """Where the score stands among others, in sentences."""
    items = [_in_row(found), _on_page(found)]
    if found.n_columns > 1:
        items.append(
            f"In training the model compares by softmax: here it gives this pair {_percent(found.softmax)} of its row."
        )
    return [["h3", "", "Is this score high?"], ["ul", "", *(["li", "", item] for item in items if item)]]


def made_of(found: Explanation, *, is_centred: bool) -> list[Node]:
    """What the grid of words shows, and what it does not mean."""
    if found.shares is None:
        text = (
            "This model reads a text into its last token, so its score is no sum over words. Leave words out one by "
            "one to see what each does."
        )
        return [["h3", "", "Why this score?"], ["p", "e5-hint", text]]
    shares = found.centred if is_centred and found.centred is not None else found.shares
    outside = 100 * shares.of("prompt", "special")
    total = 100 * float(shares.shares.sum())
    sentences = [
        f"The model takes the mean of its tokens' vectors, so the score is a sum over pairs of words. The parts add up "
        f"to {100 * found.shares.cosine:.2f}."
    ]
    if is_centred:
        sentences = [
            f"What all texts of the page have in common gives {_signed(100 * shares.remainder)} of the "
            f"{100 * shares.cosine:.2f} points; the grid shows what these two have beyond it, {_signed(total)}."
        ]
    sentences.append(f"Pairs with the prompt or special tokens hold {_signed(outside)}.")
    if abs(found.difference) > _WORTH_SAYING:
        sentences.append(
            f"Explained is the score that {found.backend} computes, {_signed(found.difference)} from the one above."
        )
    meaning = (
        "It shows how the number is composed, not why the model gives it: every token was read with the whole text in "
        "view. For cause and effect, leave words out."
    )
    return [["h3", "", "Why this score?"], ["p", "", " ".join(sentences)], ["p", "e5-hint", meaning]]


def what_was_read(found: Explanation) -> list[Node]:
    """Both texts: the tail that was not read in grey, unknown pieces marked."""
    nodes: list[Node] = [["h3", "", "What was read of the two"]]
    for side in found.sides:
        is_whole = side.read_to >= len(side.text)
        state = "all of it" if is_whole else "the grey end was never read"
        unknown = f", {len(side.unknown)} unknown" if side.unknown else ""
        nodes.append(["p", "e5-read-head", ["b", "", side.label], f" {side.n_tokens} tokens{unknown}; {state}"])
        nodes.append(["p", "e5-marked", *_marked_reading(side)])
    return nodes


def words_left_out(found: Explanation, effects: Sequence[WordEffect]) -> list[Node]:
    """Both texts with each word marked by what leaving it out does, and the strongest as a list."""
    n_words = sum(part == "word" for side in found.sides for part in side.words.parts)
    done = f" {len(effects)} of {n_words} words so far." if len(effects) < n_words else ""
    text = f"Orange words hold the score up: without them it falls. Blue ones hold it down.{done}"
    nodes: list[Node] = [["p", "e5-hint", text]]
    for number, side in enumerate(found.sides):
        own = {effect.word: _mark(effect.change) for effect in effects if effect.side == number}
        nodes.append(["p", "e5-marked", ["b", "", f"{side.label} "], *marked_words(side, own)])
    strongest = sorted(effects, key=lambda effect: -abs(effect.change))[:_STRONGEST]
    items = [
        ["li", "", f"without “{shown(effect.name, 60)}” in {found.sides[effect.side].label}: {_signed(effect.change)}"]
        for effect in strongest
    ]
    return [*nodes, ["ul", "", *items]] if items else nodes


def _in_row(found: Explanation) -> str:
    label = found.sides[0].label
    if found.n_columns < 2:
        return ""
    text = f"Rank {found.rank} of {found.n_columns} for {label}"
    if found.in_row is None:
        return f"{text}; too few others to say more."
    return f"{text}: above {found.in_row.percentile:.0%} of the others{_spread(found.in_row)}."


def _on_page(found: Explanation) -> str:
    if found.on_page is None:
        return "There are too few pairs on the page to compare it with; add texts."
    return (
        f"Among all {found.on_page.n_others:,} other pairs of your texts it is above "
        f"{found.on_page.percentile:.0%}{_spread(found.on_page)}."
    )


def _spread(place: Place) -> str:
    return "" if place.z_score is None else f", {_signed(place.z_score, 1)} standard deviations from their mean"


def _marked_reading(side: TextReading) -> list[Any]:
    borders = sorted({0, side.read_to, len(side.text), *(place for span in side.unknown for place in span)})
    nodes: list[Any] = []
    for start, end in itertools.pairwise(borders):
        piece = shown(side.text[start : min(end, _MAX_SHOWN)], _MAX_SHOWN)
        if start >= side.read_to:
            nodes.append(["span", "e5-unread", piece])
        elif any(first <= start < last for first, last in side.unknown):
            nodes.append(["span", "e5-unknown", piece])
        else:
            nodes.append(piece)
        if end > _MAX_SHOWN:
            return [*nodes, " …"]
    return nodes


def marked_words(
    side: TextReading, marks: Mapping[int, str], limit: int = _MAX_SHOWN, start_at: int = 0, end_at: int | None = None
) -> list[Any]:
    """A text as nodes, words marked.

    Args:
        side: The text.
        marks: For places in `side.words` the class of the mark.
        limit: Characters after which it is cut.
        start_at: Characters to leave out at the begin.
        end_at: Characters after which the rest is left out, without a word.
    """
    nodes: list[Any] = ["… "] if start_at else []
    last = start_at
    for place, ((start, end), part) in enumerate(zip(side.words.spans.tolist(), side.words.parts, strict=True)):
        if part != "word" or start < last:
            continue
        if end_at is not None and start >= end_at:
            break
        nodes += [
            shown(side.text[last:start], 20),
            ["span", marks.get(place, ""), shown(side.text[start:end], 200)],
        ]
        last = end
        if last > start_at + limit:
            return [*nodes, " …"]
    return nodes


def _mark(change: float) -> str:
    step = sum(abs(change) >= border for border in _STEPS)
    return f"e5-holds-{'up' if change < 0 else 'down'}-{step}" if step else ""


def _signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", _MINUS)


def _percent(share: float) -> str:
    return f"{share:.1f}%" if share < 9.95 else f"{share:.0f}%"
