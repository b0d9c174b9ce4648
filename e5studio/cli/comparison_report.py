"""What `e5studio evaluate --compare` adds: the verdict in a word, and the queries that moved most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.cli.terminal import print_line, print_table
from e5studio.evaluation import Evaluation, RetrievalTask, movers, paired_tests, verdict_of

_N_SHOWN = 5
_SENTENCES = {
    "better": "is better: the whole interval of the difference lies above 0, and p is at most 0.05",
    "worse": "is worse: the whole interval of the difference lies below 0, and p is at most 0.05",
    "no gain": "shows no gain: the interval of the difference holds 0, or p is above 0.05",
    "too few queries": "cannot be judged: there are too few queries or pairs",
}


def print_movers(task: Any, group: Sequence[Evaluation]) -> None:
    """Print the verdict of each evaluation against the first, and its movers."""
    for test in paired_tests(group):
        child = group[test.second]
        name = child.spec.model.rstrip("/").rsplit("/", 1)[-1]
        print_line(f"Row {test.second + 1}, {name}, {_SENTENCES[verdict_of(test.comparison)]}.", style="bold")
        moved = movers(group[0], child, _N_SHOWN)
        if moved and isinstance(task, RetrievalTask):
            texts = dict(zip(task.query_ids, task.queries, strict=True))
            rows = [
                [f"{each.before:.3f}", f"{each.after:.3f}", f"{each.change:+.3f}", texts[each.query]] for each in moved
            ]
            print_table([("before", "right"), ("after", "right"), ("change", "right"), ("query", "left")], rows)
        print_line("")
