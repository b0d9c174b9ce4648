"""Every name of Gradio that is not part of its public API, so that an upgrade is one visit.

File names and behaviour are those of Gradio 6.31; `tests/studio/serving/test_gradio_patches.py` checks each name.
"""

from __future__ import annotations

import copy
import functools
import html
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, TypeGuard
from urllib.parse import urlsplit

import gradio as gr
import httpx
import uvicorn
from gradio import blocks, http_server, processing_utils, routes
from gradio.blocks import Block
from gradio.events import api
from gradio.routes import App

from e5studio.errors import E5StudioError
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.serving.connections import BoundedConnection
from e5studio.studio.serving.log_limit import shorten_error
from e5studio.studio.serving.middleware import REFUSALS
from e5studio.studio.serving.sessions import RUNNING_SESSION, steady_now
from e5studio.studio.serving.visitors import RUNNING_VISITOR, visitor_of

_SKIP = gr.skip()
_WRONG_VALUE = "A value is none that the page offers. Reload the page and choose again."
_MAX_MESSAGE = 900
_WRONG_VALUES = (ValueError, TypeError, LookupError, AttributeError)
_log = logging.getLogger(__name__)

# Before Gradio's own scripts, which keep what the functions were when they began.
_LIGHTER_PAGE = """<head><script>
  (() => {
    const frame = window.requestAnimationFrame.bind(window);
    const countsSeconds = (work) => /performance\\.now\\(\\)-.{1,20}\\/1e3/.test(String(work).slice(0, 99));
    window.requestAnimationFrame = (work) => (countsSeconds(work) ? 0 : frame(work));

    const clone = window.structuredClone.bind(window);
    const isPlain = (value) => value === null || ["undefined", "boolean", "number", "string"].includes(typeof value);
    window.structuredClone = (value, options) => (isPlain(value) ? value : clone(value, options));
  })();
</script>"""


class RefusedValueError(gr.Error):
    """What a request brings is refused, in a sentence; no fault of the program."""

    def __init__(self, message: str) -> None:
        super().__init__(html.escape(message[:_MAX_MESSAGE], quote=False), print_exception=False)


