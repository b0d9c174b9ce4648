"""What is kept for a visitor is found again by its token, counted honestly, and goes in time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from e5studio.files.records import NotText
from e5studio.studio.corpus.table_file import SourceTable, choose_columns, read_pasted
from e5studio.studio.corpus.vector_store import MAX_BYTES, PartialVectors, TokenStats, VectorStore
from e5studio.studio.corpus.visitor_store import VisitorStores
from tests.studio.corpus.conftest import TEXTS


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def fill(vectors, n, dim=100, prompt=""):
    rows = vectors.rows("encoder", prompt, [f"text {number}" for number in range(n)], dim)
    due = rows.due()
    rows.keep(due, np.ones((len(due), dim), np.float32), TokenStats.nothing(len(due)))
    return rows


class TestTokens:
    def test_lead_back_to_what_was_kept(self):
        stores = VisitorStores()
        token, store = stores.open()
        store.keep_table(read_pasted("one\ntwo"))
        store.keep_corpus(choose_columns(store.table, "text"))
        again, same = stores.open(token)
        assert again == token
        assert same.corpus.texts == ("one", "two")
        assert same.embedded is None

    @pytest.mark.parametrize("token", [None, "", "guessed", 5, ["x"], "x" * 100_000])
    def test_that_are_none_of_ours_open_an_empty_shelf(self, token):
        stores = VisitorStores()
        first, store = stores.open()
        store.keep_table(read_pasted("secret"))
        other, found = stores.open(token)
        assert other not in (first, token)
        assert len(other) >= 32
        assert found.table is None

    def test_are_forgotten(self):
        stores = VisitorStores()
        token, store = stores.open()
        fill(store.vectors, 100)
        stores.forget(token)
        stores.forget("guessed")
        assert stores.n_bytes == 0
        assert stores.open(token)[0] != token
        fill(store.vectors, 1000)  # work that goes on meanwhile takes nobody's room
        assert stores.n_bytes < 10_000


class TestTime:
    def test_shelves_go_after_their_last_use(self):
        clock = Clock()
        stores = VisitorStores(kept_seconds=60, clock=clock)
        used, store = stores.open()
        unused, _ = stores.open()
        clock.now = 59
        store.vectors.note_use()  # embedding goes on for longer than anything is kept
        clock.now = 61
        stores.sweep()
        assert stores.open(used)[0] == used
        assert stores.open(unused)[0] != unused

    def test_all_go_where_nobody_comes_any_more(self):
        clock = Clock()
        stores = VisitorStores(kept_seconds=60, clock=clock)
        stores.open()
        clock.now = 61
        stores.sweep()
        assert stores.n_bytes == 0


class TestPages:
    @pytest.fixture
    def page(self):
        return ["ann"]

    @pytest.fixture
    def stores(self, page):
        return VisitorStores(session=lambda: page[0])

    def test_a_shelf_goes_with_the_page_that_opened_it(self, stores, page):
        token, store = stores.open()
        fill(store.vectors, 100)
        page[0] = "bob"
        other = stores.open()[0]
        stores.forget_session("ann")
        assert stores.n_bytes < 10_000
        assert stores.open(token)[0] != token
        assert stores.open(other)[0] == other

    def test_a_page_that_was_loaded_again_keeps_it(self, stores, page):
        token, _ = stores.open()
        page[0] = "ann, loaded again"
        assert stores.open(token)[0] == token
        stores.forget_session("ann")
        assert stores.open(token)[0] == token
        stores.forget_session("ann, loaded again")
        assert stores.n_bytes == 0

    def test_files_are_deleted_with_the_last_shelf_that_they_lie_on(self, stores, page, tmp_path):
        own, both = tmp_path / "own.csv", tmp_path / "both.csv"
        own.write_text("a")
        both.write_text("b")
        token, _ = stores.keep_file(None, own)
        stores.keep_file(token, both)
        page[0] = "bob"
        other, _ = stores.keep_file(None, both)
        stores.forget(token)
        assert (own.exists(), both.exists()) == (False, True)
        stores.forget_session("bob")
        assert not both.exists()
        assert other


class TestRoom:
    def test_the_shelf_unused_for_longest_leaves(self):
        stores = VisitorStores(max_bytes=200_000)
        first, old = stores.open()
        second, young = stores.open()
        fill(old.vectors, 200)
        fill(young.vectors, 200)
        assert stores.open(second)[1].vectors.n_bytes > 80_000
        assert stores.open(first)[0] != first
        assert stores.n_bytes < 200_000

    def test_one_that_is_too_large_alone_stays(self):
        stores = VisitorStores(max_bytes=50_000)
        token, store = stores.open()
        fill(store.vectors, 200)
        assert stores.open(token)[0] == token

    def test_vectors_are_counted_once_and_texts_too(self, embed):
        stores = VisitorStores()
        _, store = stores.open()
        store.keep_table(read_pasted("\n".join(TEXTS)))
        with_table = store.n_bytes
        store.keep_corpus(choose_columns(store.table, "text"))
        assert store.n_bytes - with_table < 1_000, "a corpus has the texts of its table"
        embedded = embed(store.corpus, kept=store.vectors)
        before = store.n_bytes
        store.keep_embedded(embedded)
        assert store.n_bytes - before < 1_000
        assert stores.n_bytes == store.n_bytes
        brought = VisitorStores().open()[1]
        brought.keep_embedded(embedded)
        assert brought.n_bytes > embedded.vectors.nbytes

    def test_values_that_are_no_text_are_counted_with_what_is_shown_of_them(self):
        stores = VisitorStores()
        _, store = stores.open()
        before = store.n_bytes
        numbers = tuple(NotText("int", str(10**3000 + number)) for number in range(100))
        store.keep_table(SourceTable("a.jsonl", ("n",), (numbers,), tuple(range(100))))
        assert store.n_bytes - before > 100 * 3000
        assert not hasattr(numbers[0], "__dict__"), "it would not be counted"

    def test_fifty_thousand_long_vectors_fit_and_others_make_way(self):
        assert PartialVectors([bytes([n % 256, n // 256]) for n in range(500)], 1024).n_bytes * 100 < MAX_BYTES
        kept = VectorStore(max_bytes=100_000)
        fill(kept, 200, prompt="one")
        rows = fill(kept, 200, prompt="two")
        assert kept.n_bytes == rows.n_bytes
        large = fill(kept, 500, prompt="three")
        assert kept.n_bytes == large.n_bytes > 100_000
        assert len(fill(kept, 500, prompt="three").due()) == 0


def test_visitors_may_come_all_at_once():
    stores = VisitorStores(max_bytes=300_000)
    found, errors = [], []

    def visit():
        try:
            for _ in range(20):
                token, store = stores.open()
                fill(store.vectors, 50)
                found.append(token)
                stores.forget(token)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(found)) == 160
    assert stores.n_bytes == 0


def test_rows_that_are_due_are_not_given_out():
    rows = VectorStore().rows("encoder", "", ["a", "b"], 3)
    with pytest.raises(ValueError, match="still due"):
        rows.whole()


def test_of_two_works_on_a_shelf_the_later_goes_on_alone():
    """A page that is loaded again must not embed beside its former self."""
    store = VisitorStores().open()[1]
    began, order = threading.Event(), []

    def first():
        with store.work() as is_stopped:
            began.set()
            assert is_stopped.wait(20)
            order.append("first has ended")

    thread = threading.Thread(target=first)
    thread.start()
    assert began.wait(20)
    with store.work() as is_stopped:
        order.append("second begins")
        assert not is_stopped.is_set()
    thread.join(20)
    assert order == ["first has ended", "second begins"]
