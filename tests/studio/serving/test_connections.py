"""Connections that say nothing, or too much before anything, end by themselves and hold up nobody."""

from __future__ import annotations

import asyncio
import contextlib
import resource

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from e5studio.studio.serving.connections import MAX_HEADER_BYTES, BoundedConnection, ConnectionBounds, connection_limit
from e5studio.studio.serving.visitors import Shares

# Connections that a server closes are left to the garbage collector here.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def answer(scope, receive, send):
    """The length of the body; for /slow after a second request could have begun."""
    n_bytes, more = 0, True
    while more:
        message = await receive()
        n_bytes, more = n_bytes + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/slow":
        await receive()  # the client's end
    body = str(n_bytes).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


# With and without httptools.

Pure = type("Pure", (ConnectionBounds, H11Protocol), {})


@contextlib.asynccontextmanager
async def served(protocol, n_connections=100, header_seconds=0.05):
    bounded = type("Bounded", (protocol,), {"connections_of": Shares(n_connections), "header_seconds": header_seconds})
    config = uvicorn.Config(answer, http=bounded, ws="none", log_level="critical", lifespan="off", port=0)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield lambda: asyncio.open_connection("127.0.0.1", port), bounded.connections_of
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


async def rest(reader):
    """What the server still sends before it closes the connection."""
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 20)
    return b""


@pytest.fixture(params=[BoundedConnection, Pure], ids=["httptools", "h11"])
def protocol(request):
    return request.param


@pytest.mark.parametrize(
    "beginning",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo"],
)
async def test_headers_that_do_not_end_are_given_up(protocol, beginning):
    async with served(protocol) as (connect, shares):
        reader, writer = await connect()
        writer.write(beginning)
        await rest(reader)
        writer.close()
        for _ in range(200):
            if not shares.total:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("it is counted for ever")


@pytest.mark.parametrize("path", ["/", "/slow"])
async def test_headers_are_not_endless(protocol, path):
    async with served(protocol, header_seconds=20) as (connect, _):
        reader, writer = await connect()
        if path == "/slow":
            writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(4 * MAX_HEADER_BYTES // 1000):
                writer.write(b"X: " + b"y" * 1000 + b"\r\n")
                await writer.drain()
        await rest(reader)


async def test_bodies_take_their_time_and_have_any_size(protocol):
    async with served(protocol) as (connect, _):
        reader, writer = await connect()
        for _ in range(2):  # on one connection
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n")
            for _ in range(5):
                writer.write(b"x" * 40_000)
                await asyncio.sleep(0.02)
            assert (await reader.readuntil(b"200000")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_an_answer_that_takes_longer_than_headers_may_is_given(protocol):
    async with served(protocol) as (connect, _):
        reader, writer = await connect()
        writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await asyncio.sleep(0.15)
        assert not reader.at_eof()
        writer.close()


async def test_a_client_with_too_many_connections_has_the_next_closed(protocol):
    async with served(protocol, n_connections=8, header_seconds=20) as (connect, shares):
        idle = [await connect() for _ in range(4)]
        await asyncio.sleep(0.05)
        reader, writer = await connect()
        assert await rest(reader) == b""
        writer.close()
        idle.pop()[1].close()
        for _ in range(200):
            if shares.total == 3:
                break
            await asyncio.sleep(0.005)
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        for _, other in [*idle, (reader, writer)]:
            other.close()


@pytest.mark.parametrize(
    ("soft", "hard", "limit"), [(1024, 4096, 3968), (256, 256, 128), (200, 200, 100), (-1, -1, 4000)]
)
def test_there_are_fewer_connections_than_open_files(soft, hard, limit, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: None)
    assert connection_limit() == limit
