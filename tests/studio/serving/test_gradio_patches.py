"""Our Blocks shows every visitor what Gradio's would show; each inner name of Gradio that we use has its old shape."""

from __future__ import annotations

import ast
import contextvars
import copy
import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace

import gradio
import gradio as gr
import httpx
import pytest
from gradio import http_server, routes
from gradio.state_holder import SessionState, StateHolder

import e5studio.studio
from e5studio.default_model import ModelChoice
from e5studio.errors import UnknownModelError
from e5studio.studio.page.app import build_app
from e5studio.studio.serving.address import bind
from e5studio.studio.serving.connections import BoundedConnection
from e5studio.studio.serving.gradio_patches import (
    GradioQueue,
    GradioSessions,
    LeanBlocks,
    RefusedValueError,
    add_endpoint,
    data_of,
    describe_once,
    hide_from_assistants,
    is_component,
    launch_at,
    lighten_page,
    make_apps_at_launch,
)
from e5studio.studio.serving.sessions import session_now
from tests.studio.conftest import ENGLISH

# Gradio leaves event loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("gradio_litter"),
]

SKIP = gr.skip()
STATE = {"a": "dict"}


def layout(kind):
    """Components of several sorts and an event that writes them all."""
    with kind() as demo:
        outputs = [gr.Textbox(), gr.Button("Go"), gr.State(1), gr.HTML("old"), gr.Slider(0, 10)]
        outputs[1].click(lambda: None, None, outputs)
    return demo, outputs


def test_an_app_is_made_at_launch_alone():
    make_apps_at_launch()
    lean, usual = layout(LeanBlocks)[0].queue(), layout(gr.Blocks)[0].queue()
    assert lean.app is None
    assert usual.app is not None
    _, address, _ = lean.launch(prevent_thread_lock=True, quiet=True)
    assert httpx.get(f"{address}config").json()["components"]
    lean.close()


async def written(kind, predictions):
    """What the browser is sent for each of some predictions, one after another, and what the session then holds."""
    demo, outputs = layout(kind)
    [event] = demo.fns.values()
    session = SessionState(demo)
    # Gradio takes values out of what it is given.
    sent = [await demo.postprocess_data(event, copy.deepcopy(each), session) for each in predictions]
    return [list(map(plain, each)) for each in sent], session[outputs[2]._id], session[outputs[1]._id].interactive


def plain(value):
    """For an HTML that is skipped Gradio sends properties, too, of which there are none."""
    return SKIP if value == {**SKIP, "props": SKIP} else value


@pytest.mark.parametrize(
    "predictions",
    [
        [["text", "Go on", 2, "<b>new</b>", 3]],
        [[SKIP, SKIP, SKIP, SKIP, SKIP]],
        [("text", SKIP, SKIP, SKIP, SKIP)],
        [[SKIP, gr.update(interactive=False), SKIP, SKIP, SKIP]],
        [[SKIP, SKIP, STATE, SKIP, SKIP]],
        [[SKIP, SKIP, None, "html", gr.update(value=4, maximum=20)]],
        [["text", gr.update(interactive=False), 3, SKIP, 5], [SKIP, gr.update(interactive=True), SKIP, "html", SKIP]],
        [SKIP],
    ],
)
async def test_what_is_sent_and_kept_is_what_gradio_sends_and_keeps(predictions):
    assert await written(LeanBlocks, predictions) == await written(gr.Blocks, predictions)


async def test_what_is_skipped_is_not_made_anew():
    demo, outputs = layout(LeanBlocks)
    [event] = demo.fns.values()
    session = SessionState(demo)
    await demo.postprocess_data(event, ["text", *[SKIP] * 4], session)
    assert [session[each._id] is each for each in outputs if not each.stateful] == [True] * 4


async def test_a_wrong_number_of_values_is_told_as_gradio_does():
    demo, _ = layout(LeanBlocks)
    [event] = demo.fns.values()
    with pytest.raises(ValueError, match="didn't return enough output values"):
        await demo.postprocess_data(event, [SKIP], SessionState(demo))


def single(kind):
    """A component and an event that writes it alone."""
    with kind() as demo:
        output = gr.HTML("old")
        gr.Button("Go").click(lambda: None, None, output)
    return demo, output


