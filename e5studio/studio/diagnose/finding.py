"""One finding: how serious it is, its figure, its effect on retrieval, and advice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from e5studio.studio.formatting import fixed
from e5studio.studio.widgets.table_data import TableView

Level = Literal["act", "look", "fine", "unknown"]
LEVELS: tuple[Level, ...] = ("act", "look", "fine", "unknown")
"""In the order of the page."""


@dataclass(frozen=True)
class Finding:
    """What the page says about one property of the texts.

    Attributes:
        level: "act", "look" (at this), "fine", or "unknown" where the texts are too few.
        title: The property, in plain words.
        figure: Its value, in a few words.
        sentences: Explain the value.
        retrieval: The effect on retrieval, in a sentence.
        advice: What to do about it, in a sentence.
        table: The texts concerned, if there are any.
    """

    level: Level
    title: str
    figure: str
    sentences: tuple[str, ...]
    retrieval: str
    advice: str
    table: TableView | None = None


NOTHING_TO_DO = "Nothing needs to be done."


def points(cosine: float, digits: int = 1) -> str:
    """A cosine x 100, as the page shows all cosines."""
    return fixed(100 * cosine, digits)
