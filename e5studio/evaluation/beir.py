"""Reads a folder in BEIR's form: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.

Everything is checked before embedding starts; errors name file and line. The corpus is streamed:
only its ids are held in memory. What published benchmarks leave dangling (ArguAna, NFCorpus) is
counted as trec_eval and mteb count it.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from e5studio.analysis.retrieval_metrics import MAX_RELEVANCE, is_usable_id
from e5studio.errors import FileFormatError, JudgementWarning
from e5studio.evaluation.task_names import known_task, skips_own_id
from e5studio.evaluation.tasks import Document, RetrievalTask, TaskDigest
from e5studio.files.decoding import text_encoding
from e5studio.files.delimited import Dialect, delimited_rows
from e5studio.files.json_lines import json_objects
from e5studio.text_checks import find_bad_texts

CORPUS, QUERIES, QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_COLUMNS = ("query-id", "corpus-id", "score")
_DEFAULT_SPLIT = "test"
_MAX_NAMED = 5
_MAX_SHOWN = 60
_Qrels = dict[str, dict[str, int]]


def read_beir(
    folder: str | Path, *, split: str | None = None, name: str | None = None, encoding: str | None = None
) -> RetrievalTask:
    """Read and check a folder in BEIR's form.

    A line of corpus.jsonl is `{"_id": ..., "title": ..., "text": ...}` (the title may be missing, and a document
    may be empty), one of queries.jsonl `{"_id": ..., "text": ...}`, and one of qrels/SPLIT.tsv
    `query-id<tab>corpus-id<tab>score`, below a header.

    A judged document that corpus.jsonl lacks counts as relevant and not found, and the judgements of a query that
    queries.jsonl lacks are left out, with one JudgementWarning. A document or query that comes again, equal to the
    letter, is one.

    Args:
        folder: The folder.
        split: Name of a file in qrels; "test", or the only one, if None.
        name: The task's name; the folder's if None, in mteb's spelling where mteb has such a task.
        encoding: UTF-8, or what a byte order mark says, if None.

    Raises:
        FileFormatError: A file is missing or broken, an id comes twice with different contents, a query is empty, or no
            judgement is of this corpus and these queries.
    """
    folder = Path(folder)
    _check_files(folder)
    qrels = _qrels_file(folder, split)
    digest = TaskDigest()
    queries = _read_queries(folder / QUERIES, encoding, digest)
    document_ids, repeated = _read_document_ids(folder / CORPUS, encoding, digest)
    judgements = _read_qrels(qrels, encoding, queries, set(document_ids), digest)
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
        documents=functools.partial(_documents, (folder / CORPUS).absolute(), encoding, repeated),
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
    repeated: set[str] = set()
    for line, record in _objects(path, encoding):
        query, text = _id(path, line, record), _query(path, line, record)
        if find_bad_texts([text]):
            raise FileFormatError(f"{path}, line {line}: query {query!r} is empty. Give it a text, or remove it.")
        if query in queries:
            repeated.add(query)
            continue
        queries[query] = text
        digest.add(query, text)
    if not queries:
        raise FileFormatError(f"{path} holds no query.")
    _check_equal(path, encoding, repeated, _query)
    return queries


def _read_document_ids(path: Path, encoding: str | None, digest: TaskDigest) -> tuple[tuple[str, ...], frozenset[str]]:
    """The ids, and those among them that come again with an equal document."""
    digest.add(CORPUS)
    ids: dict[str, None] = {}
    repeated: set[str] = set()
    for line, record in _objects(path, encoding):
        document, content = _id(path, line, record), _document(path, line, record)
        if document in ids:
            repeated.add(document)
            continue
        ids[document] = None
        digest.add(document, content.title, content.text)
    if not ids:
        raise FileFormatError(f"{path} holds no document.")
    _check_equal(path, encoding, repeated, _document)
    return tuple(ids), frozenset(repeated)


def _check_equal(
    path: Path,
    encoding: str | None,
    repeated: Collection[str],
    content_of: Callable[[Path, int, dict[str, Any]], object],
) -> None:
    """Refuse ids that come again with another content; the file is read once more, for such ids are rare."""
    if not repeated:
        return
    first: dict[str, tuple[int, object]] = {}
    different: dict[str, str] = {}
    for line, record in _objects(path, encoding):
        name = _id(path, line, record)
        if name in repeated:
            content = content_of(path, line, record)
            first_line, first_content = first.setdefault(name, (line, content))
            if content != first_content:
                contents = f"{_shown(first_content)} and {_shown(content)}"
                different.setdefault(name, f"{name!r} on lines {first_line} and {line}: {contents}")
    if different:
        raise FileFormatError(
            f"{path}: {_number(different, 'id')} with different contents: {_listed(list(different.values()), '; ')}. "
            "Keep one of each, or give the others ids of their own. A copy that is equal to the letter may stay."
        )


def _documents(path: Path, encoding: str | None, repeated: Collection[str] = ()) -> Iterator[Document]:
    seen: set[str] = set()
    for line, record in _objects(path, encoding):
        if repeated and (name := _id(path, line, record)) in repeated:
            if name in seen:
                continue
            seen.add(name)
        yield _document(path, line, record)


def _query(path: Path, line: int, record: dict[str, Any]) -> str:
    return _string(path, line, record, "text")


def _document(path: Path, line: int, record: dict[str, Any]) -> Document:
    title = "" if record.get("title") is None else _string(path, line, record, "title")
    return Document(title, _string(path, line, record, "text"))


def _read_qrels(
    path: Path, encoding: str | None, queries: dict[str, str], documents: set[str], digest: TaskDigest
) -> _Qrels:
    digest.add(QRELS)
    judgements: _Qrels = {}
    lacking = _Lacking()
    contradictions: list[str] = []
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
        if not query or not document:
            raise FileFormatError(f"{path}, line {line}: an id is empty. Give it, or remove the line.")
        if query not in queries:
            lacking.queries[query] += 1
            continue
        judged = judgements.setdefault(query, {})
        if document not in judged:
            judged[document] = relevance
            digest.add(query, document, str(relevance))
            lacking.documents[document] += document not in documents
        elif judged[document] != relevance:
            contradictions.append(
                f"line {line}, where document {document!r} was judged {judged[document]} for query {query!r} before, "
                f"and {relevance} here"
            )
    if contradictions:
        raise FileFormatError(
            f"{path}: {_number(contradictions, 'judgement')} with another score: {_listed(contradictions, '; ')}. Keep "
            "one of each."
        )
    lacking.check(path, judgements)
    return judgements


class _Lacking:
    """Judged queries and documents that the files lack, with how many judgements each has."""

    def __init__(self) -> None:
        self.queries: Counter[str] = Counter()
        self.documents: Counter[str] = Counter()

    def check(self, path: Path, judgements: _Qrels) -> None:
        """Warn of what is lacking; refuse judgements of another corpus or of other queries."""
        missing = Counter({name: count for name, count in self.documents.items() if count})
        n_judged = sum(map(len, judgements.values()))
        for names, what, where, is_all in (
            (self.queries, "queries", QUERIES, not judgements and bool(self.queries)),
            (missing, "documents", CORPUS, bool(n_judged) and missing.total() == n_judged),
        ):
            if is_all:
                raise FileFormatError(
                    f"{path}: none of the {len(names):,} judged {what} is in {where}; the first is "
                    f"{next(iter(names))!r}. The files do not belong together, or the columns of the "
                    "judgements are mixed up."
                )
        n_judged += self.queries.total()
        parts = [
            f"{_number(names, what)} that {where} lacks, in {names.total():,} of {n_judged:,} judgements "
            f"({_listed(list(map(repr, names)))}): {effect}"
            for names, what, where, effect in (
                (missing, "document", CORPUS, "they count as relevant where they were judged so, and are never found"),
                (self.queries, "query", QUERIES, "these judgements are left out"),
            )
            if names
        ]
        if parts:
            warnings.warn(
                f"{path} names {'; and '.join(parts)}. trec_eval and mteb count them so, too.",
                JudgementWarning,
                stacklevel=4,
            )


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


def _id(path: Path, line: int, record: dict[str, Any]) -> str:
    value = record.get("_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        fields = ", ".join(map(repr, list(record)[:20])) or "none"
        raise FileFormatError(f"{path}, line {line} has no '_id' that is text; its fields: {fields}.")
    if not is_usable_id(value):
        raise FileFormatError(f"{path}, line {line}: the id {value!r} holds a zero byte or half of a character.")
    return value.strip()


def _string(path: Path, line: int, record: dict[str, Any], field: str) -> str:
    value = record.get(field)
    if not isinstance(value, str):
        what = "is missing" if field not in record else f"is not text but {type(value).__name__}"
        raise FileFormatError(f"{path}, line {line}: {field!r} {what}.")
    return value


def _number(items: Collection[object], what: str) -> str:
    plural = what.removesuffix("y") + "ies" if what.endswith("y") else what + "s"
    return f"{len(items):,} {what if len(items) == 1 else plural}"


def _listed(names: list[str], separator: str = ", ") -> str:
    more = f"{separator}and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else ""
    return separator.join(names[:_MAX_NAMED]) + more


def _shown(content: object) -> str:
    text = " / ".join(filter(None, content)) if isinstance(content, Document) else str(content)
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…")


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
