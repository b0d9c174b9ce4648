"""One word for a paired test, which claims nothing that its interval does not show."""

from __future__ import annotations

from typing import Literal

from e5studio.analysis.significance import Comparison

Verdict = Literal["better", "worse", "no gain", "too few queries"]


def verdict_of(comparison: Comparison) -> Verdict:
    """The second against the first: "better" and "worse" only where the interval of the difference leaves out 0."""
    interval = comparison.interval
    if interval is None:
        return "too few queries"
    return "better" if interval.low > 0 else "worse" if interval.high < 0 else "no gain"
