"""Requests that nobody using the page makes never reach Gradio."""

from __future__ import annotations

import asyncio
import json

import pytest

from e5studio.studio.serving import bodies
from e5studio.studio.serving.bodies import MAX_NAME_CHARACTERS, MAX_VALUES
from e5studio.studio.serving.middleware import BODY_BYTES, VISITOR
from e5studio.studio.serving.origins import Origins
from e5studio.studio.serving.request_guard import ASSISTANT_HEADER, MAX_FILE_BYTES, MAX_UPLOAD_BYTES, RequestGuard
from e5studio.studio.serving.uploads import Uploads


async def echo(scope, receive, send):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def request(
    path="/gradio_api/queue/join",
    chunks=(b"",),
    headers=(),
    limit=10,
    upload_limit=20,
    server="127.0.0.1",
    client="203.0.113.7",
    app=echo,
    uploads=None,
    method="POST",
    query=b"",
):
    sent, waiting = [], list(chunks)

    async def receive():
        if not waiting:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": list(headers),
        "server": (server, 7860),
        "client": (client, 4000),
    }
    guard = RequestGuard(app, uploads or Uploads(None), Origins(), limit, upload_limit)
    asyncio.run(guard(scope, receive, send))
    assert not guard._arriving.total
    return sent[0]["status"], sent[-1]["body"]


def post(body, path="/gradio_api/queue/join", app=echo, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request(path, chunks=[body], limit=8_000_000, app=app, **more)


def test_what_the_page_sends_passes():
    assert request(chunks=[b"12345", b"67890"]) == (200, b"1234567890")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=http://169.254.169.254/latest/meta-data",
        "/gradio_api/file=https:/example.com",
        "/gradio_api/file=HTTPS://example.com",
        "/gradio_api/file=//example.com/x",
        "/studio/gradio_api/file=ftp://example.com/x",
        "/gradio_api/file/https://example.com/x",
        "/gradio_api/file/HTTP:/example.com/x",
    ],
)
def test_it_is_no_proxy_for_other_places(path):
    assert request(path)[0] == 403


def test_files_are_refused_where_there_is_no_room_and_nothing_else_is():
    full = Uploads(None, max_files=1)
    assert request("/gradio_api/upload", uploads=full)[0] == 507
    assert request("/gradio_api/upload")[0] == request(uploads=full)[0] == 200


def test_an_upload_that_meets_the_limit_while_it_arrives_gives_its_room_back():
    uploads = Uploads(None, max_bytes=30)
    assert request("/gradio_api/upload", chunks=[b"12345678"] * 2, uploads=uploads)[0] == 507
    assert request("/gradio_api/upload", chunks=[b"12345678"], uploads=uploads)[0] == 200
    assert uploads._bytes.total == uploads._files.total == 0


@pytest.mark.parametrize(
    ("method", "route"),
    [
        ("GET", "deep_link"),  # writes a page to disk
        ("POST", "process_recording"),  # keeps its file for good, and starts ffmpeg on it
        ("POST", "component_server"),
        ("POST", "vibe-edit/"),
        ("GET", "dev/reload"),  # holds its connection open
        ("GET", "monitoring"),
        ("POST", "a_route_of_a_later_gradio"),
        ("DELETE", "upload"),
    ],
)
@pytest.mark.parametrize("root", ["", "/studio"])
def test_what_of_gradio_the_page_does_not_use_is_closed(method, route, root):
    assert request(f"{root}/gradio_api/{route}", method=method)[0] == 403


@pytest.mark.parametrize("path", ["/pwa_icon/192", "/studio/monitoring", "/login", "/gradio_api/file=/a/" + "b" * 9000])
def test_pages_of_gradio_that_this_page_has_not_are_closed(path):
    assert request(path, method="GET")[0] in (403, 414)


@pytest.mark.parametrize("path", ["/", "/gradio_api/file=/usr/lib/plotly.min.js", "/http://x"])
def test_its_own_files_are_served(path):
    assert request(path, method="GET")[0] == 200


