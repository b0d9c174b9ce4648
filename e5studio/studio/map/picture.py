"""A map that is drawn, with what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from e5studio.studio.charts.figure import Figure
from e5studio.studio.widgets.nodes import Node


@dataclass(frozen=True)
class MapPicture:
    """What a map shows.

    Attributes:
        figure: The plot.
        caption: How it came about and what its colours and lines mean.
        quality: What it is worth.
    """

    figure: Figure
    caption: str
    quality: list[Node]
