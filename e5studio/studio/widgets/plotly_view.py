"""A plot that keeps its zoom: plotly.js from the plotly package, updated in place.

`gr.Plot` has no selection events and rebuilds the plot at each update (losing the zoom and
leaking WebGL contexts). This component draws the dictionaries of `e5studio.studio.charts`.
"""

from __future__ import annotations

import json
from pathlib import Path

import gradio as gr
import plotly
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

from e5studio.studio.charts.palette import COLOUR_KEYS, PALETTES
from e5studio.studio.widgets.scripts import MAKE_SCRIPT, PAYLOAD_SCRIPT, scripted

_PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_ADDRESS = "e5studio/plotly.min.js"
_COLOURS = f"const PALETTES = {json.dumps(PALETTES)};\nconst COLOUR_KEYS = {json.dumps(COLOUR_KEYS)};\n"
_TEMPLATE = (
    '<figure class="e5-plot"><div class="e5-plot-drawing" tabindex="0" role="group" aria-roledescription="plot" '
    'aria-label="No plot yet"></div>'
    '<div class="e5-plot-tip" role="status" hidden></div><p class="e5-plot-fault e5-error" role="status"></p></figure>'
)


def plotly_view(elem_id: str) -> gr.HTML:
    """A plot, empty at first; its event `pick` carries the clicked cell or point, `gather` the lassoed points.

    `stand_in` fires when a figure with `is_stand_in` is drawn where it can be seen.
    The value is a figure as `Downloads.as_payload` gives it, or None for an empty plot. Only our script reads it: no
    template holds it, so no text in it can become code.
    """
    head = f'<script src="{_ADDRESS}"></script>'
    return scripted(__file__, _TEMPLATE, before=_COLOURS + MAKE_SCRIPT + PAYLOAD_SCRIPT, head=head, elem_id=elem_id)


def plotly_route() -> Route:
    """The route of plotly.js; as one of Gradio's static files, its address would show the path of Python."""

    def answer(request: Request) -> FileResponse:
        headers = {"Cache-Control": "public, max-age=86400", "X-Content-Type-Options": "nosniff"}
        return FileResponse(_PLOTLY_JS, media_type="text/javascript", headers=headers)

    return Route(f"/{_ADDRESS}", answer, methods=["GET"])