def test_a_body_too_large_is_refused_by_its_announced_length():
    assert request(headers=[(b"content-length", b"11")])[0] == 413
    assert request(headers=[(b"content-length", b"10")], chunks=[b"1234567890"])[0] == 200


def test_a_body_too_large_is_refused_while_it_arrives():
    status, body = request(chunks=[b"12345", b"67890", b"1"])
    assert status == 413
    assert b"too large" in body


@pytest.mark.parametrize("prefix", ["", "/studio"])
def test_files_may_be_larger(prefix):
    path = f"{prefix}/gradio_api/upload"
    assert request(path, chunks=[b"1234567890"] * 2) == (200, b"1234567890" * 2)
    assert request(path, chunks=[b"1234567890"] * 2 + [b"1"])[0] == 413
    assert request(path, headers=[(b"content-length", b"20")], chunks=[b"1234567890"] * 2)[0] == 200
    assert request(path, headers=[(b"content-length", b"21")])[0] == 413


@pytest.mark.parametrize(
    "path", ["/upload", "/gradio_api/call/upload", "/gradio_api/call/upload/x", "/gradio_api/queue/join"]
)
def test_only_where_files_are_taken(path):
    assert request(path, chunks=[b"12345678901"])[0] == 413


def test_corpora_and_their_vectors_fit():
    assert 50_000 * 1_024 * 4 < MAX_FILE_BYTES < MAX_UPLOAD_BYTES


def test_other_protocols_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    asyncio.run(RequestGuard(app, Uploads(None))({"type": "lifespan"}, None, None))
    assert seen == ["lifespan"]


@pytest.mark.parametrize("path", ["/gradio_api/mcp/", "/gradio_api/mcp/messages/", "/studio/gradio_api/mcp"])
@pytest.mark.parametrize("origin", ["http://evil.example:7860", "null", "http://[", "https://127.0.0.1.evil.example"])
def test_no_page_of_another_site_uses_mcp_through_the_browser_of_this_machine(path, origin):
    status, body = request(path, headers=[(b"origin", origin.encode())])
    assert status == 403
    assert b"another site" in body
    for server in ("::1", "::ffff:127.0.0.1"):
        assert request(path, headers=[(b"origin", origin.encode())], server=server)[0] == 403


@pytest.mark.parametrize("origin", ["http://localhost:6274", "http://127.0.0.1:7860", "http://[::1]:7860", None])
def test_pages_and_programs_of_this_machine_use_mcp(origin):
    headers = [(b"origin", origin.encode())] if origin else []
    assert request("/gradio_api/mcp/", headers=headers)[0] == 200


def test_a_page_may_ask_a_studio_that_is_served_to_others():
    assert request("/gradio_api/mcp/", headers=[(b"origin", b"https://chat.example")], server="10.0.0.7")[0] == 200


@pytest.mark.parametrize(("path", "is_marked"), [("/gradio_api/mcp/", True), ("/gradio_api/queue/join", False)])
def test_what_comes_by_mcp_is_marked(path, is_marked):
    seen = []

    async def app(scope, receive, send):
        seen.extend(name for name, _ in scope["headers"])
        await echo(scope, receive, send)

    request(path, headers=[(b"accept", b"*/*")], app=app)
    assert (ASSISTANT_HEADER.encode() in seen) is is_marked


