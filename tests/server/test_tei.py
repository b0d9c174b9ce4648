"""The routes of text-embeddings-inference."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from e5studio.server.token_ids import TokenIds
from e5studio.similarity import cos_sim
from tests.server.conftest import client_of

TEXTS = ["how much protein", "the top of a mountain"]
LONG = "mountain river " * 600


@pytest.mark.parametrize("path", ["/embed", "/"])
async def test_embed_gives_a_list_of_vectors_also_for_one_text(client, e5, path):
    answer = await client.post(path, json={"inputs": TEXTS, "prompt_name": "passage"})
    np.testing.assert_allclose(answer.json(), e5.encode_document(TEXTS), atol=1e-6)
    one = await client.post(path, json={"inputs": TEXTS[0], "prompt_name": "query"})
    np.testing.assert_allclose(one.json(), e5.encode_query(TEXTS[:1]), atol=1e-6)
    assert one.headers["x-compute-tokens"] == str(e5.prepare(TEXTS[:1], prompt_name="query").report.n_tokens[0])
    assert {"x-total-time", "x-queue-time", "x-inference-time", "x-tokenization-time"} <= one.headers.keys()


async def test_options_of_embed(client, e5):
    async def embed(**body):
        return (await client.post("/embed", json={"inputs": TEXTS, "prompt_name": "query", **body})).json()

    raw = e5.encode(TEXTS, prompt_name="query", normalize=False)
    np.testing.assert_allclose(await embed(normalize=False), raw, atol=1e-6)
    np.testing.assert_allclose(
        await embed(dimensions=8), e5.with_options(truncate_dim=8).encode_query(TEXTS), atol=1e-6
    )
    coded = await embed(encoding_format="base64")
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(coded[0]), "<f4"), np.float32(await embed())[0])


async def test_truncation(client, e5):
    async def embed(**body):
        return await client.post("/embed", json={"inputs": ["a", "first " + LONG], "prompt_name": "query", **body})

    assert (await embed()).headers["x-truncated-inputs"] == "1"
    assert (await embed(truncate=None)).status_code == 200
    refused = await embed(truncate=False)
    assert (refused.status_code, refused.json()["error_type"]) == (422, "Validation")
    left = await embed(truncation_direction="left")
    assert not np.allclose((await embed()).json()[1], left.json()[1], atol=1e-4)
    assert (await embed(truncation_direction="up")).status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"inputs": []}, 400, "Empty"),
        ({"inputs": ""}, 400, "Empty"),
        ({"inputs": ["a"], "dimensions": 0}, 422, "Validation"),
        ({"inputs": ["a"], "dimensions": 10_000}, 422, "Validation"),
        ({"inputs": ["a"] * 5}, 422, "Validation"),
        ({"inputs": [1, 2]}, 422, "Validation"),
        ({"inputs": 3}, 422, "Validation"),
        ({}, 422, "Validation"),
        ({"inputs": "a", "truncate": "yes"}, 422, "Validation"),
    ],
)
async def test_errors_are_teis(start, e5, body, status, kind):
    async with client_of(start("query", encoders={"e5": e5}, max_items=4)) as client:
        answer = await client.post("/embed", json=body)
        assert (answer.status_code, answer.json()["error_type"]) == (status, kind), answer.text
        assert isinstance(answer.json()["error"], str)


async def test_no_role_is_refused(client):
    answer = await client.post("/embed", json={"inputs": TEXTS})
    assert answer.status_code == 422
    assert "prompt_name" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/similarity", "/"])
async def test_similarity_puts_each_sides_own_prompt(client, e5, path):
    inputs = {"source_sentence": TEXTS[0], "sentences": TEXTS}
    expected = e5.scores(TEXTS[:1], TEXTS)[0] / 100
    np.testing.assert_allclose((await client.post(path, json={"inputs": inputs})).json(), expected, atol=1e-6)
    both = await client.post(path, json={"inputs": inputs, "parameters": {"prompt_name": "query"}})
    assert both.json()[0] == pytest.approx(1, abs=1e-6)


async def test_embed_all_gives_the_vectors_of_tokens(client, e5):
    answer = await client.post("/embed_all", json={"inputs": TEXTS, "prompt_name": "query"})
    for text, vectors in zip(TEXTS, answer.json(), strict=True):
        np.testing.assert_allclose(vectors, e5.token_embeddings(text, prompt="query: ").vectors, atol=1e-6)


async def test_answers_much_larger_than_their_requests_are_refused(client):
    many = await client.post("/embed_all", json={"inputs": ["a"] * 1_500, "prompt_name": "query"})
    long = await client.post("/tokenize", json={"inputs": "a " * 210_000})
    assert (many.status_code, long.status_code) == (413, 413)


async def test_similarity_takes_an_instruction(start, encoders):
    instruct = encoders("multilingual-e5-instruct")
    async with client_of(start(encoders={"e5": instruct})) as client:
        body = {"inputs": {"source_sentence": TEXTS[0], "sentences": TEXTS}, "instruction": "Find nothing"}
        answer = await client.post("/similarity", json=body)
    query = instruct.encode(TEXTS[:1], prompt_name="query", instruction="Find nothing")
    np.testing.assert_allclose(answer.json(), cos_sim(query, instruct.encode_document(TEXTS))[0], atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {"inputs": TEXTS, "input_type": "nothing"}),
        ("/tokenize", {"inputs": TEXTS, "instruction": 5}),
        ("/decode", {"ids": [[]]}),
        ("/decode", {"ids": []}),
    ],
)
async def test_what_could_mean_nothing_is_refused(client, path, body):
    assert (await client.post(path, json=body)).status_code in (400, 422)


async def test_tokenize_and_decode(client, e5):
    answer = await client.post("/tokenize", json={"inputs": TEXTS})
    first = answer.json()[0]
    assert [each["id"] for each in first] == e5.token_offsets(TEXTS[0], prompt="").ids.tolist()
    assert (first[0]["special"], first[0]["start"]) == (True, None)
    bare = (await client.post("/tokenize", json={"inputs": TEXTS, "add_special_tokens": False})).json()
    assert "".join(TEXTS[0][each["start"] : each["stop"]] for each in bare[0]) == TEXTS[0].replace(" ", "")
    ids = [[each["id"] for each in tokens] for tokens in answer.json()]
    assert (await client.post("/decode", json={"ids": ids})).json() == TEXTS
    assert (await client.post("/decode", json={"ids": ids[0]})).json() == TEXTS[:1]
    prompted = await client.post("/tokenize", json={"inputs": TEXTS[0], "prompt_name": "query"})
    assert len(prompted.json()[0]) > len(first)


async def test_token_ids_and_texts_may_stand_in_one_list(start, e5):
    ids = e5.token_offsets(TEXTS[1], prompt="").ids.tolist()
    async with client_of(start("query", encoders={"e5": e5}, token_ids=TokenIds("own"))) as client:
        answer = await client.post("/embed", json={"inputs": [TEXTS[0], ids]})
        np.testing.assert_allclose(answer.json(), e5.encode_query(TEXTS), atol=1e-6)


async def test_routes_of_other_models_say_so(client):
    for path in ("/embed_sparse", "/predict", "/rerank"):
        answer = await client.post(path, json={"inputs": "a"})
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")


async def test_info_names_the_model_and_its_fingerprint(client, e5):
    answer = (await client.get("/info")).json()
    assert answer["model_id"] == "own/e5"
    assert answer["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (answer["max_input_length"], answer["fingerprint"]) == (e5.spec.max_tokens, e5.spec.fingerprint)
