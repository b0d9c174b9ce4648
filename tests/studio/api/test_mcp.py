"""The Studio as an MCP server, asked by the official client: its tools, the encoder's numbers, errors in words."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from e5studio.default_model import ModelChoice
from e5studio.studio.api.answers import MAX_CHARACTERS_READ
from e5studio.studio.engine import queues
from e5studio.studio.launch import launch_app
from e5studio.studio.page.app import build_app
from e5studio.studio.serving.sessions import CLOSED_SECONDS
from tests import corpus
from tests.studio.conftest import FAULTY, INSTRUCT, OFFLINE

mcp = pytest.importorskip("mcp", reason="an MCP server needs pip install 'mcp>=1.22,<2'")
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

# Gradio and its client leave event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),  # Gradio sets an option that pandas 3 deprecates
    pytest.mark.usefixtures("gradio_litter"),
]

ROOT = Path(__file__).parents[3]
QUERIES = [corpus.PROTEIN_QUERY, corpus.SUMMIT_QUERY]
PASSAGES = ["Rivers run through valleys.", corpus.SUMMIT_PASSAGE, corpus.PROTEIN_PASSAGE]
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def served(services, offline_encoder):
    """The server's address, and what it printed when it started."""
    printed = io.StringIO()
    demo = build_app(services, ModelChoice(OFFLINE, "because these are tests"))
    with contextlib.redirect_stdout(printed):
        address = launch_app(demo, services, mcp=True, wait=False, quiet=True)
    yield f"{address}gradio_api/mcp/", printed.getvalue()
    demo.close()


@pytest.fixture(scope="module")
def route(served):
    return served[0]


@contextlib.asynccontextmanager
async def connected(route):
    async with streamable_http_client(route) as (reading, writing, *_), mcp.ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


async def call(session, tool, progress=None, **arguments):
    return await session.call_tool(tool, arguments, progress_callback=progress)


def text_of(result):
    [content] = result.content
    return content.text


def answer_of(result):
    assert not result.isError, text_of(result)
    return json.loads(text_of(result))


async def test_the_tools_are_these_and_every_argument_is_described(route):
    async with connected(route) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        others = [(await session.list_resources()).resources, (await session.list_prompts()).prompts]
    assert others == [[], []]
    arguments = {name: list(tool.inputSchema["properties"]) for name, tool in tools.items()}
    assert arguments == {
        "models": [],
        "score": ["queries", "passages", "model", "instruction", "prompt_mode", "dtype", "backend"],
        "search": ["queries", "passages", "top_k", "model", "instruction"],
        "explain": ["query", "passage", "model", "instruction"],
    }
    for tool in tools.values():
        assert tool.description.endswith(".")
        assert all(argument["description"].endswith(".") for argument in tool.inputSchema["properties"].values())
    schema = tools["search"].inputSchema
    assert schema["required"] == ["queries", "passages"]
    assert schema["properties"]["queries"]["items"] == {"type": "string"}
    assert schema["properties"]["top_k"]["default"] == 5
    assert tools["explain"].inputSchema["required"] == ["query", "passage"]


def test_where_it_answers_is_said_at_the_start(served):
    route, printed = served
    assert route in printed


async def test_answers_are_the_encoders_numbers(route, offline_encoder):
    scores = offline_encoder.scores(QUERIES, PASSAGES)
    async with connected(route) as session:
        matrix = answer_of(await call(session, "score", queries=QUERIES, passages=PASSAGES))
        answer = answer_of(await call(session, "search", queries=QUERIES, passages=PASSAGES, top_k=1))
        explained = answer_of(await call(session, "explain", query=QUERIES[1], passage=PASSAGES[1]))
        models = answer_of(await call(session, "models"))
    for row, expected in zip(matrix, scores, strict=True):
        assert row == pytest.approx(expected, abs=0.006)
    assert [result["best"][0]["number"] - 1 for result in answer["results"]] == scores.argmax(axis=1).tolist()
    assert explained["score"] == matrix[1][1]
    assert [each["word"] for each in explained["query"]["without_word"]] == QUERIES[1].split()
    assert [model["name"] for model in models if model["is_default"]] == [OFFLINE]


