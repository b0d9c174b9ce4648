"""What `e5studio evaluate` prints: a table of scores, paired tests, published figures; or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from e5studio.analysis.significance import Interval
from e5studio.cli.terminal import Align, print_line, print_table
from e5studio.evaluation import (
    Evaluation,
    Protocol,
    RetrievalTask,
    StsTask,
    TaskPrompts,
    as_mteb_result,
    interval,
    paired_tests,
)
from e5studio.evaluation import check as published_checks
from e5studio.evaluation.published import TOLERANCE

_METRIC_NAMES = {"cosine_spearman": "Spearman", "cosine_pearson": "Pearson", "ndcg": "nDCG", "map": "MAP", "mrr": "MRR"}
_SHOWN = ("ndcg_at_10", "map_at_10", "recall_at_100", "mrr_at_10", "cosine_spearman", "cosine_pearson")
_SOURCES = {
    "given": "yours",
    "authors": "the authors'",
    "mteb": "mteb's",
    "card": "the model card's web search",
    None: "",
}
_RULES: dict[Protocol, str] = {
    "authors": "by the authors' rules",
    "mteb": "by mteb's rules (none on symmetric tasks)",
}


def results_as_json(groups: Sequence[Sequence[Evaluation]]) -> dict[str, Any]:
    """All results in mteb's form, task by task, and each against the first of its task by their places."""
    comparisons, n_before = [], 0
    for group in groups:
        comparisons += [
            {**asdict(test), "first": n_before + test.first, "second": n_before + test.second}
            for test in paired_tests(group)
        ]
        n_before += len(group)
    return {"results": [as_mteb_result(each) for group in groups for each in group], "comparisons": comparisons}


def disagrees(found: Evaluation) -> bool:
    """Whether figures to compare with are published, and the run agrees with none of them."""
    verdicts = [each.agrees for each in published_checks(found) if each.agrees is not None]
    return bool(verdicts) and not any(verdicts)


def print_results(task: Any, group: Sequence[Evaluation], is_checked: bool) -> None:
    """Print the evaluations of one task: scores, paired tests, and what is published where that is asked for."""
    if not group:
        return
    print_line(_heading(task, group[0]), style="bold")
    shown = [name for name in _SHOWN if all(name in each.scores for each in group)]
    shown = [group[0].metric, *(name for name in shown if name != group[0].metric)]
    columns: list[tuple[str, Align]] = [
        ("", "right"),
        ("model", "left"),
        ("back end", "left"),
        ("precision", "left"),
        (_metric(shown[0]), "right"),
        ("95 % interval", "left"),
        *((_metric(name), "right") for name in shown[1:]),
        ("prompts", "left"),
    ]
    print_table(columns, [_row(number, each, shown) for number, each in enumerate(group, 1)])
    _print_instructions(group)
    print_line("")
    _print_tests(group)
    if is_checked:
        _print_checks(group)


def _heading(task: Any, found: Evaluation) -> str:
    sizes = ""
    if isinstance(task, RetrievalTask):
        sizes = f": {len(task.queries):,} queries, {len(task.document_ids):,} documents"
    if isinstance(task, StsTask):
        sizes = f": {len(task.first):,} pairs"
    return f"{found.task}, {found.split}{sizes}. Prompts {_RULES[found.prompts.protocol]}."


def _row(number: int, found: Evaluation, shown: Sequence[str]) -> list[str]:
    return [
        str(number),
        found.spec.model,
        found.spec.backend,
        found.spec.dtype,
        f"{found.main_score:.4f}",
        _range(interval(found)),
        *(f"{found.scores[name]:.4f}" for name in shown[1:]),
        _prompts(found.prompts),
    ]


def _prompts(prompts: TaskPrompts) -> str:
    is_on_all = prompts.query.text == prompts.document.text
    if not prompts.query.text and is_on_all:
        return "none"
    name = "instruction" if prompts.kind == "instruct" else repr(prompts.query.text)
    return f"{name} on all" if is_on_all else f"{name}, {prompts.document.text!r}"


def _print_instructions(group: Sequence[Evaluation]) -> None:
    """Instructions are sentences, and would not fit into the table."""
    for number, found in enumerate(group, 1):
        if found.prompts.query.instruction:
            source = _SOURCES[found.prompts.instruction_source]
            print_line(f"Row {number}, instruction ({source}): {found.prompts.query.instruction}")


def _print_tests(group: Sequence[Evaluation]) -> None:
    tests = paired_tests(group)
    if not tests:
        return
    print_line(f"Against row 1, {_metric(tests[0].metric)}, the same queries or pairs:")
    rows = [
        [
            str(test.second + 1),
            f"{test.comparison.difference:+.4f}",
            _range(test.comparison.interval, signed=True),
            f"{test.comparison.p_value:.4f}",
        ]
        for test in tests
    ]
    print_table([("row", "right"), ("difference", "right"), ("95 % interval", "left"), ("p", "right")], rows)
    print_line("")


def _print_checks(group: Sequence[Evaluation]) -> None:
    rows = []
    for number, found in enumerate(group, 1):
        for each in published_checks(found):
            verdict = {None: "not comparable", True: "agrees", False: "differs"}[each.agrees]
            difference = "" if each.difference is None else f"{each.difference:+.4f}"
            score = each.published
            rows.append([str(number), f"{score.value:.4f}", difference, verdict, score.rules, score.source])
    if not rows:
        print_line(f"Nothing is published of these models on {group[0].task}, as far as this package knows.")
        return
    print_line(f"Published (a run agrees within {TOLERANCE}):")
    headings: list[tuple[str, Align]] = [
        ("row", "right"),
        ("published", "right"),
        ("difference", "right"),
        ("verdict", "left"),
        ("rules", "left"),
        ("source", "left"),
    ]
    print_table(headings, rows)
    print_line("")


def _metric(name: str) -> str:
    kind, _, k = name.partition("_at_")
    return f"{_METRIC_NAMES.get(kind, kind)}{'@' if k else ''}{k}"


def _range(found: Interval | None, *, signed: bool = False) -> str:
    if found is None:
        return ""
    return f"{found.low:+.4f} to {found.high:+.4f}" if signed else f"{found.low:.4f} to {found.high:.4f}"
