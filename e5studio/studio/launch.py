"""Starts the Studio: `main` for app.py, `run_studio` for the command line, `launch_app` for a page built elsewhere.

Importing this module loads neither Gradio nor torch; telemetry must be switched off before they are imported.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from e5studio.errors import E5StudioError, UnknownModelError
from e5studio.memory import available_bytes
from e5studio.studio.engine.zero_gpu import import_before_torch
from e5studio.studio.options import is_mcp_on, option_parser
from e5studio.studio.serving.temporary_folders import delete_folders_on_termination
from e5studio.studio.serving.uploads import use_own_folder

if TYPE_CHECKING:
    import gradio as gr

    from e5studio.model_pool import ModelPool
    from e5studio.studio.engine.engine import Engine
    from e5studio.studio.services import Services

_log = logging.getLogger(__name__)
_USUAL_PORT = 7860  # Gradio's
_SESSIONS = 1_000  # of which `serving.sessions` stores 200 without an open page
_HEAD_START_SECONDS = 2
_SHARE_OF_MEMORY = 0.6  # for loaded models; the rest is for computing, UMAP and everything else


class AddressError(E5StudioError, OSError):
    """The page cannot be served at this address or port."""


def main(arguments: Sequence[str] | None = None) -> None:
    """`python app.py`: read the command line and serve the page."""
    parser = option_parser()
    options = parser.parse_args(arguments)
    try:
        run_studio(options.model, host=options.host, port=options.port, mcp=options.mcp)
    except (E5StudioError, OSError) as error:
        parser.exit(2 if isinstance(error, UnknownModelError) else 1, f"{error}\n")


def run_studio(
    model: str | None = None, *, host: str | None = None, port: int | None = None, mcp: bool | None = None
) -> None:
    """Serve the page until interrupted.

    Args:
        model: Name of a model of the table to start with; E5STUDIO_MODEL or the usual choice if None.
        host: Address to listen on; Gradio's default (this machine only, or GRADIO_SERVER_NAME) if None.
        port: Port to listen on; the first free one from 7860 (or GRADIO_SERVER_PORT) if None.
        mcp: Whether assistants find the Studio's tools at /gradio_api/mcp/; if None, as E5STUDIO_MCP says, else not.

    Raises:
        UnknownModelError: `model` is not in the table.
        AddressError: The port is taken or not a port, or the address is not this machine's.
        MissingDependencyError: `mcp` is on, and its package is not installed or fails.
        SettingError: E5STUDIO_MCP is neither yes nor no.
    """
    mcp = is_mcp_on(mcp)
    delete_folders_on_termination()
    switch_off_telemetry()
    use_own_folder()
    import_before_torch()
    from e5studio.studio.engine.catalog import choose_model

    with ThreadPoolExecutor(1) as thread:
        # Asking the Hub may take its 3 seconds while Gradio is being imported.
        choosing = thread.submit(choose_model, model or os.environ.get("E5STUDIO_MODEL"))
        from e5studio.studio.engine.engine import Engine
        from e5studio.studio.page.app import build_app
        from e5studio.studio.services import Services

        choice = choosing.result()
    services = Services(Engine(_model_pool()))
    loading = load_in_background(services.engine, choice.name)
    demo = build_app(services, choice)
    # Importing torch holds the GIL; wait, so that the page answers when it opens.
    loading.join(_HEAD_START_SECONDS)
    launch_app(demo, services, host=host, port=port, mcp=mcp, model=choice.name)


def switch_off_telemetry() -> None:
    """Send no telemetry; must run before Gradio or the Hub's client is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Gradio would compute statistics of the latest events, at each event, for a page that is not served.
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"


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

    thread = threading.Thread(target=load, name="e5studio-load", daemon=True)
    thread.start()
    return thread


def launch_app(
    demo: gr.Blocks,
    services: Services,
    *,
    host: str | None = None,
    port: int | None = None,
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
        host: As `run_studio`.
        port: As `run_studio`.
        mcp: Whether to serve tools to assistants.
        model: Name of the model that the page starts with.
        wait: Whether to block until interrupted.
        quiet: Whether to print nothing.

    Raises:
        AddressError: As `run_studio`.
    """
    from e5studio.studio.engine.queues import THREADS
    from e5studio.studio.page.theme import studio_look
    from e5studio.studio.serving.gradio_bounds import bound_gradio
    from e5studio.studio.serving.gradio_patches import describe_once, fetch_nothing
    from e5studio.studio.serving.origins import trust_proxy_of_space
    from e5studio.studio.serving.request_guard import MAX_FILE_BYTES

    trust_proxy_of_space()
    bound_gradio()
    fetch_nothing()
    describe_once(demo)
    demo.queue(max_size=None, default_concurrency_limit=8, api_open=False)
    try:
        _, address, _ = demo.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,  # Gradio would print advice to change what is set here
            **studio_look(),
            footer_links=["api", "settings"],
            app_kwargs=_around_gradio(demo, services, host),
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
    except (OSError, OverflowError) as error:  # OverflowError: GRADIO_SERVER_PORT is not a port
        raise AddressError(_address_message(host, port)) from error
    if not quiet:
        sys.stdout.write(_start_line(address, port, model) + "\n")
        sys.stdout.flush()  # a log file would hold it back
    if wait:
        demo.block_thread()
    return str(address)


def _around_gradio(demo: gr.Blocks, services: Services, host: str | None) -> dict[str, Any]:
    """The middleware in front of Gradio's routes, outermost first, and our own routes."""
    from starlette.middleware import Middleware

    from e5studio.studio.serving.downloads import download_route
    from e5studio.studio.serving.gradio_patches import GradioQueue, GradioSessions
    from e5studio.studio.serving.origins import origins_of
    from e5studio.studio.serving.queue_limit import QueueLimitMiddleware
    from e5studio.studio.serving.request_guard import RequestGuard
    from e5studio.studio.serving.sessions import SessionMiddleware
    from e5studio.studio.serving.uploads import uploads_here
    from e5studio.studio.widgets.plotly_view import plotly_route

    downloads, visitor_stores = services.downloads, services.visitor_stores
    uploads = uploads_here(visitor_stores.has_file)
    sessions = GradioSessions(demo, on_forget=[downloads.forget, visitor_stores.forget_session])
    return {
        "middleware": [
            Middleware(RequestGuard, uploads=uploads, origins=origins_of(host)),
            Middleware(QueueLimitMiddleware, queue=GradioQueue(demo)),
            Middleware(SessionMiddleware, stored=sessions, on_sweep=uploads.delete_old),
        ],
        "routes": [download_route(downloads), plotly_route()],
    }


def _start_line(address: str, port: int | None, model: str | None) -> str:
    is_moved = not (port or os.environ.get("GRADIO_SERVER_PORT")) and urlsplit(address).port != _USUAL_PORT
    moved = f" (port {_USUAL_PORT} was taken)" if is_moved else ""
    started = f", model {model.rsplit('/', 1)[-1]}" if model else ""
    return f"E5 Studio is at {address}{moved}{started}"


def _address_message(host: str | None, port: int | None) -> str:
    number = port or os.environ.get("GRADIO_SERVER_PORT")
    where = f" at {host}" if host else ""
    if number:
        return f"Port {number} cannot be used{where}: it is taken, or not open to you. Choose another with --port."
    return f"There is no free port{where}. Choose one with --port, or another address with --host."
