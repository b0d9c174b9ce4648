"""A Studio over small and real models: the table's names, encoders made for the tests."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from e5studio.errors import ModelUnavailableError
from e5studio.studio.boxes import Limits
from e5studio.studio.handlers import Handlers
from e5studio.studio.launch import switch_off_telemetry

switch_off_telemetry()  # before a test module imports gradio

ENGLISH = "intfloat/e5-small-v2"
INSTRUCT = "intfloat/multilingual-e5-large-instruct"
ABSENT = "intfloat/e5-large-v2"
FAULTY = "intfloat/e5-base-v2"
ENDLESS = "intfloat/multilingual-e5-base"
OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"


class StandInPool:
    """Leases small encoders under the names of the table; one is on no machine, one breaks, one never arrives."""

    def __init__(self, encoders):
        self._encoders = encoders
        self.n_leased = 0
        self.n_released = 0

    def lease(self, model, *, on_download=None, **_):
        if model == ABSENT:
            raise ModelUnavailableError(
                f"{model} is not on this machine, and the Hub does not answer.", "At hand: none."
            )
        if model == FAULTY:
            raise RuntimeError("a bug nobody foresaw, with <b>mark-up</b>")
        if on_download is not None:
            on_download(1, 2)
        while model == ENDLESS:  # a download that ends only when it is stopped
            on_download(1, 4)
            threading.Event().wait(0.02)
        self.n_leased += 1
        return _Lease(self, self._encoders[model]())


class _Lease:
    def __init__(self, pool, encoder):
        self._pool = pool
        self.encoder = encoder

    def __enter__(self):
        return self.encoder

    def __exit__(self, *_):
        self._pool.n_released += 1


@pytest.fixture(scope="session")
def stand_in_pool(encoders, request):
    return StandInPool(
        {
            ENGLISH: lambda: encoders("e5"),
            INSTRUCT: lambda: encoders("multilingual-e5-instruct"),
            OFFLINE: lambda: request.getfixturevalue("offline_encoder"),
        }
    )


@pytest.fixture(scope="session")
def handlers(stand_in_pool):
    return Handlers(stand_in_pool, Limits(max_texts=64, max_characters=20_000))


@pytest.fixture(scope="module")
def gradio_litter():
    """Close the event loops that Gradio leaves open, before another module's tests are blamed for them."""
    yield
    for thing in gc.get_objects():
        if issubclass(type(thing), asyncio.BaseEventLoop) and not (thing.is_running() or thing.is_closed()):
            thing.close()
