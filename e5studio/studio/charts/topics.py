"""Names of topics on a map. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.similarity import FloatArray
from e5studio.studio.charts.figure import plot_text

_LETTER, _LINE = 7.2, 22  # pixels of a name
_MIN_TEXTS = 3
_OWN_SHARE = 0.5


@dataclass(frozen=True)
class Topic:
    """A name on the map.

    Attributes:
        name: Its words.
        x: Where its middle lies.
        y: The same, upwards.
        n_texts: How many texts it stands for; where two names would overlap, the larger is drawn.
    """

    name: str
    x: float
    y: float
    n_texts: int


def topics_on(points: FloatArray, labels: NDArray[np.int64], names: Sequence[str]) -> list[Topic]:
    """The topics that lie together on a map: around the middle of each, half of the points must be its own.

    Args:
        points: Coordinates, shape (n, 2).
        labels: The topic of each point, (n,).
        names: Of the topics; one of "" has none.
    """
    topics = []
    for topic, name in enumerate(names):
        is_own = labels == topic
        n_own = int(is_own.sum())
        if not name or n_own < _MIN_TEXTS:
            continue
        middle = np.median(points[is_own], axis=0)
        distances = np.linalg.norm(points - middle, axis=1)
        n_near = max(n_own // 2, _MIN_TEXTS)
        near = np.argpartition(distances, n_near - 1)[:n_near]
        if is_own[near].mean() >= _OWN_SHARE:
            topics.append(Topic(name, float(middle[0]), float(middle[1]), n_own))
    return topics


def topic_names(points: FloatArray, topics: Sequence[Topic], width: int, height: int) -> list[dict[str, Any]]:
    """Annotations of a plot of so many pixels: the names that fit beside each other, the largest topics first."""
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    extent[extent == 0] = 1.0
    placed: list[tuple[float, float, float]] = []
    names = []
    for topic in sorted(topics, key=lambda each: -each.n_texts):
        x, y = (np.array([topic.x, topic.y]) - low) / extent * [width, height]
        half = _LETTER * len(topic.name) / 2
        x = float(np.clip(x, half, max(width - half, half)))
        if any(abs(x - other_x) < half + other and abs(y - other_y) < _LINE for other_x, other_y, other in placed):
            continue
        placed.append((x, float(y), half))
        names.append(
            {
                "x": float(low[0] + x / width * extent[0]),
                "y": topic.y,
                "text": f"<b>{plot_text(topic.name, 40)}</b>",
                "showarrow": False,
                "captureevents": False,
                "bgcolor": "@veil",
                "borderpad": 2,
                "font": {"size": 12, "color": "@ink"},
            }
        )
    return names
