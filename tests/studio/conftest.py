"""A Studio over small and real models: the table's names, encoders made for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import socket
import tempfile
import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from e5studio.analysis.projection import pca
from e5studio.errors import ModelUnavailableError
from e5studio.models import FOUR_BIT_MODEL
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.engine.text_box import Limits
from e5studio.studio.launch import launch_app
from e5studio.studio.services import Services
from e5studio.studio.serving.gradio_import import set_up_gradio
from tests.studio.browsing import GATE, LEAVING, PATIENCE, as_new

set_up_gradio()  # before a test module imports gradio
# Processes that look for a free port at the same moment would find the same one.
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
_UPLOADS = tempfile.TemporaryDirectory(prefix="e5studio-test-uploads-")
os.environ["GRADIO_TEMP_DIR"] = _UPLOADS.name  # or a test that has a folder made for uploads takes the server's away
os.environ["GRADIO_SERVER_PORT"] = str(7860 + 100 * int(_WORKER.removeprefix("gw")))

ENGLISH = "intfloat/e5-small-v2"
INSTRUCT = "intfloat/multilingual-e5-large-instruct"
ABSENT = "intfloat/e5-large-v2"
FAULTY = "intfloat/e5-base-v2"
ENDLESS = "intfloat/multilingual-e5-base"
OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # the first needs least


@pytest.fixture(scope="session", autouse=True)
def _nothing_compiles_in_the_background():
    patch = pytest.MonkeyPatch()
    patch.setattr("e5studio.studio.map.tab.warm_umap", lambda: None)
    yield
    patch.undo()


class StandInPool:
    """Leases small encoders under the names of the table; one is on no machine, one breaks, one never arrives."""

    def __init__(self, encoders):
        self._encoders = encoders
        self.n_leased = 0
        self.n_released = 0
        self.asked = []

    def lease(self, model, *, on_download=None, on_wait=None, dtype="auto", backend="auto", **_):
        self.asked.append((dtype, backend))
        if on_wait is not None:
            on_wait("download")
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
            FOUR_BIT_MODEL: lambda: request.getfixturevalue("boxed_encoder"),
        }
    )


@pytest.fixture(scope="session")
def engine(stand_in_pool):
    return Engine(stand_in_pool, Limits(max_texts=64, max_characters=20_000))


@pytest.fixture(scope="session")
def score(engine):
    """Scores texts as the form would."""

    def ask(queries, passages, model=ENGLISH, prompt_mode="retrieval", **more):
        return engine.score(ScoreRequest(model, prompt_mode, queries, passages, **more))

    return ask


@pytest.fixture(scope="module")
def gradio_litter():
    """Close the event loops and sockets that Gradio leaves open, before another module's tests are blamed for them."""
    yield
    for thing in gc.get_objects():
        if issubclass(type(thing), asyncio.BaseEventLoop) and not (thing.is_running() or thing.is_closed()):
            with contextlib.suppress(ValueError):  # its sockets were closed before it
                thing.close()
        # Of a port that was taken: neither bound nor connected to anything.
        if type(thing) is socket.socket and thing.fileno() >= 0 and thing.getsockname() == ("0.0.0.0", 0):
            thing.close()


def missing(reason):
    """A browser is needed where every change is checked, and nowhere else."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def profile(tmp_path_factory):
    """A folder in which the browser keeps the page's scripts, compiled once for all tests of a process."""
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")  # for longer it may not run: its event loop stands in the way of other tests' loops
def browser(profile):
    """A browser with one profile; what a tab stores is its own."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("the browser tests need playwright: pip install playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing("the browser tests need chromium on the PATH")
    # Software WebGL, for the map in three dimensions, on machines without a graphics card; the rest is drawn faster
    # without it.
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing"]
    flags.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost")
    # Nobody looks at it: a quarter of the pixels is drawn in half the time.
    with sync_playwright() as playwright:
        started = playwright.chromium.launch_persistent_context(
            profile, executable_path=path, args=flags, locale="en-GB", device_scale_factor=0.5
        )
        started.set_default_timeout(PATIENCE)
        yield started
        started.close()


@pytest.fixture
def held_up():
    GATE.clear()
    yield GATE
    GATE.set()


def wait_at_gate(report):
    """Wait for `held_up` as long work does: it hears of a Stop when it reports."""
    for _ in range(400):
        report()
        if GATE.wait(0.05):
            return


def quick_umap(vectors, n_components, *, n_neighbors, min_dist, seed, **_):
    """A stand-in: the real one compiles for seconds, and has tests of its own."""
    assert GATE.wait(20)
    return replace(
        pca(vectors, n_components),
        method="umap",
        explained_variance=None,
        n_neighbors=n_neighbors,
        min_dist=min_dist,
        seed=seed,
    )


@pytest.fixture(scope="session")
def services(engine):
    return Services(engine)


@pytest.fixture(scope="session")
def address(services, offline_encoder):
    from e5studio.default_model import ModelChoice
    from e5studio.studio.page.app import build_app

    demo = build_app(services, ModelChoice(OFFLINE, "the offline copy, because these are tests"))
    yield launch_app(demo, services, wait=False, quiet=True)
    demo.close()


@pytest.fixture
def quick_maps(monkeypatch):
    for room in ("map.placing", "corpus.map"):
        monkeypatch.setattr(f"e5studio.studio.{room}.umap", quick_umap)


class Visit:
    """A page, and what went wrong in it: nothing may leave the machine, fail in the console or pop up."""

    def __init__(self, browser, url, *, width=1440, height=900, touch=False, shows="#e5-score"):
        self.faults = []
        self.page = browser.new_page()
        if touch:
            browser.new_cdp_session(self.page).send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.on("request", self._note_request)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.faults.append(f"page: {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.goto(url)
        self.page.locator(shows).wait_for()

    def _note_request(self, request):
        if urlsplit(request.url).hostname not in ("127.0.0.1", "localhost", None):
            self.faults.append(f"request to {request.url}")

    def _note_message(self, message):
        if message.type == "error" and self.page not in LEAVING:
            self.faults.append(f"console: {message.text}")

    def _dismiss(self, dialog):
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@pytest.fixture
def open_page(browser, address, quick_maps):
    """Opens a page of the test's own."""
    visits = []

    def open_(width=1440, height=900, theme="light", *, touch=False):
        visits.append(Visit(browser, f"{address}?__theme={theme}", width=width, height=height, touch=touch))
        return visits[-1].page

    yield open_
    for visit in visits:
        visit.page.close()
    faults = [fault for visit in visits for fault in visit.faults]
    assert not faults, faults


@pytest.fixture(scope="module")
def shared_visit(browser, address):
    """The page that the tests of a module share, until one of them fails."""
    visits = []

    def get():
        if not visits:
            visits.append(Visit(browser, f"{address}?__theme=light"))
        return visits[0]

    get.forget = visits.clear
    return get


@pytest.fixture
def page(shared_visit, quick_maps, request):
    """A page as somebody finds it who has used it: with the first texts and model again, and an older result."""
    n_failed = request.session.testsfailed
    visit = shared_visit()
    visit.faults.clear()
    as_new(visit.page)
    yield visit.page
    if request.session.testsfailed > n_failed or visit.faults:
        shared_visit.forget()
        visit.page.close()
    assert not visit.faults, visit.faults
