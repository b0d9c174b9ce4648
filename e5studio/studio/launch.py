"""Starts the Studio: `main` for app.py, `run_studio` for the command line, `launch_app` for a page built elsewhere.

Importing this module loads neither Gradio nor torch; telemetry must be switched off before they are imported.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from e5studio.errors import E5StudioError, UnknownModelError
from e5studio.memory import as_out_of_memory, available_bytes
from e5studio.network import are_settings_readable, send_no_telemetry, without_settings
from e5studio.streams import set_up_streams
from e5studio.studio.engine.catalog import Catalog, named_catalog
from e5studio.studio.engine.zero_gpu import import_before_torch
from e5studio.studio.options import corpora_of_environment, is_mcp_on, is_v1_on, models_of_environment, option_parser
from e5studio.studio.serving.address import BoundAddress, bind
from e5studio.studio.serving.gradio_import import set_up_gradio
from e5studio.studio.serving.temporary_folders import delete_folders, delete_folders_on_termination
from e5studio.studio.serving.uploads import use_own_folder

if TYPE_CHECKING:
    import gradio as gr
    from starlette.routing import Route

    from e5studio.default_model import ModelChoice
    from e5studio.model_pool import ModelPool
    from e5studio.studio.corpus.corpus_folder import CorpusFolder
    from e5studio.studio.engine.engine import Engine
    from e5studio.studio.services import Services

_log = logging.getLogger(__name__)
_SESSIONS = 1_000  # of which `serving.sessions` stores 200 without an open page
_HEAD_START_SECONDS = 2
_SHARE_OF_MEMORY = 0.6  # for loaded models; the rest is for computing, UMAP and everything else
_TRACEBACK_VARIABLE = "E5STUDIO_TRACEBACK"
_has_started = False


class StartError(E5StudioError):
    """The page cannot be started on this machine as it is."""


def main(arguments: Sequence[str] | None = None) -> None:
    """`python app.py`: read the command line and serve the page."""
    set_up_streams()
    parser = option_parser()
    options = parser.parse_args(arguments)
    try:
        names, kinds = options.model, options.prompt_kind
        serving = {"host": options.host, "port": options.port, "v1": options.v1, "mcp": options.mcp}
        run_studio(names, kinds, corpora=options.corpus, **serving)
    except KeyboardInterrupt:
        parser.exit(130)
    except (E5StudioError, OSError) as error:
        parser.exit(2 if isinstance(error, UnknownModelError) else 1, f"{error}\n")


@contextmanager
def ending_at_once() -> Iterator[None]:
    """End this process as soon as the code inside exits, if it has started the Studio.

    Python's own end would wait for a download, or break off threads in the middle of native code, such as one that
    imports torch, which some of these answer with SIGABRT.
    """
    try:
        yield
        code = 0
    except SystemExit as end:
        if not _has_started:
            raise
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if _has_started:
        delete_folders()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # nobody may read them any more
                stream.flush()
        os._exit(code)


def run_studio(
    models: Sequence[str] | None = None,
    prompt_kinds: Sequence[str] | None = None,
    *,
    corpora: Sequence[str] | None = None,
    host: str | None = None,
    port: int | None = None,
    v1: bool | None = None,
    mcp: bool | None = None,
) -> None:
    """Serve the page until interrupted.

    Args:
        models: Models to start with and to offer, as `named_catalog` takes them; if none, those of E5STUDIO_MODEL and
            E5STUDIO_MODELS.
        prompt_kinds: One at most: how the only model outside the table was trained to be used.
        corpora: Folders of vectors that visitors can open; if none, those of E5STUDIO_CORPORA.
        host: Address to listen on, of IPv4 or IPv6; GRADIO_SERVER_NAME, or this machine only, if None.
        port: Port to listen on; the first free one from 7860 (or GRADIO_SERVER_PORT) if None.
        v1: Whether programs find OpenAI's routes at /v1/; if None, as E5STUDIO_V1 says, else yes.
        mcp: Whether assistants find the Studio's tools at /gradio_api/mcp/; if None, as E5STUDIO_MCP says, else not.

    Raises:
        UnknownModelError: There is no such model.
        PromptError: Nothing tells how a model was trained to be used.
        ModelFilesError: A model's files are missing, damaged, or not those of an E5 model.
        ModelUnavailableError: A model of the Hub cannot be downloaded.
        FileFormatError: A folder holds no vectors that `e5studio encode` made.
        AddressError: The port is taken or not a port, or the address is not this machine's.
        MissingDependencyError: `mcp` is on, and its package is not installed or fails.
        SettingError: E5STUDIO_V1 or E5STUDIO_MCP is neither yes nor no.
        OutOfMemoryError: The libraries do not fit into memory.
        StartError: Something else of this machine stands in the way.
    """
    global _has_started
    with _errors_as_sentences(), as_out_of_memory("E5 Studio"):
        _check_folder()
        v1, mcp = is_v1_on(v1), is_mcp_on(mcp)
        send_no_telemetry()
        catalog = named_catalog(models or models_of_environment(), prompt_kinds or ())
        folders = _checked_folders(corpora or corpora_of_environment(), catalog)
        delete_folders_on_termination()
        with bind(host, port) as address:
            set_up_gradio()
            use_own_folder()
            import_before_torch()
            build_app, services, choice = _import_and_choose(catalog, folders, has_v1=v1)
            _has_started = True
            loading = load_in_background(services.engine, choice.name)
            demo = build_app(services, choice)
            # Importing torch holds the GIL; wait, so that the page answers when it opens.
            loading.join(_HEAD_START_SECONDS)
            launch_app(demo, services, address=address, mcp=mcp, model=choice.name)


def _import_and_choose(
    catalog: Catalog, folders: tuple[CorpusFolder, ...], *, has_v1: bool
) -> tuple[Callable[[Services, ModelChoice], gr.Blocks], Services, ModelChoice]:
    """Import Gradio, and choose the model meanwhile: asking the Hub may take its 3 seconds."""
    with ThreadPoolExecutor(1) as thread, ExitStack() as importing:
        choosing = thread.submit(catalog.choose)
        import httpx

        if not are_settings_readable(lambda: httpx.Client().close()):  # as Gradio makes one at its import, for nothing
            choosing.result()  # the Hub's client needs the settings, and may read them
            importing.enter_context(without_settings())
        from e5studio.studio.engine.engine import Engine
        from e5studio.studio.page.app import build_app
        from e5studio.studio.services import Services

        services = Services(Engine(_model_pool(), catalog=catalog), corpora=folders, has_v1=has_v1)
        return build_app, services, choosing.result()


def _checked_folders(names: Sequence[str], catalog: Catalog) -> tuple[CorpusFolder, ...]:
    """The folders of vectors; what will keep one from being opened is logged, and its button reports it again."""
    if not names:
        return ()
    from e5studio.studio.corpus.corpus_folder import corpus_folders

    folders = corpus_folders(names)
    for folder in folders:
        try:
            folder.check(catalog)
        except E5StudioError as error:
            _log.warning("%s", error)
    return folders


@contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """Turn what a library raises on this machine into an error with a message for its owner."""
    try:
        yield
    except E5StudioError:
        raise
    except Exception as error:
        if os.environ.get(_TRACEBACK_VARIABLE):
            raise
        where = f" {error.filename}" if isinstance(error, OSError) and error.filename else ""
        why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        raise StartError(
            f"The Studio cannot start:{where} {' '.join(why.split())}.",
            f"{_TRACEBACK_VARIABLE}=1 in the environment shows where.",
        ) from error


def _check_folder() -> None:
    """Gradio and torch ask for the current folder at their import."""
    try:
        os.getcwd()
    except OSError as error:
        raise StartError(f"The current folder cannot be used: {error.strerror}.", "Start in another.") from error


def _model_pool() -> ModelPool:
    from e5studio.model_pool import ModelPool

    free = available_bytes()
    return ModelPool(memory_budget=int(free * _SHARE_OF_MEMORY) if free else None)


def load_in_background(engine: Engine, model: str) -> threading.Thread:
    """Load a model while the page is already served; an error is logged, and Score reports it again."""

    def load() -> None:
        try:
            engine.load(model)
        except E5StudioError as error:
            _log.warning("%s", error)
        except Exception as error:  # a traceback would end the page's first line for nothing
            _log.warning("%s is not loaded yet: %s: %s", model, type(error).__name__, error)

    thread = threading.Thread(target=load, name="e5studio-load", daemon=True)
    thread.start()
    return thread


def launch_app(
    demo: gr.Blocks,
    services: Services,
    *,
    address: BoundAddress | None = None,
    mcp: bool = False,
    model: str | None = None,
    wait: bool = True,
    quiet: bool = False,
) -> str:
    """Serve a page with the Studio's look and limits; returns its address if `wait` is False.

    Prints where the page is, and the `model` that it starts with if there is one. With `mcp` its endpoints are tools
    for assistants as well, and Gradio prints where, even if `quiet`.

    Args:
        demo: The page, from `build_app`.
        services: The state behind the page.
        address: Where to serve it; the usual address and the first free port if None.
        mcp: Whether to serve tools to assistants.
        model: Name of the model that the page starts with.
        wait: Whether to block until interrupted.
        quiet: Whether to print nothing.

    Raises:
        AddressError: There is no free port.
    """
    from e5studio.studio.engine.queues import THREADS
    from e5studio.studio.page.theme import studio_look
    from e5studio.studio.serving.gradio_bounds import bound_gradio
    from e5studio.studio.serving.gradio_patches import describe_once, fetch_nothing, launch_at, lighten_page
    from e5studio.studio.serving.origins import trust_proxy_of_space
    from e5studio.studio.serving.request_guard import MAX_FILE_BYTES

    trust_proxy_of_space()
    bound_gradio()
    fetch_nothing()
    lighten_page()
    describe_once(demo)
    demo.queue(max_size=None, default_concurrency_limit=8, api_open=False)
    address = address or bind()
    launch_at(
        demo,
        address.socket,
        address.url,
        quiet=True,  # Gradio would print advice to change what is set here
        **studio_look(),
        footer_links=["api"],
        app_kwargs=_around_gradio(demo, services, address.socket.getsockname()[0]),
        max_threads=THREADS,
        max_file_size=MAX_FILE_BYTES,
        state_session_capacity=_SESSIONS,
        share=False,
        show_error=False,
        ssr_mode=False,
        run_history=False,
        pwa=False,
        mcp_server=mcp,
        enable_monitoring=False,
    )
    if not quiet:
        sys.stdout.write(_start_line(address, model) + "\n")
        sys.stdout.flush()  # a log file would hold it back
    if wait:
        demo.block_thread()
    return address.url


def _around_gradio(demo: gr.Blocks, services: Services, host: str) -> dict[str, Any]:
    """The middleware in front of Gradio's routes, outermost first, and our own routes."""
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES

    from e5studio.studio.serving.downloads import download_route
    from e5studio.studio.serving.gradio_patches import GradioQueue, GradioSessions
    from e5studio.studio.serving.middleware import Compression
    from e5studio.studio.serving.origins import origins_of
    from e5studio.studio.serving.queue_limit import QueueLimitMiddleware
    from e5studio.studio.serving.request_guard import RequestGuard
    from e5studio.studio.serving.sessions import SessionMiddleware
    from e5studio.studio.serving.uploads import uploads_here
    from e5studio.studio.widgets.plotly_view import plotly_route
    from e5studio.studio.widgets.scripts import scripts_route

    downloads, visitor_stores = services.downloads, services.visitor_stores
    uploads = uploads_here(visitor_stores.has_file)
    sessions = GradioSessions(demo, on_forget=[downloads.forget, visitor_stores.forget_session])
    uncompressed = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")  # floats hardly shrink
    return {
        "middleware": [
            Middleware(Compression, compresslevel=5, exclude_content_types=uncompressed),
            Middleware(RequestGuard, uploads=uploads, origins=origins_of(host)),
            Middleware(QueueLimitMiddleware, queue=GradioQueue(demo)),
            Middleware(SessionMiddleware, stored=sessions, on_sweep=uploads.delete_old),
        ],
        "routes": [download_route(downloads), plotly_route(), scripts_route(), *_v1_routes(services)],
    }


def _v1_routes(services: Services) -> list[Route]:
    if not services.has_v1:
        return []
    from e5studio.studio.api.v1 import v1_routes

    return v1_routes(services.engine)


def _start_line(address: BoundAddress, model: str | None) -> str:
    moved = f" (port {address.wanted_port} was taken)" if address.port != address.wanted_port else ""
    started = f", model {model.rsplit('/', 1)[-1]}" if model else ""
    return f"E5 Studio is at {address.url}{moved}{started}"
