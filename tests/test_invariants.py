"""What must hold for every text: its vector depends on it alone, whoever else is in the batch or the process."""

from __future__ import annotations

import functools
import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from e5studio import model_pool
from e5studio.batching import Limits, TokenBatch
from e5studio.encoder import E5Encoder
from e5studio.load import FetchedModel, LoadedModel
from e5studio.model_pool import ModelPool
from e5studio.prepared_texts import PreparedTexts
from tests import corpus
from tests.checkpoints import Checkpoint, CheckpointName
from tests.fakes import FakeBackend, encoder_over, paper_vector, token_rows

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")

TOLERANCE = 2e-6
LONG = tuple(" ".join(corpus.ORDINARY_TEXTS[row:] + corpus.ORDINARY_TEXTS[:row]) for row in range(3))

texts_of_people = st.sampled_from(corpus.ALL_TEXTS + LONG)
# A tokenizer leaves no token of some characters; with a letter among them a text is never empty to a model.
any_text = st.builds("{}{}{}".format, st.text(max_size=30), st.sampled_from("aZ7é南"), st.text(max_size=30))
some_texts = st.lists(texts_of_people | any_text, min_size=1, max_size=8)

Vectors = NDArray[np.float32]


def assert_same(ours: Vectors, theirs: Vectors) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def alone(encoder: E5Encoder, texts: list[str], **options: str) -> Vectors:
    return np.stack([alone_once(encoder, text, **options) for text in texts])


@functools.cache
def alone_once(encoder: E5Encoder, text: str, **options: str) -> Vectors:
    """Whatever else was embedded in between, this is the text's vector."""
    return encoder.encode([text], **options)[0]