async def test_an_instruction_reaches_the_model(route, encoders):
    arguments = {"queries": QUERIES[:1], "passages": PASSAGES, "model": INSTRUCT, "instruction": "Find it"}
    async with connected(route) as session:
        matrix = answer_of(await call(session, "score", **arguments))
    expected = encoders("multilingual-e5-instruct").scores(QUERIES[:1], PASSAGES, instruction="Find it")
    assert matrix[0] == pytest.approx(expected[0], abs=0.006)


async def test_texts_come_back_as_they_went(route):
    text = 'Höhe, 高さ, 🧭 "quoted" & <b>bold</b>\u2028next'
    async with connected(route) as session:
        answer = answer_of(await call(session, "search", queries=["a"], passages=[text]))
    assert answer["results"][0]["best"][0]["text"] == text


async def test_long_texts_are_shown_shorter_where_there_are_many(route):
    passages = [f"{number} " + "a mountain of texts " * 30 for number in range(30)]
    async with connected(route) as session:
        result = await call(
            session, "search", queries=[f"query {n} " * 60 for n in range(10)], passages=passages, top_k=30
        )
    assert len(text_of(result)) <= MAX_CHARACTERS_READ
    answer = answer_of(result)
    assert "characters are shown" in answer["notes"][0]
    for query in answer["results"]:
        assert sorted(hit["number"] for hit in query["best"]) == list(range(1, 31))
        assert all(passages[hit["number"] - 1].startswith(hit["text"].removesuffix("…")) for hit in query["best"])


BAD = [
    ("score", {"queries": [], "passages": ["a"]}, "There are no queries: the list is empty."),
    ("search", {"queries": ["a"], "passages": []}, "There are no passages: the list is empty."),
    ("search", {"queries": ["a"], "passages": ["a"] * 65}, "65 passages are more than the 64 taken at once here."),
    ("search", {"queries": ["a"], "passages": ["a", " "]}, "1 of 2 texts are empty (at 1)"),
    ("search", {"queries": ["a"], "passages": ["a"], "top_k": 0}, "Give a whole number from 1 to 100."),
    ("search", {"queries": ["a"], "passages": ["a"], "top_k": 1.5}, "1.5 is not of type 'integer'"),
    ("search", {"queries": ["a"], "passages": ["a"], "top_k": float("nan")}, "is not of type 'integer'"),
    ("score", {"queries": ["a"] * 32, "passages": ["a"] * 32}, "1,024 scores are more than the 1,000"),
    ("search", {"queries": ["a"] * 32, "passages": ["a"] * 32, "top_k": 32}, "1,024 passages are more than the 300"),
    ("score", {"queries": ["a"], "passages": ["b"], "model": "e5-smal-v2"}, "Did you mean"),
    ("score", {"queries": ["a"], "passages": ["b"], "model": "/etc"}, "Unknown model"),
    ("score", {"queries": ["a"], "passages": ["b"], "instruction": "Find"}, "not trained with instructions"),
    ("score", {"queries": ["a"], "passages": ["b"], "model": FAULTY}, "inside the Studio (RuntimeError)"),
    ("score", {"queries": "a", "passages": ["b"]}, "'a' is not of type 'array'"),
    ("score", {"queries": ["a"], "passages": [5]}, "5 is not of type 'string'"),
    ("score", {"queries": ["a"]}, "'passages' is a required property"),
    ("explain", {"query": "", "passage": "b"}, "1 of 1 texts are empty"),
    ("explain", {"query": "a", "passage": "x" * 20_001}, "20,001 characters"),
    ("no_such_tool", {}, "Unknown tool"),
]


async def test_a_mistake_is_answered_with_a_sentence(route):
    async with connected(route) as session:
        results = [(await call(session, tool, **arguments), words) for tool, arguments, words in BAD]
    for result, words in results:
        assert result.isError
        assert words in text_of(result)
        assert "Traceback" not in text_of(result)
        assert "nobody foresaw" not in text_of(result)


@pytest.mark.parametrize(
    "arguments",
    [
        r'{"queries": ["a \ud800"], "passages": ["b"]}',
        '{"queries": ["a"], "passages": ["b"], "top_k": NaN}',
        '{"queries": ["a"], "passages": ["b"], "top_k": 1e999}',
    ],
)
def test_what_is_hardly_json_is_an_error_without_a_trace(route, arguments):
    body = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": %s}}'
    answered = httpx.post(route, content=body % arguments, headers=JSON)
    assert "error" in answered.text.lower()
    assert "Traceback" not in answered.text
    assert answered.status_code < 500


