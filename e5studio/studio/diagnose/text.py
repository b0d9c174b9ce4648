"""Sentences of the Diagnose tab: a diagnosis -> its findings in order, as nodes for `widgets.text_tree`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.studio.diagnose import text_findings, vector_findings
from e5studio.studio.diagnose.diagnosis import MIN_JUDGED, Diagnosis
from e5studio.studio.diagnose.finding import LEVELS, Finding, Level
from e5studio.studio.diagnose.subject import Source
from e5studio.studio.formatting import count, shown
from e5studio.studio.widgets.nodes import Node, pairs

MAX_FINDINGS = 10

INVITATION = "Copies, texts cut off, texts that are near everything, and what is usual among the rest."
OTHER_TEXTS = "Other texts have come since. Press Diagnose again."
NOTHING: dict[Source, str] = {
    "scores": "Nothing is scored yet. Press Score, then come back.",
    "corpus": "There is no embedded corpus. Open the Corpus tab, add texts and press Embed.",
}

_LEVEL_NAMES: dict[Level, str] = {
    "act": "Act on this",
    "look": "Look at this",
    "fine": "Fine",
    "unknown": "Cannot tell",
}


def findings(diagnosis: Diagnosis) -> list[Finding]:
    """All findings, the most serious first."""
    all_findings = [
        text_findings.copies(diagnosis),
        text_findings.near_copies(diagnosis),
        text_findings.cut_ends(diagnosis),
        text_findings.unknown_tokens(diagnosis),
        text_findings.end_spaces(diagnosis),
        vector_findings.hubs(diagnosis),
        vector_findings.query_hubs(diagnosis),
        vector_findings.groups_apart(diagnosis),
        vector_findings.spread(diagnosis),
        vector_findings.directions(diagnosis),
    ]
    existing = [finding for finding in all_findings if finding is not None]
    return sorted(existing, key=lambda finding: LEVELS.index(finding.level))


def tab_title(findings: Sequence[Finding]) -> str:
    """The tab's title, with how many findings need attention."""
    n = sum(finding.level in ("act", "look") for finding in findings)
    return f"Diagnose ({n})" if n else "Diagnose"


def done(diagnosis: Diagnosis) -> list[Node]:
    """One line: what was diagnosed."""
    sides = " and ".join(f"{len(side):,} {side.name}" for side in diagnosis.subject.sides)
    where = "as they were scored" if diagnosis.subject.source == "scores" else "of the corpus"
    return [["p", "e5-done", f"Diagnosed {sides} {where}, with {diagnosis.subject.meta.short_name}."]]


def summary(findings: Sequence[Finding]) -> list[Node]:
    """How many findings there are of each level, and the serious ones."""
    counts: list[Any] = [
        ["span", f"e5-level e5-level-{level}", f"{_LEVEL_NAMES[level]}: {n}"]
        for level in LEVELS
        if (n := sum(finding.level == level for finding in findings))
    ]
    serious = [finding for finding in findings if finding.level in ("act", "look")]
    nodes: list[Node] = [["div", "e5-verdicts", *counts], *_unknown(findings)]
    if not serious:
        is_known = any(finding.level == "fine" for finding in findings)
        return [*nodes, ["p", "", "Nothing here needs your attention." if is_known else "Too few texts to tell."]]
    listed: list[Node] = [["li", "", ["b", "", finding.title], f": {finding.figure}"] for finding in serious]
    rest = len([finding for finding in findings if finding.level == "fine"])
    tail: list[Node] = [["p", "e5-hint", f"{count(rest, 'other thing')} below can be opened."]] if rest else []
    return [*nodes, ["ul", "", *listed], *tail]


def _unknown(findings: Sequence[Finding]) -> list[Node]:
    """What cannot be told of these texts, in a line that opens."""
    unknown = [finding for finding in findings if finding.level == "unknown"]
    if not unknown:
        return []
    reasons: list[Node] = [["li", "", ["b", "", each.title], f": {each.sentences[0]}"] for each in unknown]
    title = f"{count(len(unknown), 'check')} cannot tell about these texts; most need {MIN_JUDGED} or more."
    return [["details", "e5-hint", ["summary", "", title], ["ul", "", *reasons]]]


def finding_nodes(finding: Finding) -> list[Node]:
    """One finding in full; closed at first unless it is serious."""
    head: list[Any] = [
        ["span", f"e5-level e5-level-{finding.level}", _LEVEL_NAMES[finding.level]],
        ["h3", "", finding.title],
        ["span", "e5-finding-figure", finding.figure],
    ]
    body: list[Node] = [
        *(["p", "", sentence] for sentence in finding.sentences),
        pairs([("For search", finding.retrieval), ("To do", finding.advice)], css="e5-pair e5-finding-what"),
    ]
    if finding.level in ("act", "look"):
        return [["div", "e5-finding-head", *head], *body]
    return [["details", "e5-finding-more", ["summary", "e5-finding-head", *head], *body]]


def full_text(label: str, text: str) -> list[Node]:
    """One text of a table in full."""
    return [pairs([(label, shown(text))])]
