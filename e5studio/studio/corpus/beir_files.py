"""BEIR's queries and judgements, as two files or a zip -> a table of pairs. Knows no Gradio."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from e5studio.errors import FileFormatError
from e5studio.studio.corpus.table_file import MAX_CHARACTERS, SourceTable, as_text, read_table
from e5studio.studio.errors import LimitError

_QUERY_ID, _ANSWER_ID, _SCORE = "query-id", "corpus-id", "score"
_QUERIES, _QRELS = "queries.jsonl", "qrels"
_SPLITS = ("test.tsv", "dev.tsv", "train.tsv")
_ADVICE = "Upload queries.jsonl and the .tsv of qrels together, or the zip that holds both."


def read_pair_files(files: Sequence[Path]) -> SourceTable:
    """A file of pairs, or BEIR's two files, or a zip of them.

    Raises:
        FileFormatError: They are none of these.
        LimitError: A zip holds more than is taken here.
    """
    if len(files) == 1 and files[0].suffix.lower() == ".zip":
        return _unzipped(files[0])
    tables = [read_table(file, name=file.name, has_menus=False) for file in files]
    if len(tables) == 1 and not is_judgements(tables[0]):
        return tables[0]
    judgements = [table for table in tables if is_judgements(table)]
    queries = [table for table in tables if not is_judgements(table)]
    if len(judgements) != 1 or len(queries) != 1:
        names = ", ".join(table.name for table in tables)
        raise FileFormatError(f"{names}: judgements name their queries by id, so both files are needed. {_ADVICE}")
    return joined(queries[0], judgements[0])


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


def _unzipped(file: Path) -> SourceTable:
    """The queries and judgements in a zip; of several splits the one for tests."""
    if not zipfile.is_zipfile(file):
        raise FileFormatError(f"{file.name} is no zip. {_ADVICE}")
    with zipfile.ZipFile(file) as archive, tempfile.TemporaryDirectory() as folder:
        members = {PurePosixPath(info.filename): info for info in archive.infolist() if not info.is_dir()}
        queries = [path for path in members if path.name == _QUERIES]
        splits = [path for path in members if path.suffix == ".tsv" and _QRELS in (path.parent.name, path.stem)]
        if not queries or not splits:
            raise FileFormatError(f"{file.name} holds no {_QUERIES} with {_QRELS}/test.tsv. {_ADVICE}")
        best = min(splits, key=lambda path: _SPLITS.index(path.name) if path.name in _SPLITS else len(_SPLITS))
        paths = []
        for member in (queries[0], best):
            if members[member].file_size > MAX_CHARACTERS:
                raise LimitError(f"{member.name} in {file.name} is larger than what is taken here.")
            paths.append(Path(folder) / member.name)
            with archive.open(members[member]) as packed, paths[-1].open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        return read_pair_files(paths)
