"""What a person chose on the page -> a setting, a corpus, pairs; guesses where nothing was chosen. Knows no Gradio."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.errors import TextError
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.pairs import Pairs, read_pairs
from e5studio.studio.corpus.table_file import SourceTable, as_text, choose_columns
from e5studio.studio.corpus.visitor_store import VisitorStore
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.prompt_modes import takes_instruction, valid_prompt_mode
from e5studio.studio.engine.zero_gpu import is_zero_gpu
from e5studio.studio.errors import LimitError

_QUERY_NAMES = ("query", "question", "queries", "q")
# A plain "id" comes last: it may as well number the pairs.
_ANSWER_NAMES = ("corpus-id", "corpus_id", "doc_id", "docid", "answer", "passage", "positive", "text", "title", "id")
_ID_NAMES = ("_id", "id", "doc_id", "docid", "corpus-id", "corpus_id")


def check_machine() -> None:
    """Refuse a corpus where a GPU is lent for seconds at a time and to another process.

    Raises:
        LimitError: It is such a Space.
    """
    if is_zero_gpu():
        raise LimitError(
            "This Space borrows its GPU for seconds at a time, which is too short for a corpus. Run the Studio on a "
            "machine of your own, or in a Space with hardware of its own."
        )


def corpus_setting(model: str, prompt_mode: str, instruction: str) -> CorpusSetting:
    """How a corpus is embedded and searched, as the form says."""
    kind = offered(model).prompt_kind
    known = valid_prompt_mode(kind, prompt_mode)
    return CorpusSetting(model, known, instruction.strip() if takes_instruction(kind, known) else "")


def chosen_corpus(store: VisitorStore, text: str | None, title: str | None, colour: str | None) -> Corpus:
    """The texts that the choice of columns stands for; the same object as long as the choice is.

    Args:
        store: Holds the table, and keeps the corpus.
        text: Column of texts; the most likely one where none was chosen.
        title: Column of titles, or none.
        colour: Column that colours the map, or none.

    Raises:
        E5StudioError: There is no table, no such column, or no text in it.
    """
    table = store.table
    if table is None:
        raise TextError("There are no texts yet. Choose a file, or paste some lines.")
    found = choose_columns(table, text or table.text_column, title or None, colour or None)
    before = store.corpus
    if before is not None and _content(before) == _content(found):
        return before
    store.keep_corpus(found)
    return found


def pairs_of(
    corpus: Corpus, table: SourceTable, pairs_table: SourceTable | None, query: str | None, answer: str | None
) -> Pairs:
    """Queries with known answers.

    Args:
        corpus: Where the answers are.
        table: The file that the corpus was chosen from.
        pairs_table: Another file with the pairs; the corpus' own where None.
        query: The column of queries.
        answer: The column of answers; of the corpus' own file None stands for the text in the same row.

    Raises:
        E5StudioError: No column is named, there is none of that name, or no pair can be used.
    """
    source = pairs_table or table
    if query is None:
        raise TextError("Choose the column that holds the queries, or bring a file of pairs.")
    if pairs_table is not None and answer is None:
        raise TextError("Choose the column that holds the answers.")
    if pairs_table is None and answer is None and query == corpus.text_name:
        raise TextError(
            f"Column {query!r} holds the texts themselves, so each query would find itself. Choose another column of "
            "queries, or another column of texts."
        )
    queries = [cell if isinstance(cell, str) else "" for cell in source.column(query)]
    answers: Sequence[str | int] = table.lines
    if answer is not None:
        answers = [as_text(cell) for cell in source.column(answer)]
    return read_pairs(queries, answers, corpus, lines=source.lines, ids=_ids(corpus, table))


def query_column(table: SourceTable) -> str | None:
    """Which column most likely holds queries, by its name alone."""
    return _named(_QUERY_NAMES, table)


def answer_column(table: SourceTable) -> str | None:
    """Which column most likely holds answers, by its name alone."""
    return _named(_ANSWER_NAMES, table)


def _ids(corpus: Corpus, table: SourceTable) -> tuple[str, ...] | None:
    """The ids of the corpus' rows, where its file has a column of them."""
    name = _named(_ID_NAMES, table)
    if name is None:
        return None
    by_line = dict(zip(table.lines, table.column(name), strict=True))
    cells = [by_line[line] for line in corpus.lines]
    return tuple(map(as_text, cells))


def _named(names: Sequence[str], table: SourceTable) -> str | None:
    by_name = {column.strip().casefold(): column for column in reversed(table.columns)}
    return next((by_name[name] for name in names if name in by_name), None)


def _content(corpus: Corpus) -> tuple[object, ...]:
    return corpus.source, corpus.lines, corpus.texts, corpus.titles, corpus.colour_name, corpus.colours
