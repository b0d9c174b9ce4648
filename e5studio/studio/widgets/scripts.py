"""Components that a script of ours writes; it stands beside the component's module, under the same name.

Gradio would put a copy of the script into the page for each component. The browser fetches it once instead.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_HERE = Path(__file__).parent
MAKE_SCRIPT = (_HERE / "make.js").read_text(encoding="utf-8")
TREE_SCRIPT = (_HERE / "tree.js").read_text(encoding="utf-8")
PAYLOAD_SCRIPT = (_HERE / "payload.js").read_text(encoding="utf-8")

_ADDRESS = "e5studio/scripts"
_EVENT = re.compile(r'\btrigger\("(\w+)"')
_scripts: dict[str, str] = {}  # by name; each component's module adds its own


def scripted(
    module: str,
    template: str,
    value: Any = None,
    *,
    before: str = "",
    head: str = "",
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> gr.HTML:
    """A component of Gradio with a script, which finds `element`, `trigger`, `props`, `watch` and `settings`.

    Args:
        module: The module's `__file__`.
        template: The HTML that the script fills; holds no text of a visitor.
        value: At first.
        before: What the script needs, in front of it; the same for each component of the module.
        head: Of the page; loaded before the script.
        settings: Of this component.
        options: As of `gr.HTML`.
    """
    path = Path(module).with_suffix(".js")
    script = before + path.read_text(encoding="utf-8")
    given = "{ element, trigger, props, watch }"
    _scripts[path.stem] = f"(globalThis.e5 ??= {{}}).{path.stem} = ({given}, settings) => {{\n{script}\n}};\n"
    version = hashlib.sha256(script.encode()).hexdigest()[:16]
    # Relative, so that it also works under a root path: Gradio's page sets <base href>.
    head += f'<script src="{_ADDRESS}/{path.name}?{version}"></script>'
    events = " ".join(f'"{event}"' for event in sorted({*_EVENT.findall(script)}))  # Gradio wants to read their names
    call = f"e5.{path.stem}({given}, {json.dumps(settings or {})}); // {events}"
    return gr.HTML(value, html_template=template, js_on_load=call, head=head, apply_default_css=False, **options)


def scripts_route() -> Route:
    """The route of the scripts. Their addresses change with what they say, so a browser may keep them."""

    def answer(request: Request) -> Response:
        script = _scripts.get(request.path_params["name"])
        if script is None:
            return PlainTextResponse("There is no such script.", status_code=404)
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
        return Response(script, media_type="text/javascript", headers=headers)

    return Route(f"/{_ADDRESS}/{{name}}.js", answer, methods=["GET"])
