"""BEIR's files, one by one or in a zip -> a table of texts and a table of pairs. Knows no Gradio."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from e5studio.errors import FileFormatError
from e5studio.studio.corpus.table_file import MAX_CHARACTERS, BadRows, SourceTable, as_text, read_table
from e5studio.studio.errors import LimitError

_QUERY_ID, _ANSWER_ID, _SCORE = "query-id", "corpus-id", "score"
_CORPUS, _QUERIES, _QRELS = "corpus.jsonl", "queries.jsonl", "qrels"
_SPLITS = ("test.tsv", "dev.tsv", "train.tsv")
_ADVICE = "Upload queries.jsonl and the .tsv of qrels together, or the zip that holds both."


def read_pair_files(files: Sequence[Path]) -> SourceTable:
    """A file of pairs, or BEIR's two files, or a zip of them.

    Raises:
        FileFormatError: They are none of these.
        LimitError: A zip holds more than is taken here.
    """
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        with _members(files[0]) as (archive, members):
            return _pairs_in(files[0], archive, members)
    tables = [read_table(file, name=file.name, has_menus=False) for file in files]
    if len(tables) == 1 and not is_judgements(tables[0]):
        return tables[0]
    judgements = [table for table in tables if is_judgements(table)]
    queries = [table for table in tables if not is_judgements(table)]
    if len(judgements) != 1 or len(queries) != 1:
        names = ", ".join(table.name for table in tables)
        raise FileFormatError(f"{names}: judgements name their queries by id, so both files are needed. {_ADVICE}")
    return joined(queries[0], judgements[0])


def read_corpus_zip(file: Path, bad_rows: BadRows) -> tuple[SourceTable, SourceTable | None]:
    """The texts of a BEIR zip, and the pairs where it has any.

    Raises:
        FileFormatError: It holds no corpus.jsonl, or files that cannot be read.
        LimitError: It holds more than is taken here.
    """
    with _members(file) as (archive, members):
        texts = [path for path in members if path.name == _CORPUS]
        if not texts:
            raise FileFormatError(f"{file.name} holds no {_CORPUS}. Unpack it and choose the file of texts.")
        with tempfile.TemporaryDirectory() as folder:
            name = f"{file.name}/{_CORPUS}"
            table = read_table(_unpacked(archive, members[texts[0]], Path(folder)), name=name, bad_rows=bad_rows)
        try:
            return table, _pairs_in(file, archive, members) if _judged(members) else None
        except (FileFormatError, LimitError) as error:  # the texts are as good without
            return replace(table, notes=(*table.notes, str(error))), None


def is_judgements(table: SourceTable) -> bool:
    """Whether a table is BEIR's qrels."""
    return _QUERY_ID in table.columns and _ANSWER_ID in table.columns


def joined(queries: SourceTable, judgements: SourceTable) -> SourceTable:
    """A row for each judgement above 0, with the text of its query.

    Raises:
        FileFormatError: The queries have no ids, or none of them is judged.
    """
    if "_id" not in queries.columns or "text" not in queries.columns:
        raise FileFormatError(f"{queries.name} has no columns '_id' and 'text', so it holds no queries. {_ADVICE}")
    ids, texts = (map(as_text, queries.column(name)) for name in ("_id", "text"))
    text_of = dict(zip(ids, texts, strict=True))
    scores = judgements.column(_SCORE) if _SCORE in judgements.columns else ("1",) * len(judgements)
    cells = zip(judgements.column(_QUERY_ID), judgements.column(_ANSWER_ID), scores, judgements.lines, strict=True)
    rows = [
        (text_of[as_text(query)], as_text(answer), line)
        for query, answer, score, line in cells
        if as_text(query) in text_of and as_text(score).strip() not in ("", "0") and not as_text(score).startswith("-")
    ]
    if not rows:
        raise FileFormatError(f"No id in {judgements.name} is one of {queries.name}. {_ADVICE}")
    texts_of_rows, answers, lines = zip(*rows, strict=True)
    name = f"{queries.name} and {judgements.name}"
    return SourceTable(name, ("query", _ANSWER_ID), (texts_of_rows, answers), lines)


_Members = dict[PurePosixPath, zipfile.ZipInfo]


@contextmanager
def _members(file: Path) -> Iterator[tuple[zipfile.ZipFile, _Members]]:
    if not zipfile.is_zipfile(file):
        raise FileFormatError(f"{file.name} is no zip. Pack it again, or upload the files that it held.")
    with zipfile.ZipFile(file) as archive:
        yield archive, {PurePosixPath(info.filename): info for info in archive.infolist() if not info.is_dir()}


def _judged(members: _Members) -> tuple[PurePosixPath, PurePosixPath] | None:
    """The queries and the judgements in a zip; of several splits the one for tests."""
    queries = [path for path in members if path.name == _QUERIES]
    splits = [path for path in members if path.suffix == ".tsv" and _QRELS in (path.parent.name, path.stem)]
    if not queries or not splits:
        return None
    return queries[0], min(splits, key=lambda path: _SPLITS.index(path.name) if path.name in _SPLITS else len(_SPLITS))


def _pairs_in(file: Path, archive: zipfile.ZipFile, members: _Members) -> SourceTable:
    judged = _judged(members)
    if judged is None:
        raise FileFormatError(f"{file.name} holds no {_QUERIES} with {_QRELS}/test.tsv. {_ADVICE}")
    with tempfile.TemporaryDirectory() as folder:
        return read_pair_files([_unpacked(archive, members[path], Path(folder)) for path in judged])


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    name = PurePosixPath(member.filename).name
    if member.file_size > MAX_CHARACTERS:
        raise LimitError(f"{name} in the zip is larger than what is taken here. Take a part of it.")
    with archive.open(member) as packed, (folder / name).open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
    return folder / name
