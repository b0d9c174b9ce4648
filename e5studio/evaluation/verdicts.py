"""One word for a paired test, which claims nothing that its interval and its p value do not show."""

from __future__ import annotations

from typing import Literal

from e5studio.analysis.significance import LEVEL, Comparison

Verdict = Literal["better", "worse", "no gain", "too few queries"]


def verdict_of(comparison: Comparison) -> Verdict:
    """The second against the first: "better" and "worse" only where the interval leaves out 0 and the test agrees.

    Where few queries moved, all one way, the interval is too short: four do so by chance one time in eight.
    """
    interval = comparison.interval
    if interval is None:
        return "too few queries"
    if comparison.p_value > 1 - LEVEL:
        return "no gain"
    return "better" if interval.low > 0 else "worse" if interval.high < 0 else "no gain"
