"""Components that a script of ours writes; it stands beside the component's module, under the same name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

_HERE = Path(__file__).parent
MAKE_SCRIPT = (_HERE / "make.js").read_text(encoding="utf-8")
TREE_SCRIPT = (_HERE / "tree.js").read_text(encoding="utf-8")
PAYLOAD_SCRIPT = (_HERE / "payload.js").read_text(encoding="utf-8")


def scripted(module: str, template: str, value: Any = None, *, before: str = "", **options: Any) -> gr.HTML:
    """A component of Gradio with a script.

    Args:
        module: The module's `__file__`.
        template: The HTML that the script fills; holds no text of a visitor.
        value: At first.
        before: What the script needs, in front of it.
        options: As of `gr.HTML`.
    """
    script = before + Path(module).with_suffix(".js").read_text(encoding="utf-8")
    return gr.HTML(value, html_template=template, js_on_load=script, apply_default_css=False, **options)
