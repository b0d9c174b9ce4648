"""Any JSON in any field of any route is answered as the OpenAPI document says, never with a 500, never by silence."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from e5studio.server import openapi
from e5studio.server.app import DIALECTS, Server, ServerOptions
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModels
from e5studio.server.token_ids import TokenIds
from tests.server.conftest import as_served, client_of

OPERATIONS = {
    path: item["post"] for path, item in openapi.document(DIALECTS, needs_key=False)["paths"].items() if "post" in item
}


def schema_in(part):
    return part["content"]["application/json"]["schema"]


BODY_SCHEMAS = {path: schema_in(operation["requestBody"]) for path, operation in OPERATIONS.items()}
FIELDS = sorted(
    {name for schema in BODY_SCHEMAS.values() for each in schema.get("anyOf", [schema]) for name in each["properties"]}
    | {"messages", "images", "user"}
)
SOURCES = {"source_sentence": "a", "sentences": ["b"]}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", " ", "a text", "query", "image", "e5", "e5-query", "float", "base64", "START", "x" * 300]),
    st.text(max_size=20),
    st.sampled_from([[], [[]], {}, ["a", "b"], ["a", None], [1, 2], [[1, 2], "a"], [{"content": [{}]}], SOURCES]),
    st.lists(st.one_of(st.text(max_size=5), st.integers(-5, 300), st.none()), max_size=4),
    st.lists(st.lists(st.integers(-5, 300), max_size=3), max_size=3),
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=7)


@pytest.fixture(scope="module")
def shared(encoders):
    options = ServerOptions(roles=Roles("query"), token_ids=TokenIds("own"))
    made = Server(ServedModels([as_served(encoders("e5"))]), options)
    made.engine.start()
    yield made
    made.engine.close()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), BODIES), min_size=8, max_size=8))
def test_no_body_makes_a_500(shared, requests):
    async def ask():
        async with client_of(shared) as client:
            return await asyncio.gather(*(client.post(path, json=body) for path, body in requests))

    for (path, body), answer in zip(requests, asyncio.run(ask()), strict=True):
        response = OPERATIONS[path]["responses"].get(str(answer.status_code))
        assert response is not None, (path, body, answer.text)
        assert answer.status_code < 424, (path, body, answer.text)
        validate(answer.json(), schema_in(response))
        if answer.status_code != 200:
            assert len(answer.content) < 2_500
        else:
            validate(body, BODY_SCHEMAS[path])
    assert shared.engine.admission.n_waiting == 0
    assert shared.gate.n_requests == 0
