"""The OpenAPI document says what the server does; test_odd_bodies.py holds it to every answer there."""

from __future__ import annotations

import asyncio

import pytest

from e5studio.server.app import DIALECTS
from e5studio.server.service import Call
from tests.server.conftest import client_of

POSTS = [route for _, routes in DIALECTS for route in routes if route.method == "POST" and route.body]
TEXTS = ["a", "b"]
SENTENCES = {"source_sentence": "a", "sentences": TEXTS}
VALUES = {
    **{"model": "e5", "input_type": "query", "query": "a", "passage": "b", "prompt": "a", "ids": [5]},
    **dict.fromkeys(("input", "inputs", "texts", "queries", "passages"), TEXTS),
}


class Recorder(dict):
    """A body that knows which of its fields were read."""

    def __init__(self, values):
        super().__init__(values)
        self.names = set()

    def get(self, name, default=None):
        self.names.add(name)
        return super().get(name, default)


@pytest.fixture
async def document(client):
    answer = await client.get("/openapi.json")
    return answer.json()


async def test_every_route_is_documented_but_those_that_only_refuse(server, document):
    documented = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    served = {
        (route.path.replace(":path", ""), method)
        for route in server.app.routes
        for method in route.methods - {"HEAD"}
        if route.path not in ("/openapi.json", "/embed_sparse", "/predict", "/rerank")
    }
    assert documented == served


@pytest.mark.parametrize("route", POSTS, ids=lambda route: route.path)
async def test_every_field_that_is_read_is_documented(server, route):
    inputs = {"/similarity": SENTENCES, "/v1/embed": None, "/v2/embed": None}.get(route.path, TEXTS)
    body = Recorder({**VALUES, "inputs": inputs})
    await route.handler(Call(server.service, body, {}))
    alternatives = route.body.get("anyOf", [route.body])
    documented = {name for each in alternatives for name in each["properties"]}
    assert body.names - {"images"} <= documented  # images are read to refuse them


async def test_a_server_with_keys_says_so_without_one(start, e5):
    async with client_of(start(encoders={"e5": e5}, api_keys=["secret"])) as client:
        document = (await client.get("/openapi.json")).json()
        refused = await client.get("/v1/models")
    operation = document["paths"]["/v1/models"]["get"]
    assert operation["security"] == [{"key": []}]
    assert str(refused.status_code) in operation["responses"]
    assert "security" not in document["paths"]["/health"]["get"]


async def test_statuses_are_those_of_the_dialect(document):
    statuses = {path: item["post"]["responses"].keys() for path, item in document["paths"].items() if "post" in item}
    assert {"200", "422", "424", "429"} <= statuses["/embed"]
    assert "500" not in statuses["/embed"]
    assert {"200", "400", "404", "429", "500"} <= statuses["/v1/embeddings"]


async def test_wrong_method_names_all_that_a_path_has(client):
    answers = await asyncio.gather(client.put("/"), client.get("/embed"), client.get("/nowhere"))
    assert [answer.status_code for answer in answers] == [405, 405, 404]
    assert [answer.headers.get("allow") for answer in answers] == ["GET, HEAD, POST", "POST", None]
