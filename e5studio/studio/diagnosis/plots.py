"""A diagnosis -> its two figures. Knows no Gradio."""

from __future__ import annotations

from e5studio.studio.diagnosis.diagnosing import MIN_JUDGED, Diagnosis
from e5studio.studio.figures.distributions import Outline, count_bars, outlines
from e5studio.studio.figures.form import Figure


def draw_cosines(found: Diagnosis) -> Figure | None:
    """Cosines of random pairs against those with the nearest text; None where they are too few to be a shape."""
    if len(found.kept) < MIN_JUDGED or found.threshold is None:
        return None
    groups = [
        Outline("two random texts", 100 * found.pairs.cosines),
        Outline("a text and its nearest", 100 * found.nearest),
    ]
    return outlines(
        groups, "Cosine \N{MULTIPLICATION SIGN} 100", mark=100 * found.threshold, mark_name="near copies from here"
    )


def draw_hubs(found: Diagnosis) -> Figure | None:
    """In how many lists of nearest texts each stands; None where there are too few to tell."""
    if found.hubs is None:
        return None
    axis = f"lists of the {found.hubs.k} nearest that a text is in"
    return count_bars(found.hubs.counts, axis, expected=found.hubs.expected, expected_name="mean")