class TestNames:
    @pytest.mark.parametrize("name", ["session_hash", "event_id", "oauth_token", "a_name_of_a_later_gradio"])
    @pytest.mark.parametrize("route", ["queue/join", "run/predict", "call/score", "cancel", "reset"])
    def test_a_name_in_a_body_is_short(self, route, name):
        longest = "\N{GRINNING FACE}" * MAX_NAME_CHARACTERS
        path = f"/gradio_api/{route}"
        assert post({"data": [], name: longest}, path)[0] == 200
        assert post({"data": [], name: longest + "x"}, path)[0] == 400
        assert post({"data": [], name: [longest]}, path)[0] == 400
        assert post({"data": [], longest + "x": 1}, path)[0] == 400

    def test_texts_may_be_long(self):
        text = "x" * 400_000
        assert post({"data": [text, [text]], "event_data": {"text": text}, "session_hash": "ann"})[0] == 200
        assert post({"queries": [text], "session_hash": text}, "/gradio_api/call/v2/score")[0] == 200

    @pytest.mark.parametrize(
        "route", ["heartbeat/{}", "call/{}/{}", "run/{}", "call/score/{}", "call/v2/{}", "upload?upload_id={}"]
    )
    def test_a_name_in_an_address_is_short(self, route):
        for length, status in ((MAX_NAME_CHARACTERS, 200), (5_000, 414)):
            path, _, query = route.format(*["x" * length] * 2).partition("?")
            method = "GET" if path.startswith("heartbeat") else "POST"
            assert request(f"/gradio_api/{path}", method=method, query=query.encode())[0] == status

    def test_a_share_link_may_be_long(self):
        assert request("/", method="GET", query=b"view=" + b"x" * 30_000)[0] == 200


