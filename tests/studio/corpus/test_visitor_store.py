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
    partial = vectors.open("encoder", prompt, [f"text {number}" for number in range(n)], dim)
    missing = partial.missing_rows()
    partial.add(missing, np.ones((len(missing), dim), np.float32), TokenStats.nothing(len(missing)))
    return partial


class TestTokens:
    def test_lead_back_to_what_was_kept(self):
        stores = VisitorStores()
        token, store = stores.open_or_create()
        store.set_table(read_pasted("one\ntwo"))
        store.set_corpus(choose_columns(store.table, "text"))
        again, same = stores.open_or_create(token)
        assert again == token
        assert stores.get(token) is same
        assert same.corpus.texts == ("one", "two")
        assert same.embedded is None

    @pytest.mark.parametrize("token", [None, "", "guessed", 5, ["x"], "x" * 100_000])
    def test_unknown_ones_read_nothing_and_open_an_empty_store(self, token):
        stores = VisitorStores()
        first, store = stores.open_or_create()
        assert stores.get(token) is None
        assert stores.embedded(token) is None
        assert len(stores._entries) == 1
        store.set_table(read_pasted("secret"))
        other, empty = stores.open_or_create(token)
        assert other not in (first, token)
        assert len(other) >= 32
        assert empty.table is None

    def test_are_forgotten(self):
        stores = VisitorStores()
        token, store = stores.open_or_create()
        fill(store.vectors, 100)
        stores.forget(token)
        stores.forget("guessed")
        assert stores.n_bytes == 0
        assert stores.open_or_create(token)[0] != token
        fill(store.vectors, 1000)  # work that goes on meanwhile takes nobody's room
        assert stores.n_bytes < 10_000


class TestTime:
    def test_stores_go_after_their_last_use(self):
        clock = Clock()
        stores = VisitorStores(kept_seconds=60, clock=clock)
        used, store = stores.open_or_create()
        unused, _ = stores.open_or_create()
        clock.now = 59
        store.vectors.note_use()  # embedding goes on for longer than anything is kept
        clock.now = 61
        stores.sweep()
        assert stores.open_or_create(used)[0] == used
        assert stores.open_or_create(unused)[0] != unused

    def test_reading_is_a_use(self):
        clock = Clock()
        stores = VisitorStores(kept_seconds=60, clock=clock)
        token, _ = stores.open_or_create()
        clock.now = 59
        stores.get(token)
        clock.now = 61
        assert stores.get(token) is not None
        clock.now = 122
        assert stores.get(token) is None

    def test_all_go_where_nobody_comes_any_more(self):
        clock = Clock()
        stores = VisitorStores(kept_seconds=60, clock=clock)
        stores.open_or_create()
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

    def test_a_store_goes_with_the_page_that_opened_it(self, stores, page):
        token, store = stores.open_or_create()
        fill(store.vectors, 100)
        page[0] = "bob"
        other = stores.open_or_create()[0]
        stores.forget_session("ann")
        assert stores.n_bytes < 10_000
        assert stores.open_or_create(token)[0] != token
        assert stores.open_or_create(other)[0] == other

    def test_reading_does_not_make_a_store_anothers(self, stores, page):
        token, _ = stores.open_or_create()
        page[0] = "bob"
        assert stores.get(token) is not None
        stores.forget_session("ann")
        assert stores.get(token) is None

    def test_a_page_that_was_loaded_again_keeps_it(self, stores, page):
        token, _ = stores.open_or_create()
        page[0] = "ann, loaded again"
        assert stores.open_or_create(token)[0] == token
        stores.forget_session("ann")
        assert stores.open_or_create(token)[0] == token
        stores.forget_session("ann, loaded again")
        assert stores.n_bytes == 0

    def test_files_are_deleted_with_the_last_store_that_has_them(self, stores, page, tmp_path):
        own, both = tmp_path / "own.csv", tmp_path / "both.csv"
        own.write_text("a")
        both.write_text("b")
        token, _ = stores.open_or_create()
        stores.add_file(token, own)
        stores.add_file(token, both)
        page[0] = "bob"
        other, _ = stores.open_or_create()
        stores.add_file(other, both)
        stores.forget(token)
        assert (own.exists(), both.exists()) == (False, True)
        stores.forget_session("bob")
        assert not both.exists()
        assert other