class TestOwnTextAlone:
    @settings(max_examples=12)
    @given(texts=some_texts, order=st.randoms(use_true_random=False), token_budget=st.integers(1, 3000))
    def test_neighbours_order_and_batches_change_nothing(
        self, encoder: E5Encoder, texts: list[str], order: random.Random, token_budget: int
    ) -> None:
        mixed = texts + texts[: len(texts) // 2]
        order.shuffle(mixed)
        together = encoder.with_options(token_budget=token_budget).encode(mixed, prompt_name="query")
        assert_same(together, alone(encoder, mixed, prompt_name="query"))

    @settings(max_examples=8)
    @given(texts=some_texts, order=st.randoms(use_true_random=False), token_budget=st.integers(1, 3000))
    def test_nor_on_the_real_model(
        self, offline_encoder: E5Encoder, texts: list[str], order: random.Random, token_budget: int
    ) -> None:
        mixed = texts + texts[: len(texts) // 2]
        order.shuffle(mixed)
        together = offline_encoder.with_options(token_budget=token_budget).encode(mixed)
        assert_same(together, alone(offline_encoder, mixed))

    def test_same_call_same_bits(self, encoder: E5Encoder) -> None:
        texts = list(corpus.ALL_TEXTS)
        first, second = (encoder.encode(texts, prompt_name="query") for _ in range(2))
        assert first.tobytes() == second.tobytes()

    def test_equal_texts_have_equal_bits(self, encoder: E5Encoder) -> None:
        vectors = encoder.encode(["a", *corpus.ALL_TEXTS, "a", *LONG, "a"], prompt_name="query")
        place = len(corpus.ALL_TEXTS) + 1
        assert vectors[0].tobytes() == vectors[place].tobytes() == vectors[-1].tobytes()


class TestShapes:
    def test_a_single_text(self, encoder: E5Encoder) -> None:
        for text in corpus.ORDINARY_TEXTS:
            vector = encoder.encode(text, prompt_name="query")
            assert vector.shape == (48,)
            assert vector.tobytes() == encoder.encode([text], prompt_name="query")[0].tobytes()
        assert encoder.encode_query("a").shape == encoder.encode_document("a").shape == (48,)

    def test_no_texts(self, encoder: E5Encoder) -> None:
        nothing: list[Vectors] = [
            encoder.encode_query([]),
            encoder.encode_document([]),
            encoder.encode_document([], titles=[]),
            encoder.encode(iter(()), prompt_name="query"),
            encoder.embed_prepared(encoder.prepare([], prompt="")),
        ]
        assert {(vectors.shape, vectors.dtype.name) for vectors in nothing} == {((0, 48), "float32")}
        assert encoder.with_options(truncate_dim=7).encode_query([]).shape == (0, 7)
        assert encoder.scores([], ["a"]).shape == (0, 1)
        assert encoder.scores(["a"], []).shape == (1, 0)
        assert encoder.count_tokens([]).shape == (0,)
        assert list(encoder.encode_blocks([], prompt_name="query")) == []

    def test_any_iterable_of_strings(self, encoder: E5Encoder) -> None:
        texts = list(corpus.ORDINARY_TEXTS)
        expected = encoder.encode_query(texts)
        for other in (tuple(texts), iter(texts), np.array(texts), dict.fromkeys(texts).keys()):
            assert_same(encoder.encode_query(other), expected)

    @given(truncate_dim=st.integers(1, 48))
    @settings(max_examples=10)
    def test_fewer_dimensions_are_the_first_ones_normalised(self, encoder: E5Encoder, truncate_dim: int) -> None:
        texts = list(corpus.ORDINARY_TEXTS[:3])
        short = encoder.with_options(truncate_dim=truncate_dim).encode_query(texts)
        start = encoder.encode_query(texts)[:, :truncate_dim]
        assert_same(short, start / np.linalg.norm(start, axis=1, keepdims=True))

    def test_vectors_have_length_1(self, encoder: E5Encoder) -> None:
        for dim in (48, 5, 1):
            vectors = encoder.with_options(truncate_dim=dim).encode_query(list(corpus.ALL_TEXTS))
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


class TestHalves:
    """`prepare` and `embed_prepared` are callable on their own, and give together what `encode` gives."""

    def test_they_make_encode(self, encoder: E5Encoder) -> None:
        texts = [*corpus.ALL_TEXTS, *corpus.ALL_TEXTS[::-3]]
        prepared = encoder.prepare(texts, prompt_name="query")
        assert len(prepared) == len(texts)
        assert encoder.embed_prepared(prepared).tobytes() == encoder.encode_query(texts).tobytes()

    @settings(max_examples=6)
    @given(queries=some_texts, documents=some_texts)
    def test_prepared_texts_of_several_roles_may_be_merged(
        self, encoder: E5Encoder, queries: list[str], documents: list[str]
    ) -> None:
        first = encoder.prepare(queries, prompt_name="query")
        second = encoder.prepare(documents, prompt_name="document")
        merged = encoder.embed_prepared(merge(first, second))
        assert_same(merged[: len(queries)], encoder.encode_query(queries))
        assert_same(merged[len(queries) :], encoder.encode_document(documents))

    @settings(max_examples=6)
    @given(texts=some_texts, block_size=st.integers(1, 10))
    def test_blocks(self, encoder: E5Encoder, texts: list[str], block_size: int) -> None:
        blocks = list(encoder.encode_blocks(iter(texts), prompt_name="query", block_size=block_size))
        assert [len(block) for block in blocks[:-1]] == [block_size] * (len(blocks) - 1)
        assert_same(np.concatenate(blocks), encoder.encode_query(texts))

    def test_blocks_read_no_further_than_needed(self, encoders: Callable[[CheckpointName], E5Encoder]) -> None:
        endless = (f"text {number}" for number in itertools.count())
        blocks = encoders("e5").encode_blocks(endless, prompt_name="query", block_size=3)
        assert next(blocks).shape == next(blocks).shape == (3, 48)
        assert next(endless) == "text 6"

    def test_token_vectors_pool_to_the_vector(self, encoder: E5Encoder) -> None:
        vectors = encoder.encode_query(list(corpus.ALL_TEXTS))
        for text, vector in zip(corpus.ALL_TEXTS, vectors, strict=True):
            tokens = encoder.token_embeddings(text, prompt=encoder.resolve_prompt("query")).vectors
            pooled = tokens[-1] if encoder.meta.pooling == "last_token" else tokens.mean(axis=0)
            assert_same(pooled / np.linalg.norm(pooled), vector)


def merge(first: PreparedTexts, second: PreparedTexts) -> PreparedTexts:
    ids = np.concatenate([first.batch.ids, second.batch.ids])
    lengths = np.concatenate([first.batch.lengths, second.batch.lengths])
    rows = np.concatenate([first.rows, second.rows + len(first.batch)])
    return replace(first, batch=TokenBatch(ids, lengths), rows=rows)


class TestWithoutAModel:
    """The way of a text, with a backend whose vectors can be worked out on paper."""

    @pytest.fixture(scope="class", params=["e5", "multilingual-e5"])
    @staticmethod
    def made(request: pytest.FixtureRequest, checkpoints: Callable[[CheckpointName], Checkpoint]) -> Checkpoint:
        return checkpoints(request.param)

    def test_the_fake_is_what_it_says(self) -> None:
        batch = TokenBatch(np.array([2, 5, 3, 1], np.int32), np.array([3, 1], np.int32))
        [vectors] = FakeBackend(4).embed([batch])
        assert vectors.tolist() == [[0, 2, 1, 3], [0, 1, 0, 0]]

    @settings(max_examples=40)
    @given(
        texts=some_texts,
        limits=st.builds(Limits, st.integers(1, 3000), max_rows=st.integers(1, 9)),
    )
    def test_every_text_gets_the_vector_of_its_own_ids(
        self, made: Checkpoint, texts: list[str], limits: Limits
    ) -> None:
        backend = FakeBackend(48, limits=limits)
        vectors = encoder_over(made, backend).encode_query(texts, normalize=False)
        tokenizer = made.raw_tokenizer()
        for text, vector in zip(texts, vectors, strict=True):
            ids = tokenizer.encode("query: " + text).ids
            ids = [*ids[:511], ids[-1]] if len(ids) > 512 else ids
            assert vector.tolist() == paper_vector(ids, 48).tolist()
        for batch in backend.seen:
            cost = len(batch) * int(batch.lengths.max())
            assert len(batch) <= limits.max_rows
            assert cost <= limits.token_budget or len(batch) == 1

    def test_duplicates_are_computed_once(self, made: Checkpoint) -> None:
        backend = FakeBackend(48)
        vectors = encoder_over(made, backend).encode_query(["a", "b", "a", "a", "b", "c"] * 50)
        assert sum(len(batch) for batch in backend.seen) == 3
        assert len(vectors) == 300

    def test_batches_hold_texts_of_like_length(self, made: Checkpoint) -> None:
        backend = FakeBackend(48)
        texts = ["a " * (1 + number * 37 % 200) + str(number) for number in range(400)]
        encoder_over(made, backend).encode_query(texts)
        padded = sum(len(batch) * int(batch.lengths.max()) for batch in backend.seen)
        assert padded < 1.1 * sum(int(batch.lengths.sum()) for batch in backend.seen)

    def test_progress_reaches_the_end(self, made: Checkpoint) -> None:
        told: list[tuple[int, int]] = []
        encoder = encoder_over(made, FakeBackend(48, limits=Limits(50)))
        encoder.encode_query([f"text {number}" for number in range(40)], on_progress=lambda *now: told.append(now))
        done = [now for now, _ in told]
        assert done == sorted(done)
        assert told[-1] == (40, 40)
        assert len(told) > 3

    def test_progress_may_stop_the_work(self, made: Checkpoint) -> None:
        def stop(done: int, _: int) -> None:
            if done >= 10:
                raise KeyboardInterrupt

        backend = FakeBackend(48, limits=Limits(50))
        encoder = encoder_over(made, backend)
        with pytest.raises(KeyboardInterrupt):
            encoder.encode_query([f"text {number}" for number in range(40)], on_progress=stop)
        assert sum(len(batch) for batch in backend.seen) < 20
        assert encoder.encode_query("and goes on").shape == (48,)

    def test_rows_of_a_batch(self) -> None:
        batch = TokenBatch(np.arange(6, dtype=np.int32), np.array([1, 2, 3], np.int32))
        assert token_rows(batch) == [[0], [1, 2], [3, 4, 5]]
        assert token_rows(batch.select([2, 0])) == [[3, 4, 5], [0]]


class TestLongTexts:
    """A long text is not tokenised to its end, and has the ids of the whole all the same."""

    units = st.text(min_size=1, max_size=30) | st.sampled_from(
        ["a", "ab", "aab", "▁", " ▁", "漢", "e\u0301\u0302", "é "]
    )

    @pytest.mark.parametrize("name", ["e5", "multilingual-e5", "e5-mistral-instruct"])  # a tokenizer of each kind
    @settings(max_examples=25)
    @example(unit="0\x1f", start="0", length=16384, max_tokens=16)  # to BERT one word of 8,193 characters
    @given(unit=units, start=any_text, length=st.integers(3_000, 30_000), max_tokens=st.sampled_from([16, 100, 512]))
    def test_ids_are_those_of_the_whole_text(
        self,
        name: CheckpointName,
        checkpoints: Callable[[CheckpointName], Checkpoint],
        encoders: Callable[[CheckpointName], E5Encoder],
        unit: str,
        start: str,
        length: int,
        max_tokens: int,
    ) -> None:
        encoder = encoders(name)
        text = start + unit * (length // len(unit))
        prepared = encoder.with_options(max_tokens=max_tokens).prepare([text], prompt="")
        whole = checkpoints(name).raw_tokenizer().encode(text, add_special_tokens=False).ids
        assert prepared.batch.ids[1:-1].tolist() == whole[: max_tokens - 2]
        cuts = prepared.report.truncated
        assert len(cuts) == (len(whole) > max_tokens - 2)
        for cut in cuts:
            dropped = len(whole) - (max_tokens - 2)
            assert cut.n_dropped == dropped if cut.exact else 0 < cut.n_dropped <= dropped
        assert encoder.count_tokens([text]).tolist() == [len(whole)]


class TestThreads:
    N_THREADS = 8
    N_VECTORS = 1_200

    @pytest.mark.parametrize("name", ["e5", "multilingual-e5"])
    def test_8_threads_get_what_one_gets(
        self, name: CheckpointName, encoders: Callable[[CheckpointName], E5Encoder]
    ) -> None:
        """Mixed roles, lengths and token counts on one encoder; 0 of 1,200 wrong."""
        encoder = encoders(name)
        texts = [*corpus.ALL_TEXTS, *(f"{text[:40]} {number}" for text in corpus.ALL_TEXTS for number in range(4))]
        texts += LONG
        short = encoder.with_options(max_tokens=17)
        calls: list[Callable[[list[str]], NDArray[np.generic]]] = [
            encoder.encode_query,
            encoder.encode_document,
            short.encode_query,
            encoder.count_tokens,
        ]
        serial = [call(texts) for call in calls]
        ready = threading.Barrier(self.N_THREADS)

        def work(seed: int) -> tuple[int, int]:
            choose = random.Random(seed)
            ready.wait()
            n_done = n_wrong = 0
            while n_done < self.N_VECTORS // self.N_THREADS:
                kind = choose.randrange(len(calls))
                rows = [choose.randrange(len(texts)) for _ in range(choose.randint(1, 24))]
                found = calls[kind]([texts[row] for row in rows])
                off = np.abs(found - serial[kind][rows]).reshape(len(rows), -1).max(axis=1)
                n_wrong += int((off > TOLERANCE).sum())
                n_done += len(rows)
            return n_done, n_wrong

        with ThreadPoolExecutor(self.N_THREADS) as pool:
            results = list(pool.map(work, range(self.N_THREADS)))
        assert sum(done for done, _ in results) >= self.N_VECTORS
        assert sum(wrong for _, wrong in results) == 0


def test_8_threads_ask_for_two_cold_models(
    checkpoints: Callable[[CheckpointName], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is loaded once, all succeed, and the default dtype of the process is left alone."""
    loads: list[str] = []
    load_fetched = model_pool.load_fetched

    def counted(fetched: FetchedModel) -> LoadedModel:
        loads.append(fetched.meta.name)
        return load_fetched(fetched)

    monkeypatch.setattr(model_pool, "load_fetched", counted)
    made = [checkpoints("e5"), checkpoints("multilingual-e5-instruct")]
    pool, ready = ModelPool(), threading.Barrier(8)

    def ask(thread: int) -> bytes:
        ready.wait()
        chosen = made[thread % 2]
        with pool.lease(chosen.meta, path=chosen.folder, device="cpu") as encoder:
            return encoder.encode("summit", prompt="").tobytes()

    with ThreadPoolExecutor(8) as threads:
        vectors = list(threads.map(ask, range(8)))
    assert sorted(loads) == sorted(checkpoint.meta.name for checkpoint in made)
    assert len(set(vectors)) == 2
    assert torch.get_default_dtype() is torch.float32
    pool.clear()