async def test_an_empty_dict_changes_nothing_in_events_of_any_number_of_outputs():
    demo, _ = layout(LeanBlocks)
    [event] = demo.fns.values()
    assert await demo.postprocess_data(event, {}, SessionState(demo)) == [SKIP, SKIP, None, SKIP, SKIP]
    demo, output = single(LeanBlocks)
    [event] = demo.fns.values()
    session = SessionState(demo)
    assert await demo.postprocess_data(event, {}, session) == [SKIP]
    assert session[output._id] is output
    with LeanBlocks() as demo:
        demo.load(lambda: {})
    [event] = demo.fns.values()
    assert await demo.postprocess_data(event, {}, SessionState(demo)) == []


async def test_a_dict_of_one_component_changes_it_alone():
    demo, output = single(LeanBlocks)
    [event] = demo.fns.values()
    assert await demo.postprocess_data(event, {output: "new"}, SessionState(demo)) == ["new"]
    demo, outputs = layout(LeanBlocks)
    [event] = demo.fns.values()
    session = SessionState(demo)
    changes = {outputs[2]: {"of": "a state"}, outputs[3]: "new"}
    assert await demo.postprocess_data(event, changes, session) == [SKIP, SKIP, None, "new", SKIP]
    assert session[outputs[2]._id] == {"of": "a state"}


async def test_a_component_that_is_not_among_the_outputs_is_an_error_as_in_gradio():
    demo, _ = layout(LeanBlocks)
    [event] = demo.fns.values()
    _, stranger = single(LeanBlocks)
    with pytest.raises(ValueError, match="not among its outputs"):
        await demo.postprocess_data(event, {stranger: "new"}, SessionState(demo))


async def test_a_dict_of_other_keys_is_a_value():
    demo, _ = single(LeanBlocks)
    [event] = demo.fns.values()
    assert await demo.postprocess_data(event, {"a": 1}, SessionState(demo)) == [{"a": 1}]


def test_the_page_is_such_a_page(services):
    assert isinstance(build_app(services, ModelChoice(ENGLISH, "it is the tests' model")), LeanBlocks)


def test_components_that_describe_themselves_once_say_the_same_to_every_visitor(services):
    page = build_app(services, ModelChoice(ENGLISH, "it is the tests' model"))
    before = json.dumps(SessionState(page).config_values, default=str)
    describe_once(page)
    one, other = SessionState(page), SessionState(page)
    assert json.dumps(one.config_values, default=str) == before
    for key in one.config_values:
        one._update_value_in_config(key, "a secret")
    assert "a secret" in json.dumps(one.config_values, default=str)
    for session in (other, SessionState(page)):
        assert json.dumps(session.config_values, default=str) == before


# The contract: what gradio_patches.py and its users take for granted of Gradio, name by name.


def mentions(function, *names):
    """Whether the source of a part of Gradio holds these names."""
    source = inspect.getsource(function)
    return all(name in source for name in names)


@pytest.mark.parametrize(
    ("component", "wrong"),
    [
        (lambda: gr.Radio(["a"]), "b"),
        (lambda: gr.Dropdown(["a"]), "b"),
        (lambda: gr.Dropdown(["a"], multiselect=True), ["a", "b"]),
        (lambda: gr.CheckboxGroup(["a"]), 7),
        (lambda: gr.Slider(0, 1), 2),
        (lambda: gr.Slider(0, 1), None),
        (lambda: gr.Number(0, minimum=0, precision=0), -1),
        (lambda: gr.Number(0, precision=0), "one"),
        (lambda: gr.File(), "a"),
    ],
)
async def test_a_value_that_a_component_cannot_have_is_refused_in_a_sentence(component, wrong):
    with LeanBlocks() as demo:
        gr.Button("Go").click(lambda value: value, component(), None)
    [event] = demo.fns.values()
    for values in ([wrong], []):
        with pytest.raises(RefusedValueError, match="Reload the page") as caught:
            await demo.preprocess_data(event, values, SessionState(demo))
        assert not caught.value.print_exception


