"""Sentences of the Scores tab."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e5studio.analysis.ranking import ranks
from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE, EncodeReport, ReportNotes
from e5studio.models import ENGLISH, ModelMeta, list_models
from e5studio.prompts import Prompt
from e5studio.studio.charts.matrix import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.text_box import TextList
from e5studio.studio.formatting import count, duration, listed, shown
from e5studio.studio.scores.other_languages import foreign_texts
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.nodes import Node, hint, prompt_code

_LONGEST_WORD = 100  # WordPiece gives up on longer ones, whatever they are made of
_LONG_WORDS = f" Or is it the length of a word? Many models know none of more than {_LONGEST_WORD} characters."


def invitation() -> list[Node]:
    """What the empty tab says."""
    return nodes.invitation(
        "See how close each query is to each passage", "Take an example or write your own texts, then press Score."
    )


def summary(result: ScoreResult) -> list[Node]:
    """One line: what was scored, by which model, how fast, and whether all was read."""
    n = len(result.queries)
    size = f"{n} texts with each other" if result.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(result.passages)}"
    n_known = len(result.vectors) - result.n_embedded
    known = f" {n_known} {'texts were' if n_known > 1 else 'text was'} known from before." if n_known else ""
    n_cut = sum(len(report.truncated) for report in result.reports)
    cut = f", {count(n_cut, 'text')} cut off" if n_cut else ""
    return nodes.done(f"Scored {size} with {result.meta.short_name} in {duration(result.seconds)}{cut}.{known}")


def reading_help(result: ScoreResult) -> list[Node]:
    """How to read the numbers, in one sentence."""
    is_outlined = len(result.queries) <= MAX_ROWS_WITH_OUTLINES
    best = "the outlined cell is its best" if is_outlined else "the table marks the best of each"
    # Names the model, so that it stays true when another one is chosen in the form.
    text = (
        f"Cosine \N{MULTIPLICATION SIGN} 100 with {result.meta.short_name}. Compare within a row: {best}. "
        "Click a cell to see why."
    )
    if result.meta.prompt_kind != "none":
        text += " E5 scores usually lie between 70 and 100, so their order says more than their height."
    return hint(text)


def notes(result: ScoreResult) -> list[Node]:
    """What the model read: prompts in front, what was cut, unknown, empty or suspicious."""
    boxes = [result.queries] if result.is_self else [result.queries, result.passages]
    words = side_labels(result.prompt_mode)
    names = [words.left, words.right]
    warnings: list[str] = []
    for name, box, report in zip(names, boxes, result.reports, strict=False):
        warnings += _warnings(name.lower(), box, report)
    warnings += _to_do(result)
    if result.meta.languages == ENGLISH:
        warnings += _not_english(boxes, result.meta)
    front = [_front(name, report.prompt) for name, report in zip(names, result.reports, strict=False)]
    entries: list[Node] = [["li", "e5-warning", text] for text in warnings]
    entries = entries or [["li", "", f"Every text was read whole ({_token_range(result.reports)})."]]
    return [nodes.title("What the model read"), ["ul", "", *front, *entries]]


def pair(result: ScoreResult, row: int, column: int) -> list[Node]:
    """One pair in full: both texts, score and rank."""
    if not result.has_pair(row, column):
        return []
    rank = "" if result.is_self else f", rank {ranks(result.scores)[row, column]} of {len(result.passages)}"
    texts = [(box.labels[i], shown(box.texts[i])) for box, i in ((result.queries, row), (result.passages, column))]
    return [
        [
            "div",
            "e5-pair-head",
            ["strong", "", f"{float(result.scores[row, column]):.1f}"],
            nodes.span(f"cosine \N{MULTIPLICATION SIGN} 100{rank}"),
        ],
        nodes.pairs(texts),
        *hint("Further down: whether this score is high, and what it is made of."),
    ]


def _front(name: str, prompt: Prompt) -> Node:
    return ["li", "", f"In front of {name.lower()}: ", prompt_code(prompt.text) if prompt.text else "nothing."]


def _warnings(texts: str, box: TextList, report: EncodeReport) -> list[str]:
    sentences = ReportNotes(texts).add(report, lambda index: box.labels[index]).sentences()
    if "unknown" in sentences:
        rows = np.flatnonzero(report.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE)
        sentences["unknown"] += " Is it made for this language?"
        is_long = any(len(word) > _LONGEST_WORD for row in rows for word in box.texts[row].split())
        sentences["unknown"] += _LONG_WORDS if is_long else ""
    empty = f"Left out, because there is no text in it: line {listed(map(str, box.empty))} of {texts}."
    unread = f"Left out, because {report.model.rsplit('/', 1)[-1]} reads nothing of it: {listed(box.unread)}."
    return [*([empty] if box.empty else []), *([unread] if box.unread else []), *sentences.values()]


def _to_do(result: ScoreResult) -> list[str]:
    """What helps where texts are too long."""
    if not any(report.truncated for report in result.reports):
        return []
    meta = result.meta
    longer = (each for each in list_models() if each.max_tokens > meta.max_tokens and each.languages == meta.languages)
    other = next(
        (f", or take a model that reads more: {each.short_name} reads {each.max_tokens:,}" for each in longer), ""
    )
    return [f"Split long texts before scoring (in Python split_to_fit does it){other}."]


def _not_english(boxes: Sequence[TextList], meta: ModelMeta) -> list[str]:
    named = [f"{box.labels[index]} ({language})" for box in boxes for index, language in foreign_texts(box.texts)]
    if not named:
        return []
    other = next(each for each in list_models() if each.group == "Multilingual")
    return [
        f"Hardly English: {listed(named)}. {meta.short_name} is made for English; do not trust its scores of texts in "
        f"other languages. Take a multilingual model, such as {other.short_name}."
    ]


def _token_range(reports: Sequence[EncodeReport]) -> str:
    counts = [int(n) for report in reports for n in report.n_tokens]
    low, high = min(counts), max(counts)
    return f"{low} tokens each" if low == high else f"{low} to {high} tokens each"
