"""A diagnosis -> its findings in order, and as nodes for `widgets.text_tree`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.studio.diagnose import text_findings, vector_findings
from e5studio.studio.diagnose.diagnosis import Diagnosis
from e5studio.studio.diagnose.finding import LEVELS, Finding, Level, count
from e5studio.studio.widgets.nodes import Node

MAX_FINDINGS = 9

_LEVEL_NAMES: dict[Level, str] = {
    "act": "Act on this",
    "look": "Look at this",
    "fine": "Fine",
    "untold": "Cannot tell",
}


def findings(found: Diagnosis) -> list[Finding]:
    """All that was looked at, what asks for action first."""
    looked_at = [
        text_findings.copies(found),
        text_findings.near_copies(found),
        text_findings.cut_ends(found),
        text_findings.unknown_tokens(found),
        vector_findings.hubs(found),
        vector_findings.query_hubs(found),
        vector_findings.groups_apart(found),
        vector_findings.spread(found),
        vector_findings.directions(found),
    ]
    there = [finding for finding in looked_at if finding is not None]
    return sorted(there, key=lambda finding: LEVELS.index(finding.level))


def done(found: Diagnosis) -> list[Node]:
    """One line: what was diagnosed."""
    short = found.subject.meta.name.rsplit("/", 1)[-1]
    sides = " and ".join(f"{len(side):,} {side.name}" for side in found.subject.sides)
    where = "as they were scored" if found.subject.source == "scores" else "of the corpus"
    return [["p", "e5-done", f"Diagnosed {sides} {where}, with {short}."]]


def summary(found: Sequence[Finding]) -> list[Node]:
    """How many findings there are of each level, and what asks for action."""
    counts: list[Any] = [
        ["span", f"e5-level e5-level-{level}", f"{_LEVEL_NAMES[level]}: {n}"]
        for level in LEVELS
        if (n := sum(finding.level == level for finding in found))
    ]
    serious = [finding for finding in found if finding.level in ("act", "look")]
    nodes: list[Node] = [["div", "e5-verdicts", *counts]]
    if not serious:
        is_told = any(finding.level == "fine" for finding in found)
        return [*nodes, ["p", "", "Nothing here needs your attention." if is_told else "Too few texts to tell."]]
    listed: list[Node] = [["li", "", ["b", "", finding.title], f": {finding.figure}"] for finding in serious]
    rest = len(found) - len(serious)
    tail: list[Node] = [["p", "e5-hint", f"{count(rest, 'other thing')} below can be opened."]] if rest else []
    return [*nodes, ["ul", "", *listed], *tail]


def finding_nodes(finding: Finding) -> list[Node]:
    """One finding in full; what asks for nothing is closed at first."""
    head: list[Any] = [
        ["span", f"e5-level e5-level-{finding.level}", _LEVEL_NAMES[finding.level]],
        ["h3", "", finding.title],
        ["span", "e5-finding-figure", finding.figure],
    ]
    body: list[Node] = [
        *(["p", "", sentence] for sentence in finding.said),
        ["dl", "e5-pair e5-finding-what", *_entry("For search", finding.retrieval), *_entry("To do", finding.advice)],
    ]
    if finding.level in ("act", "look"):
        return [["div", "e5-finding-head", *head], *body]
    return [["details", "e5-finding-more", ["summary", "e5-finding-head", *head], *body]]


def _entry(name: str, text: str) -> list[Node]:
    return [["dt", "", name], ["dd", "", text]]
