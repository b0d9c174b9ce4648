"""What `e5studio evaluate` prints: a table of scores, paired tests, published figures; or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import typer

from e5studio.analysis.significance import Interval
from e5studio.cli.terminal import Align, print_line, print_table, printable
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
_SHOWN = ("ndcg_at_10", "map_at_10", "recall_at_100", "mrr_at_10", "cosine_pearson")
_MOST_SHOWN = 5
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
    """All results in mteb's format, by task, and the tests against the first of each task, by index."""
    comparisons, n_before = [], 0
    for group in groups:
        comparisons += [
            {**asdict(test), "first": n_before + test.first, "second": n_before + test.second}
            for test in paired_tests(group)
        ]
        n_before += len(group)
    return {"results": [as_mteb_result(each) for group in groups for each in group], "comparisons": comparisons}


def disagrees(evaluation: Evaluation) -> bool:
    """Whether there are comparable published scores, and the run agrees with none of them."""
    verdicts = [each.agrees for each in published_checks(evaluation) if each.agrees is not None]
    return bool(verdicts) and not any(verdicts)


def print_results(task: Any, group: Sequence[Evaluation], is_checked: bool) -> None:
    """Print the evaluations of one task: scores, paired tests, and published scores if `is_checked`."""
    if not group:
        return
    print_line(_heading(task, group[0]), style="bold")
    shown = _shown(group)
    columns: list[tuple[str, Align]] = [
        ("", "right"),
        ("model", "left"),
        ("backend", "left"),
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


def _shown(group: Sequence[Evaluation]) -> list[str]:
    """The main score, then the usual metrics; without these, nDCG at each cut-off and the others at the largest."""
    there = [name for name in group[0].scores if all(name in each.scores for each in group)]
    usual = [name for name in _SHOWN if name in there]
    if not usual:
        at_cut_offs = [name for name in there if name.startswith("ndcg_at_")]
        largest = at_cut_offs[-1:] and at_cut_offs[-1].removeprefix("ndcg")
        usual = [*at_cut_offs, *(f"{kind}{largest}" for kind in ("map", "recall", "mrr") if largest)]
    return list(dict.fromkeys([group[0].metric, *usual]))[:_MOST_SHOWN]


def _heading(task: Any, evaluation: Evaluation) -> str:
    sizes = ""
    if isinstance(task, RetrievalTask):
        others = f" ({task.n_unjudged:,} without a relevant document left out)" if task.n_unjudged else ""
        empty = f" ({evaluation.work.n_empty:,} empty)" if evaluation.work.n_empty else ""
        sizes = f": {len(task.queries):,} queries{others}, {len(task.document_ids):,} documents{empty}"
    if isinstance(task, StsTask):
        sizes = f": {len(task.first):,} pairs"
    return f"{evaluation.task}, {evaluation.split}{sizes}. Prompts {_RULES[evaluation.prompts.protocol]}."


def _row(number: int, evaluation: Evaluation, shown: Sequence[str]) -> list[str]:
    return [
        str(number),
        evaluation.spec.model.rsplit("/", 1)[-1],
        evaluation.spec.backend,
        _precision(evaluation),
        f"{evaluation.main_score:.4f}",
        _range(interval(evaluation)),
        *(f"{evaluation.scores[name]:.4f}" for name in shown[1:]),
        _prompts(evaluation.prompts),
    ]


def _precision(evaluation: Evaluation) -> str:
    dtype, of_documents = evaluation.spec.dtype, evaluation.precision
    return dtype if of_documents == "float32" else f"{dtype}, {of_documents} vectors"


def _prompts(prompts: TaskPrompts) -> str:
    is_on_all = prompts.query.text == prompts.document.text
    if not prompts.query.text and is_on_all:
        return "none"
    query = "instruction" if prompts.kind == "instruct" else prompts.query.text.strip()
    return f"{query} on all" if is_on_all else f"{query} / {prompts.document.text.strip() or 'none'}"


def _print_instructions(group: Sequence[Evaluation]) -> None:
    """Instructions are sentences, and would not fit into the table."""
    for number, evaluation in enumerate(group, 1):
        if evaluation.prompts.query.instruction:
            source = _SOURCES[evaluation.prompts.instruction_source]
            typer.echo(f"Row {number}, instruction ({source}): {printable(evaluation.prompts.query.instruction)}")


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
    for number, evaluation in enumerate(group, 1):
        for each in published_checks(evaluation):
            score = each.published
            verdict = each.obstacle or ("agrees" if each.agrees else "differs")
            difference = "" if each.difference is None else f"{each.difference:+.4f}"
            rows.append([str(number), f"{score.value:.4f}", difference, score.rules, score.source, verdict])
    if not rows:
        print_line(f"Nothing is published of these models on {group[0].task!r}, as far as this package knows.")
        return
    print_line(f"Published (a run agrees within {TOLERANCE}):")
    headings: list[tuple[str, Align]] = [
        ("row", "right"),
        ("published", "right"),
        ("difference", "right"),
        ("rules", "left"),
        ("source", "left"),
        ("verdict", "left"),
    ]
    print_table(headings, rows)
    print_line("")


def _metric(name: str) -> str:
    kind, _, k = name.partition("_at_")
    return f"{_METRIC_NAMES.get(kind, kind)}{'@' if k else ''}{k}"


def _range(ends: Interval | None, *, signed: bool = False) -> str:
    if ends is None:
        return ""
    return f"{ends.low:+.4f} to {ends.high:+.4f}" if signed else f"{ends.low:.4f} to {ends.high:.4f}"
