"""The engine under load and faults: each request gets its own vectors, or its own error."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from e5studio.batching import Limits
from e5studio.server.admission import Admission
from e5studio.server.engine import Engine
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import RequestError
from tests.fakes import FakeBackend, encoder_over, token_rows
from tests.server.conftest import as_served

TEXTS = ["how much protein", "the top of a mountain", "46 grams a day", "rivers flow to the sea", "stars burn"]


class SlowBackend(FakeBackend):
    """Computes a batch when it may."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.may_compute = threading.Event()
        self.begun = threading.Event()

    def embed(self, batches):
        for batch in batches:
            self.begun.set()
            assert self.may_compute.wait(20)
            yield from super().embed([batch])


@pytest.fixture
def engine():
    made = Engine(max_queue_tokens=1_000_000)
    made.start()
    yield made
    made.close()


@pytest.fixture
def over(checkpoints):
    """Gives a served model over a backend, with a real tokenizer."""

    def make(backend=None, name="e5"):
        checkpoint = checkpoints("e5")
        backend = backend or FakeBackend(checkpoint.meta.embed_dim, limits=Limits(256, overhead=20))
        return as_served(encoder_over(checkpoint, backend), name)

    return make


def part(model, texts, prompt_name="query", **options):
    return TextPart(texts, model.encoder.resolve_prompt(prompt_name), **options)


def expected(model, texts, prompt_name="query"):
    return model.encoder.embed_prepared(model.encoder.prepare(texts, prompt_name=prompt_name), normalize=False)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def test_200_requests_at_once_get_their_own_vectors(engine, over):
    models = [over(name="one"), over(name="two")]
    rng = np.random.default_rng(7)
    words = " ".join(TEXTS).split()

    async def ask(number):
        model = models[number % 2]
        prompt_name = ("query", "document")[number % 3 == 0]
        texts = [" ".join(rng.choice(words, rng.integers(1, 60))) for _ in range(int(rng.integers(1, 12)))]
        texts += texts[:1]
        [embedded] = await engine.embed(model, [part(model, texts, prompt_name)])
        np.testing.assert_array_equal(embedded.vectors, expected(model, texts, prompt_name))

    await asyncio.gather(*(ask(number) for number in range(200)))
    assert engine.admission.n_waiting == 0


async def test_waiting_requests_share_batches(engine, over, checkpoints):
    backend = SlowBackend(checkpoints("e5").meta.embed_dim, limits=Limits(256, overhead=20))
    model = over(backend)
    first = asyncio.create_task(engine.embed(model, [part(model, TEXTS[:1])]))
    await until(backend.begun.is_set)
    others = [asyncio.create_task(engine.embed(model, [part(model, [text])])) for text in TEXTS]
    await until(lambda: engine.n_waiting == len(TEXTS))
    backend.may_compute.set()
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in backend.seen] == [1, len(TEXTS)]


async def test_a_cancelled_request_leaves_the_queue(engine, over, checkpoints):
    backend = SlowBackend(checkpoints("e5").meta.embed_dim)
    model = over(backend)
    first = asyncio.create_task(engine.embed(model, [part(model, TEXTS[:1])]))
    await until(backend.begun.is_set)
    leaving = asyncio.create_task(engine.embed(model, [part(model, TEXTS[1:3])]))
    staying = asyncio.create_task(engine.embed(model, [part(model, TEXTS[3:])]))
    await until(lambda: engine.n_waiting == 2)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    backend.may_compute.set()
    await asyncio.gather(first, staying)
    assert sum(map(len, backend.seen)) == 1 + len(TEXTS[3:])
    assert engine.admission.n_waiting == 0


def spoiled(value):
    """Vectors of texts that hold the word "rivers" (by the ids that only they have) become `value`."""

    def spoil(vectors, batch):
        for row, ids in enumerate(token_rows(batch)):
            if spoil.bad <= {*ids}:
                vectors[row] = value
        return vectors

    return spoil


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
async def test_nan_fails_its_request_alone_and_names_its_text(engine, over, checkpoints, value):
    spoil = spoiled(value)
    backend = SlowBackend(checkpoints("e5").meta.embed_dim, spoil=spoil)
    model = over(backend)
    bad, good = (
        {*model.encoder.token_offsets(text, prompt="").ids.tolist()} for text in (TEXTS[3], " ".join(TEXTS[:3]))
    )
    spoil.bad = bad - good
    first = asyncio.create_task(engine.embed(model, [part(model, TEXTS[:1])]))
    await until(backend.begun.is_set)
    others = [
        asyncio.create_task(engine.embed(model, [part(model, texts)]))
        for texts in (TEXTS[:2], [TEXTS[0], TEXTS[0], TEXTS[3]], TEXTS[1:3])
    ]
    await until(lambda: engine.n_waiting == 3)
    backend.may_compute.set()
    await first
    results = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(results[1], RequestError)
    assert (results[1].kind, results[1].param) == ("non_finite", "input.2")
    np.testing.assert_array_equal(results[0][0].vectors, expected(model, TEXTS[:2]))
    np.testing.assert_array_equal(results[2][0].vectors, expected(model, TEXTS[1:3]))
    assert engine.is_well


