"""Files to save: CSV, Parquet, NumPy, JSON that opens the page again, and HTML that shows it without a Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from e5studio.analysis.clusters import cluster_names
from e5studio.analysis.ranking import ranks, softmax
from e5studio.errors import VectorError
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.map import text as map_text
from e5studio.studio.map.charts import draw_map
from e5studio.studio.map.placing import TextMap, best_scores
from e5studio.studio.page.standalone import standalone_page
from e5studio.studio.page.view_state import SharedView, saved_state
from e5studio.studio.scores import text as scores_text
from e5studio.studio.scores.charts import ordered_heat_map
from e5studio.studio.scores.order import valid_shading
from e5studio.studio.serving.downloads import Download, FileDownload
from e5studio.studio.serving.table_files import Columns, columns_file, npy_bytes, table_file
from e5studio.tokenization import replace_surrogates

Export = Literal[
    "scores.csv", "scores.parquet", "scores.npy", "vectors.npy", "vectors.parquet", "map.csv", "map.parquet"
]
StandaloneKind = Literal["scores.html", "map.html"]
EXPORTS: tuple[Export, ...] = get_args(Export)
STANDALONE_KINDS: tuple[StandaloneKind, ...] = get_args(StandaloneKind)

_MAX_TEXT_CHARACTERS = 20_000_000


def valid_export(kind: object) -> Export:
    """The kind of file of this name.

    Raises:
        VectorError: There is none.
    """
    for each in EXPORTS:
        if each == kind:
            return each
    raise VectorError(f"{str(kind)[:80]!r} is no file that can be saved; {', '.join(EXPORTS)} are.")


def export(kind: Export, result: ScoreResult, text_map: TextMap | None = None) -> Download:
    """A file of a result.

    Args:
        kind: What it holds and how; CSV marks what a spreadsheet would take for a formula by an apostrophe, the other
            formats hold texts as they are.
        result: What is saved.
        text_map: Its map, needed for a file of the map.

    Raises:
        VectorError: There is no map to save.
        MissingDependencyError: Parquet without pyarrow.
    """
    if kind == "scores.npy":
        return table_file(kind, npy_bytes(result.scores))
    if kind == "vectors.npy":
        return table_file(kind, npy_bytes(result.vectors))
    return columns_file(kind, _columns(kind, result, text_map), {"fingerprint": result.fingerprint})


def export_page(result: ScoreResult, view: SharedView) -> Download:
    """JSON that opens the page again as it is, and holds its scores for programs."""
    state = {
        "format": "e5studio page 1",
        **saved_state(result.request, view),
        "result": {
            "model": result.meta.name,
            "fingerprint": result.fingerprint,
            "prompts": [report.prompt.text for report in result.reports],
            "rows": list(result.queries.labels),
            "columns": list(result.passages.labels),
            "row_texts": [replace_surrogates(text) for text in result.queries.texts],
            "column_texts": [replace_surrogates(text) for text in result.passages.texts],
            "scores": result.scores.astype(np.float64).round(4).tolist(),
        },
    }
    return table_file("page.json", json.dumps(state, indent=1).encode())


def export_html(
    kind: StandaloneKind, result: ScoreResult, text_map: TextMap | None, view: SharedView, path: Path
) -> FileDownload:
    """The matrix or the map as it looks, in a file that opens from disk.

    Args:
        kind: Which of the two.
        result: What is saved.
        text_map: Its map, needed for the map.
        view: The order and the colours.
        path: Where to write it: it has megabytes of plotly.js, which memory is too dear for.

    Raises:
        VectorError: There is no map to save.
    """
    if kind == "map.html":
        placed = _map_of(result, text_map)
        figure = draw_map(result, placed, view.colour)
        notes = [map_text.caption(result, placed, view.colour)]
    else:
        shading = valid_shading(view.shading, result)
        figure = ordered_heat_map(result, view.order, shading)
        notes = [scores_text.how_to_read(result, is_by_row=shading == "row"), scores_text.hatching(result)]
    path.write_text(standalone_page(figure, result, " ".join(filter(None, notes))), encoding="utf-8")
    return FileDownload(path, "text/html; charset=utf-8", f"e5-{kind}")


def score_columns(result: ScoreResult) -> Columns:
    """A row for each pair of two texts: labels, texts, score, rank and softmax share in per cent.

    Leaves out many long texts, each in hundreds of pairs; files of the map or of the vectors hold each once.
    """
    scores = result.counted
    rows, columns = np.nonzero(np.isfinite(scores))
    shares = softmax(scores, result.meta.temperature)
    texts: Columns = {
        "row_text": [result.queries.texts[row] for row in rows],
        "column_text": [result.passages.texts[column] for column in columns],
    }
    n_characters = sum(len(text) for column in texts.values() for text in column)
    return {
        "row": [result.queries.labels[row] for row in rows],
        "column": [result.passages.labels[column] for column in columns],
        **(texts if n_characters <= _MAX_TEXT_CHARACTERS else {}),
        "score": scores[rows, columns],
        "rank": ranks(scores)[rows, columns],
        "softmax_percent": shares[rows, columns],
    }


def map_columns(result: ScoreResult, text_map: TextMap) -> Columns:
    """The texts of a map, a row each: where they lie, their group, the share of their neighbours that the map keeps."""
    labels, texts = result.points
    clusters = result.clusters
    names = cluster_names(texts, clusters.labels)
    n_queries = len(result.queries)
    sides = side_labels(result.prompt_mode)
    axes = {name: text_map.coordinates[:, axis] for axis, name in enumerate("xyz"[: text_map.coordinates.shape[1]])}
    return {
        "label": labels,
        "text": texts,
        "side": [(sides.left if row < n_queries else sides.right).lower() for row in range(len(labels))],
        **axes,
        "group": clusters.labels + 1,
        "group_name": [names[label] for label in clusters.labels],
        "neighbours_kept": text_map.neighbours_kept,
        "best_score": best_scores(result),
        "tokens": [int(n) for report in result.reports for n in report.n_tokens],
    }


def _columns(kind: Export, result: ScoreResult, text_map: TextMap | None) -> Columns:
    if kind.startswith("map"):
        return map_columns(result, _map_of(result, text_map))
    if kind.startswith("vectors"):
        labels, texts = result.points
        return {"label": labels, "text": texts, "vector": list(result.vectors)}
    return score_columns(result)


def _map_of(result: ScoreResult, text_map: TextMap | None) -> TextMap:
    if text_map is None or text_map.of != result.key:
        raise VectorError("The map is not there yet. Wait until it is drawn, then save it.")
    return text_map
