"""Requests that nobody using the page makes never reach Gradio."""

from __future__ import annotations

import asyncio

import pytest

from e5studio.studio.serving.request_guard import ASSISTANT_HEADER, MAX_FILE_BYTES, MAX_UPLOAD_BYTES, RequestGuard


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
    app=echo,
    has_room=True,
    method="POST",
):
    sent, waiting = [], list(chunks)

    async def receive():
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "server": (server, 7860)}
    asyncio.run(RequestGuard(app, limit, upload_limit, lambda: has_room)(scope, receive, send))
    return sent[0]["status"], sent[-1]["body"]


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
    assert request("/gradio_api/upload", has_room=False)[0] == 507
    assert request("/gradio_api/upload")[0] == request(has_room=False)[0] == 200


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

    asyncio.run(RequestGuard(app)({"type": "lifespan"}, None, None))
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
