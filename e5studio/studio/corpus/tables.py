"""Files and measurements -> tables, as `e5studio.studio.scores.table` describes them. Pure."""

from __future__ import annotations

from typing import Any

from e5studio.studio.corpus.evaluation import METRICS, CorpusEvaluation, FailedSetting
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.text import setting_name
from e5studio.studio.widgets.table_data import Table

N_PREVIEWED = 5
_MAX_COLUMNS = 8

_TITLES = {"ndcg_at_10": "nDCG@10", "mrr_at_10": "MRR@10"}


def preview_table(table: SourceTable) -> Table:
    """The first rows of a file, its first columns."""
    names = table.columns[:_MAX_COLUMNS]
    rows = [[table.lines[place], *cells[:_MAX_COLUMNS]] for place, cells in enumerate(table.preview(N_PREVIEWED))]
    more = f", {len(table.columns) - len(names)} columns more" if len(table.columns) > len(names) else ""
    return {
        "texts": [],
        "columns": [
            {"title": table.row_word.capitalize(), "hint": "Where the row begins", "kind": "whole"},
            *({"title": name, "hint": "A column of the file", "kind": "word"} for name in names),
        ],
        "rows": rows,
        "order": "given",
        "pick": "none",
        "marked": [],
        "marked_only": "",
        "is_marked_only": False,
        "caption": f"The first {len(rows)} rows of the file{more}",
    }


def evaluation_table(found: CorpusEvaluation) -> Table:
    """A row for each setting: its figures, the interval, and how far it is from the one it is held against."""
    rows: list[list[Any]] = []
    for row in found.rows:
        name = setting_name(row.setting)
        if isinstance(row, FailedSetting):
            rows.append([name, *[None] * (len(METRICS) + 4)])
            continue
        main = row.means[METRICS[0]]
        interval = "" if main.interval is None else f"{main.interval.low:.3f} to {main.interval.high:.3f}"
        others = [round(row.means[metric].value, 6) for metric in METRICS[1:]]
        difference = row.difference
        rows.append(
            [
                name,
                round(main.value, 6),
                interval,
                *others,
                None if difference is None else round(difference.difference, 6),
                None if difference is None else round(difference.p_value, 6),
                None if row.seconds_per_thousand is None else round(row.seconds_per_thousand, 4),
            ]
        )
    number = {"kind": "number", "digits": 4, "is_best_high": True}
    return {
        "texts": [],
        "columns": [
            {"title": "Setting", "hint": "Model, use, instruction, precision", "kind": "word"},
            {"title": "nDCG@10", "hint": "As trec_eval counts it, mean of the queries", **number},
            {
                "title": "95 % interval",
                "hint": "Where nDCG@10 would lie with other such queries",
                "kind": "word",
            },
            *({"title": _title(metric), "hint": "Mean of the queries", **number} for metric in METRICS[1:]),
            {"title": "Difference", "hint": "Of nDCG@10 from the first setting", **number, "is_signed": True},
            {"title": "p", "hint": "How often chance alone would do as much", "kind": "number", "digits": 3},
            {"title": "s / 1,000", "hint": "Seconds that 1,000 texts took to embed", "kind": "number", "digits": 2},
        ],
        "rows": rows,
        "order": "given",
        "pick": "none",
        "marked": [],
        "marked_only": "",
        "is_marked_only": False,
        "caption": "Settings and what each is worth on these queries",
    }


def _title(metric: str) -> str:
    return _TITLES.get(metric, metric.replace("recall_at_", "Recall@"))