class LeanBlocks(gr.Blocks):
    """`gr.Blocks` that skips redundant post-processing and knows whose event runs.

    `Blocks.postprocess_data` (blocks.py) builds a component anew and describes it twice for each output that an event
    skips. With forty visitors at once, this is most of the server's work.
    """

    async def process_api(self, *arguments: Any, **named: Any) -> dict[str, Any]:
        """As Gradio's, whose errors repeat what they refuse, and which prints them past the log."""
        try:
            return await super().process_api(*arguments, **named)
        except Exception as error:
            shorten_error(error)
            if isinstance(error, RefusedValueError):
                scope = getattr(getattr(named.get("request"), "request", None), "scope", None) or {}
                scope.get(REFUSALS, []).append(str(error))
            raise

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *more: Any, **named: Any) -> list[Any]:
        """As Gradio's; a value that a component of the page cannot have is refused in a sentence.

        Each component raises what its code comes to (`preprocess` of dropdown.py, number.py, ...), of which Gradio
        prints a traceback.
        """
        try:
            values: list[Any] = await super().preprocess_data(block_fn, inputs, *more, **named)
        except (gr.Error, *_WRONG_VALUES) as error:
            if not getattr(error, "print_exception", True):
                raise  # a sentence already
            _log.debug("A value that no component of the page takes: %s", " ".join(str(error).split()))
            raise RefusedValueError(_WRONG_VALUE) from error
        return values

    async def call_function(
        self, block_fn: Any, processed_input: Any, iterator: Any = None, requests: Any = None, *more: Any, **named: Any
    ) -> Any:
        """As Gradio's, with the event's session in `RUNNING_SESSION` and its visitor in `RUNNING_VISITOR`.

        Gradio has the request in `LocalContext` (context.py), which only code that imports Gradio can read.
        """
        request = requests[0] if isinstance(requests, list) else requests
        session = getattr(request, "session_hash", None)  # by MCP comes a request without a session
        scope = getattr(getattr(request, "request", None), "scope", None)
        RUNNING_SESSION.set(session)
        RUNNING_VISITOR.set(visitor_of(scope, session) if scope else None)
        try:
            return await super().call_function(block_fn, processed_input, iterator, requests, *more, **named)
        except E5StudioError as error:
            raise RefusedValueError(message_for_visitor(error)) from error

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As Gradio's for the outputs that change; an empty dict changes none.

        Gradio takes an empty dict for a value (blocks.py, `postprocess_data`): the first output's, or one too few.
        """
        if block_fn.batch:
            return await super().postprocess_data(block_fn, predictions, state)
        values = _values_of(predictions, block_fn.outputs)
        if not isinstance(values, list | tuple):
            return await super().postprocess_data(block_fn, values, state)
        self.validate_outputs(block_fn, values)
        sent: list[Any] = [None if block.stateful else gr.skip() for block in block_fn.outputs]
        changed = [index for index, value in enumerate(values) if not (isinstance(value, dict) and value == _SKIP)]
        if not changed:
            return sent
        part = copy.copy(block_fn)
        part.outputs = [block_fn.outputs[index] for index in changed]
        # Gradio expects the bare value where there is one output.
        new = values[changed[0]] if len(changed) == 1 else [values[index] for index in changed]
        for index, value in zip(changed, await super().postprocess_data(part, new, state), strict=True):
            sent[index] = value
        return sent


def _values_of(predictions: Any, outputs: Sequence[Block]) -> Any:
    """The values of all outputs in order, skips among them; anything else than values as it is."""
    if isinstance(predictions, dict) and all(map(is_component, predictions)):
        strangers = predictions.keys() - set(outputs)
        if strangers:
            raise ValueError(f"A callback changed {strangers.pop()}, which is not among its outputs.")
        return [predictions.get(block, _SKIP) for block in outputs]
    if len(outputs) == 1:
        return [predictions]
    return predictions


def is_component(value: object) -> TypeGuard[Block]:
    """Whether an object stands on the page: a component, a row, a tab. `Block` (blocks.py) has no public name."""
    return isinstance(value, Block)


def describe_once(demo: gr.Blocks) -> None:
    """Have the components of a Blocks describe themselves once instead of anew for every visitor.

    `config_for_block` (blocks.py) calls each component's `get_config` when a session begins, on the event loop, and
    that searches scripts: 40 people who come at once would wait for seconds. Gradio changes the description for a
    visitor in place, so each call returns a copy.
    """
    for block in demo.blocks.values():
        block.get_config = functools.partial(dict, block.get_config())  # type: ignore[method-assign]


def make_apps_at_launch() -> None:
    """Have a LeanBlocks make its web application when it is launched, and not three times before.

    `__init__`, `__exit__` and `queue` (blocks.py) make one each, with all routes, which takes a fifth of a second;
    `launch` makes the one that is served, and takes `App` from routes.py.
    """

    def create_app(demo: gr.Blocks, **options: Any) -> Any:
        return None if isinstance(demo, LeanBlocks) else App.create_app(demo, **options)

    inner: Any = blocks
    inner.App = SimpleNamespace(create_app=create_app)


def lighten_page() -> None:
    """Take two loads off the browser, before Gradio's scripts begin.

    The loading screen's counter of seconds (`run` in js/statustracker) goes on sixty times a second once the screen has
    gone, for as long as the page is open: 8 % of a core for a page that nobody touches.

    With each message of an event, the state of each component that has ever been an input of any event is copied
    (`update_loading_stati_state` in js/core; `$state.snapshot` of Svelte), every number and text in it by a
    `structuredClone` of its own: 11,000 at a click on Score.
    """
    loader: Any = routes.templates.env.loader
    if "get_source" in vars(loader):
        return
    read = loader.get_source

    def get_source(environment: Any, name: str) -> tuple[Any, ...]:
        source, *others = read(environment, name)
        return source.replace("<head>", _LIGHTER_PAGE, 1), *others

    loader.get_source = get_source


def fetch_nothing() -> None:
    """Refuse addresses in place of uploaded files.

    `async_ssrf_protected_download` (processing_utils.py) downloads, without a limit, from any public address that a
    request names as a file; blocks.py looks the function up at each call.
    """

    async def refuse(url: str, cache_dir: str) -> str:
        raise gr.Error("The Studio fetches nothing from elsewhere. Upload the file itself.", print_exception=False)

    processing_utils.async_ssrf_protected_download = refuse


def launch_at(demo: gr.Blocks, listening: socket.socket, url: str, **options: Any) -> None:
    """Launch a Blocks on a socket that is bound already, whatever proxies and certificates the host has.

    `start_server` (http_server.py) binds no IPv6 address, takes a machine that needs over 5 seconds for one whose port
    is taken, and its server prints lines of its own where it is. Then `launch` (blocks.py) asks the new page through
    the host's proxy, which knows no 127.0.0.1 of ours, and reads the host's certificates, of which http needs none.

    Args:
        demo: The Blocks.
        listening: The socket.
        url: The page's address.
        options: Of `launch`, but for those of the address.
    """

    def start_server(app: Any, **_: Any) -> tuple[str, int, str, http_server.Server]:
        config = uvicorn.Config(app, log_level="warning", workers=1, http=BoundedConnection, ws="none")
        started = _SocketServer(listening, config)
        started.run_in_thread()
        return urlsplit(url).hostname or "", listening.getsockname()[1], url, started

    inner: Any = blocks
    direct = SimpleNamespace(**{**vars(httpx), "get": functools.partial(httpx.get, trust_env=False)})
    server: Any = http_server
    replaced = inner.httpx, server.start_server
    inner.httpx, server.start_server = direct, start_server
    try:
        demo.launch(prevent_thread_lock=True, ssl_verify=False, num_workers=0, _frontend=False, **options)
    finally:
        inner.httpx, server.start_server = replaced


class _SocketServer(http_server.Server):
    """Gradio's server on a socket that is bound already."""

    def __init__(self, listening: socket.socket, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listening = listening

    def run_in_thread(self) -> None:
        """Serve in a thread; returns when it does, however slow the machine is."""
        self.thread = threading.Thread(target=self.run, args=([self._listening],), daemon=True)
        self.thread.start()
        while not self.started:
            if not self.thread.is_alive():
                raise RuntimeError("the server ended while it was being started")
            time.sleep(0.001)


def data_of(event: gr.EventData) -> Any:
    """What a script sent with an event. `EventData` (events.py) has attributes only for objects with known keys."""
    return event._data


def add_endpoint(function: Callable[..., Any], name: str, **options: Any) -> None:
    """Add an endpoint for programs to the Blocks being built: `gr.api`, which gradio/__init__.py does not export."""
    api(function, api_name=name, **options)


def hide_from_assistants(endpoint: Callable[..., Any]) -> None:
    """Leave an endpoint out of the MCP server's tools.

    mcp.py lists functions whose `_mcp_type` is "tool" or missing; `api_visibility` would hide it from programs as well.
    """
    endpoint._mcp_type = "endpoint only"  # type: ignore[attr-defined]


class GradioQueue:
    """The event queue of a Blocks (queueing.py), which has no public name.

    Args:
        demo: The Blocks; it has a queue once `queue` was called.
    """

    def __init__(self, demo: gr.Blocks) -> None:
        self._demo = demo

    @property
    def n_waiting(self) -> int:
        """Number of events that wait."""
        return len(self._demo._queue)

    @property
    def event_ids(self) -> Collection[str]:
        """Ids of all events that wait or run."""
        return self._demo._queue.event_ids_to_events.keys()

    def is_busy(self, session: str) -> bool:
        """Whether an event of a session waits or runs."""
        return any(event.session_hash == session for event in list(self._demo._queue.event_ids_to_events.values()))

    def forget(self, session: str) -> None:
        """Drop messages that a session did not fetch; Gradio keeps those of 2,000 sessions."""
        self._demo._queue.pending_messages_per_session.pop(session, None)
        self._demo._queue.pending_event_ids_session.pop(session, None)


class _SteadyTimes(dict[str, datetime]):
    """When sessions were used, whatever time Gradio gives."""

    def __setitem__(self, session: str, _: datetime) -> None:
        super().__setitem__(session, steady_now())


class GradioSessions:
    """What Gradio stores of the sessions of a Blocks (state_holder.py), without a public way to delete it.

    Args:
        demo: The Blocks, launched or about to be.
        on_forget: Called with each session that is forgotten, so that others delete what they store of it.
    """

    def __init__(self, demo: gr.Blocks, on_forget: Sequence[Callable[[str], None]] = ()) -> None:
        self._demo = demo
        self._queue = GradioQueue(demo)
        self._on_forget = on_forget

    @property
    def last_used(self) -> Mapping[str, datetime]:
        """When each session was last used, by `steady_now`; state_holder.py notes the wall clock, which may be set."""
        holder = self._demo.state_holder
        if not isinstance(holder.time_last_used, _SteadyTimes):
            holder.time_last_used = _SteadyTimes(dict.fromkeys(holder.time_last_used, steady_now()))
        return holder.time_last_used

    def forget(self, session: str) -> bool:
        """Delete a session's States, component values and messages; False while it has events in the queue."""
        if self._queue.is_busy(session):
            return False
        self._demo.state_holder.session_data.pop(session, None)
        self._demo.state_holder.time_last_used.pop(session, None)
        self._queue.forget(session)
        for forget in self._on_forget:
            forget(session)
        return True
