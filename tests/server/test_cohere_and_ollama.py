"""Cohere's and Ollama's routes, and our own."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.server.conftest import client_of

TEXTS = ["how much protein", "the top of a mountain"]
LONG = "mountain river " * 600


class TestCohere:
    async def embed(self, client, path="/v2/embed", **body):
        return await client.post(path, json={"model": "e5", "texts": TEXTS, "input_type": "search_query", **body})

    async def test_roles(self, client, e5):
        for path in ("/v2/embed", "/v1/embed"):
            for input_type, expected in (
                ("search_query", e5.encode_query(TEXTS)),
                ("search_document", e5.encode_document(TEXTS)),
            ):
                answer = (await self.embed(client, path, input_type=input_type)).json()
                vectors = answer["embeddings"]["float"] if path == "/v2/embed" else answer["embeddings"]
                np.testing.assert_allclose(vectors, expected, atol=1e-6)
                assert answer["texts"] == TEXTS
                assert answer["meta"]["billed_units"]["input_tokens"] > 0

    async def test_types(self, client, e5):
        types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
        for path in ("/v2/embed", "/v1/embed"):
            answer = (await self.embed(client, path, embedding_types=types)).json()
            assert answer["response_type"] == "embeddings_by_type"
            assert list(answer["embeddings"]) == types
            floats = np.array(answer["embeddings"]["float"], np.float32)
            np.testing.assert_array_equal(answer["embeddings"]["ubinary"], np.packbits(floats >= 0, axis=1))
            np.testing.assert_array_equal(
                np.frombuffer(base64.b64decode(answer["embeddings"]["base64"][0]), "<f4"), floats[0]
            )

    async def test_what_was_cut_is_a_warning(self, client):
        answer = (await self.embed(client, texts=["a", LONG])).json()
        assert "longer than" in answer["meta"]["warnings"][0]
        assert answer["meta"]["truncated"][0]["index"] == 1
        assert "warnings" not in (await self.embed(client)).json()["meta"]

    async def test_truncate_and_max_tokens(self, client, e5):
        assert (await self.embed(client, texts=[LONG], truncate="NONE")).status_code == 400
        start, end = [
            (await self.embed(client, texts=["first " + LONG], truncate=cut)).json() for cut in ("START", "END")
        ]
        assert not np.allclose(start["embeddings"]["float"], end["embeddings"]["float"], atol=1e-4)
        short = (await self.embed(client, texts=[LONG], max_tokens=20)).json()
        few = e5.with_options(max_tokens=20)
        expected = few.embed_prepared(few.prepare([LONG], prompt_name="query"))
        np.testing.assert_allclose(short["embeddings"]["float"], expected, atol=1e-6)
        assert short["meta"]["truncated"][0]["kept"] == 20

    async def test_inputs_of_content(self, client, e5):
        inputs = [{"content": [{"type": "text", "text": text}]} for text in TEXTS]
        answer = (await self.embed(client, texts=None, inputs=inputs)).json()
        np.testing.assert_allclose(answer["embeddings"]["float"], e5.encode_query(TEXTS), atol=1e-6)

    @pytest.mark.parametrize(
        "body",
        [
            {"input_type": None},
            {"input_type": "image"},
            {"texts": []},
            {"texts": "a"},
            {"texts": ["a", 1]},
            {"images": ["data:"]},
            {"texts": None, "inputs": [{"content": [{"type": "image_url"}]}]},
            {"texts": None, "inputs": [5]},
            {"embedding_types": ["float64"]},
            {"embedding_types": "float"},
            {"max_tokens": 1},
            {"truncate": "MIDDLE"},
        ],
    )
    async def test_errors_are_a_message(self, client, body):
        answer = await self.embed(client, **body)
        assert answer.status_code == 400
        assert list(answer.json()) == ["message"]

    async def test_half_a_character_is_echoed_whole(self, client):
        content = b'{"model": "e5", "texts": ["a\\ud800b"], "input_type": "search_query"}'
        answer = await client.post("/v2/embed", content=content)
        assert answer.json()["texts"] == ["a\ufffdb"]


class TestOllama:
    async def test_the_models_name_says_the_role(self, client, e5):
        for name, expected in (("e5-query", e5.encode_query(TEXTS)), ("e5-passage:latest", e5.encode_document(TEXTS))):
            answer = (await client.post("/api/embed", json={"model": name, "input": TEXTS})).json()
            np.testing.assert_allclose(answer["embeddings"], expected, atol=1e-6)
            assert (answer["model"], answer["prompt_eval_count"] > 0) == (name, True)
            one = (await client.post("/api/embeddings", json={"model": name, "prompt": TEXTS[0]})).json()
            np.testing.assert_allclose(one["embedding"], expected[0], atol=1e-6)

    async def test_errors_are_a_text(self, client):
        for body, status in (
            ({"model": "other", "input": "a"}, 404),
            ({"model": "e5", "input": "a"}, 400),
            ({"model": "e5-query", "input": LONG, "truncate": False}, 400),
            ({"model": "e5-query", "input": []}, 400),
        ):
            answer = await client.post("/api/embed", json=body)
            assert answer.status_code == status
            assert isinstance(answer.json()["error"], str)

    async def test_what_was_cut_is_told(self, client):
        answer = (await client.post("/api/embed", json={"model": "e5-query", "input": LONG})).json()
        assert answer["truncated"][0]["index"] == 0

    async def test_models_are_listed_and_shown(self, client, e5):
        names = [each["name"] for each in (await client.get("/api/tags")).json()["models"]]
        assert names == ["own/e5", "own/e5-query", "own/e5-passage"]
        shown = (await client.post("/api/show", json={"model": "e5"})).json()
        assert shown["model_info"]["bert.embedding_length"] == e5.spec.embed_dim
        assert "embedding" in shown["capabilities"]
        assert (await client.post("/api/show", json={"model": "other"})).status_code == 404
        assert "version" in (await client.get("/api/version")).json()


class TestOwn:
    async def test_score_is_the_matrix_of_the_cards(self, client, e5):
        body = {"model": "e5", "queries": TEXTS, "passages": [*TEXTS, LONG]}
        answer = (await client.post("/v1/score", json=body)).json()
        np.testing.assert_allclose(np.array(answer["scores"])[:, :2], e5.scores(TEXTS, TEXTS), atol=1e-4)
        assert answer["prompts"] == {"queries": "query: ", "passages": "passage: "}
        assert (answer["truncated"][0]["field"], answer["truncated"][0]["index"]) == ("passages", 2)

    async def test_score_of_like_with_like(self, client):
        body = {"model": "e5", "queries": TEXTS, "passages": TEXTS, "use": "symmetric"}
        answer = (await client.post("/v1/score", json=body)).json()
        np.testing.assert_allclose(np.diag(answer["scores"]), 100, atol=1e-4)
        assert answer["best"] == [0, 1]
        without = (await client.post("/v1/score", json={**body, "passages": None})).json()
        np.testing.assert_allclose(without["scores"], answer["scores"], atol=1e-4)

    async def test_score_without_prompts(self, client, e5):
        answer = (await client.post("/v1/score", json={"model": "e5", "queries": TEXTS, "use": "none"})).json()
        bare = e5.encode(TEXTS, prompt="")
        np.testing.assert_allclose(answer["scores"], 100 * bare @ bare.T, atol=1e-4)
        refused = await client.post("/v1/score", json={"model": "e5", "queries": TEXTS})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "passages")

    async def test_a_bad_passage_is_named(self, client):
        answer = await client.post("/v1/score", json={"model": "e5", "queries": ["a"], "passages": ["a", ""]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "passages.1")

    async def test_explain_shares_add_up_to_the_score(self, client, e5):
        body = {"model": "e5", "query": TEXTS[0], "passage": TEXTS[1]}
        answer = (await client.post("/v1/explain", json=body)).json()
        assert answer["score"] == pytest.approx(float(e5.scores(TEXTS[:1], TEXTS[1:])[0, 0]), abs=1e-3)
        assert np.sum(answer["shares"]) == pytest.approx(answer["score"], abs=1e-6)
        words = [each for each in answer["query"] if each["part"] == "word"]
        assert [TEXTS[0][each["start"] : each["end"]] for each in words] == TEXTS[0].split()

    async def test_a_last_token_is_no_sum_of_words(self, start, encoders):
        async with client_of(start(encoders={"mistral": encoders("e5-mistral-instruct")})) as client:
            answer = await client.post("/v1/explain", json={"query": "a", "passage": "b"})
            assert answer.status_code == 400