class TestShape:
    @pytest.mark.parametrize(
        "body",
        [
            {"data": [[]] * 10**6},
            {"data": [{}] * 10**5},
            {"data": [""] * 10**6},
            {"data": ['",'] * 10**5},
            {"data": ["\\", []] * 10**5},
            {"data": [{"a": 1, "b": None}] * 10**5},
            b"[" + b" " * 2_000_000 + b"]",
            b"[" + b"1" * 2_000_000 + b"]",
            '{"data": [' + "[]," * 10**5,
        ],
    )
    @pytest.mark.parametrize("path", ["queue/join", "call/v2/score", "mcp/"])
    def test_a_million_values_are_refused_unread(self, body, path, monkeypatch):
        monkeypatch.setattr(bodies.json, "loads", lambda text: pytest.fail("it was read"))
        body = (
            body if isinstance(body, bytes) else json.dumps(body).encode() if isinstance(body, dict) else body.encode()
        )
        assert post(body, f"/gradio_api/{path}")[0] == 413

    @pytest.mark.parametrize("text", ["[" * 10**6, '",[' * 10**5, "\\" * 10**6, '\\"' * 10**5, ",:{}" * 10**5])
    def test_texts_hold_what_they_like(self, text):
        assert post({"data": [text, "next"], "session_hash": "ann"})[0] == 200

    def test_as_many_texts_as_a_call_takes_fit(self):
        assert post({"data": [["a text, with a comma"] * (MAX_VALUES // 2)]})[0] == 200

    @pytest.mark.parametrize("body", [b"[" * 5_000, b'{"data":' + b"[" * 100 + b"]" * 100 + b"}"])
    @pytest.mark.parametrize("path", ["queue/join", "mcp/"])
    def test_values_are_not_deep_in_each_other(self, body, path):
        assert post(body, f"/gradio_api/{path}")[0] == 400

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
    def test_what_could_not_be_counted_is_refused(self, encoding):
        assert post(json.dumps({"data": [[]] * 10**5}).encode(encoding))[0] == 400


class TestArrival:
    """Silent connections hold nothing, and not for long."""

    @pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/upload", "/e5studio/present/x"])
    def test_a_body_that_does_not_come_is_given_up(self, path, monkeypatch):
        async def app(scope, receive, send):
            while (await receive()).get("more_body"):
                pass

        waiting = [{"type": "http.request", "body": b"{", "more_body": True}]
        monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.02)

        async def receive():
            if waiting:
                return waiting.pop()
            return await asyncio.Event().wait()

        sent = []

        async def send(message):
            sent.append(message)

        headers = [(b"content-length", b"8000000")]
        scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "client": ("203.0.113.7", 1)}
        guard = RequestGuard(app, Uploads(None))
        asyncio.run(asyncio.wait_for(guard(scope, receive, send), 20))
        assert sent[0]["status"] == 408
        assert not guard._arriving.total

    def test_it_may_be_slow_while_it_comes(self):
        async def run():
            chunks = [b"x" * 4_000] * 3

            async def receive():
                await asyncio.sleep(0.01)
                return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

            arrival = bodies.Arrival(receive, 10**6, lambda n: True, bodies.too_large(), grace_seconds=0.02)
            return await bodies.read_whole(arrival)

        assert len(asyncio.run(run())) == 12_000

    def test_nothing_is_reserved_for_what_has_not_come(self):
        guard = RequestGuard(echo, Uploads(None))

        async def run():
            silent = [asyncio.create_task(guard(scope("10.0.0.1"), never, never)) for _ in range(100)]
            await asyncio.sleep(0)
            sent = []
            chunks = [b'"', *[b"x" * 1_000_000] * 7, b'"']

            async def receive():
                return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

            async def send(message):
                sent.append(message)

            await guard(scope("10.0.0.2"), receive, send)
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            return sent[0]["status"]

        def scope(client):
            headers = [(b"content-length", b"8000000")]
            path = "/gradio_api/queue/join"
            return {"type": "http", "method": "POST", "path": path, "headers": headers, "client": (client, 1)}

        async def never(*_):
            await asyncio.Event().wait()

        assert asyncio.run(run()) == 200

    def test_a_client_that_goes_away_is_not_answered(self):
        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            raise AssertionError(message)

        scope = {"type": "http", "method": "POST", "path": "/gradio_api/queue/join", "headers": [], "client": None}
        asyncio.run(RequestGuard(echo, Uploads(None))(scope, receive, send))


class TestAnswers:
    @pytest.fixture
    def echoing(self):
        async def app(scope, receive, send):
            body = (await receive())["body"]
            await send({"type": "http.response.start", "status": 422, "headers": []})
            await send({"type": "http.response.body", "body": body})

        return app

    def test_what_is_refused_is_not_sent_back(self, echoing):
        status, body = post({"data": "secret" * 10**6}, app=echoing)
        assert status == 422
        assert len(body) < 300
        assert b"secret" not in body

    @pytest.mark.parametrize("path", ["run/predict", "call/score", "call/v2/x", "queue/join", "api/x"])
    def test_a_request_that_gradio_stumbles_over_is_the_senders_mistake(self, path, caplog):
        async def app(scope, receive, send):
            raise KeyError("fn_index" * 10_000)

        status, body = post({"data": []}, f"/gradio_api/{path}", app=app)
        assert status == 400
        assert b"fn_index" not in body

    def test_a_fault_elsewhere_stays_a_fault(self):
        async def app(scope, receive, send):
            raise KeyError("a bug")

        with pytest.raises(KeyError):
            request("/config", method="GET", app=app)

    def test_files_are_what_they_are_said_to_be(self):
        seen = []

        async def app(scope, receive, send):
            message = {"type": "http.response.start", "status": 200, "headers": []}
            await send(message)
            seen.append(dict(message["headers"]))
            await send({"type": "http.response.body", "body": b""})

        request("/gradio_api/file=/tmp/a.json", method="GET", app=app)
        assert seen[0][b"x-content-type-options"] == b"nosniff"


def test_what_is_behind_knows_the_visitor_and_the_bytes():
    seen = []

    async def app(scope, receive, send):
        seen.append((scope[VISITOR], scope.get(BODY_BYTES)))
        await echo(scope, receive, send)

    body = b'{"data": [], "session_hash": "ann"}'
    post(body, app=app)
    post(body, app=app, client="127.0.0.1")
    request("/gradio_api/upload", app=app, client="::1")
    assert seen == [("203.0.113.7", len(body)), ("session ann", len(body)), ("session ", None)]


def test_a_range_of_many_parts_is_not_made():
    seen = []

    async def app(scope, receive, send):
        seen.append([name for name, _ in scope["headers"]])
        await echo(scope, receive, send)

    for value in (b"bytes=0-9", b"bytes=" + b"0-0," * 300):
        request("/gradio_api/file=/tmp/a", method="GET", headers=[(b"range", value)], app=app)
    assert seen == [[b"range"], []]
