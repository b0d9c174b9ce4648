"""A page that spares Gradio's hidden work shows every visitor exactly what it would show without."""

from __future__ import annotations

import copy
import json

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from e5studio.default_model import ModelChoice
from e5studio.studio.page.app import build_app
from e5studio.studio.serving.gradio_patches import LeanBlocks, describe_once
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


def test_the_page_is_such_a_page(engine):
    assert isinstance(build_app(engine, ModelChoice(ENGLISH, "it is the tests' model")), LeanBlocks)


def test_components_that_describe_themselves_once_say_the_same_to_every_visitor(engine):
    page = build_app(engine, ModelChoice(ENGLISH, "it is the tests' model"))
    before = json.dumps(SessionState(page).config_values, default=str)
    describe_once(page)
    one, other = SessionState(page), SessionState(page)
    assert json.dumps(one.config_values, default=str) == before
    for key in one.config_values:
        one._update_value_in_config(key, "a secret")
    assert "a secret" in json.dumps(one.config_values, default=str)
    for session in (other, SessionState(page)):
        assert json.dumps(session.config_values, default=str) == before