async def test_who_wants_to_hear_of_progress_gets_the_same(route):
    heard = []

    async def progress(done, total, message):
        heard.append(done)

    async with connected(route) as session:
        plain = await call(session, "score", queries=QUERIES, passages=PASSAGES)
        reported = await call(session, "score", progress, queries=QUERIES, passages=PASSAGES)
        wrong = await call(session, "score", progress, queries=[], passages=PASSAGES)
    assert heard
    assert text_of(reported) == text_of(plain)
    assert wrong.isError
    assert "There are no queries" in text_of(wrong)


async def test_clients_at_once_get_their_own_texts(route):
    async def ask(name):
        async with connected(route) as session:
            for number in range(5):
                passage = f"a passage of {name}, number {number}"
                answer = answer_of(await call(session, "search", queries=[name], passages=[passage]))
                yield answer["results"][0]["query"], answer["results"][0]["best"][0]["text"], name, passage

    async def all_of(name):
        return [each async for each in ask(name)]

    for answers in await asyncio.gather(all_of("one"), all_of("another")):
        assert len(answers) == 5
        for query, text, name, passage in answers:
            assert (query, text) == (name, passage)


def test_programs_get_all_digits_and_no_text(served, offline_encoder):
    address = served[0].removesuffix("mcp/")
    posted = httpx.post(f"{address}call/v2/score", json={"queries": QUERIES, "passages": PASSAGES})
    events = httpx.get(f"{address}call/score/{posted.json()['event_id']}").text
    [rows] = json.loads(events.partition("data: ")[2])
    for row, expected in zip(rows, offline_encoder.scores(QUERIES, PASSAGES), strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_no_page_of_another_site_is_answered(route):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    own = httpx.post(route, json=body, headers={**JSON, "origin": "http://localhost:6274"})
    assert own.status_code == 200
    for host in ({}, {"host": "evil.example:7860"}):
        foreign = httpx.post(route, json=body, headers={**JSON, **host, "origin": "http://evil.example:7860"})
        assert foreign.status_code == 403


def test_it_is_off_where_nobody_asked_for_it_and_so_is_v1_where_it_is_switched_off(services, monkeypatch, capsys):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "true")
    without = replace(services, has_v1=False)
    demo = build_app(without, ModelChoice(OFFLINE, "because these are tests"))
    address = launch_app(demo, without, wait=False)
    assert httpx.get(f"{address}v1/models").status_code == 404
    assert httpx.post(f"{address}v1/embeddings", json={"model": OFFLINE, "input": ["a"]}).status_code == 404
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert httpx.post(f"{address}gradio_api/mcp/", json=body, headers=JSON).status_code == 404
    assert httpx.get(f"{address}gradio_api/mcp/schema").status_code == 404
    assert httpx.get(f"{address}gradio_api/mcp/sse").status_code == 404
    assert "MCP" not in capsys.readouterr().out
    demo.close()


def matches(answer, expected):
    """Whether both are the same but for what another processor rounds otherwise."""
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(matches(answer[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(matches, answer, expected))
    if isinstance(expected, float):
        return answer == pytest.approx(expected, abs=0.021)
    return answer == expected


async def test_the_calls_in_the_documentation_are_answered_as_it_says(route):
    text = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    *settings, search, hits, explain, explanation = map(json.loads, re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    assert json.dumps(settings).count("http://127.0.0.1:7860/gradio_api/mcp/") == len(settings) == 3
    async with connected(route) as session:
        assert matches(answer_of(await call(session, "search", **search)), hits)
        assert matches(answer_of(await call(session, "explain", **explain)), explanation)
        tools = (await session.list_tools()).tools
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text, re.MULTILINE)
    assert {name: re.findall(r"`(\w+)`", given) for name, given in rows} == {
        tool.name: list(tool.inputSchema["properties"]) for tool in tools
    }


def test_the_documentation_knows_how_many_may_wait_and_how_long_something_is_kept():
    text = " ".join((ROOT / "docs" / "mcp.md").read_text(encoding="utf-8").split())
    assert f"up to {queues.PROGRAMS.max_waiting} calls wait for it" in text
    assert f"{queues.VISITORS.at_once} in all" in text
    assert f"about {CLOSED_SECONDS // 60} minutes later" in text
