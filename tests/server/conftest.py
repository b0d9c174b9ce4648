"""Servers in this process, over small checkpoints, and clients that talk to them without a socket."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import httpx
import pytest
import uvicorn

from e5studio.server.app import Server, ServerOptions
from e5studio.server.listening import bind
from e5studio.server.roles import Roles
from e5studio.server.served_models import ServedModel, ServedModels


def as_served(encoder, name="e5"):
    return ServedModel.over(encoder.with_options(show_progress=False), f"own/{name}")


@pytest.fixture
def start():
    """Starts a server over encoders, `own/<name>` each; without one, over the small e5."""
    servers = []

    def start_server(role="refuse", *, encoders, **options):
        models = ServedModels([as_served(encoder, name) for name, encoder in encoders.items()])
        server = Server(models, ServerOptions(roles=Roles(role), **options))
        server.engine.start()
        servers.append(server)
        return server

    yield start_server
    for server in servers:
        server.engine.close()


def client_of(server, **options):
    """A client whose requests go to the server's application."""
    transport = httpx.ASGITransport(app=server.app)
    return httpx.AsyncClient(transport=transport, base_url="http://server", **options)


@pytest.fixture
def e5(encoders):
    """The small model with query: and passage: prompts."""
    return encoders("e5")


@pytest.fixture
def server(start, e5):
    """A server over it that refuses texts without a role."""
    return start(encoders={"e5": e5})


@pytest.fixture
async def client(server):
    async with client_of(server) as made:
        yield made


@contextmanager
def on_a_socket(server):
    """The address of a server that runs in a thread, on a real socket."""
    served = uvicorn.Server(uvicorn.Config(server.app, log_config=None, lifespan="on"))
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        served.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def address(encoders):
    """The address of a running server over two models."""
    models = [as_served(encoders("e5"), "e5"), as_served(encoders("multilingual-e5"), "multilingual")]
    with on_a_socket(Server(ServedModels(models))) as made:
        yield made
