"""Numbers, counts and texts as the page shows them."""

from __future__ import annotations

import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(text: str, limit: int = 4000) -> str:
    """The text as it can be sent to a browser: no lone surrogates, and cut where nobody would read on."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    if not _LONE_SURROGATE.search(cut):
        return cut
    return cut.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
