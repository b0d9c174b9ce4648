"""The Studio's routes under /v1: the encoder's numbers in each role, the page's models and limits, its own queue."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware

from e5studio.models import list_models
from e5studio.studio.api.v1 import v1_routes
from e5studio.studio.engine.engine import Engine
from e5studio.studio.serving.middleware import Compression
from e5studio.studio.serving.request_guard import RequestGuard
from e5studio.studio.serving.uploads import Uploads
from e5studio.studio.serving.visitors import visitor_now
from e5studio.studio.serving.waiting_queue import WaitingQueue
from tests.studio.conftest import ABSENT, ENGLISH, FAULTY, INSTRUCT, OFFLINE

TEXTS = ["how much protein", "the top of a mountain", "how much protein"]
ANYBODY = ("203.0.113.7", 4000)


@contextlib.asynccontextmanager
async def client_of(engine):
    in_front = [Middleware(Compression), Middleware(RequestGuard, uploads=Uploads(None))]
    app = Starlette(routes=v1_routes(engine), middleware=in_front)
    transport = httpx.ASGITransport(app=app, client=ANYBODY)
    async with httpx.AsyncClient(transport=transport, base_url="http://studio/v1") as client:
        yield client


@pytest.fixture
async def client(engine):
    async with client_of(engine) as made:
        yield made


def embed(client, model=ENGLISH, texts=TEXTS, **fields):
    return client.post("/embeddings", json={"model": model, "input": texts, **fields})


def message_of(answer):
    """The message of an error, where OpenAI's clients look for it."""
    return answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"input_type": "query"}, "query: "),
        ({"input_type": "passage"}, "passage: "),
        ({"task": "retrieval.passage"}, "passage: "),
        ({"prompt_name": "query"}, "query: "),
        ({"model": "E5-small-v2-passage"}, "passage: "),
        ({"input_type": "clustering"}, "query: "),
        ({"input_type": "none"}, ""),
    ],
)
async def test_vectors_are_the_encoders_in_each_role(client, encoders, fields, prompt):
    answer = await embed(client, **fields)
    vectors = [each["embedding"] for each in answer.json()["data"]]
    np.testing.assert_allclose(vectors, encoders("e5").encode(TEXTS, prompt=prompt), atol=1e-6)
    assert answer.json()["prompt"] == prompt
    assert answer.headers["x-e5-fingerprint"] == encoders("e5").spec.fingerprint
    assert "content-encoding" not in answer.headers  # it would take longer than the vectors


async def test_what_the_dialect_can_do_the_studio_can(client, encoders):
    raw = await embed(client, INSTRUCT, input_type="query", instruction="Find it", normalized=False)
    expected = encoders("multilingual-e5-instruct").encode_query(TEXTS, instruction="Find it", normalize=False)
    np.testing.assert_allclose([each["embedding"] for each in raw.json()["data"]], expected, atol=1e-5)
    refused = await embed(client, texts=["a summit " * 600], input_type="query", truncate="NONE")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input.0")


async def test_no_role_is_refused_where_the_model_has_prompts(client, offline_encoder):
    assert "e5-small-v2-query" in message_of(await embed(client))
    answer = await embed(client, OFFLINE)
    vectors = [each["embedding"] for each in answer.json()["data"]]
    np.testing.assert_allclose(vectors, offline_encoder.encode(TEXTS, prompt=""), atol=1e-6)


async def test_scores_and_explanations_are_the_encoders(client, encoders):
    body = {"model": ENGLISH, "queries": TEXTS[:1], "passages": TEXTS}
    answer = (await client.post("/score", json=body)).json()
    np.testing.assert_allclose(answer["scores"], encoders("e5").scores(TEXTS[:1], TEXTS), atol=1e-4)
    pair = {"model": ENGLISH, "query": TEXTS[0], "passage": TEXTS[1]}
    explained = (await client.post("/explain", json=pair)).json()
    assert explained["score"] == pytest.approx(answer["scores"][0][1], abs=1e-3)
    assert np.sum(explained["shares"]) == pytest.approx(explained["score"], abs=1e-3)


async def test_the_models_are_those_of_the_picker(client, stand_in_pool):
    listed = (await client.get("/models")).json()["data"]
    assert {each["root"] for each in listed} == {meta.name for meta in list_models()}
    assert (await client.get("/models/intfloat/e5-small-v2-query")).json()["root"] == ENGLISH
    n_leased = stand_in_pool.n_leased
    for name in ("/etc", "../model", "someone/else", "e5-smal-v2"):
        answer = await embed(client, name, input_type="query")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert stand_in_pool.n_leased == n_leased


async def test_precision_and_backend_are_as_on_the_page(client, stand_in_pool):
    assert (await embed(client, input_type="query", dtype="bfloat16", backend="onnx")).status_code == 200
    assert stand_in_pool.asked[-1] == ("bfloat16", "onnx")
    refused = await embed(client, input_type="query", dtype="float8")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dtype")
    pair = {"model": ENGLISH, "query": "a", "passage": "b", "dtype": "bfloat16"}
    assert (await client.post("/explain", json=pair)).status_code == 400


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"texts": ["a"] * 65}, 400, "maximum allowed batch size 64"),
        ({"texts": ["x" * 20_001]}, 413, "20,001 characters; 20,000 are taken"),
        ({"texts": ["x" * 8_000_000]}, 413, "too large"),
        ({"texts": ["good", " "]}, 400, "empty"),
        ({"texts": [[101, 2054]]}, 400, "token ids"),
        ({"model": None}, 400, "/v1/models"),
        ({"model": ABSENT}, 503, "Try again later"),
        ({"model": FAULTY}, 500, "inside the Studio (RuntimeError)"),
    ],
)
async def test_what_is_refused_or_fails_is_said_in_openais_form(client, fields, status, words):
    answer = await embed(client, input_type="query", **fields)
    assert answer.status_code == status
    assert words in message_of(answer)
    assert "nobody foresaw" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


async def test_a_full_queue_is_a_429_that_says_when_to_try_again(stand_in_pool):
    crammed = Engine(stand_in_pool, encode_queue=WaitingQueue(1, 0))
    async with client_of(crammed) as client:
        assert (await embed(client, input_type="query")).status_code == 200
        with crammed.encode_queue.slot():
            answer = await embed(client, input_type="query")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert "The Studio is full: 1 other came before" in message_of(answer)
        assert (await embed(client, input_type="query")).status_code == 200


async def test_whoever_goes_away_leaves_the_queue(stand_in_pool):
    engine = Engine(stand_in_pool)
    async with client_of(engine) as client:
        with engine.encode_queue.slot():
            request = asyncio.create_task(embed(client, input_type="query"))
            await until(lambda: engine.encode_queue.n_waiting == 1)
            request.cancel()
            await until(lambda: engine.encode_queue.n_waiting == 0)


async def test_the_queue_knows_who_the_visitor_is(stand_in_pool):
    visitors = []

    class Queue(WaitingQueue):
        def slot(self, on_wait=None, cost=1.0):
            visitors.append(visitor_now())
            return super().slot(on_wait, cost)

    async with client_of(Engine(stand_in_pool, encode_queue=Queue(1, 1))) as client:
        assert (await embed(client, input_type="query")).status_code == 200
    assert visitors == [ANYBODY[0]]


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)
