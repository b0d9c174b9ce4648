"""Sentences and marked texts of the Why panel."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from e5studio.analysis.attribution import Words
from e5studio.analysis.ranking import ranks
from e5studio.studio.engine.doubts import doubts
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import fixed, shown, signed
from e5studio.studio.why.explanation import Explanation, PartEffect, TextReading, strengths
from e5studio.studio.widgets.nodes import Child, Node, hint, items, para, pick, span, title

_MAX_SHOWN = 6_000
_STRONGEST = 5
_STEPS = (0.25, 1.0, 3.0)  # points from which a word's effect is marked weak, clear, strong
_CLOSE = 1.0  # points by which the next score is hardly less
_PUNCTUATION = ".,;:!?\u2026\"'()[]\u201c\u201d\u2018\u2019"
_WORTH_SAYING = 0.05  # points by which two backends may differ unmentioned


def card(
    result: ScoreResult,
    row: int,
    column: int,
    explanation: Explanation | None = None,
    *,
    effects: Sequence[PartEffect] | None = None,
    note: Sequence[Node] = (),
) -> list[Node]:
    """One pair at a glance: the score and its rank in words, what carries it, both texts.

    Args:
        result: Has the pair.
        row: Of the pair.
        column: Of it.
        explanation: What carries the score; None as long as the model computes it.
        effects: What leaving parts out does, as far as known; those of the explanation where it is None.
        note: What to say in place of it.
    """
    score = fixed(float(result.scores[row, column]))
    head: Node = ["div", "e5-pair-head", ["strong", "", score], span("cosine \N{MULTIPLICATION SIGN} 100")]
    reasons = zip((result.queries, result.passages), (row, column), doubts(result), strict=True)
    warnings = [
        para(["b", "", box.labels[index]], f" {of_side[index]}", css="e5-warning")
        for box, index, of_side in reasons
        if index in of_side
    ]
    said = [head, para(verdict(result, row, column), css="e5-verdict")]
    if explanation is None:
        sides = ((result.queries, row), (result.passages, column))
        plain = [_text_of(box.labels[index], [shown(box.texts[index], _MAX_SHOWN)]) for box, index in sides]
        return [*said, *note, *warnings, *plain]
    known = explanation.effects if effects is None else effects
    if known is None:
        return [*said, *_carried(explanation), *warnings, *_texts_by_share(explanation)]
    parts = [side.parts for side in explanation.sides]
    return [*said, *_effects(explanation, parts, known), *warnings, *_texts_by_effect(explanation, parts, known)]


def verdict(result: ScoreResult, row: int, column: int) -> str:
    """Whether the score is high among those of its row."""
    label, labels = result.queries.labels[row], result.passages.labels
    scores = result.counted[row]
    n_others = int(np.isfinite(scores).sum()) - 1
    if n_others < 1:
        return f"Nothing else was compared with {label}, so there is nothing to rank it against."
    others = np.where(np.arange(len(scores)) == column, np.nan, scores)
    best = int(np.nanargmax(others))
    next_score = fixed(float(others[best]))
    rank = int(ranks(result.counted)[row, column])
    if rank > 1:
        return f"{_ordinal(rank)} of {n_others + 1} for {label}. The best is {labels[best]} with {next_score}."
    close = ", hardly less" if float(scores[column] - others[best]) < _CLOSE else ""
    if n_others == 1:
        return f"The better of two for {label}; the other, {labels[best]}, has {next_score}{close}."
    rest = "both others" if n_others == 2 else f"all {n_others} others"
    return f"The best for {label}: higher than {rest}. The next, {labels[best]}, has {next_score}{close}."


def is_it_high(explanation: Explanation) -> list[Node]:
    """Where the score stands among all of the page, in sentences."""
    share = shown_share(explanation.softmax)
    sentences = [
        _on_page(explanation),
        f"By the softmax of training, this pair has {share} of its row: how far it is ahead, not whether it is right.",
    ]
    return [title("Is this score high?"), items(sentences)]


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
        nodes.append(para(*_marked(side, side.words, {}), css="e5-marked"))
    return nodes


def words_left_out(explanation: Explanation, parts: Sequence[Words], effects: Sequence[PartEffect]) -> list[Node]:
    """A sentence with each word marked by what leaving it out does.

    Args:
        explanation: The pair.
        parts: Of both texts, the words that are left out.
        effects: The effects known so far.
    """
    return [*_effects(explanation, parts, effects), *_texts_by_effect(explanation, parts, effects)]


def strongest_sentences(explanation: Explanation, effects: Sequence[PartEffect]) -> list[Node]:
    """The sentences that matter most, each with a button that leaves out its words."""
    of_long = [effect for effect in effects if explanation.sides[effect.side].is_long]
    strongest = sorted(of_long, key=lambda effect: -abs(effect.change))[:_STRONGEST]
    lines = [
        [
            "li",
            "",
            f"{signed(effect.change)} without “{shown(effect.name, 60)}” ({explanation.sides[effect.side].label}) ",
            pick(f"{effect.side}:{effect.part}", "Word by word"),
        ]
        for effect in strongest
    ]
    return [*hint("The sentences that matter most:"), ["ul", "", *lines]] if lines else []


def leave_out_label(explanation: Explanation | None) -> str:
    """What the button says that leaves parts out, where that was not done already."""
    is_long = explanation is not None and any(side.is_long for side in explanation.sides)
    return "Leave out each sentence" if is_long else "Leave out each word"


def shown_share(share: float) -> str:
    """A share of a row in per cent, never as a certainty."""
    return ">99%" if share > 99 else "<1%" if share < 1 else f"{share:.0f}%"


def _effects(explanation: Explanation, parts: Sequence[Words], effects: Sequence[PartEffect]) -> list[Node]:
    """What the strongest parts do, in a sentence."""
    n_parts = sum(part == "word" for each in parts for part in each.parts)
    so_far = f" {len(effects)} of {n_parts} so far." if len(effects) < n_parts else ""
    legend = f"Orange: without it the score falls. Blue: without it the score rises.{so_far}"
    said: list[Child] = []
    for number, side in enumerate(explanation.sides):
        lowering = [effect for effect in effects if effect.side == number and effect.change <= -_STEPS[0]]
        if lowering:
            strongest = min(lowering, key=lambda effect: effect.change)
            falls = f" by {fixed(-strongest.change)}"
            said += ["; without " if said else "Without ", _quoted(strongest.name), f" in {side.label}"]
            said += [f",{falls}" if len(said) > 3 else f" the score falls{falls}"]
    nothing = "No single part matters much: without any of them the score stays about the same."
    return [para(*said, ".") if said else para(nothing), *hint(legend)]


def _carried(explanation: Explanation) -> list[Node]:
    """Which words, or sentences, hold most of the score, in a sentence."""
    if explanation.centred is None:
        return hint("This model reads a text into its last token, so no words can be marked. Leave words out instead.")
    joined: list[Child] = []
    for number, side in enumerate(explanation.sides):
        points = explanation.carrying(number)
        if points is not None and points.max(initial=0) > 0:
            name = side.parts.names[int(points.argmax())]
            joined += [
                " and " if joined else "The strongest parts are ",
                _quoted(name),
                f" in {side.label}",
            ]
    what = "Orange holds more of the score than the rest of its text, blue less."
    return [para(*joined, "."), *hint(what)] if joined else []


def _quoted(name: str) -> Node:
    return ["b", "", f"“{shown(' '.join(name.split()), 70).strip(_PUNCTUATION)}”"]


def _texts_by_share(explanation: Explanation) -> list[Node]:
    nodes = []
    for number, side in enumerate(explanation.sides):
        points = explanation.carrying(number)
        steps = {} if points is None else strengths(points)
        marks = {index: f"e5-holds-{'up' if step > 0 else 'down'}-{abs(step)}" for index, step in steps.items()}
        nodes.append(_text_of(side.label, _marked(side, side.parts, marks)))
    return nodes


def _texts_by_effect(explanation: Explanation, parts: Sequence[Words], effects: Sequence[PartEffect]) -> list[Node]:
    nodes = []
    for number, (side, each) in enumerate(zip(explanation.sides, parts, strict=True)):
        marks = {effect.part: _mark(effect.change) for effect in effects if effect.side == number}
        if each.names:
            nodes.append(_text_of(side.label, _marked(side, each, marks)))
    return nodes


def _text_of(label: str, text: Sequence[Child]) -> Node:
    return ["div", "e5-text-of", ["b", "", label], para(*text, css="e5-marked")]


def _on_page(explanation: Explanation) -> str:
    others = explanation.on_page
    if others is None:
        return "There are too few pairs on the page to compare it with; add texts."
    n_below = round(others.percentile * others.n_others)
    return f"It is higher than {n_below:,} of the {others.n_others:,} other pairs on this page."


def _marked(side: TextReading, parts: Words, marks: Mapping[int, str]) -> list[Child]:
    """A text as nodes: parts marked, unknown pieces underlined, the end that was not read struck out."""
    indices = [index for index, part in enumerate(parts.parts) if part == "word"]
    spans = parts.spans[indices].tolist()
    starts = [start for start, _ in spans]
    edges = itertools.chain([0, side.read_to, len(side.text)], *spans, *side.unknown)
    nodes: list[Child] = []
    for start, end in itertools.pairwise(sorted(set(edges))):
        at = bisect.bisect_right(starts, start) - 1
        css = [
            marks.get(indices[at], "") if at >= 0 and start < spans[at][1] else "",
            "e5-unknown" if any(first <= start < last for first, last in side.unknown) else "",
            "e5-unread" if start >= side.read_to else "",
        ]
        piece = shown(side.text[start : min(end, _MAX_SHOWN)], _MAX_SHOWN)
        nodes.append(span(piece, css=" ".join(filter(None, css))) if any(css) else piece)
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


def _ordinal(number: int) -> str:
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
