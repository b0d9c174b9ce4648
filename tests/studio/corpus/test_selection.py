"""What is chosen on the page becomes a setting, a corpus and pairs; guesses go by names."""

from __future__ import annotations

import pytest

from e5studio.errors import FileFormatError, TextError
from e5studio.studio.corpus import selection
from e5studio.studio.corpus.evaluate_panel import measured_settings
from e5studio.studio.corpus.selection import (
    CorpusChoice,
    answer_column,
    cells_of,
    check_machine,
    chosen_corpus,
    corpus_setting,
    filter_choices,
    filtered,
    other_cells,
    pairs_of,
    query_column,
)
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.errors import LimitError
from tests.studio.conftest import ENGLISH, INSTRUCT, OFFLINE

TABLE = SourceTable(
    "papers.csv",
    ("_id", "title", "text", "question"),
    (("3", "2", "5"), ("One", "Two", "Three"), ("first text", "second text", ""), ("what is first", None, "third?")),
    (2, 3, 5),
)
PAIRS = SourceTable("pairs.csv", ("query", "corpus-id"), (("a", "b", "nobody"), ("2", "3", "9")), (2, 3, 4))


@pytest.fixture
def store():
    store = VisitorStores().open_or_create()[1]
    store.set_table(TABLE)
    return store


def test_a_gpu_that_is_lent_for_seconds_embeds_no_corpus(monkeypatch):
    check_machine()
    monkeypatch.setattr(selection, "is_zero_gpu", lambda: True)
    with pytest.raises(LimitError, match="your own machine"):
        check_machine()


def test_nothing_is_chosen_without_a_file():
    with pytest.raises(TextError, match="Choose a file"):
        chosen_corpus(VisitorStores().open_or_create()[1], None, None)


def test_the_corpus_stays_the_same_as_long_as_the_choice_does(store):
    first = chosen_corpus(store, "text", "title")
    assert store.corpus is None, "it only reads"
    store.set_corpus(first)
    assert chosen_corpus(store, "text", "title") is first
    assert first.documents == ("One first text", "Two second text")
    other = CorpusChoice(ENGLISH, "retrieval", "", "text", None).set_corpus(store)
    assert other is not first
    assert store.corpus is other
    assert chosen_corpus(store, None, None) is other  # the guess is the text column


def test_the_model_decides_what_is_kept_of_a_setting():
    assert corpus_setting(Catalog(), ENGLISH, "retrieval", "a task").instruction == ""
    assert corpus_setting(Catalog(), INSTRUCT, "retrieval", " a task ").instruction == "a task"
    assert corpus_setting(Catalog(), OFFLINE, "retrieval", "a task").prompt_mode == "none"


def test_pairs_of_another_file_find_their_answers_by_id(store):
    corpus = chosen_corpus(store, "text", None)
    pairs = pairs_of(corpus, TABLE, PAIRS, "query", "corpus-id")
    assert pairs.queries == ("a", "b")
    assert pairs.relevant == ((1,), (0,))
    assert pairs.left_out == (4,)


def test_a_query_beside_a_text_is_answered_by_it(store):
    """Also where ids look like lines: that of line 2 is 3."""
    corpus = chosen_corpus(store, "text", None)
    pairs = pairs_of(corpus, TABLE, None, "question", None)
    assert (pairs.queries, pairs.relevant) == (("what is first",), ((0,),))


def test_what_is_missing_is_asked_for(store):
    corpus = chosen_corpus(store, "text", None)
    with pytest.raises(TextError, match="column that holds the queries"):
        pairs_of(corpus, TABLE, None, None, None)
    with pytest.raises(TextError, match="column that holds the answers"):
        pairs_of(corpus, TABLE, PAIRS, "query", None)
    with pytest.raises(FileFormatError, match="no column 'nobody'"):
        pairs_of(corpus, TABLE, PAIRS, "nobody", "corpus-id")


