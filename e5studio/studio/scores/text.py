"""Sentences of the Scores tab."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE, EncodeReport, NoteKind, ReportNotes
from e5studio.models import ENGLISH, ModelMeta, list_models
from e5studio.prompts import Prompt
from e5studio.studio.charts.matrix import MAX_ROWS_WITH_OUTLINES
from e5studio.studio.engine.doubts import MOSTLY_UNKNOWN
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.engine.text_box import TextList
from e5studio.studio.form.text import size
from e5studio.studio.formatting import count, duration, listed
from e5studio.studio.scores.other_languages import foreign_texts
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.nodes import Node, hint, para, pick, prompt_code

SHARE_NOTE = (
    "Share of row shows how far the best is ahead of these passages, not that it is right: "
    "with other passages beside it, it changes."
)
_OF_A_SIDE: tuple[NoteKind, ...] = ("replaced_surrogates", "already_prompted", "default_instruction")
_LONGEST_WORD = 100  # WordPiece gives up on longer ones, whatever they are made of
_LONG_WORDS = f" Or is it the length of a word? Many models know none of more than {_LONGEST_WORD} characters."


def invitation() -> list[Node]:
    """What the empty tab says."""
    return nodes.invitation(
        "See how close each query is to each passage", "Take an example or write your own texts, then press Score."
    )


def summary(result: ScoreResult) -> list[Node]:
    """One line: what was scored, by which model, how fast, and whether all was read."""
    n_cut = sum(len(report.truncated) for report in result.reports)
    cut = f", {count(n_cut, 'text')} cut off" if n_cut else ""
    n_unknown = sum(int((report.unknown_share >= MOSTLY_UNKNOWN).sum()) for report in result.reports)
    unknown = f", {count(n_unknown, 'text')} largely unknown" if n_unknown else ""
    done = f"Scored {size(result)} with {result.meta.short_name} in {duration(result.seconds)}{cut}{unknown}."
    return nodes.done(done, is_doubtful=bool(n_cut or n_unknown))


def reading_help(result: ScoreResult, *, is_by_row: bool) -> list[Node]:
    """How to read the matrix, and what a click does."""
    hatched = hatching(result)
    how = para(f"{how_to_read(result, is_by_row=is_by_row)} Click a cell to see why.", css="e5-how")
    return [how, para(hatched, css="e5-warning")] if hatched else [how]


def how_to_read(result: ScoreResult, *, is_by_row: bool) -> str:
    """What the colours and the outlines of the matrix mean."""
    is_outlined = len(result.queries) <= MAX_ROWS_WITH_OUTLINES
    best = "the outlined cell is the best of its row" if is_outlined else "the table lists the best of each row"
    meaning = "better the match, compared with its row" if is_by_row else "higher the score"
    return f"The stronger the colour, the {meaning}; {best}."


def hatching(result: ScoreResult) -> str:
    """Which texts are marked in the matrix, and why; "" without any."""
    boxes = [result.queries] if result.is_self else [result.queries, result.passages]
    cut, unknown = [], []
    for box, report in zip(boxes, result.reports, strict=False):
        cut += [box.labels[each.index] for each in report.truncated]
        unknown += [box.labels[row] for row in np.flatnonzero(report.unknown_share >= MOSTLY_UNKNOWN)]
    said = [f"cut off: {listed(cut)}"] if cut else []
    said += [f"largely unknown to the model: {listed(unknown)}"] if unknown else []
    return f"Marked with ! and hatched, {'; '.join(said)}." if said else ""


def scale_help(result: ScoreResult) -> list[Node]:
    """What the numbers are."""
    # Names the model, so that it stays true when another one is chosen in the form.
    text = f"Cosine \N{MULTIPLICATION SIGN} 100 with {result.meta.short_name}."
    if result.meta.prompt_kind != "none":
        text += " E5 gives 70 and more even to unrelated texts, so compare scores within a row, not with other models."
    return hint(text)


def notes(result: ScoreResult, other: ModelMeta | None = None) -> list[Node]:
    """What the model read: prompts in front, what was cut, unknown, empty or suspicious.

    Args:
        result: Has the texts.
        other: A multilingual model on this machine, to offer where an English one reads other languages.
    """
    boxes = [result.queries] if result.is_self else [result.queries, result.passages]
    words = side_labels(result.prompt_mode)
    names = [words.left, words.right]
    foreign = _not_english(boxes, result.meta) if result.meta.languages == ENGLISH else ""
    warnings = [
        *_left_out(names, boxes, result.meta),
        *_warnings(names, boxes, result.reports, foreign),
        *_to_do(result),
    ]
    front = [_front(name, report.prompt) for name, report in zip(names, result.reports, strict=False)]
    entries: list[Node] = [["li", "e5-warning", text] for text in warnings]
    if foreign:
        button = [" ", pick(other.name, f"Use {other.short_name}")] if other else []
        entries.append(["li", "e5-warning", foreign, *button])
    entries = entries or [["li", "", f"Every text was read whole ({_token_range(result.reports)})."]]
    return [nodes.title("What the model read"), ["ul", "", *front, *entries]]


def _front(name: str, prompt: Prompt) -> Node:
    return ["li", "", f"In front of {name.lower()}: ", prompt_code(prompt.text) if prompt.text else "nothing."]


def _left_out(names: Sequence[str], boxes: Sequence[TextList], meta: ModelMeta) -> list[str]:
    sentences = []
    for name, box in zip(names, boxes, strict=False):
        if box.empty:
            lines = listed(map(str, box.empty))
            sentences.append(f"Left out, because there is no text in it: line {lines} of {name.lower()}.")
        if box.unread:
            sentences.append(f"Left out, because {meta.short_name} reads nothing of it: {listed(box.unread)}.")
    return sentences


def _warnings(
    names: Sequence[str], boxes: Sequence[TextList], reports: Sequence[EncodeReport], foreign: str
) -> list[str]:
    """A sentence for each kind of fact; one for both sides where it names the texts."""
    of_both = ReportNotes("texts")
    for box, report in zip(boxes, reports, strict=True):
        of_both.add(report, box.labels.__getitem__)
    sentences = of_both.sentences()
    if "unknown" in sentences:
        unknown = [
            box.texts[row]
            for box, report in zip(boxes, reports, strict=True)
            for row in np.flatnonzero(report.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE)
        ]
        sentences["unknown"] += "" if foreign else " Is it made for this language?"
        is_long = any(len(word) > _LONGEST_WORD for text in unknown for word in text.split())
        sentences["unknown"] += _LONG_WORDS if is_long else ""
    of_sides = [
        ReportNotes(name.lower()).add(report, box.labels.__getitem__).sentences()
        for name, box, report in zip(names, boxes, reports, strict=False)
    ]
    of_a_side = [each[kind] for kind in _OF_A_SIDE for each in of_sides if kind in each]
    return [*(text for kind, text in sentences.items() if kind not in _OF_A_SIDE), *of_a_side]


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


def _not_english(boxes: Sequence[TextList], meta: ModelMeta) -> str:
    named = [f"{box.labels[index]} ({language})" for box in boxes for index, language in foreign_texts(box.texts)]
    if not named:
        return ""
    other = next(each for each in list_models() if each.group == "Multilingual")
    return (
        f"Hardly English: {listed(named)}. {meta.short_name} is made for English; do not trust its scores of texts in "
        f"other languages. Take a multilingual model, such as {other.short_name}."
    )


def _token_range(reports: Sequence[EncodeReport]) -> str:
    counts = [int(n) for report in reports for n in report.n_tokens]
    low, high = min(counts), max(counts)
    return f"{low} tokens each" if low == high else f"{low} to {high} tokens each"
