"""The tab with the map: PCA at once, UMAP on request, in two or three dimensions."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.analysis.projection import warm_umap
from e5studio.studio import words
from e5studio.studio.components.plotly_view import plotly_view
from e5studio.studio.components.text_tree import text_tree
from e5studio.studio.failures import explain
from e5studio.studio.handlers import ScoreResult
from e5studio.studio.mapping import Method, draw_map


@dataclass(frozen=True)
class MapTab:
    """The components of the tab."""

    method: gr.Radio
    n_dims: gr.Radio
    plot: gr.HTML
    caption: gr.HTML
    point: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """In the order of `first_map`."""
        return [self.method, self.n_dims, self.plot, self.caption, self.point]


def render_map() -> MapTab:
    """Lay out the tab."""
    with gr.Row(elem_id="e5-map-choices"):
        method = gr.Radio(
            [("PCA", "pca"), ("UMAP", "umap")], value="pca", label="Projection", elem_id="e5-method", min_width=0
        )
        n_dims = gr.Radio([("2D", 2), ("3D", 3)], value=2, label="Dimensions", elem_id="e5-dims", min_width=0)
    caption = text_tree(
        [
            ["p", "e5-empty-title", "See which texts lie near each other"],
            ["p", "e5-hint", "Press Score first: the map shows the same texts."],
        ],
        elem_id="e5-map-caption",
        live="polite",
    )
    plot = plotly_view(elem_id="e5-map")
    point = text_tree(elem_id="e5-point", live="polite")
    return MapTab(method, n_dims, plot, caption, point)


def first_map(result: ScoreResult) -> list[Any]:
    """The map of a new result, as the values of `MapTab.outputs`."""
    figure, caption = draw_map(result, "pca", 2)
    return ["pca", 2, figure, words.hint(caption), []]


@functools.cache
def warm_once() -> threading.Thread:
    """Have UMAP compiled in the background; a second call does nothing."""
    return warm_umap()


def listen_map(tab: MapTab, result: gr.State) -> None:
    """Redraw when another projection is asked for; show the text of a point that is clicked."""
    for choice in (tab.method, tab.n_dims):
        choice.input(
            _redraw,
            [result, tab.method, tab.n_dims],
            [tab.plot, tab.caption],
            concurrency_limit=1,
            concurrency_id="project",
            show_progress="hidden",  # the caption tells it in words
            trigger_mode="always_last",
            api_visibility="private",
        )
    tab.plot.pick(_point, [result], [tab.point], queue=False, show_progress="hidden", api_visibility="private")


def _redraw(result: ScoreResult | None, method: str, n_dims: int) -> Iterator[tuple[Any, Any]]:
    if result is None:
        return
    kind: Method = "umap" if method == "umap" else "pca"
    yield gr.skip(), words.progress(None, "Placing the texts")
    try:
        figure, caption = draw_map(result, kind, 3 if n_dims == 3 else 2)
    except Exception as error:
        yield gr.skip(), words.error(explain(error))
    else:
        yield figure, words.hint(caption)


def _point(result: ScoreResult | None, event: gr.EventData) -> list[words.Node]:
    label = (event._data or {}).get("label")
    if result is None or not isinstance(label, str):
        return []
    return words.point(result, label)