async def test_a_mistake_of_a_visitor_in_an_event_is_told_and_not_traced():
    def open_(name):
        raise UnknownModelError(f"There is no {name}.")

    with LeanBlocks() as demo:
        gr.Button("Go").click(open_, gr.Textbox(), None)
    [event] = demo.fns.values()
    with pytest.raises(RefusedValueError, match="There is no &lt;b&gt;") as caught:
        await demo.call_function(event, ["<b>"], None, SimpleNamespace())
    assert not caught.value.print_exception


def test_the_methods_that_are_overridden_are_called_with_these_arguments():
    assert list(inspect.signature(gr.Blocks.postprocess_data).parameters) == [
        "self",
        "block_fn",
        "predictions",
        "state",
    ]
    arguments = list(inspect.signature(gr.Blocks.call_function).parameters)
    assert arguments[:5] == ["self", "block_fn", "processed_input", "iterator", "requests"]
    assert list(inspect.signature(gr.Blocks.preprocess_data).parameters)[:4] == ["self", "block_fn", "inputs", "state"]
    assert mentions(gr.Blocks.process_api, "self.call_function", "self.postprocess_data", "self.preprocess_data")
    assert mentions(gradio.route_utils.call_process_api, "request=gr_request")
    assert list(inspect.signature(gr.Blocks.validate_outputs).parameters) == ["self", "block_fn", "predictions"]


def test_an_event_has_outputs_that_say_whether_they_are_stateful():
    demo, outputs = layout(gr.Blocks)
    [event] = demo.fns.values()
    assert list(event.outputs) == outputs
    assert event.batch is False
    assert [block.stateful for block in outputs] == [False, False, True, False, False]


def test_what_stands_on_the_page_is_a_block_and_an_event_is_not():
    with gr.Blocks() as demo, gr.Tabs() as tabs, gr.Tab("One") as tab:
        parts = [gr.HTML(), gr.State(None), gr.Button(), tabs, tab, demo]
        event = parts[2].click(lambda: None)
    assert all(map(is_component, parts))
    assert not is_component(event)
    assert len(dict.fromkeys(parts)) == len(parts)  # each is a key of its own


def test_a_session_asks_each_component_for_its_description():
    assert mentions(gradio.blocks, "block.get_config()")
    assert isinstance(gr.HTML(render=False).get_config(), dict)


def test_files_at_an_address_are_fetched_by_this_function():
    assert mentions(gradio.blocks, "processing_utils.async_ssrf_protected_download(")
    arguments = inspect.signature(gradio.processing_utils.async_ssrf_protected_download).parameters
    assert list(arguments) == ["url", "cache_dir"]


def test_the_queue_holds_events_and_messages_by_session():
    with LeanBlocks() as demo:
        demo.queue()
    queue = GradioQueue(demo)
    assert queue.n_waiting == 0
    demo._queue.event_ids_to_events["one"] = SimpleNamespace(session_hash="ann")
    demo._queue.pending_messages_per_session["ann"] = demo._queue.pending_event_ids_session["ann"] = {"one"}
    assert list(queue.event_ids) == ["one"]
    assert (queue.is_busy("ann"), queue.is_busy("bob")) == (True, False)
    queue.forget("ann")
    queue.forget("bob")
    assert "ann" not in demo._queue.pending_messages_per_session
    assert not demo._queue.pending_event_ids_session


def test_sessions_are_deleted_where_gradio_stores_them_and_not_while_they_work():
    forgotten = []
    with LeanBlocks() as demo:
        demo.queue()
    StateHolder().set_blocks(demo)
    sessions = GradioSessions(demo, on_forget=[forgotten.append])
    demo.state_holder["ann"]
    assert set(sessions.last_used) == set(demo.state_holder.session_data) == {"ann"}
    demo._queue.event_ids_to_events["one"] = SimpleNamespace(session_hash="ann")
    assert not sessions.forget("ann")
    demo._queue.event_ids_to_events.clear()
    assert sessions.forget("ann")
    assert forgotten == ["ann"]
    assert not sessions.last_used
    assert not demo.state_holder.session_data


def test_an_event_brings_what_a_script_sent():
    assert data_of(gr.EventData(None, {"row": 1})) == {"row": 1}


def test_only_tools_of_this_kind_are_shown_to_assistants():
    def endpoint():
        return None

    hide_from_assistants(endpoint)
    assert endpoint._mcp_type != "tool"
    source = (Path(gradio.__file__).parent / "mcp.py").read_text(encoding="utf-8")
    assert 'block_fn.fn._mcp_type != "tool"' in source


