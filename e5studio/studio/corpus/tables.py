"""Files and evaluations -> tables. Pure."""

from __future__ import annotations

from typing import Any

from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.corpus.evaluation import MAIN_METRIC, METRICS, CorpusEvaluation, FailedSetting, SettingResult
from e5studio.studio.corpus.evaluation_text import (
    answers_of,
    query_label,
    query_order,
    reasons,
    reasons_in_short,
    setting_name,
)
from e5studio.studio.corpus.table_file import SourceTable, as_text
from e5studio.studio.formatting import shown
from e5studio.studio.widgets.table_data import MAX_ROWS, TableView, numbered_texts

N_PREVIEWED = 5
_MAX_COLUMNS = 8
_MAX_CHARACTERS = 300


def preview_table(table: SourceTable) -> TableView:
    """The first rows of a file, its first columns."""
    names = table.columns[:_MAX_COLUMNS]
    rows = [
        [line, *(shown(as_text(cells[row]), _MAX_CHARACTERS) for cells in table.cells[:_MAX_COLUMNS])]
        for row, line in enumerate(table.lines[:N_PREVIEWED])
    ]
    more = f", {len(table.columns) - len(names)} columns more" if len(table.columns) > len(names) else ""
    return TableView(
        columns=[
            {
                "title": table.row_word.capitalize(),
                "hint": "Where the row begins: its number (#) everywhere here",
                "kind": "whole",
            },
            *({"title": name, "hint": "A column of the file", "kind": "word"} for name in names),
        ],
        rows=rows,
        caption=f"The first {len(rows)} rows of the file{more}",
        order="given",
    )


def evaluation_table(evaluation: CorpusEvaluation) -> TableView:
    """A row for each setting: its metrics, the interval, and the difference from the first setting."""
    number = {"kind": "number", "digits": 4, "is_best_high": True}
    titles = [metric.replace("mrr_at_", "MRR@").replace("recall_at_", "Recall@") for metric in METRICS[1:]]
    columns: list[dict[str, Any]] = [
        {"title": "Setting", "hint": "Model, use, instruction, precision", "kind": "word"},
        {"title": "nDCG@10", "hint": "As trec_eval counts it, mean of the queries", **number},
        {"title": "95 % interval", "hint": "Where nDCG@10 would lie with other such queries", "kind": "word"},
        *({"title": title, "hint": "Mean of the queries", **number} for title in titles),
        {"title": "Difference", "hint": "Of nDCG@10 from the first setting", **number, "is_signed": True},
        {"title": "p", "hint": "How often chance alone would do as much", "kind": "number", "digits": 3},
        {"title": "s / 1,000", "hint": "Seconds to embed 1,000 texts", "kind": "number", "digits": 2},
    ]
    rows = [_cells(row) for row in evaluation.rows]
    filled = [index for index in range(len(columns)) if any(row[index] is not None for row in rows)]
    return TableView(
        columns=[columns[index] for index in filled],
        rows=[[row[index] for index in filled] for row in rows],
        caption="Settings and their metrics on these queries",
        order="given",
    )


def failure_table(evaluation: CorpusEvaluation, corpus: Corpus, first: int, second: int | None = None) -> TableView:
    """A row for each query: where its answer stands, and what stands above it.

    Args:
        evaluation: Of some settings.
        corpus: What they ranked.
        first: Index of a setting; the queries with the deepest answers come first.
        second: Index of another one: the queries on which they differ, its losses first; None for none.
    """
    answers = answers_of(evaluation, first)
    others = [] if second is None else [answers_of(evaluation, second)]
    order = query_order(evaluation, first, second)
    listed = order[:MAX_ROWS]
    shown_rows = sorted({row for query in listed for row in (answers.answers[query], answers.top_rows[query, 0])})
    index_of = {row: index for index, row in enumerate(shown_rows)}
    ranks = [{"title": "Rank", "hint": "Of the answer", "kind": "whole", "is_best_high": True}]
    if others:
        ranks = [{**ranks[0], "title": title, "hint": f"Of the answer under {title}"} for title in ("A", "B")]
    return TableView(
        columns=[
            {"title": "Query", "hint": "Click it to see what stands above its answer", "kind": "text", "texts": 0},
            *ranks,
            {"title": "Why", "hint": "What can be seen of why another text stands first", "kind": "word"},
            {"title": "Answer", "hint": "The best placed of its answers", "kind": "text", "texts": 1},
            {"title": "First", "hint": "The text at the top", "kind": "text", "texts": 1},
            {"title": "Behind", "hint": "Cosine x 100 of the first less that of the answer", "kind": "number"},
        ],
        rows=[
            [
                index,
                *(int(each.ranks[query]) for each in (answers, *others)),
                reasons_in_short(reasons(evaluation, corpus, query, first)),
                index_of[answers.answers[query]],
                index_of[answers.top_rows[query, 0]],
                round(float(answers.top_scores[query, 0] - answers.scores[query]), 4),
            ]
            for index, query in enumerate(listed)
        ],
        caption=f"Queries and the ranks of their answers: {len(listed):,} of {len(order):,}",
        texts=[
            numbered_texts([query_label(query) for query in listed], [evaluation.pairs.queries[q] for q in listed]),
            numbered_texts([corpus.label(row) for row in shown_rows], [corpus.document(row) for row in shown_rows]),
        ],
        order="given",
        pick="point",
    )


def _cells(row: SettingResult | FailedSetting) -> list[Any]:
    name = setting_name(row)
    if isinstance(row, FailedSetting):
        return [name, *[None] * (len(METRICS) + 4)]
    main, difference = row.means[MAIN_METRIC], row.difference
    return [
        name,
        round(main.value, 6),
        "" if main.interval is None else f"{main.interval.low:.3f} to {main.interval.high:.3f}",
        *(round(row.means[metric].value, 6) for metric in METRICS[1:]),
        None if difference is None else round(difference.difference, 6),
        None if difference is None else round(difference.p_value, 6),
        None if row.seconds_per_thousand is None else round(row.seconds_per_thousand, 4),
    ]
