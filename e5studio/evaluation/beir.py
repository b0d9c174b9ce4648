"""Reads a folder in BEIR's form: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.

Everything is checked before embedding starts; errors name file and line. The corpus is streamed:
only its ids are held in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e5studio.analysis.retrieval_metrics import MAX_RELEVANCE, is_usable_id
from e5studio.errors import FileFormatError
from e5studio.evaluation.task_names import known_task, skips_own_id
from e5studio.evaluation.tasks import Document, RetrievalTask, TaskDigest
from e5studio.files.decoding import text_encoding
from e5studio.files.delimited import Dialect, delimited_rows
from e5studio.files.json_lines import json_objects
from e5studio.text_checks import find_bad_texts

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_COLUMNS = ("query-id", "corpus-id", "score")
_DEFAULT_SPLIT = "test"
_Qrels = dict[str, dict[str, int]]


def read_beir(
    folder: str | Path, *, split: str | None = None, name: str | None = None, encoding: str | None = None
) -> RetrievalTask:
    """Read and check a folder in BEIR's form.

    A line of corpus.jsonl is `{"_id": ..., "title": ..., "text": ...}` (the title may be missing, and a document
    may be empty), one of queries.jsonl `{"_id": ..., "text": ...}`, and one of qrels/SPLIT.tsv
    `query-id<tab>corpus-id<tab>score`, below a header.

    Args:
        folder: The folder.
        split: Name of a file in qrels; "test", or the only one, if None.
        name: The task's name; the folder's if None, in mteb's spelling where mteb has such a task.
        encoding: UTF-8, or what a byte order mark says, if None.

    Raises:
        FileFormatError: A file is missing or broken, an id comes twice or is unknown, a query is empty.
    """
    folder = Path(folder)
    _check_files(folder)
    qrels = _qrels_file(folder, split)
    digest = TaskDigest()
    queries = _read_queries(folder / QUERIES, encoding, digest)
    document_ids = _read_document_ids(folder / CORPUS, encoding, digest)
    judgements = _read_qrels(qrels, encoding, queries, folder, set(document_ids), digest)
    relevant = {query: scores for query, scores in judgements.items() if any(score > 0 for score in scores.values())}
    if not relevant:
        raise FileFormatError(f"{qrels} calls no document relevant, so there is nothing to measure.")
    task = known_task(name or folder.resolve().name)
    return RetrievalTask(
        name=task,
        split=qrels.stem,
        query_ids=tuple(relevant),
        queries=tuple(queries[query] for query in relevant),
        document_ids=document_ids,
        documents=functools.partial(_documents, (folder / CORPUS).absolute(), encoding),
        judgements=relevant,
        skips_own_id=skips_own_id(task),
        n_unjudged=len(queries) - len(relevant),
        source=str(folder),
        digest=digest.hexdigest(),
    )


def _check_files(folder: Path) -> None:
    contents = f"{CORPUS}, {QUERIES} and {QRELS}/{_DEFAULT_SPLIT}.tsv"
    if not folder.is_dir():
        raise FileFormatError(f"There is no folder {folder}. A folder in BEIR's form holds {contents}.")
    missing = [name for name in (CORPUS, QUERIES) if not (folder / name).is_file()]
    missing += [QRELS] if not (folder / QRELS).is_dir() else []
    if missing:
        raise FileFormatError(f"{folder} has no {' and no '.join(missing)}. A folder in BEIR's form holds {contents}.")


def _qrels_file(folder: Path, split: str | None) -> Path:
    splits = {path.stem: path for path in sorted((folder / QRELS).glob("*.tsv"))}
    if not splits:
        raise FileFormatError(f"{folder / QRELS} holds no .tsv file. Put the judgements into {_DEFAULT_SPLIT}.tsv.")
    chosen = split.removesuffix(".tsv") if split else _DEFAULT_SPLIT if len(splits) > 1 else next(iter(splits))
    if chosen not in splits:
        raise FileFormatError(
            f"{folder / QRELS} has no split {chosen!r}. Its splits: {', '.join(map(repr, splits))}. Choose one with "
            "--split."
        )
    return splits[chosen]


def _read_queries(path: Path, encoding: str | None, digest: TaskDigest) -> dict[str, str]:
    digest.add(QUERIES)
    queries: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, record in _objects(path, encoding):
        query = _new_id(path, line, record, lines)
        text = _string(path, line, record, "text")
        if find_bad_texts([text]):
            raise FileFormatError(f"{path}, line {line}: query {query!r} is empty. Give it a text, or remove it.")
        queries[query] = text
        digest.add(query, text)
    if not queries:
        raise FileFormatError(f"{path} holds no query.")
    return queries


def _read_document_ids(path: Path, encoding: str | None, digest: TaskDigest) -> tuple[str, ...]:
    digest.add(CORPUS)
    lines: dict[str, int] = {}
    for line, record in _objects(path, encoding):
        document = _new_id(path, line, record, lines)
        content = _document(path, line, record)
        digest.add(document, content.title, content.text)
    if not lines:
        raise FileFormatError(f"{path} holds no document.")
    return tuple(lines)


def _documents(path: Path, encoding: str | None) -> Iterator[Document]:
    for line, record in _objects(path, encoding):
        yield _document(path, line, record)


def _document(path: Path, line: int, record: dict[str, Any]) -> Document:
    title = "" if record.get("title") is None else _string(path, line, record, "title")
    return Document(title, _string(path, line, record, "text"))


def _read_qrels(
    path: Path,
    encoding: str | None,
    queries: dict[str, str],
    folder: Path,
    documents: set[str],
    digest: TaskDigest,
) -> _Qrels:
    digest.add(QRELS)
    judgements: _Qrels = {}
    order = [0, 1, 2]
    rows = delimited_rows(path, Dialect(text_encoding(path, encoding), "\t", "literal"))
    for index, (line, cells) in enumerate((row.line, row.cells) for row in rows):
        if len(cells) != 3:
            raise FileFormatError(
                f"{path}, line {line}: {len(cells)} cells where three are due, separated by tabs: the query's id, the "
                "document's id and a whole number."
            )
        stripped = [cell.strip() for cell in cells]
        if index == 0 and _is_header(stripped, queries, documents):
            order = _column_order(path, stripped)
            continue
        query, document, score = (stripped[column] for column in order)
        relevance = _relevance(path, line, score)
        for what, known, where in ((query, queries, QUERIES), (document, documents, CORPUS)):
            if what not in known:
                raise FileFormatError(
                    f"{path}, line {line}: there is no {what!r} in {folder / where}. Correct the id or remove the line."
                )
        judged = judgements.setdefault(query, {})
        if document not in judged:
            judged[document] = relevance
            digest.add(query, document, str(relevance))
        elif judged[document] != relevance:
            raise FileFormatError(
                f"{path}, line {line}: document {document!r} was judged {judged[document]} for query {query!r} before, "
                f"and {relevance} here. Keep one of the two."
            )
    return judgements


def _is_header(cells: list[str], queries: dict[str, str], documents: set[str]) -> bool:
    """Whether the first line is a header: it contains neither a number nor a known id."""
    return not any(_whole_number(cell) is not None or cell in queries or cell in documents for cell in cells)


def _column_order(path: Path, header: list[str]) -> list[int]:
    """Indices of the query's id, the document's id and the score, by the header if it names them."""
    if set(header) == set(_COLUMNS):
        return [header.index(name) for name in _COLUMNS]
    if set(header) & set(_COLUMNS):
        raise FileFormatError(
            f"{path}, line 1: the columns are called {', '.join(map(repr, header))}. Call them "
            f"{', '.join(map(repr, _COLUMNS))}, in any order, or leave the header out."
        )
    return [0, 1, 2]


def _objects(path: Path, encoding: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, content in json_objects(path, text_encoding(path, encoding)):
        if isinstance(content, str):
            raise FileFormatError(f"{path}, {content}.")
        yield line, content


def _new_id(path: Path, line: int, record: dict[str, Any], lines: dict[str, int]) -> str:
    """The record's id, which is added to the ids and lines of those before."""
    value = record.get("_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        fields = ", ".join(map(repr, list(record)[:20])) or "none"
        raise FileFormatError(f"{path}, line {line} has no '_id' that is text; its fields: {fields}.")
    if not is_usable_id(value):
        raise FileFormatError(f"{path}, line {line}: the id {value!r} holds a zero byte or half of a character.")
    name = value.strip()
    first = lines.setdefault(name, line)
    if first != line:
        raise FileFormatError(f"{path}, line {line}: the id {name!r} stands on line {first} already. Rename one.")
    return name


def _string(path: Path, line: int, record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        what = "is missing" if field not in record else f"is not text but {type(value).__name__}"
        raise FileFormatError(f"{path}, line {line}: {field!r} {what}.")
    return value


def _relevance(path: Path, line: int, score: str) -> int:
    number = _whole_number(score)
    if number is None or abs(number) > MAX_RELEVANCE:
        raise FileFormatError(
            f"{path}, line {line}: the score {score!r} is no whole number between {-MAX_RELEVANCE:,} and "
            f"{MAX_RELEVANCE:,}."
        )
    return number


def _whole_number(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None
