"""OpenAI's routes, and the fields of NVIDIA's, Voyage's and Jina's clients on them."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from e5studio.server.token_ids import TokenIds
from tests.server.conftest import client_of

TEXTS = ["how much protein", "the top of a mountain", "how much protein", "46 grams a day " * 20]


def vectors_of(answer):
    assert answer.status_code == 200, answer.text
    return np.array([each["embedding"] for each in answer.json()["data"]], np.float32)


def post(client, **body):
    return client.post("/v1/embeddings", json={"model": "own/e5", "input": TEXTS, **body})


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ({"input_type": "query"}, "query: "),
        ({"input_type": "search_query"}, "query: "),
        ({"input_type": "passage"}, "passage: "),
        ({"input_type": "document"}, "passage: "),
        ({"input_type": "classification"}, "query: "),
        ({"task": "retrieval.query"}, "query: "),
        ({"task": "retrieval.passage"}, "passage: "),
        ({"prompt_name": "passage"}, "passage: "),
        ({"prompt_name": "none"}, ""),
        ({"model": "e5-query"}, "query: "),
        ({"model": "own/e5-passage"}, "passage: "),
        ({"model": "own/e5-passage", "input_type": "document", "prompt_name": None}, "passage: "),
    ],
)
async def test_each_way_to_say_the_role_gives_the_encoders_vectors(client, e5, said, prompt):
    answer = await post(client, **said)
    np.testing.assert_allclose(vectors_of(answer), e5.encode(TEXTS, prompt=prompt), atol=1e-6)
    body = answer.json()
    assert body["prompt"] == prompt
    assert body["fingerprint"] == e5.spec.fingerprint == answer.headers["x-e5-fingerprint"]
    assert body["usage"]["prompt_tokens"] == int(e5.prepare(TEXTS, prompt=prompt).report.n_tokens.sum())
    assert [each["index"] for each in body["data"]] == [0, 1, 2, 3]


async def test_no_role_is_refused_with_the_four_ways_to_say_it(client):
    answer = await post(client)
    assert answer.status_code == 400
    for way in ("input_type", "task", "prompt_name", "e5-query"):
        assert way in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "said",
    [
        {"input_type": "query", "prompt_name": "passage"},
        {"model": "e5-query", "input_type": "passage"},
        {"task": "retrieval.query", "input_type": "document"},
    ],
)
async def test_roles_that_contradict_each_other_are_refused(client, said):
    answer = await post(client, **said)
    assert answer.status_code == 400
    assert "contradicts itself" in answer.json()["error"]["message"]


@pytest.mark.parametrize("value", ["image", "nonsense", 3, ["query"]])
async def test_a_role_without_a_meaning_is_refused(client, value):
    answer = await post(client, input_type=value)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input_type"


@pytest.mark.parametrize(("role", "prompt"), [("query", "query: "), ("document", "passage: ")])
async def test_a_default_role_is_taken_where_none_is_said_and_told(start, e5, role, prompt):
    async with client_of(start(role, encoders={"e5": e5})) as client:
        answer = await post(client)
        np.testing.assert_allclose(vectors_of(answer), e5.encode(TEXTS, prompt=prompt), atol=1e-6)
        assert answer.json()["prompt"] == prompt
        other = await post(client, input_type="query" if role == "document" else "passage")
        assert other.json()["prompt"] != prompt


async def test_a_model_without_prompts_needs_no_role_and_takes_any(start, offline_encoder):
    async with client_of(start(encoders={"minilm": offline_encoder})) as client:
        for said in ({}, {"input_type": "query"}):
            answer = await post(client, model="minilm", **said)
            np.testing.assert_allclose(vectors_of(answer), offline_encoder.encode(TEXTS, prompt=""), atol=1e-6)


async def test_an_instruct_model_takes_an_instruction_on_queries(start, encoders):
    encoder = encoders("multilingual-e5-instruct")
    task = "Find documents that refute the claim"
    async with client_of(start(encoders={"instruct": encoder})) as client:
        answer = await post(client, model="instruct", input_type="query", instruction=task)
        np.testing.assert_allclose(vectors_of(answer), encoder.encode_query(TEXTS, instruction=task), atol=1e-6)
        bare = await post(client, model="instruct", input_type="passage")
        np.testing.assert_allclose(vectors_of(bare), encoder.encode_document(TEXTS), atol=1e-6)
        assert (await post(client, model="instruct", input_type="passage", instruction=task)).status_code == 400
        assert "web-search task" in (await post(client, model="instruct-query")).json()["warnings"][0]


async def test_instructions_are_refused_where_the_model_has_none(client):
    answer = await post(client, input_type="query", instruction="Find it")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "instruction")


async def test_base64_holds_the_same_bits(client):
    plain = await post(client, input_type="query")
    coded = await post(client, input_type="query", encoding_format="base64")
    rows = [np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in coded.json()["data"]]
    np.testing.assert_array_equal(rows, vectors_of(plain))


async def test_one_text_is_a_list_of_one(client, e5):
    answer = await post(client, input="a query", input_type="query")
    np.testing.assert_allclose(vectors_of(answer), e5.encode_query(["a query"]), atol=1e-6)


async def test_fewer_dimensions_are_cut_and_normalised_with_a_warning(client, e5):
    for field in ("dimensions", "output_dimension"):
        answer = await post(client, input_type="query", **{field: 8})
        expected = e5.with_options(truncate_dim=8).encode_query(TEXTS)
        np.testing.assert_allclose(vectors_of(answer), expected, atol=1e-6)
        assert "rank worse" in answer.json()["warnings"][-1]
    whole = await post(client, input_type="query", dimensions=e5.spec.embed_dim)
    assert vectors_of(whole).shape[1] == e5.spec.embed_dim


@pytest.mark.parametrize("value", [0, -1, 1_000_000, True, "8", 8.0, [8]])
async def test_impossible_dimensions_are_refused(client, value):
    answer = await post(client, input_type="query", dimensions=value)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "dimensions")


@pytest.mark.parametrize("field", ["output_dtype", "embedding_type"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
async def test_vectors_in_fewer_bits(client, e5, field, dtype):
    unit = e5.encode_query(TEXTS)
    answer = await post(client, input_type="query", normalized=False, **{field: dtype})
    rows = np.array([each["embedding"] for each in answer.json()["data"]])
    assert ["binary" in warning for warning in answer.json()["warnings"]] == [True] * ("binary" in dtype)
    if "binary" in dtype:
        expected = np.packbits(unit >= 0, axis=1).astype(int) - (128 if dtype == "binary" else 0)
        np.testing.assert_array_equal(rows, expected)
    else:
        levels = rows - (128 if dtype == "uint8" else 0)
        scale = 127 * np.sqrt(unit.shape[1]) / 4
        np.testing.assert_allclose(levels, np.clip(unit * scale, -128, 127), atol=0.51)


async def test_base64_of_fewer_bits_is_of_those_bytes(client):
    plain = await post(client, input_type="query", output_dtype="int8")
    coded = await post(client, input_type="query", output_dtype="int8", encoding_format="base64")
    rows = [np.frombuffer(base64.b64decode(each["embedding"]), np.int8) for each in coded.json()["data"]]
    np.testing.assert_array_equal(rows, [each["embedding"] for each in plain.json()["data"]])


LONG = "mountain river " * 600


async def test_what_was_cut_is_told(client, e5):
    answer = await post(client, input=["short", LONG], input_type="passage")
    [cut] = answer.json()["truncated"]
    report = e5.prepare(["short", LONG], prompt_name="document").report
    assert (cut["index"], cut["kept"]) == (1, report.truncated[0].n_read)
    assert cut["tokens"] == cut["kept"] + report.truncated[0].n_dropped
    assert answer.headers["x-truncated-inputs"] == "1"
    assert "longer than" in answer.json()["warnings"][0]


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"truncate": True, "truncation": 5}, "truncation"),
        ({"dimensions": 8, "output_dimension": "8"}, "output_dimension"),
        ({"output_dtype": "int8", "embedding_type": "int4"}, "embedding_type"),
    ],
)
async def test_second_name_of_a_field_is_checked_too(client, said, param):
    answer = await post(client, input_type="query", **said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("said", [{"truncate": "NONE"}, {"truncation": False}, {"truncate": False}])
async def test_long_texts_are_refused_by_index_if_they_must_not_be_cut(client, said):
    answer = await post(client, input=["short", LONG], input_type="passage", **said)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input.1")
    assert (await post(client, input=["short"], input_type="passage", **said)).status_code == 200


async def test_the_start_of_a_long_text_is_left_out_if_that_is_asked(client, e5):
    answer = await post(client, input=["first " + LONG + "last"], input_type="query", truncate="START")
    room = e5.max_text_tokens("query")
    text = "first " + LONG + "last"
    end = text[e5.token_spans(text)[-room][0] :]
    np.testing.assert_allclose(vectors_of(answer), e5.encode_query([end]), atol=1e-6)
    [cut] = answer.json()["truncated"]
    assert cut["kept"] == e5.spec.max_tokens
    assert cut["tokens"] - cut["kept"] == len(e5.token_spans(text)) - room


async def test_a_bad_text_is_named_and_its_neighbours_are_not_answered_for(client, e5):
    for bad in ("", " \u200b", "\u3000"):
        answer = await post(client, input=["good", "good too", "fine", bad], input_type="query")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input.3")
    assert vectors_of(await post(client, input=["good"], input_type="query")).shape == (1, e5.spec.embed_dim)


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ([], "input"),
        (None, "input"),
        ({}, "input"),
        (["a", None], "input.1"),
        (["a", 5], "input.1"),
        (5, "input"),
        ([True], "input"),
        ([-1], "input"),
        ([["a"]], "input.0"),
        ([[]], "input.0"),
        ([[1.5]], "input.0"),
    ],
)
async def test_what_is_no_text_is_refused(client, value, param):
    answer = await post(client, input=value, input_type="query")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_an_unknown_model_is_not_found_and_the_served_ones_are_named(client):
    answer = await post(client, model="text-embedding-3-small", input_type="query")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert "own/e5" in answer.json()["error"]["message"]


async def test_models_are_listed_with_their_names_for_roles(client):
    ids = [each["id"] for each in (await client.get("/v1/models")).json()["data"]]
    assert ids == ["own/e5", "own/e5-query", "own/e5-passage"]
    for path in ("/v1/models/own/e5", "/v1/models/own%2Fe5", "/v1/models/e5"):
        assert (await client.get(path)).json()["root"] == "own/e5"
    assert (await client.get("/v1/models/other")).status_code == 404


async def test_errors_have_their_message_where_each_client_looks(client):
    body = (await post(client, input=[], input_type="query")).json()
    assert body["error"]["message"] == body["message"] == body["detail"]
    assert body["error"]["type"] == "invalid_request_error"


async def test_late_chunking_and_chats_are_refused_rather_than_ignored(client):
    assert (await post(client, input_type="query", late_chunking=True)).status_code == 400
    assert (await post(client, input_type="query", messages=[])).status_code == 400


class TestTokenIds:
    async def test_are_refused_with_what_to_do(self, client, e5):
        for ids in ([1, 2], [[1, 2], [3]], ["a", [1]]):
            answer = await post(client, input=ids, input_type="query")
            assert answer.status_code == 400
            assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("with_special", [False, True])
    async def test_of_the_model_give_the_vector_of_their_text(self, start, encoders, with_special):
        for name in ("e5", "multilingual-e5"):
            encoder = encoders(name)
            ids = []
            for text in TEXTS:
                read = encoder.token_offsets(text, prompt="")
                ids.append(read.ids.tolist() if with_special else read.ids[~read.special].tolist())
            server = start(encoders={name: encoder}, token_ids=TokenIds("own"))
            async with client_of(server) as client:
                answer = await post(client, model=name, input=ids, input_type="passage")
                np.testing.assert_allclose(vectors_of(answer), encoder.encode_document(TEXTS), atol=1e-6)
                one = await post(client, model=name, input=ids[1], input_type="passage")
                np.testing.assert_allclose(vectors_of(one), encoder.encode_document(TEXTS[1:2]), atol=1e-6)

    async def test_of_another_vocabulary_are_no_text_of_the_model(self, start, e5):
        n_ids = e5._tokenizer.n_ids
        piece = next(each for each in range(n_ids) if e5._tokenizer._tokenizer.id_to_token(each).startswith("##"))
        async with client_of(start(encoders={"e5": e5}, token_ids=TokenIds("own"))) as client:
            for ids in ([n_ids], [2**31 - 1], [piece, piece]):
                answer = await post(client, input=ids, input_type="query")
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input.0")

    async def test_of_cl100k_are_spelled_before_they_are_embedded(self, start, e5):
        class Vocabulary:
            max_token_value = 99

            def decode(self, ids):
                return " ".join(TEXTS[each] for each in ids)

        async with client_of(start(encoders={"e5": e5}, token_ids=TokenIds("cl100k", Vocabulary()))) as client:
            answer = await post(client, input=[[1], [3, 0]], input_type="query")
            expected = e5.encode_query([TEXTS[1], f"{TEXTS[3]} {TEXTS[0]}"])
            np.testing.assert_allclose(vectors_of(answer), expected, atol=1e-6)
            assert (await post(client, input=[100], input_type="query")).status_code == 400
