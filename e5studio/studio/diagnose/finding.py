"""One thing that was looked at: how serious it is, its figure, what it does to retrieval and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from e5studio.studio.widgets.table_data import Table

Level = Literal["act", "look", "fine", "untold"]
LEVELS: tuple[Level, ...] = ("act", "look", "fine", "untold")
"""In the order in which they are shown."""


@dataclass(frozen=True)
class Finding:
    """What is told of one thing.

    Attributes:
        level: "act", "look" (at this), "fine", or "untold" where the texts are too few to tell.
        title: What was looked at, in plain words; a key of `e5studio.studio.widgets.labels`.
        figure: The figure, in a few words.
        said: Sentences that explain it.
        retrieval: What it does to retrieval, in a sentence.
        advice: What to do about it, in a sentence.
        table: The texts concerned, if it concerns some.
    """

    level: Level
    title: str
    figure: str
    said: tuple[str, ...]
    retrieval: str
    advice: str
    table: Table | None = None


def count(number: int, noun: str, plural: str = "") -> str:
    """A number and what is counted."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def points(cosine: float, digits: int = 1) -> str:
    """A cosine as it is shown everywhere, x 100."""
    return f"{100 * cosine:.{digits}f}".replace("-", "\N{MINUS SIGN}")
