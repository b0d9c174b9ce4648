"""The data that `widgets.data_table` and `widgets.choice_menu` show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from e5studio.studio.formatting import shown

MAX_ROWS = 1_500
_MAX_TEXT = 600


@dataclass(frozen=True)
class TableView:
    """A table that sorts.

    Attributes:
        columns: For each its title, hint and kind ("text", "word", "number", "whole", "percent", "score"); numbers may
            have digits, is_signed and is_best_high, which sorts the highest first.
        rows: A cell for each column; in a "text" column the index of a text.
        caption: What the table holds, for screen readers.
        texts: Lists of (label, text) that "text" columns refer to by their field "texts".
        order: "given", or sorted by the first column.
        pick: What a click on a row picks.
        marked: Indices of the rows that stand out.
        marked_only: Label of the switch that hides the others; no switch where it is empty.
        is_marked_only: Whether it is on at first.
    """

    columns: Sequence[dict[str, Any]]
    rows: Sequence[Sequence[Any]]
    caption: str
    texts: Sequence[Sequence[Sequence[str]]] = ()
    order: Literal["given", "first column"] = "first column"
    pick: Literal["none", "cell", "point"] = "none"
    marked: Sequence[int] = ()
    marked_only: str = ""
    is_marked_only: bool = False


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


def numbered_texts(labels: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """Labels and texts as a table holds them."""
    return [[label, shown(text, _MAX_TEXT)] for label, text in zip(labels, texts, strict=True)]
