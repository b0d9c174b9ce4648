"""Gradio is imported with the page's settings alone, and without its type stubs."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder

import gradio as gr
import pytest
from gradio import component_meta

from e5studio.studio.serving.gradio_import import set_up_gradio

COMPONENT = """import gradio as gr


class Own(gr.Textbox):
    pass
"""


def test_gradio_reads_no_settings_but_the_pages(monkeypatch):
    environment = {"GRADIO_DEBUG": "1", "GRADIO_NUM_PORTS": "many", "GRADIO_ROOT_PATH": "/here", "OTHER": "1"}
    monkeypatch.setattr(os, "environ", environment)
    set_up_gradio()
    assert {name: environment.get(name) for name in ("GRADIO_DEBUG", "GRADIO_NUM_PORTS")} == {
        "GRADIO_DEBUG": None,
        "GRADIO_NUM_PORTS": None,
    }
    assert (environment["GRADIO_ROOT_PATH"], environment["OTHER"]) == ("/here", "1")


@pytest.fixture
def own_component(tmp_path):
    """A module with a class of a component, which Gradio takes for one to write a stub for."""
    path = tmp_path / "own.py"
    path.write_text(COMPONENT, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("own", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "own", module)
        spec.loader.exec_module(module)
        yield path, module.Own


def test_gradio_writes_no_stub_beside_a_component(own_component):
    path, component = own_component
    assert issubclass(component, gr.Textbox)
    assert not path.with_suffix(".pyi").exists()


def test_gradio_as_it_is_would_write_one(own_component):
    path, component = own_component
    spec = PathFinder.find_spec("gradio.component_meta", gr.__path__)
    unpatched = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpatched)
    assert unpatched.create_or_modify_pyi is not component_meta.create_or_modify_pyi
    unpatched.create_or_modify_pyi(component, "Own", [])
    assert path.with_suffix(".pyi").exists()
