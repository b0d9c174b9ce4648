"""Starts the Studio: `run_studio` for the command line and app.py, `launch_app` for who holds a Blocks already.

Importing this module loads neither Gradio nor torch. Telemetry is switched off before either is.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from e5studio.errors import E5StudioError, MissingDependencyError, UnknownModelError
from e5studio.memory import available_bytes
from e5studio.studio.engine.zero_gpu import import_before_torch
from e5studio.studio.serving.uploads import delete_folders, use_own_folder

if TYPE_CHECKING:
    import gradio as gr

    from e5studio.model_pool import ModelPool
    from e5studio.studio.engine.engine import Engine

_log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
# In this order: of two rules with equal weight the later wins, and those for phones follow what they change.
_STYLES = (
    "page/page.css",
    "widgets/widgets.css",
    "form/form.css",
    "scores/tab.css",
    "map/tab.css",
    "page/phone.css",
    "why/panel.css",
    "compare/tab.css",
    "corpus/tab.css",
    "code/tab.css",
    "diagnose/tab.css",
)
_THREADS = 160  # whoever waits for a model holds one
_SESSIONS = 1_000  # of which `sessions` keeps 200 without an open page
_USUAL_PORT = 7860  # Gradio's
_LAST_PORT = 65_535
_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}
_HEAD_START_SECONDS = 2
_SHARE_OF_MEMORY = 0.6  # for loaded models; the rest is for work, UMAP and everything else


class AddressError(E5StudioError, OSError):
    """The page cannot be served at the address or port asked for."""


class SettingError(E5StudioError, ValueError):
    """An environment variable holds what it cannot mean."""


def run_studio(
    model: str | None = None, *, host: str | None = None, port: int | None = None, mcp: bool | None = None
) -> None:
    """Serve the page until interrupted.

    Args:
        model: Name of a model of the table to start with; E5STUDIO_MODEL or the usual choice if None.
        host: Address to listen on; Gradio's default (this machine only, or GRADIO_SERVER_NAME) if None.
        port: Port to listen on; the first free one from 7860 (or GRADIO_SERVER_PORT) if None.
        mcp: Whether assistants find the Studio's tools at /gradio_api/mcp/; what E5STUDIO_MCP says if None, else not.

    Raises:
        UnknownModelError: `model` is not in the table.
        AddressError: The port is taken or is no port, or the address is not this machine's.
        MissingDependencyError: MCP is asked for, and its package is not installed or fails.
        SettingError: E5STUDIO_MCP is neither yes nor no.
    """
    mcp = _is_mcp_chosen() if mcp is None else mcp
    _end_in_order()
    switch_off_telemetry()
    use_own_folder()
    if mcp:
        _check_mcp()
    import_before_torch()
    from e5studio.studio.engine.catalog import choose_model

    with ThreadPoolExecutor(1) as thread:
        # Asking the Hub may take its 3 seconds while Gradio is being imported.
        choosing = thread.submit(choose_model, model or os.environ.get("E5STUDIO_MODEL"))
        from e5studio.studio.engine.engine import Engine
        from e5studio.studio.page.app import build_app

        choice = choosing.result()
    engine = Engine(_model_pool())
    loading = load_in_background(engine, choice.name)
    demo = build_app(engine, choice)
    # One interpreter imports torch and serves the page: better a little later than there but deaf.
    loading.join(_HEAD_START_SECONDS)
    launch_app(demo, host=host, port=port, mcp=mcp, model=choice.name)


def launch_app(
    demo: gr.Blocks,
    *,
    host: str | None = None,
    port: int | None = None,
    mcp: bool = False,
    model: str | None = None,
    wait: bool = True,
    quiet: bool = False,
) -> str:
    """Serve a page with the Studio's look and limits; returns its address where `wait` is False.

    Prints where the page is, and the `model` that it starts with where one is given. With `mcp` its endpoints are tools
    of assistants too, and the line that says so is printed even if `quiet`.

    Raises:
        AddressError: As `run_studio`.
    """
    from e5studio.studio.page.theme import studio_theme
    from e5studio.studio.serving.gradio_patches import describe_once
    from e5studio.studio.serving.request_guard import MAX_FILE_BYTES

    _fetch_nothing()
    describe_once(demo)
    demo.queue(max_size=None, default_concurrency_limit=8, api_open=False)
    try:
        _, address, _ = demo.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,  # what Gradio would print advises to change what is set here
            theme=studio_theme(),
            css_paths=[_HERE / style for style in _STYLES],
            js=(_HERE / "page" / "page.js").read_text(encoding="utf-8"),
            favicon_path=_HERE / "page" / "favicon.svg",
            footer_links=["api", "settings"],
            app_kwargs=_around_gradio(demo),
            max_threads=_THREADS,
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
    except (OSError, OverflowError) as error:  # OverflowError: GRADIO_SERVER_PORT is no port
        raise AddressError(_address_message(host, port)) from error
    if not quiet:
        sys.stdout.write(_start_line(address, port, model) + "\n")
        sys.stdout.flush()  # a log that is a file would hold it back
    if wait:
        demo.block_thread()
    return str(address)


def _around_gradio(demo: gr.Blocks) -> dict[str, Any]:
    """What stands before Gradio's routes, from the outside in, and beside them."""
    from starlette.middleware import Middleware

    from e5studio.studio.corpus.visitor_store import VISITOR_STORES
    from e5studio.studio.serving.downloads import DOWNLOADS, download_route
    from e5studio.studio.serving.queue_limit import GradioQueue, QueueLimitMiddleware
    from e5studio.studio.serving.request_guard import RequestGuard
    from e5studio.studio.serving.sessions import GradioSessions, SessionMiddleware
    from e5studio.studio.serving.uploads import delete_old, has_room
    from e5studio.studio.widgets.plotly_view import plotly_route

    kept = GradioSessions(demo, on_forget=[DOWNLOADS.forget, VISITOR_STORES.forget_session])
    return {
        "middleware": [
            Middleware(RequestGuard, has_room=has_room),
            Middleware(QueueLimitMiddleware, queue=GradioQueue(demo)),
            Middleware(SessionMiddleware, kept=kept, on_sweep=lambda: delete_old(VISITOR_STORES.has_file)),
        ],
        "routes": [download_route(), plotly_route()],
    }


