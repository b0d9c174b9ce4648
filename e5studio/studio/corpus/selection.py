"""The choices on the page -> a setting, a corpus, pairs; guesses where nothing was chosen. Knows no Gradio."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import TextError
from e5studio.studio.charts.palette import MAX_CATEGORIES
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.pairs import Pairs, read_pairs
from e5studio.studio.corpus.table_file import SourceTable, as_text, choose_columns, first_named
from e5studio.studio.corpus.visitor_store import VisitorStore, VisitorStores
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import takes_instruction, valid_prompt_mode
from e5studio.studio.engine.zero_gpu import is_zero_gpu
from e5studio.studio.errors import LimitError
from e5studio.studio.formatting import shown
from e5studio.studio.widgets.table_data import Choice

_QUERY_NAMES = ("query", "question", "queries", "q")
# A plain "id" comes last: it may as well number the pairs.
_ANSWER_NAMES = (
    "corpus-id",
    "corpus_id",
    "doc_id",
    "docid",
    "answer_id",
    "answer",
    "passage",
    "positive",
    "text",
    "title",
    "id",
)
ALL_TEXTS = Choice("All texts", "")
_MAX_FILTERED = 60
_MAX_SHOWN = 30
_NO_TEXTS = "There are no texts yet. Choose a file, or paste some lines."
_ID_NAMES = ("_id", "id", "doc_id", "docid", "corpus-id", "corpus_id")


def check_machine() -> None:
    """Refuse a corpus on ZeroGPU, which lends a GPU for seconds at a time and to another process.

    Raises:
        LimitError: This is such a Space.
    """
    if is_zero_gpu():
        raise LimitError(
            "This Space borrows its GPU for seconds at a time, which is too short for a corpus. Run the Studio on your "
            "own machine, or in a Space with its own hardware."
        )


@dataclass(frozen=True)
class CorpusChoice:
    """Which texts to embed, and how, as the page has it: the form's fields, then the columns of the file.

    Attributes:
        model: Name of the model.
        prompt_mode: How the texts are used.
        instruction: The task, for models that take one.
        text: Column of texts; the most likely one if empty.
        title: Column of titles, or empty.
    """

    model: str
    prompt_mode: str
    instruction: str
    text: str | None
    title: str | None

    def setting(self, catalog: Catalog) -> CorpusSetting:
        """How the texts are embedded."""
        return corpus_setting(catalog, self.model, self.prompt_mode, self.instruction)

    def set_corpus(self, store: VisitorStore) -> Corpus:
        """Make the chosen texts the store's corpus.

        Raises:
            E5StudioError: As `chosen_corpus`.
        """
        corpus = chosen_corpus(store, self.text, self.title)
        store.set_corpus(corpus)
        return corpus


def corpus_setting(catalog: Catalog, model: str, prompt_mode: str, instruction: str) -> CorpusSetting:
    """How a corpus is embedded and searched, as the form says."""
    kind = catalog.offered(model).prompt_kind
    known = valid_prompt_mode(kind, prompt_mode)
    return CorpusSetting(model, known, instruction.strip() if takes_instruction(kind, known) else "")


def store_of(stores: VisitorStores, token: object) -> VisitorStore:
    """A visitor's store.

    Raises:
        TextError: There is none, or it has expired.
    """
    store = stores.get(token)
    if store is None:
        raise TextError(_NO_TEXTS)
    return store


def table_of(store: VisitorStore) -> SourceTable:
    """A visitor's table.

    Raises:
        TextError: Nothing was uploaded or pasted yet.
    """
    if store.table is None:
        raise TextError(_NO_TEXTS)
    return store.table


def chosen_corpus(store: VisitorStore, text: str | None, title: str | None) -> Corpus:
    """The texts of the chosen columns; the store's own corpus where that has the same content.

    Args:
        store: Holds the table.
        text: Column of texts; the most likely one if empty.
        title: Column of titles, or empty.

    Raises:
        E5StudioError: There is no table, no such column, or no text in it.
    """
    table = table_of(store)
    corpus = choose_columns(table, text or table.text_column, title or None)
    current = store.corpus
    return current if current is not None and _content(current) == _content(corpus) else corpus


def cells_of(corpus: Corpus, table: SourceTable, name: str) -> tuple[str, ...]:
    """The cells of a column beside the texts of a corpus, as text.

    Raises:
        FileFormatError: There is no such column.
    """
    by_line = dict(zip(table.lines, table.column(name), strict=True))
    return tuple(as_text(by_line[line]) for line in corpus.lines)


def other_columns(corpus: Corpus, table: SourceTable) -> list[str]:
    """The columns beside texts and titles."""
    return [name for name in table.columns if name not in (corpus.text_name, corpus.title_name)]


def category_columns(corpus: Corpus, table: SourceTable) -> list[str]:
    """Columns beside the texts that have a colour for each of their values."""
    values = {name: len(set(cells_of(corpus, table, name))) for name in other_columns(corpus, table)}
    return [name for name, n_values in values.items() if 2 <= n_values <= MAX_CATEGORIES]


def filter_choices(corpus: Corpus, table: SourceTable) -> list[Choice]:
    """What a search can be confined to: each value of a column that has few of them."""
    choices = [ALL_TEXTS]
    for name in other_columns(corpus, table):
        counts = Counter(cell.strip() for cell in cells_of(corpus, table, name))
        if 2 <= len(counts) <= _MAX_FILTERED and len(counts) < len(corpus):
            index = table.columns.index(name)
            choices += [
                Choice(f"{shown(cell, 60) or 'empty'} ({n:,})", f"{index}:{cell}", group=shown(name, 60))
                for cell, n in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
            ]
    return choices


def filtered(corpus: Corpus, table: SourceTable, chosen: str) -> NDArray[np.bool_] | None:
    """The texts that a value of `filter_choices` names, (n,); None for all."""
    index, _, cell = chosen.partition(":")
    if not index.isdigit() or int(index) >= len(table.columns):
        return None
    cells = cells_of(corpus, table, table.columns[int(index)])
    return np.array([each.strip() == cell for each in cells], np.bool_)


def other_cells(corpus: Corpus, table: SourceTable, rows: Sequence[int]) -> list[list[tuple[str, str]]]:
    """Name and cell of each column beside the texts, for some rows of a corpus."""
    index_of = {line: index for index, line in enumerate(table.lines)}
    columns = [(name, table.column(name)) for name in other_columns(corpus, table)[:_MAX_SHOWN]]
    indices = [index_of[corpus.lines[row]] for row in rows]
    return [[(name, as_text(cells[index])) for name, cells in columns] for index in indices]


def pairs_of(
    corpus: Corpus, table: SourceTable, pairs_table: SourceTable | None, query: str | None, answer: str | None
) -> Pairs:
    """Queries with known answers.

    Args:
        corpus: Where the answers are.
        table: The file that the corpus was chosen from.
        pairs_table: Another file with the pairs; the corpus' own where None.
        query: The column of queries.
        answer: The column of answers; None for the text of the same row, where the corpus' own file has the pairs.

    Raises:
        E5StudioError: No column is named, there is none of that name, or no pair can be used.
    """
    source = pairs_table or table
    if query is None:
        raise TextError("Choose the column that holds the queries, or upload a file of pairs.")
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
    return first_named(_QUERY_NAMES, table.columns)


def answer_column(table: SourceTable) -> str | None:
    """Which column most likely holds answers: by its name, or as the only one beside the queries."""
    named = first_named(_ANSWER_NAMES, table.columns)
    others = [name for name in table.columns if name != query_column(table)]
    return named or (others[0] if len(others) == 1 else None)


def _ids(corpus: Corpus, table: SourceTable) -> tuple[str, ...] | None:
    """The ids of the corpus' rows, where its file has a column of them."""
    name = first_named(_ID_NAMES, table.columns)
    return None if name is None else cells_of(corpus, table, name)


def _content(corpus: Corpus) -> tuple[object, ...]:
    return corpus.source, corpus.lines, corpus.texts, corpus.titles
