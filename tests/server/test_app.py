"""What every request has in common: key, body, limits, health, metrics, the log, and what a client sees of faults."""

from __future__ import annotations

import asyncio
import json
import logging

import numpy as np
import pytest

from e5studio.batching import Limits as BatchLimits
from e5studio.server.limits import Limits
from tests.fakes import FakeBackend, encoder_over
from tests.server.conftest import client_of

QUERY = {"model": "e5", "input": "a query", "input_type": "query"}


class TestBodies:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"[]",
            b'"text"',
            b'{"model": "e5", "input": NaN}',
            b'{"model": "e5", "input": Infinity}',
            b'{"model": "e5", "input": "a", "dimensions": 1e999}',
            b'{"model": "e5", "input": ' + b"9" * 5_000 + b"}",
            b'{"model": "e5", "input": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
            b'\xef\xbb\xbf{"model": "e5", "input": "a"}',
            '{"model": "e5", "input": "a"}'.encode("utf-16"),
            b'{"model": "e5", "input": "\xff\xfe"}',
            b'{"model": "e5", "input": "a\x00b"}',
            b'{"model": "e5", "input": NaN, "user": "\\ud800"}',
            b"a=b",
            b'{"model": 5, "input": "a"}',
            b'{"model": ["e5"], "input": "a"}',
            b'{"input": {"a": "secret"}, "input_type": "query"}',
        ],
    )
    async def test_what_is_no_request_is_a_short_400_that_echoes_nothing(self, client, content):
        answer = await client.post("/v1/embeddings", content=content)
        assert answer.status_code == 400
        assert len(answer.content) < 1_000
        assert b"secret" not in answer.content
        assert answer.json()["error"]["type"] == "invalid_request_error"

    async def test_half_a_character_is_replaced_and_told(self, client, e5):
        content = b'{"model": "e5", "input": ["x", "a\\ud800b \\"c\\""], "input_type": "query"}'
        answer = await client.post("/v1/embeddings", content=content)
        vectors = [each["embedding"] for each in answer.json()["data"]]
        np.testing.assert_allclose(vectors, e5.encode_query(["x", 'a\ufffdb "c"']), atol=1e-6)
        assert "broken characters" in " ".join(answer.json()["warnings"])

    async def test_the_size_limit_is_exact_by_length_and_by_chunks(self, start, e5):
        async def chunks(content):
            for first in range(0, len(content), 1_000):
                yield content[first : first + 1_000]

        start_of = json.dumps({**QUERY, "user": ""}).encode()[:-2]
        async with client_of(start(encoders={"e5": e5}, limits=Limits(max_body_bytes=20_000))) as client:
            for size, status in ((20_000, 200), (20_001, 413)):
                content = start_of + b"x" * (size - len(start_of) - 2) + b'"}'
                for body in (content, chunks(content)):
                    answer = await client.post("/v1/embeddings", content=body)
                    assert answer.status_code == status
            for path in ("/embed", "/v2/embed", "/api/embed"):
                assert (await client.post(path, content=content)).status_code == 413

    async def test_a_body_that_is_announced_too_large_is_not_read(self, server):
        sent = []

        async def receive():
            raise AssertionError("it was read")

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b"", "root_path": ""}
        headers = [(b"content-length", b"99999999999")]
        await server.app({**scope, "headers": headers, "http_version": "1.1", "app": None}, receive, send)
        assert sent[0]["status"] == 413

    async def test_too_many_values_are_refused_but_commas_in_texts_are_none(self, start, e5):
        async with client_of(start(encoders={"e5": e5}, limits=Limits(max_values=12_000))) as client:
            many = await client.post("/v1/embeddings", json={**QUERY, "user": [0] * 13_000})
            assert many.status_code == 413
            text = 'a, [b], {c} "quoted" \\ ' * 5_000
            assert (await client.post("/v1/embeddings", json={**QUERY, "input": text})).status_code == 200

    async def test_the_number_of_texts_is_exact(self, start, e5):
        async with client_of(start(encoders={"e5": e5}, max_items=3)) as client:
            for n_texts, status in ((0, 400), (3, 200), (4, 400)):
                answer = await client.post("/v1/embeddings", json={**QUERY, "input": ["a"] * n_texts})
                assert answer.status_code == status

    async def test_a_body_that_does_not_come_ends(self, server, monkeypatch):
        monkeypatch.setattr("e5studio.server.limits._GRACE_SECONDS", 0.01)
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/embed", "query_string": b"", "root_path": ""}
        await server.app({**scope, "headers": [], "http_version": "1.1"}, asyncio.Event().wait, send)
        assert sent[0]["status"] == 408