def test_endpoints_are_added_as_gradio_does():
    with gr.Blocks() as demo:
        add_endpoint(lambda: None, "nothing", queue=False)
    assert gr.api is gradio.events.api
    assert [event.api_name for event in demo.fns.values()] == ["nothing"]


async def test_an_event_knows_its_session_in_threads_and_generators():
    seen = []

    def look():
        seen.append(session_now())
        yield {}
        seen.append(session_now())

    with LeanBlocks() as demo:
        button = gr.Button()
        button.click(look, None, [button])
    [event] = demo.fns.values()
    request = SimpleNamespace(session_hash="ann")
    step = await demo.call_function(event, [], None, request)
    await demo.call_function(event, [], step["iterator"], [request])
    assert seen == ["ann", "ann"]
    await demo.call_function(event, [], None, SimpleNamespace())
    assert seen == ["ann", "ann", None]
    assert contextvars.Context().run(session_now) is None


def test_a_launch_binds_and_asks_the_page_where_launch_at_stands_in():
    source = inspect.getsource(gr.Blocks.launch)
    assert source.count("httpx.") == source.count("httpx.get(") == 1
    assert "http_server.start_server(" in source
    assert {"_frontend", "num_workers", "ssl_verify"} <= inspect.signature(gr.Blocks.launch).parameters.keys()
    assert gradio.blocks.httpx is httpx
    assert inspect.signature(http_server.start_server).parameters["app"]


# Everything else in the Studio uses Gradio's public names only.
INNER_NAMES = {
    *("event_ids_to_events", "pending_messages_per_session", "pending_event_ids_session", "state_holder"),
    *("session_data", "time_last_used", "LocalContext", "get_config", "postprocess_data", "preprocess_data"),
    *("validate_outputs", "call_function", "async_ssrf_protected_download", "processing_utils", "stateful"),
}
OWN_OBJECTS = ("self", "cls", "os", "other")


def inner_uses(tree):
    """Imports from inside Gradio, names that it does not export, private attributes of objects that are not ours."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gradio":
            yield f"from {node.module} import"
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("gradio."))
        elif isinstance(node, ast.Constant) and str(node.value).startswith("gradio."):
            yield node.value
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            is_private = node.attr.startswith("_") and not node.attr.startswith("__") and owner not in OWN_OBJECTS
            is_hidden = owner == "gr" and node.attr not in (*gr.__all__, "themes")
            if is_private or is_hidden or node.attr in INNER_NAMES:
                yield f"{owner}.{node.attr}"


def test_no_inner_name_of_gradio_stands_elsewhere():
    studio = Path(e5studio.studio.__path__[0])
    uses = {
        path.relative_to(studio): list(inner_uses(ast.parse(path.read_text(encoding="utf-8"))))
        for path in studio.rglob("*.py")
        if path.name not in ("gradio_patches.py", "gradio_bounds.py", "gradio_import.py")
    }
    assert len(uses) > 80
    assert {path: names for path, names in uses.items() if names} == {}


def test_inner_names_would_be_seen():
    code = "from gradio.blocks import Block\nimport gradio.context\ndemo._queue\ngr.processing_utils\nevent()._data"
    assert len(list(inner_uses(ast.parse(code)))) == 5


def test_a_page_is_served_on_bounded_connections_at_the_bound_socket():
    with gr.Blocks() as demo:
        gr.Textbox()
    with bind("127.0.0.1") as address:
        launch_at(demo, address.socket, address.url, quiet=True)
        assert demo.server.config.http is BoundedConnection
        assert demo.server_port == address.port
        demo.close()


def test_the_page_is_lightened_once_and_finds_the_counter_of_seconds():
    lighten_page()
    lighten_page()
    page = routes.templates.env.get_template("frontend/index.html").render(config={}, gradio_api_info={})
    assert page.count("<head><script>") == page.count("requestAnimationFrame = ") == 1
    [pattern] = re.findall(r"=> /(.*)/\.test", page)
    [component] = Path(gradio.__file__).parent.glob("templates/frontend/assets/statustracker-*.js")
    assert re.search(r"\(\(\)=>\{[^{}]{0,50}" + pattern, component.read_text(encoding="utf-8"))
