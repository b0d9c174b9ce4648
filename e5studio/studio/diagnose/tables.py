"""The texts of a finding -> tables. Pure.

A table holds only the texts that it lists, at most `MAX_LISTED`, the worst first. The first column holds the text,
whose label a click on the row sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from e5studio.studio.diagnose.diagnosis import Diagnosis, Group, Hubs
from e5studio.studio.diagnose.subject import TextSide
from e5studio.studio.widgets.table_data import TableView, numbered_texts

MAX_LISTED = 300
_MAX_SPACES = 8

_TEXT: dict[str, Any] = {"title": "Text", "hint": "Sort in the order of the list", "kind": "text", "texts": 0}
# What SentencePiece reads as a space.
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\u200b"
_GROUP: dict[str, Any] = {"title": "Group", "hint": "Texts with the same number belong together", "kind": "whole"}


def copies_table(diagnosis: Diagnosis) -> TableView:
    """Groups of texts that are the same."""
    listed: list[tuple[TextSide, int]] = []
    rows: list[list[Any]] = []
    groups = [
        (side, group)
        for side, repeats in zip(diagnosis.subject.sides, diagnosis.repeats, strict=True)
        for group in repeats.groups
    ]
    for number, (side, group) in enumerate(sorted(groups, key=lambda each: -len(each[1])), 1):
        for row in group:
            is_exact = sum(side.texts[row] == side.texts[other] for other in group[:MAX_LISTED]) > 1
            rows.append([len(listed), number, "letter by letter" if is_exact else "but for case, spaces or form"])
            listed.append((side, row))
        if len(listed) >= MAX_LISTED:
            break
    columns = [_TEXT, _GROUP, {"title": "The same", "hint": "As another of its group", "kind": "word"}]
    return _table(listed, columns, rows, "Texts that are there more than once")


def near_table(diagnosis: Diagnosis) -> TableView:
    """Groups of texts that are nearly the same; those with the nearest pair first."""
    assert diagnosis.near is not None  # checked by the caller
    nearest = diagnosis.near.nearest
    listed: list[tuple[TextSide, int]] = []
    rows: list[list[Any]] = []
    ordered = sorted(diagnosis.near.groups, key=lambda group: -max(nearest[row] for row in group))
    for number, group in enumerate(ordered, 1):
        for row in group:
            rows.append([len(listed), number, round(100 * nearest[row], 4)])
            listed.append((diagnosis.subject.searched, int(diagnosis.distinct[row])))
        if len(listed) >= MAX_LISTED:
            break
    hint = "Cosine \N{MULTIPLICATION SIGN} 100 with the nearest of its group"
    columns = [_TEXT, _GROUP, {"title": "Score", "hint": hint, "kind": "number", "digits": 2, "is_best_high": True}]
    return _table(listed, columns, rows, "Texts that are nearly the same")


def cut_table(diagnosis: Diagnosis) -> TableView:
    """Texts that were cut, the one that loses most first."""
    cut = [
        (int(side.read.n_dropped[row]), int(side.read.n_tokens[row]), side, int(row))
        for side in diagnosis.subject.sides
        if side.read is not None
        for row in np.flatnonzero(side.read.n_dropped)
    ]
    cut = sorted(cut, key=lambda each: -each[0])[:MAX_LISTED]
    columns = [
        _TEXT,
        {"title": "Tokens read", "hint": "Prompt included", "kind": "whole", "is_best_high": True},
        {"title": "Tokens lost", "hint": "Of a very long text at least so many", "kind": "whole", "is_best_high": True},
    ]
    rows = [[index, n_read, n_lost] for index, (n_lost, n_read, _, _) in enumerate(cut)]
    return _table([(side, row) for _, _, side, row in cut], columns, rows, "Texts that were cut off")


def unknown_table(diagnosis: Diagnosis, least: float) -> TableView:
    """Texts of which a share above 0 is unknown, and of `least` at least, the highest first."""
    unknown = [
        (float(side.read.unknown_share[row]), side, int(row))
        for side in diagnosis.subject.sides
        if side.read is not None
        for row in np.flatnonzero((side.read.unknown_share >= least) & (side.read.unknown_share > 0))
    ]
    unknown = sorted(unknown, key=lambda each: -each[0])[:MAX_LISTED]
    hint = "Share of its tokens that the vocabulary lacks, and of characters that are left out"
    columns = [_TEXT, {"title": "Unknown", "hint": hint, "kind": "percent", "is_best_high": True}]
    rows = [[index, round(100 * share, 2)] for index, (share, _, _) in enumerate(unknown)]
    return _table([(side, row) for _, side, row in unknown], columns, rows, "Texts with unknown tokens")


def end_spaces(text: str) -> str:
    """The white space at the end of a text."""
    return text[len(text.rstrip(_SPACES)) :]


def end_spaces_table(diagnosis: Diagnosis) -> TableView:
    """Texts that end in white space, in their order."""
    ends = [
        (side, row, end)
        for side in diagnosis.subject.sides
        for row, text in enumerate(side.texts)
        if (end := end_spaces(text))
    ][:MAX_LISTED]
    columns = [_TEXT, {"title": "Ends in", "hint": "The characters at its end", "kind": "word"}]
    rows = [[index, ascii(end[:_MAX_SPACES])] for index, (_, _, end) in enumerate(ends)]
    return _table([(side, row) for side, row, _ in ends], columns, rows, "Texts that end in white space")


def hubs_table(diagnosis: Diagnosis, hubs: Hubs, least: float, of: str) -> TableView:
    """Texts that are in at least so many lists, the most frequent first."""
    order = np.argsort(-hubs.counts, kind="stable")[:MAX_LISTED]
    order = order[hubs.counts[order] >= least]
    columns = [
        _TEXT,
        {"title": "Near to", "hint": f"In the lists of so many {of}", "kind": "whole", "is_best_high": True},
        {"title": "Share", "hint": "Of all lists", "kind": "percent", "is_best_high": True},
    ]
    rows = [
        [index, int(hubs.counts[row]), round(100 * float(hubs.counts[row]) / hubs.n_lists, 2)]
        for index, row in enumerate(order.tolist())
    ]
    listed = [(diagnosis.subject.searched, int(diagnosis.distinct[row])) for row in order]
    return _table(listed, columns, rows, "Texts that are in many lists")


def groups_table(groups: Sequence[Group], is_apart: Sequence[bool]) -> TableView:
    """Languages and scripts; those that lie apart are marked."""
    ordered = sorted(range(len(groups)), key=lambda index: (not is_apart[index], -groups[index].apart.n_texts))
    rows = []
    for index in ordered:
        apart = groups[index].apart
        shares = [round(100 * share, 2) for share in (apart.own, apart.by_chance, apart.within, apart.across)]
        name = f"{groups[index].name} ({groups[index].kind})"
        rows.append([name, apart.n_texts, *shares, "yes" if is_apart[index] else "no"])
    percent: dict[str, Any] = {"kind": "percent", "is_best_high": True}
    number: dict[str, Any] = {"kind": "number", "is_best_high": True}
    own = "Share of its texts' nearest neighbours, among those of a known group, that are its own"
    across = "Mean cosine \N{MULTIPLICATION SIGN} 100 with texts of other known groups"
    columns: list[dict[str, Any]] = [
        {"title": "Group", "hint": "A language or a script", "kind": "word"},
        {"title": "Texts", "hint": "Number of its texts", "kind": "whole", "is_best_high": True},
        {"title": "Own", "hint": own, **percent},
        {"title": "By chance", "hint": "That share if neighbours were drawn at random", **percent},
        {"title": "Within", "hint": "Mean cosine \N{MULTIPLICATION SIGN} 100 inside the group", **number},
        {"title": "Across", "hint": across, **number},
        {"title": "Apart", "hint": "Whether it lies apart", "kind": "word"},
    ]
    marked = [row for row, index in enumerate(ordered) if is_apart[index]]
    return TableView(columns, rows, "Languages and scripts", order="given", marked=marked)


def _table(
    listed: Sequence[tuple[TextSide, int]], columns: list[dict[str, Any]], rows: list[list[Any]], caption: str
) -> TableView:
    labels = [side.labels[row] for side, row in listed]
    texts = numbered_texts(labels, [side.texts[row] for side, row in listed])
    return TableView(columns, rows[:MAX_LISTED], caption, [texts], order="given", pick="point")
