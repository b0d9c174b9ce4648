"""Why the scores of some texts mean little: what the model did not read of them, or does not know."""

from __future__ import annotations

import numpy as np

from e5studio.encode_report import EncodeReport
from e5studio.studio.engine.result import ScoreResult

MOSTLY_UNKNOWN = 0.2
"""From this share of a text on, its vector says more of the gaps than of the text."""


def doubts(result: ScoreResult) -> tuple[dict[int, str], dict[int, str]]:
    """For rows and columns of the scores the reason to doubt them, where there is one."""
    queries, passages = (_doubts(report) for report in (result.reports[0], result.reports[-1]))
    return queries, passages


def doubts_of_points(result: ScoreResult) -> dict[int, str]:
    """The same for the rows of its vectors."""
    queries, passages = doubts(result)
    first = len(result.queries)
    return queries if result.is_self else queries | {first + row: reason for row, reason in passages.items()}


def _doubts(report: EncodeReport) -> dict[int, str]:
    model = report.model.rsplit("/", 1)[-1]
    unknown = {
        int(row): f"{report.unknown_share[row]:.0%} of this text is unknown to {model}, so its scores mean little."
        for row in np.flatnonzero(report.unknown_share >= MOSTLY_UNKNOWN)
    }
    cut = {
        each.index: f"Cut off: {model} read the first {each.n_read:,} tokens, and not the "
        f"{'' if each.exact else 'at least '}{each.n_dropped:,} after them."
        for each in report.truncated
    }
    return unknown | cut
