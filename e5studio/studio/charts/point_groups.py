"""Points of a map in groups that look alike: by side, cluster, category or value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from e5studio.studio.charts.figure import plot_text
from e5studio.studio.charts.palette import MAX_CATEGORIES

Symbol = Literal["circle", "diamond"]


@dataclass(frozen=True)
class PointGroup:
    """Points of a map that look alike.

    Attributes:
        name: In the legend; "" for points that share another group's entry.
        members: Indices of the points.
        symbol: Their shape.
        colour: A token of `charts.palette`.
        shades: In place of one colour a value for each member, on a `ColourScale`.
    """

    name: str
    members: tuple[int, ...]
    symbol: Symbol
    colour: str
    shades: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ColourScale:
    """What shades stand for.

    Attributes:
        name: Beside the colour bar.
        low: Value of its faint end.
        high: Value of its strong end.
        tick_format: As d3 writes numbers.
    """

    name: str
    low: float
    high: float
    tick_format: str


def role_groups(n_queries: int, n_points: int, names: tuple[str, str]) -> list[PointGroup]:
    """Queries as circles, passages as diamonds, each side in its colour."""
    sides: list[tuple[str, range, Symbol, str]] = [
        (names[0], range(n_queries), "circle", "@orange"),
        (names[1], range(n_queries, n_points), "diamond", "@blue"),
    ]
    return [PointGroup(name, tuple(part), symbol, colour) for name, part, symbol, colour in sides if part]


def cluster_groups(n_queries: int, labels: Sequence[int], names: Sequence[str]) -> list[PointGroup]:
    """A colour for each cluster; circles and diamonds stay what they are."""
    groups = []
    for cluster, name in enumerate(names):
        members = [member for member, label in enumerate(labels) if label == cluster]
        title = f"{cluster + 1} {plot_text(name, 40)}".strip()
        symbols: tuple[Symbol, Symbol] = ("circle", "diamond")
        for symbol, is_query in zip(symbols, (True, False), strict=True):
            side = tuple(member for member in members if (member < n_queries) == is_query)
            if side:
                groups.append(PointGroup(title, side, symbol, f"@group:{cluster % MAX_CATEGORIES}"))
                title = ""
    return groups


def plain_group(n_points: int) -> list[PointGroup]:
    """All points alike."""
    return [PointGroup("", tuple(range(n_points)), "circle", "@blue")] if n_points else []


def category_groups(
    categories: Sequence[tuple[str, Sequence[int]]], rest: tuple[str, Sequence[int]]
) -> list[PointGroup]:
    """A colour for each category, grey for all other points.

    Args:
        categories: At most `MAX_CATEGORIES` names and their members.
        rest: Name and members of the others, which are drawn first, under the categories.
    """
    groups = [PointGroup(plot_text(rest[0], 40), tuple(rest[1]), "circle", "@pale")] if len(rest[1]) else []
    for index, (name, members) in enumerate(categories):
        groups.append(PointGroup(plot_text(name, 40), tuple(members), "circle", f"@group:{index}"))
    return groups


def valued_groups(values: Sequence[float], rest_name: str) -> list[PointGroup]:
    """Points coloured by a value; those whose value is NaN are grey."""
    known = [index for index, value in enumerate(values) if value == value]
    unknown = [index for index, value in enumerate(values) if value != value]
    groups = [PointGroup(rest_name, tuple(unknown), "circle", "@pale")] if unknown else []
    if known:
        shades = tuple(float(values[index]) for index in known)
        groups.append(PointGroup("", tuple(known), "circle", "@blue", shades))
    return groups


def shaded_groups(n_queries: int, values: Sequence[float], names: tuple[str, str]) -> list[PointGroup]:
    """Points coloured by a value."""
    plain = role_groups(n_queries, len(values), names)
    return [replace(group, shades=tuple(float(values[member]) for member in group.members)) for group in plain]