def test_texts_that_would_find_themselves_are_no_queries(store):
    corpus = chosen_corpus(store, "question", None)
    with pytest.raises(TextError, match="each query would find itself"):
        pairs_of(corpus, TABLE, None, "question", None)


def test_of_questions_and_answers_the_answers_are_the_texts():
    table = SourceTable("faq.csv", ("question", "answer"), (("what?",), ("that",)), (2,))
    assert (table.text_column, query_column(table)) == ("answer", "question")


def test_other_models_are_used_in_their_own_way():
    left = corpus_setting(Catalog(), OFFLINE, "none", "")
    found = measured_settings(Catalog(), left, [], "a task", [ENGLISH, INSTRUCT])
    assert [(each.model, each.prompt_mode, each.instruction) for each in found] == [
        (OFFLINE, "none", ""),
        (ENGLISH, "retrieval", ""),
        (INSTRUCT, "retrieval", ""),
        (INSTRUCT, "retrieval", "a task"),
    ]


def test_columns_are_guessed_by_their_names():
    assert (query_column(TABLE), answer_column(TABLE)) == ("question", "text")
    assert (query_column(PAIRS), answer_column(PAIRS)) == ("query", "corpus-id")


def test_settings_hold_each_once_and_the_left_side_first():
    left = corpus_setting(Catalog(), ENGLISH, "retrieval", "")
    found = measured_settings(Catalog(), left, ["none", "int8"], "not heeded", [ENGLISH, OFFLINE])
    assert found[0] == left
    assert [(each.model, each.prompt_mode, each.dtype) for each in found[1:]] == [
        (ENGLISH, "none", "auto"),
        (ENGLISH, "retrieval", "int8"),
        (OFFLINE, "none", "auto"),
    ]
    task = corpus_setting(Catalog(), INSTRUCT, "retrieval", "one task")
    assert [each.instruction for each in measured_settings(Catalog(), task, [], "one task\n\n another \n", [])] == [
        "one task",
        "another",
    ]
    assert measured_settings(Catalog(), corpus_setting(Catalog(), OFFLINE, "none", ""), ["none"], "", []) == [
        corpus_setting(Catalog(), OFFLINE, "none", "")
    ]


def test_too_many_settings_are_refused():
    left = corpus_setting(Catalog(), INSTRUCT, "retrieval", "")
    with pytest.raises(TextError, match="more than the 12"):
        measured_settings(Catalog(), left, [], "\n".join(f"task {n}" for n in range(20)), [])


def test_a_search_can_be_confined_to_a_value_of_a_column_with_few():
    names, kinds = tuple(f"n{n}" for n in range(6)), ("a:b", "c", "c", "", "c", "a:b")
    table = SourceTable(
        "a.csv", ("id", "kind", "text"), (names, kinds, ("x", "y", "", "z", "x", "y")), tuple(range(2, 8))
    )
    _, store = VisitorStores().open_or_create()
    store.set_table(table)
    corpus = chosen_corpus(store, "text", None)
    assert cells_of(corpus, table, "kind") == ("a:b", "c", "", "c", "a:b")  # of the rows that have a text
    assert other_cells(corpus, table, [2]) == [[("id", "n3"), ("kind", "")]]
    choices = filter_choices(corpus, table)
    assert [(choice.title, choice.group) for choice in choices] == [
        ("All texts", ""),
        ("a:b (2)", "kind"),
        ("c (2)", "kind"),
        ("empty (1)", "kind"),
    ]
    assert filtered(corpus, table, choices[0].value) is None
    assert filtered(corpus, table, choices[1].value).tolist() == [True, False, False, False, True]
    assert filtered(corpus, table, choices[3].value).tolist() == [False, False, True, False, False]
    assert filtered(corpus, table, "99:x") is None


def test_the_only_column_beside_the_queries_holds_the_answers():
    def guessed(*columns):
        return answer_column(SourceTable("pairs.csv", columns, (("a",),) * len(columns), (2,)))

    assert guessed("query", "answer_id") == "answer_id"
    assert guessed("query", "found in") == "found in"
    assert guessed("query", "one", "other") is None
