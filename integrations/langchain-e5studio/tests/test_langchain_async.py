"""Async embedding: right under hundreds of calls at once, beside a free event loop, and ended by a cancel."""

from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

from e5studio import Embedder
from tests.corpus import MULTILINGUAL_TEXTS, PROTEIN_QUERY, PUMPKIN_QUERY, SUMMIT_QUERY

N_CALLS = 300
PATIENCE = 60  # seconds until a test that is stuck fails
TEXTS = [PROTEIN_QUERY, SUMMIT_QUERY, PUMPKIN_QUERY, *MULTILINGUAL_TEXTS, "Paris", "paris\n", "a b", "a  b c d e f"]


@pytest.fixture
def hold(monkeypatch):
    """Makes work on documents wait, each call with a note that it began and that it ended."""

    class Hold:
        began, released, ended = threading.Semaphore(0), threading.Event(), threading.Semaphore(0)

    embed = Embedder.embed

    def held(self, texts, prompt_name, **options):
        try:
            if prompt_name == "document":
                Hold.began.release()
                assert Hold.released.wait(PATIENCE), "the event loop did not run while documents were embedded"
            return embed(self, texts, prompt_name, **options)
        finally:
            Hold.ended.release()

    monkeypatch.setattr(Embedder, "embed", held)
    yield Hold
    Hold.released.set()


async def test_hundreds_of_calls_at_once(make):
    plain, instruct = make("e5"), make("instruct")
    lists = [[TEXTS[i], TEXTS[-i - 1], TEXTS[i]] for i in range(4)] + [TEXTS[:5], ["one"]]
    sync, calls = [], []
    for embeddings in (plain, instruct):
        sync += [embeddings.embed_query(text) for text in TEXTS]
        sync += [embeddings.embed_documents(texts) for texts in lists]
        calls += [(embeddings.aembed_query, text) for text in TEXTS]
        calls += [(embeddings.aembed_documents, texts) for texts in lists]
    order = [index * 17 % len(calls) for index in range(N_CALLS)]  # neighbours differ in model and role
    assert set(order) == set(range(len(calls)))
    results = await asyncio.gather(*(calls[index][0](calls[index][1]) for index in order))
    assert len(results) == N_CALLS
    assert sum(vectors != sync[index] for index, vectors in zip(order, results, strict=True)) == 0


async def test_the_event_loop_runs_while_documents_are_embedded(make, hold):
    embeddings = make("e5")

    async def release() -> None:
        await asyncio.to_thread(hold.began.acquire)
        hold.released.set()

    vectors, _ = await asyncio.gather(embeddings.aembed_documents(TEXTS), release())
    assert vectors == embeddings.embed_documents(TEXTS)


async def test_queries_are_answered_while_documents_are_embedded(make, hold):
    embeddings = make("e5")
    documents = [asyncio.create_task(embeddings.aembed_documents(TEXTS[:3])) for _ in range(100)]
    await asyncio.to_thread(hold.began.acquire)
    queries = [await embeddings.aembed_query(text) for text in TEXTS]  # the documents wait all the while
    assert not any(task.done() for task in documents)
    hold.released.set()
    expected = embeddings.embed_documents(TEXTS[:3])
    assert all(vectors == expected for vectors in await asyncio.gather(*documents))
    assert queries == [embeddings.embed_query(text) for text in TEXTS]


async def test_other_threads_of_the_loop_stay_free(make, hold):
    embeddings = make("e5")
    documents = [asyncio.create_task(embeddings.aembed_documents(["a"])) for _ in range(100)]
    await asyncio.to_thread(hold.began.acquire)
    assert await asyncio.gather(*(asyncio.to_thread(abs, -1) for _ in range(50))) == [1] * 50
    hold.released.set()
    await asyncio.gather(*documents)


@pytest.mark.parametrize("long_documents", ["truncate", "chunk-and-pool"])
async def test_cancelling_ends_the_work_after_the_batch_that_runs(make, hold, monkeypatch, long_documents):
    hold.released.set()
    embeddings = make("e5", token_budget=8, long_documents=long_documents)
    backend = embeddings._embedder.encoder._backend
    embed, began, cancelled, n_batches = backend.embed, threading.Event(), threading.Event(), itertools.count()

    def one_by_one(batches):
        for batch in batches:
            began.set()
            assert cancelled.wait(PATIENCE)
            next(n_batches)
            yield from embed([batch])

    monkeypatch.setattr(backend, "embed", one_by_one)
    task = asyncio.create_task(embeddings.aembed_documents(TEXTS))
    assert await asyncio.to_thread(began.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    cancelled.set()
    await asyncio.to_thread(hold.ended.acquire, timeout=PATIENCE)
    assert next(n_batches) == 1


async def test_calls_that_were_cancelled_leave_the_others_right(make):
    embeddings = make("e5")
    tasks = [asyncio.create_task(embeddings.aembed_documents([text, "more"])) for text in TEXTS * 5]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
    expected = [embeddings.embed_documents([text, "more"]) for text in TEXTS]
    assert results[1::2] == (expected * 5)[1::2]


def test_one_object_serves_several_event_loops(make):
    embeddings = make("e5")
    results = [asyncio.run(embeddings.aembed_query(TEXTS[0])) for _ in range(3)]
    assert results == [embeddings.embed_query(TEXTS[0])] * 3