class TestKeys:
    @pytest.fixture
    async def locked(self, start, e5):
        async with client_of(start(encoders={"e5": e5}, api_keys=["first", "zweiter-schlüssel"])) as made:
            yield made

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"authorization": "Bearer firs"},
            {"authorization": "first"},
            {"authorization": "Bearer "},
            {"x-api-key": "second"},
        ],
    )
    async def test_no_request_without_a_key(self, locked, headers):
        for path, method in (("/v1/embeddings", "POST"), ("/embed", "POST"), ("/v1/models", "GET"), ("/info", "GET")):
            answer = await locked.request(method, path, json=QUERY, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer first"},
            {"x-api-key": "first"},
            {"api-key": "first"},
            {"authorization": "bearer first"},
            {"authorization": "Bearer zweiter-schlüssel".encode()},
        ],
    )
    async def test_any_key_opens(self, locked, headers):
        assert (await locked.post("/v1/embeddings", json=QUERY, headers=headers)).status_code == 200

    async def test_health_needs_none(self, locked):
        for path in ("/health", "/ping", "/", "/livez", "/readyz", "/v1/health/ready", "/metrics"):
            assert (await locked.get(path)).status_code == 200


class TestRefusals:
    @pytest.fixture
    def held(self, start, checkpoints):
        """A server whose backend computes when it may."""
        from tests.server.test_engine import SlowBackend

        backend = SlowBackend(checkpoints("e5").meta.embed_dim)
        server = start(
            encoders={"e5": encoder_over(checkpoints("e5"), backend)},
            limits=Limits(max_concurrent=2),
            max_queue_tokens=40,
        )
        yield server, backend
        backend.may_compute.set()

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v1/embeddings", QUERY),
            ("/embed", {"inputs": "a query", "prompt_name": "query"}),
            ("/v2/embed", {"texts": ["a query"], "input_type": "search_query"}),
            ("/api/embed", {"model": "e5-query", "input": "a query"}),
        ],
    )
    async def test_a_flood_is_refused_at_once_with_a_time_to_retry(self, held, path, body):
        server, backend = held
        async with client_of(server) as client:
            first = [asyncio.create_task(client.post(path, json=body)) for _ in range(2)]
            while server.gate.n_requests < 2:
                await asyncio.sleep(0.001)
            refused = await client.post(path, json=body)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert int(refused.headers["retry-after-ms"]) >= 50
            backend.may_compute.set()
            assert [each.status_code for each in await asyncio.gather(*first)] == [200, 200]

    async def test_tokens_beyond_the_queue_are_refused(self, held):
        server, backend = held
        async with client_of(server) as client:
            first = asyncio.create_task(client.post("/v1/embeddings", json=QUERY))
            while not backend.begun.is_set():
                await asyncio.sleep(0.001)
            refused = await client.post("/v1/embeddings", json={**QUERY, "input": ["a", "b", "c"]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            too_large = await client.post("/v1/embeddings", json={**QUERY, "input": ["a"] * 9})
            assert too_large.status_code == 413
            backend.may_compute.set()
            assert (await first).status_code == 200

    async def test_a_client_that_goes_away_leaves_the_queue(self, held):
        server, backend = held
        async with client_of(server) as client:
            task = asyncio.create_task(client.post("/v1/embeddings", json=QUERY))
            while not backend.begun.is_set():
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        while server.gate.n_requests:
            await asyncio.sleep(0.001)
        assert server.engine.admission.n_waiting == 0

    async def test_a_draining_server_answers_what_it_admitted_and_nothing_else(self, held):
        server, backend = held
        async with client_of(server) as client:
            first = asyncio.create_task(client.post("/v1/embeddings", json=QUERY))
            while not backend.begun.is_set():
                await asyncio.sleep(0.001)
            server.drain()
            assert (await client.get("/health")).status_code == 503
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/livez")).status_code == 200
            refused = await client.post("/v1/embeddings", json=QUERY)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            backend.may_compute.set()
            assert (await first).status_code == 200


async def test_a_model_that_fails_is_a_500_and_unready_until_it_embeds_again(start, checkpoints, caplog):
    is_broken = True

    def spoil(vectors, batch):
        if is_broken:
            raise RuntimeError("secret path /home/me")
        return vectors

    backend = FakeBackend(checkpoints("e5").meta.embed_dim, spoil=spoil, limits=BatchLimits(256))
    async with client_of(start(encoders={"e5": encoder_over(checkpoints("e5"), backend)})) as client:
        answer = await client.post("/v1/embeddings", json=QUERY)
        assert (answer.status_code, b"secret" in answer.content) == (500, False)
        assert answer.headers["x-request-id"]
        tei = await client.post("/embed", json={"inputs": "a", "prompt_name": "query"})
        assert (tei.status_code, tei.json()["error_type"]) == (424, "Backend")
        unhealthy = await client.get("/health")
        assert (unhealthy.status_code, unhealthy.json()["error_type"]) == (503, "unhealthy")
        is_broken = False
        assert (await client.get("/health")).status_code == 200
        assert (await client.post("/v1/embeddings", json=QUERY)).status_code == 200


async def test_nan_never_leaves(start, checkpoints):
    backend = FakeBackend(checkpoints("e5").meta.embed_dim, spoil=lambda vectors, _: vectors * np.nan)
    async with client_of(start(encoders={"e5": encoder_over(checkpoints("e5"), backend)})) as client:
        answer = await client.post("/v1/embeddings", json=QUERY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "non_finite_embedding")


async def test_metrics_have_teis_names_and_no_text(client):
    await client.post("/v1/embeddings", json={**QUERY, "input": ["secret text", "another"]})
    await client.post("/v1/embeddings", json={**QUERY, "model": "secret-model"})
    text = (await client.get("/metrics")).text
    for line in (
        'te_request_count{method="batch"} 1.0',
        'te_request_success{method="batch"} 1.0',
        'te_request_failure{err="validation"} 1.0',
        "te_embed_count 2.0",
        "te_request_input_length_count 2.0",
        "te_queue_size 0.0",
        'e5_requests_total{model="own/e5",route="/v1/embeddings",status="200"} 1.0',
    ):
        assert line in text
    assert "te_request_inference_duration_bucket" in text
    assert "secret" not in text
    assert (await client.get("/v1/metrics")).status_code == 200


async def test_the_log_has_a_line_for_each_request_and_no_text(start, e5, caplog):
    caplog.set_level(logging.INFO, "e5studio.server")
    async with client_of(start(encoders={"e5": e5}, api_keys=["the-key"])) as client:
        headers = {"authorization": "Bearer the-key", "x-request-id": "abc-1"}
        await client.post("/v1/embeddings", json={**QUERY, "input": "secret text"}, headers=headers)
        await client.post("/v1/embeddings", json={**QUERY, "input": {"secret": 1}}, headers=headers)
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [line["status"] for line in lines] == [200, 400]
    assert lines[0]["request"] == "abc-1"
    assert lines[0]["tokens"] > 0
    assert "secret" not in caplog.text
    assert "the-key" not in caplog.text


async def test_pages_of_other_addresses_may_not_call_unless_that_is_allowed(start, e5):
    headers = {
        "origin": "https://page.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,x-stainless-os",
    }
    async with client_of(start(encoders={"e5": e5})) as client:
        assert "access-control-allow-origin" not in (await client.options("/v1/embeddings", headers=headers)).headers
    async with client_of(start(encoders={"e5": e5}, cors_origins=["https://page.example"])) as client:
        answer = await client.options("/v1/embeddings", headers=headers)
        assert answer.headers["access-control-allow-origin"] == "https://page.example"
        assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
        other = await client.options("/v1/embeddings", headers={**headers, "origin": "https://other.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_unknown_routes_and_methods_are_errors_in_json(client):
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", "/v1/embeddings", 405), ("PUT", "/embed", 405)):
        answer = await client.request(method, path)
        assert (answer.status_code, "message" in answer.json()["error"]) == (status, True)


async def test_several_models_each_give_their_own_vectors(start, encoders):
    served = {"one": encoders("e5"), "two": encoders("multilingual-e5")}
    async with client_of(start(encoders=served)) as client:
        for name, encoder in served.items():
            answer = await client.post("/v1/embeddings", json={**QUERY, "model": f"{name}-passage", "input_type": None})
            np.testing.assert_allclose(
                answer.json()["data"][0]["embedding"], encoder.encode_document("a query"), atol=1e-6
            )
        unnamed = await client.post("/v1/embeddings", json={"input": "a", "input_type": "query"})
        assert (unnamed.status_code, "own/one, own/two" in unnamed.text) == (400, True)
        tei = await client.post("/embed", json={"inputs": "a", "prompt_name": "query"})
        np.testing.assert_allclose(tei.json()[0], served["one"].encode_query("a"), atol=1e-6)


async def test_the_readiness_routes_speak_as_nvidias_do(client):
    assert (await client.get("/v1/health/ready")).json() == {
        "object": "health.response",
        "message": "ready",
        "ready": True,
    }
    assert (await client.get("/v1/health/live")).json()["live"] is True
    assert (await client.get("/health")).content == b""