class TestRoom:
    def test_the_store_unused_for_longest_leaves(self):
        stores = VisitorStores(max_bytes=200_000)
        first, old = stores.open_or_create()
        second, young = stores.open_or_create()
        fill(old.vectors, 200)
        fill(young.vectors, 200)
        assert stores.open_or_create(second)[1].vectors.n_bytes > 80_000
        assert stores.open_or_create(first)[0] != first
        assert stores.n_bytes < 200_000

    def test_nobody_pushes_others_out(self):
        visitor = ["ann"]
        stores = VisitorStores(max_bytes=400_000, visitor=lambda: visitor[0])
        anns, store = stores.open_or_create()
        fill(store.vectors, 100)
        visitor[0] = "greedy"
        for _ in range(45):
            fill(stores.open_or_create()[1].vectors, 200)
        assert stores.get(anns) is store
        assert stores.n_bytes <= 400_000

    def test_many_pages_of_one_that_names_none_push_no_small_one_out(self):
        visitor = ["ann"]
        stores = VisitorStores(max_bytes=400_000, visitor=lambda: visitor[0])
        anns, store = stores.open_or_create()
        fill(store.vectors, 100)
        for number in range(45):
            visitor[0] = f"page {number}"
            latest, large = stores.open_or_create()
            fill(large.vectors, 200)
            assert stores.get(latest) is large
        assert stores.get(anns) is store

    def test_one_that_grows_beyond_half_makes_way_itself(self):
        visitor = ["ann"]
        stores = VisitorStores(max_bytes=400_000, visitor=lambda: visitor[0])
        anns, store = stores.open_or_create()
        fill(store.vectors, 300)
        visitor[0] = "greedy"
        token, large = stores.open_or_create()
        fill(large.vectors, 600)
        assert stores.get(anns) is store
        assert stores.get(token) is None

    def test_one_that_is_too_large_alone_stays(self):
        stores = VisitorStores(max_bytes=50_000)
        token, store = stores.open_or_create()
        fill(store.vectors, 200)
        assert stores.open_or_create(token)[0] == token

    def test_vectors_are_counted_once_and_texts_too(self, embed):
        stores = VisitorStores()
        _, store = stores.open_or_create()
        store.set_table(read_pasted("\n".join(TEXTS)))
        with_table = store.n_bytes
        store.set_corpus(choose_columns(store.table, "text"))
        assert store.n_bytes - with_table < 1_000, "a corpus has the texts of its table"
        embedded = embed(store.corpus, store=store.vectors)
        before = store.n_bytes
        store.set_embedded(embedded)
        assert store.n_bytes - before < 1_000
        assert stores.n_bytes == store.n_bytes
        brought = VisitorStores().open_or_create()[1]
        brought.set_embedded(embedded)
        assert brought.n_bytes > embedded.vectors.nbytes

    def test_values_that_are_no_text_are_counted_with_what_is_shown_of_them(self):
        stores = VisitorStores()
        _, store = stores.open_or_create()
        before = store.n_bytes
        numbers = tuple(NotText("int", str(10**3000 + number)) for number in range(100))
        store.set_table(SourceTable("a.jsonl", ("n",), (numbers,), tuple(range(100))))
        assert store.n_bytes - before > 100 * 3000
        assert not hasattr(numbers[0], "__dict__"), "it would not be counted"

    def test_fifty_thousand_long_vectors_fit_and_others_make_way(self):
        assert PartialVectors([bytes([n % 256, n // 256]) for n in range(500)], 1024).n_bytes * 100 < MAX_BYTES
        vectors = VectorStore(max_bytes=100_000)
        fill(vectors, 200, prompt="one")
        second = fill(vectors, 200, prompt="two")
        assert vectors.n_bytes == second.n_bytes
        large = fill(vectors, 500, prompt="three")
        assert vectors.n_bytes == large.n_bytes > 100_000
        assert len(fill(vectors, 500, prompt="three").missing_rows()) == 0


def test_visitors_may_come_all_at_once():
    stores = VisitorStores(max_bytes=300_000)
    tokens, errors = [], []

    def visit():
        try:
            for _ in range(20):
                token, store = stores.open_or_create()
                fill(store.vectors, 50)
                tokens.append(token)
                stores.forget(token)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(tokens)) == 160
    assert stores.n_bytes == 0


def test_incomplete_vectors_are_not_given_out():
    vectors = VectorStore().open("encoder", "", ["a", "b"], 3)
    with pytest.raises(ValueError, match="still missing"):
        vectors.complete()


def test_vectors_of_another_encoder_are_never_copied():
    vectors = VectorStore()
    fill(vectors, 5, prompt="query: ")
    same = vectors.open("encoder", "query: ", ["text 4", "new", "text 0", "new"], 100)
    assert same.missing_rows().tolist() == [1]
    assert same.first_equal_row.tolist() == [0, 1, 2, 1]
    for fingerprint, prompt in (("another", "query: "), ("encoder", "passage: ")):
        assert vectors.open(fingerprint, prompt, ["text 0", "text 1"], 100).missing_rows().tolist() == [0, 1]


def test_of_two_jobs_on_a_store_the_later_goes_on_alone():
    """A page that is loaded again must not embed beside its former self."""
    store = VisitorStores().open_or_create()[1]
    began, order = threading.Event(), []

    def first():
        with store.job() as is_stopped:
            began.set()
            assert is_stopped.wait(20)
            order.append("first has ended")

    thread = threading.Thread(target=first)
    thread.start()
    assert began.wait(20)
    with store.job() as is_stopped:
        order.append("second begins")
        assert not is_stopped.is_set()
    thread.join(20)
    assert order == ["first has ended", "second begins"]
