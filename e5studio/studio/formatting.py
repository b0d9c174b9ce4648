"""Numbers, counts and texts as the page shows them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(text: str, limit: int = 4000) -> str:
    """The text as it can be sent to a browser: no lone surrogates, and cut where nobody would read on."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    if not _LONE_SURROGATE.search(cut):
        return cut
    return cut.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 text", "1,200 texts"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def fixed(value: float, digits: int = 1) -> str:
    """A number with so many digits behind the point, and a true minus."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float, digits: int = 1) -> str:
    """As `fixed`, with a plus where it is above 0."""
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    """A time as people say it: "120 ms", "3.2 s", "4 min"."""
    if seconds < 0.95:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def listed(items: Iterable[str], at_most: int = 8) -> str:
    """The first items, and how many more there are."""
    names = list(items)
    n_more = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {n_more} more" if n_more > 0 else "")
