"""`e5studio score`: the x100 score matrix of a few queries and passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from e5studio.cli.options import InstructionOption, JsonOption, ModelArguments, TextOptions, grouped, load_encoder
from e5studio.cli.terminal import Align, print_json, print_line, print_table
from e5studio.encode_report import EncodeReport, warn
from e5studio.encoder import E5Encoder
from e5studio.similarity import FloatArray
from e5studio.similarity import scores as score_matrix

_QUERIES_PER_TABLE = 8


@dataclass(frozen=True)
class _Scored:
    """Scores with their texts and reports."""

    encoder: E5Encoder
    queries: Sequence[str]
    passages: Sequence[str]
    is_self: bool
    scores: FloatArray
    reports: tuple[EncodeReport, EncodeReport]

    def best(self) -> list[int | None]:
        """The best passage of each query; never the text itself."""
        if self.is_self and len(self.passages) < 2:
            return [None]
        scores = self.scores.copy()
        if self.is_self:
            np.fill_diagonal(scores, -np.inf)
        return [int(column) for column in scores.argmax(axis=1)]


@grouped
def score(
    *,
    query: Annotated[list[str] | None, typer.Option("--query", "-q", help="A query; may be repeated.")] = None,
    passage: Annotated[list[str] | None, typer.Option("--passage", "-p", help="A passage; may be repeated.")] = None,
    queries: Annotated[Path | None, typer.Option(help="File of queries.")] = None,
    passages: Annotated[Path | None, typer.Option(help="File of passages.")] = None,
    instruction: InstructionOption = None,
    symmetric: Annotated[
        bool,
        typer.Option("--symmetric", help="Compare like with like; without passages, the queries among themselves."),
    ] = False,
    as_json: JsonOption = False,
    files: TextOptions,
    arguments: ModelArguments,
) -> None:
    """Score queries against passages: cosine x 100, the best passage of each query marked."""
    left = files.gather(query, queries, "query")
    right = files.gather(passage, passages, "passage")
    if not left:
        raise typer.BadParameter("Give at least one --query, or a file with --queries.", param_hint="--query")
    if not right and not symmetric:
        raise typer.BadParameter(
            "Give at least one --passage, or a file with --passages, or --symmetric.", param_hint="--passage"
        )
    with load_encoder(arguments.checked(), arguments.max_tokens) as encoder:
        scored = _score(encoder, left, right, instruction, symmetric)
    if as_json:
        print_json(_as_json(scored))
    else:
        _print_tables(scored)


def _score(encoder: E5Encoder, left: list[str], right: list[str], instruction: str | None, symmetric: bool) -> _Scored:
    query_vectors, query_report = _embed(encoder, left, "query", instruction)
    if not right:
        scores = score_matrix(query_vectors, query_vectors)
        return _Scored(encoder, left, left, True, scores, (query_report, query_report))
    role, passage_instruction = ("symmetric", instruction) if symmetric else ("document", None)
    passage_vectors, passage_report = _embed(encoder, right, role, passage_instruction)
    scores = score_matrix(query_vectors, passage_vectors)
    return _Scored(encoder, left, right, False, scores, (query_report, passage_report))


def _embed(encoder: E5Encoder, texts: list[str], role: str, instruction: str | None) -> tuple[FloatArray, EncodeReport]:
    prepared = encoder.prepare(texts, prompt_name=role, instruction=instruction)
    warn(prepared.report, stacklevel=1)
    return encoder.embed_prepared(prepared), prepared.report


def _as_json(scored: _Scored) -> dict[str, Any]:
    query_report, passage_report = scored.reports
    return {
        "model": scored.encoder.meta.name,
        "fingerprint": scored.encoder.spec.fingerprint,
        "prompts": {"query": query_report.prompt.text, "passage": passage_report.prompt.text},
        "queries": list(scored.queries),
        "passages": list(scored.passages),
        "scores": [[round(value, 4) for value in row] for row in scored.scores.tolist()],
        "best": scored.best(),
        "truncated": {"queries": _truncated(query_report), "passages": _truncated(passage_report)},
    }


def _truncated(report: EncodeReport) -> list[dict[str, Any]]:
    return [
        {"index": cut.index, "tokens_read": cut.n_read, "tokens_dropped": cut.n_dropped, "exact": cut.exact}
        for cut in report.truncated
    ]


def _print_tables(scored: _Scored) -> None:
    """Passages as rows, so that any number of them fits; queries as columns, a few to a table."""
    best = scored.best()
    letter, heading = ("Q", "text") if scored.is_self else ("P", "passage")
    for first in range(0, len(scored.queries), _QUERIES_PER_TABLE):
        shown = range(first, min(first + _QUERIES_PER_TABLE, len(scored.queries)))
        for query in shown:
            print_line(f"Q{query + 1}  {scored.queries[query]}")
        print_line("")
        rows = [
            [f"{letter}{row + 1}", *(_cell(scored.scores[query, row], best[query] == row) for query in shown), text]
            for row, text in enumerate(scored.passages)
        ]
        stand_out = [(row, query - first + 1) for query in shown if (row := best[query]) is not None]
        headings: list[tuple[str, Align]] = [(f"Q{query + 1}  ", "right") for query in shown]
        print_table([("", "right"), *headings, (heading, "left")], rows, bold=stand_out)
        print_line("")


def _cell(value: float, is_best: bool) -> str:
    return f"{value:.2f} {'*' if is_best else ' '}"
