"""The data that `widgets.data_table` and `widgets.choice_menu` show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from e5studio.studio.formatting import shown

MAX_ROWS = 1_500
_MAX_TEXT = 600


@dataclass(frozen=True)
class TableView:
    """A table that sorts.

    Attributes:
        columns: For each its title, hint and kind ("text", "word", "number", "whole", "percent", "share", "score");
            numbers may have digits, is_signed and is_best_high, which sorts the highest first; a share is a bar.
        rows: A cell for each column; in a "text" column the index of a text.
        caption: What the table holds, for screen readers.
        texts: Lists of (label, text) that "text" columns refer to by their field "texts"; a reason behind them is shown
            as a warning.
        order: "given", or sorted by the first column.
        pick: What a click on a row picks.
        marked: Indices of the rows that stand out.
        first: Indices of the rows that are shown before "Show all" is pressed; all where it is empty.
        is_grouped: Whether rows with one text in the first column stand below that text, while they are sorted by it.
        note: What a reader must know of the numbers.
    """

    columns: Sequence[dict[str, Any]]
    rows: Sequence[Sequence[Any]]
    caption: str
    texts: Sequence[Sequence[Sequence[str]]] = ()
    order: Literal["given", "first column"] = "first column"
    pick: Literal["none", "cell", "point"] = "none"
    marked: Sequence[int] = ()
    first: Sequence[int] = ()
    is_grouped: bool = False
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """An option of a menu.

    Attributes:
        title: What a person reads.
        value: What a callback gets.
        reason: Why it cannot be chosen now; "" where it can.
        group: Heading above it; "" without one.
    """

    title: str
    value: str
    reason: str = ""
    group: str = ""


def valid_choice(choices: Iterable[Choice], value: object, usual: str) -> str:
    """The value if it can be chosen, else the usual one."""
    return next((choice.value for choice in choices if choice.value == value and not choice.reason), usual)


def numbered_texts(
    labels: Sequence[str], texts: Sequence[str], doubts: Mapping[int, str] = MappingProxyType({})
) -> list[list[str]]:
    """Labels and texts as a table holds them, with the reasons of some to doubt their scores."""
    return [
        [label, shown(text, _MAX_TEXT), *([doubts[index]] if index in doubts else [])]
        for index, (label, text) in enumerate(zip(labels, texts, strict=True))
    ]
