"""The scripts of components: once for the page, and each component with its own settings."""

from __future__ import annotations

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from e5studio.studio.widgets.scripts import scripted, scripts_route

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.usefixtures("gradio_litter")]


@pytest.fixture
def module(tmp_path):
    (tmp_path / "lamp.js").write_text('element.onclick = () => trigger("lit", settings);', encoding="utf-8")
    return str(tmp_path / "lamp.py")


def test_a_script_is_fetched_once_and_called_with_the_settings_of_each_component(module):
    with gr.Blocks() as demo:
        lamps = [
            scripted(module, "<b></b>", before="const VOLTS = 5;\n", settings={"colour": c}) for c in ("red", "</b>")
        ]
        lamps[0].lit(lambda: None)  # Gradio knows the event
    client = TestClient(Starlette(routes=[scripts_route()]))
    assert lamps[0].head == lamps[1].head
    address = lamps[0].head.split('"')[1]
    script = client.get(f"/{address}")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "VOLTS = 5" in script.text
    assert "element.onclick" in script.text
    assert [lamp.js_on_load.split(";")[0] for lamp in lamps] == [
        'e5.lamp({ element, trigger, props, watch }, {"colour": "red"})',
        'e5.lamp({ element, trigger, props, watch }, {"colour": "</b>"})',
    ]
    assert "element.onclick" not in str(demo.get_config_file())


def test_another_script_has_another_address(module, tmp_path):
    def head():
        with gr.Blocks():
            return scripted(module, "<b></b>").head

    first = head()
    (tmp_path / "lamp.js").write_text("element.remove();", encoding="utf-8")
    assert head() != first


def test_there_is_no_other_script():
    assert TestClient(Starlette(routes=[scripts_route()])).get("/e5studio/scripts/none.js").status_code == 404
