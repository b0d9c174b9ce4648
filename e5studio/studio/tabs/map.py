"""The tab with the map: PCA at once, other projections on request; colours, and the true neighbours of a point."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr

from e5studio.analysis.projection import warm_umap
from e5studio.studio import words
from e5studio.studio.components.plotly_view import plotly_view
from e5studio.studio.components.text_tree import text_tree
from e5studio.studio.failures import explain
from e5studio.studio.handlers import ScoreResult
from e5studio.studio.mapping import COLOURS, METHODS, TextMap, draw_map, place_texts, true_neighbours

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class MapTab:
    """The components of the tab."""

    method: gr.Radio
    n_dims: gr.Radio
    colour: gr.Radio
    plot: gr.HTML
    caption: gr.HTML
    point: gr.HTML
    placed: gr.State

    @property
    def outputs(self) -> list[Any]:
        """In the order of `first_map`."""
        return [self.method, self.n_dims, self.colour, self.plot, self.caption, self.point, self.placed]


def render_map() -> MapTab:
    """Lay out the tab."""
    with gr.Row(elem_id="e5-map-choices"):
        method = gr.Radio(
            [("PCA", "pca"), ("UMAP", "umap"), ("t-SNE", "tsne"), ("Between the sides", "axis")],
            value="pca",
            label="Projection",
            elem_id="e5-method",
            min_width=0,
        )
        n_dims = gr.Radio([("2D", 2), ("3D", 3)], value=2, label="Dimensions", elem_id="e5-dims", min_width=0)
        colour = gr.Radio(
            [("Side", "role"), ("Group", "cluster"), ("Neighbours kept", "kept")],
            value="role",
            label="Colour",
            elem_id="e5-colour",
            min_width=0,
        )
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
    placed = gr.State(None, time_to_live=3600)
    return MapTab(method, n_dims, colour, plot, caption, point, placed)


def first_map(result: ScoreResult) -> list[Any]:
    """The map of a new result, as the values of `MapTab.outputs`."""
    placed = place_texts(result, "pca", 2)
    figure, caption = draw_map(result, placed, "role")
    return ["pca", 2, "role", figure, words.hint(caption), [], placed]


@functools.cache
def warm_once() -> threading.Thread:
    """Have UMAP compiled in the background; a second call does nothing."""
    return warm_umap()


def listen_map(tab: MapTab, result: gr.State) -> None:
    """Place the texts anew, colour them, or join one that is clicked to its true neighbours."""
    for choice in (tab.method, tab.n_dims):
        choice.input(
            _place,
            [result, tab.method, tab.n_dims, tab.colour],
            [tab.plot, tab.caption, tab.point, tab.placed],
            concurrency_limit=1,
            concurrency_id="project",
            show_progress="hidden",  # the caption tells it in words
            trigger_mode="always_last",
            api_visibility="private",
        )
    tab.colour.input(
        _paint,
        [result, tab.placed, tab.colour],
        [tab.plot, tab.caption],
        concurrency_limit=1,
        concurrency_id="project",
        show_progress="hidden",
        trigger_mode="always_last",
        api_visibility="private",
    )
    tab.plot.pick(
        _pick,
        [result, tab.placed, tab.colour],
        [tab.plot, tab.caption, tab.point],
        concurrency_limit=1,
        concurrency_id="project",
        show_progress="hidden",
        api_visibility="private",
    )


def _place(result: ScoreResult | None, method: str, n_dims: int, colour: str) -> Iterator[tuple[Any, ...]]:
    if result is None:
        return
    yield gr.skip(), words.progress(None, "Placing the texts"), gr.skip(), gr.skip()
    try:
        placed = place_texts(result, _known(method, METHODS), 3 if n_dims == 3 else 2)
        figure, caption = draw_map(result, placed, _known(colour, COLOURS))
    except Exception as error:
        yield gr.skip(), words.error(explain(error)), gr.skip(), gr.skip()
    else:
        yield figure, words.hint(caption), [], placed


def _paint(result: ScoreResult | None, placed: TextMap | None, colour: str) -> tuple[Any, Any]:
    if result is None or placed is None:
        return gr.skip(), gr.skip()
    try:
        figure, caption = draw_map(result, placed, _known(colour, COLOURS))
    except Exception as error:
        return gr.skip(), words.error(explain(error))
    return figure, words.hint(caption)


def _pick(
    result: ScoreResult | None, placed: TextMap | None, colour: str, event: gr.EventData
) -> tuple[Any, Any, list[words.Node]]:
    label = (event._data or {}).get("label")
    if result is None or placed is None or not isinstance(label, str) or label not in result.points[0]:
        return gr.skip(), gr.skip(), []
    figure, caption = draw_map(result, placed, _known(colour, COLOURS), label)
    return figure, words.hint(caption), words.point(result, label, true_neighbours(result, placed, label))


def _known(name: str, names: tuple[Choice, ...]) -> Choice:
    """What came over the wire, if it is one of ours."""
    return next((each for each in names if each == name), names[0])
