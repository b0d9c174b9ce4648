"""The data that `widgets.data_table` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.studio.formatting import shown

MAX_ROWS = 1_500
_MAX_TEXT = 600
Table = dict[str, Any]


def numbered_texts(labels: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
    """Labels and texts as a table holds them."""
    return [[label, shown(text, _MAX_TEXT)] for label, text in zip(labels, texts, strict=True)]