def switch_off_telemetry() -> None:
    """Nothing is told to anybody; must run before Gradio or the Hub's client is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Figures of the latest events, worked out anew with each, for a page of Gradio's that is not served.
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"


def _end_in_order() -> None:
    """Where a container or a service is stopped, leave nothing on disk that visitors brought."""

    def end(number: int, _: Any) -> None:
        delete_folders()
        os._exit(128 + number)  # Python's own end would wait for models that are being loaded, or break off in them

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


def _fetch_nothing() -> None:
    """Gradio downloads, without limit, what stands at an address that a request names in place of an uploaded file."""
    import gradio as gr
    from gradio import processing_utils

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("The Studio fetches nothing from elsewhere. Upload the file itself.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


def load_in_background(engine: Engine, model: str) -> threading.Thread:
    """Load a model while the page is already served; a failure is told again when Score is pressed."""

    def load() -> None:
        try:
            engine.load(model)
        except E5StudioError as error:
            _log.warning("%s", error)

    thread = threading.Thread(target=load, name="e5studio-load", daemon=True)
    thread.start()
    return thread


def main(arguments: Sequence[str] | None = None) -> None:
    """`python app.py`: read the command line and serve."""
    parser = argparse.ArgumentParser(description="E5 Studio: see what E5 embeddings say about your texts.")
    parser.add_argument("--model", help="model to start with, such as e5-base-v2 (also: E5STUDIO_MODEL)", type=_name)
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for all (also: GRADIO_SERVER_NAME)")
    parser.add_argument("--port", type=_port, help="port to listen on; 7860 if free (also: GRADIO_SERVER_PORT)")
    parser.add_argument(
        "--mcp",
        action=argparse.BooleanOptionalAction,
        help="whether assistants find its tools at /gradio_api/mcp/; no by default (also: E5STUDIO_MCP=1)",
    )
    asked = parser.parse_args(arguments)
    try:
        run_studio(asked.model, host=asked.host, port=asked.port, mcp=asked.mcp)
    except (E5StudioError, OSError) as error:
        parser.exit(2 if isinstance(error, UnknownModelError) else 1, f"{error}\n")


def _is_mcp_chosen() -> bool:
    told = os.environ.get("E5STUDIO_MCP", "").strip().lower()
    if told not in _YES | _NO:
        raise SettingError(f"E5STUDIO_MCP={told!r} is neither yes nor no. Set it to 1 or 0, or unset it.")
    return told in _YES


def _check_mcp() -> None:
    """Gradio serves the page without its tools where the package fails, and prints that among other lines."""
    try:
        importlib.import_module("mcp.server")
    except ImportError as error:
        raise MissingDependencyError(
            f"An MCP server needs the mcp package ({error}). Install it with: pip install 'mcp>=1.22,<2'"
        ) from error


def _name(given: str) -> str:
    if not given.strip():
        raise argparse.ArgumentTypeError("it is empty; name a model, or leave it out for the usual one")
    return given


def _port(given: str) -> int:
    if not (given.isdecimal() and 1 <= int(given) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{given!r} is no port; give a number from 1 to {_LAST_PORT}")
    return int(given)


def _start_line(address: str, port: int | None, model: str | None) -> str:
    is_moved = not (port or os.environ.get("GRADIO_SERVER_PORT")) and urlsplit(address).port != _USUAL_PORT
    moved = f" (port {_USUAL_PORT} was taken)" if is_moved else ""
    started = f", model {model.rsplit('/', 1)[-1]}" if model else ""
    return f"E5 Studio is at {address}{moved}{started}"


def _address_message(host: str | None, port: int | None) -> str:
    asked = port or os.environ.get("GRADIO_SERVER_PORT")
    place = f" at {host}" if host else ""
    if asked:
        return f"Port {asked} cannot be used{place}: it is taken, or not open to you. Choose another with --port."
    return f"There is no free port{place}. Choose one with --port, or another address with --host."


def _model_pool() -> ModelPool:
    from e5studio.model_pool import ModelPool

    free = available_bytes()
    return ModelPool(memory_budget=int(free * _SHARE_OF_MEMORY) if free else None)