async def test_a_backend_that_fails_is_told_without_its_words_and_recovers(engine, over, checkpoints, caplog):
    is_broken = True

    def spoil(vectors, batch):
        if is_broken:
            raise RuntimeError("secret path /home/me")
        return vectors

    model = over(FakeBackend(checkpoints("e5").meta.embed_dim, spoil=spoil))
    with pytest.raises(RequestError) as caught:
        await engine.embed(model, [part(model, TEXTS)])
    assert caught.value.kind == "failed"
    assert "secret" not in str(caught.value)
    assert not engine.is_well
    with pytest.raises(RequestError):
        await engine.probe(model)
    is_broken = False
    await engine.probe(model)
    assert engine.is_well
    [embedded] = await engine.embed(model, [part(model, TEXTS)])
    np.testing.assert_array_equal(embedded.vectors, expected(model, TEXTS))


async def test_a_flood_is_refused_at_once_and_what_was_admitted_is_answered(over, checkpoints):
    backend = SlowBackend(checkpoints("e5").meta.embed_dim)
    model = over(backend)
    engine = Engine(max_queue_tokens=300)
    engine.start()
    try:
        tasks = [asyncio.create_task(engine.embed(model, [part(model, TEXTS)])) for _ in range(20)]
        await until(lambda: sum(task.done() for task in tasks) >= 15)
        refused = [task.exception() for task in tasks if task.done()]
        assert {error.kind for error in refused} == {"overloaded"}
        assert all(error.retry_after > 0 for error in refused)
        backend.may_compute.set()
        await asyncio.gather(*(task for task in tasks if not task.done()))
        done = [task for task in tasks if task.exception() is None]
        assert 1 <= len(done) == 20 - len(refused)
        assert engine.admission.n_waiting == 0
    finally:
        backend.may_compute.set()
        engine.close()


async def test_all_parts_of_a_request_are_admitted_or_none(over):
    engine, model = Engine(max_queue_tokens=100), over()
    engine.start()
    try:
        with pytest.raises(RequestError) as caught:
            await engine.embed(model, [part(model, TEXTS), part(model, TEXTS, "document")])
        assert caught.value.kind == "too_large"
        assert engine.admission.n_waiting == 0
    finally:
        engine.close()


async def test_a_request_that_is_tokenised_after_the_end_is_refused(over, monkeypatch):
    engine, model = Engine(max_queue_tokens=1_000), over()
    engine.start()
    monkeypatch.setattr(engine._tokenizing, "close", lambda: None)
    engine.close()
    async with asyncio.timeout(20):
        with pytest.raises(RequestError) as caught:
            await engine.embed(model, [part(model, TEXTS)])
    assert caught.value.kind == "unavailable"
    assert engine.admission.n_waiting == 0


async def test_a_bad_text_leaves_no_tokens_in_the_queue(engine, over):
    model = over()
    with pytest.raises(RequestError):
        await engine.embed(model, [part(model, TEXTS), part(model, ["good", ""], param="passages")])
    assert engine.admission.n_waiting == 0


def test_a_ticket_that_is_over_takes_no_more_room():
    admission = Admission(1_000)
    ticket = admission.admit(900)
    ticket.correct(800)
    assert admission.n_waiting == 800
    ticket.give_back()
    ticket.correct(700)
    assert admission.n_waiting == 0


def test_retry_after_is_the_time_until_the_request_fits():
    admission = Admission(1_000)
    admission.measure(5_000, 10.0)
    ticket = admission.admit(900)
    with pytest.raises(RequestError) as caught:
        admission.admit(600)
    assert caught.value.retry_after == pytest.approx(500 / 500)
    ticket.give_back(400)
    with pytest.raises(RequestError) as caught:
        admission.admit(600)
    assert caught.value.retry_after == pytest.approx(100 / 500)
    ticket.give_back()
    admission.admit(1_000)


def test_the_measured_speed_follows_the_machine():
    admission = Admission(1)
    admission.measure(10_000, 1.0)
    for _ in range(100):
        admission.measure(1_000, 1.0)
    assert admission.tokens_per_second == pytest.approx(1_000, rel=0.1)


async def test_neighbours_never_change_a_vector_beyond_2e_6(engine, encoders):
    model = as_served(encoders("e5"))
    rng = np.random.default_rng(3)
    words = " ".join(TEXTS).split()
    texts = [" ".join(rng.choice(words, rng.integers(1, 90))) for _ in range(60)]
    alone = model.encoder.embed_prepared(model.encoder.prepare(texts, prompt_name="query"))
    answers = await asyncio.gather(*(engine.embed(model, [part(model, [text])]) for text in texts))
    for row, [embedded] in zip(alone, answers, strict=True):
        [vector] = embedded.vectors
        np.testing.assert_allclose(vector / np.linalg.norm(vector), row, atol=2e-6)
