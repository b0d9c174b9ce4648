"""The tab with the map: PCA at once, other projections on request; colours, neighbours of a point, a table of texts."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.analysis.projection import warm_umap
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    PROJECT_QUEUE,
    UNQUEUED,
    PendingOutput,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.map import text as map_text
from e5studio.studio.map.placing import (
    MAX_NEIGHBOURHOOD,
    Colour,
    MapSettings,
    TextMap,
    draw_map,
    place_texts,
    true_neighbours,
    valid_colour,
    valid_settings,
)
from e5studio.studio.map.table import map_table
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_USUAL = MapSettings()
_POINT_HELP = "Click a point to see what truly lies next to it."
_LASSO_HELP = " Loop some with the lasso above the map to list them alone."


@dataclass(frozen=True)
class MapTab:
    """The components of the tab."""

    method: gr.Radio
    n_dims: gr.Radio
    n_neighbors: gr.Slider
    min_dist: gr.Slider
    perplexity: gr.Slider
    seed: gr.Number
    colour: gr.Radio
    plot: gr.HTML
    caption: gr.HTML
    point: gr.HTML
    table: gr.HTML
    everything: gr.Button
    save: gr.HTML
    placed: gr.State

    @property
    def settings(self) -> list[Any]:
        """The choices of how texts are placed, in the order of the fields of `MapSettings`."""
        return [self.method, self.n_dims, self.n_neighbors, self.min_dist, self.perplexity, self.seed]

    @property
    def drawn(self) -> list[Any]:
        """What changes with the places of the texts, in the order of `_drawn`."""
        return [self.plot, self.caption, self.point, self.table, self.everything, self.placed]

    @property
    def outputs(self) -> list[Any]:
        """In the order of `first_map`."""
        return [*self.settings, self.colour, self.save, *self.drawn]


def render_map() -> MapTab:
    """Lay out the tab."""
    with gr.Row(elem_id="e5-map-choices", elem_classes="e5-map-choices"):
        method = gr.Radio(
            [
                ("PCA", "pca"),
                ("UMAP", "umap"),
                ("t-SNE", "tsne"),
                ("Between the sides", "axis"),
            ],
            value=_USUAL.method,
            label="Projection",
            elem_id="e5-method",
            min_width=0,
        )
        n_dims = gr.Radio([("2D", 2), ("3D", 3)], value=2, label="Dimensions", elem_id="e5-dims", min_width=0)
        colour = gr.Radio(
            [
                ("Side", "role"),
                ("Group", "cluster"),
                ("Neighbours kept", "kept"),
                ("Best score", "best"),
                ("Length", "tokens"),
            ],
            value="role",
            label="Colour",
            elem_id="e5-colour",
            min_width=0,
        )
    with gr.Row(elem_id="e5-map-settings"):
        n_neighbors = gr.Slider(
            2,
            MAX_NEIGHBOURHOOD,
            _USUAL.n_neighbors,
            step=1,
            label="Neighbours",
            info="Few show details, many the whole",
            visible=False,
            elem_id="e5-n-neighbors",
        )
        min_dist = gr.Slider(
            0,
            1,
            _USUAL.min_dist,
            step=0.05,
            label="Distance",
            info="How close points may lie",
            visible=False,
            elem_id="e5-min-dist",
        )
        perplexity = gr.Slider(
            1,
            MAX_NEIGHBOURHOOD,
            _USUAL.perplexity,
            step=1,
            label="Perplexity",
            info="How many neighbours count",
            visible=False,
            elem_id="e5-perplexity",
        )
        seed = gr.Number(
            _USUAL.seed,
            label="Seed",
            info="The same number, the same map",
            visible=False,
            elem_id="e5-seed",
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
    everything = gr.Button("List all texts again", size="sm", visible=False, elem_id="e5-list-all", min_width=0)
    table = data_table_view(elem_id="e5-map-texts")
    save = save_bar(
        [("texts and places", [("CSV", "map.csv"), ("Parquet", "map.parquet")])],
        plot="e5-map",
        elem_id="e5-save-map",
    )
    placed = gr.State(None)
    return MapTab(
        method,
        n_dims,
        n_neighbors,
        min_dist,
        perplexity,
        seed,
        colour,
        plot,
        caption,
        point,
        table,
        everything,
        save,
        placed,
    )


def first_map(result: ScoreResult) -> list[Any]:
    """The map of a new result, as the values of `MapTab.outputs`."""
    try:
        drawn = _drawn(result, place_texts(result, _USUAL), "role")
    except Exception as error:
        drawn = [None, nodes.error(message_for_visitor(error)), [], None, gr.update(visible=False), None]
    return [*shown_settings(_USUAL), "role", gr.update(visible=True), *drawn]


def shown_settings(settings: MapSettings) -> list[Any]:
    """The values of `MapTab.settings`, those alone visible that the method heeds."""
    is_umap, is_tsne = settings.method == "umap", settings.method == "tsne"
    return [
        settings.method,
        settings.n_dims,
        gr.update(value=settings.n_neighbors, visible=is_umap),
        gr.update(value=settings.min_dist, visible=is_umap),
        gr.update(value=settings.perplexity, visible=is_tsne),
        gr.update(value=settings.seed, visible=is_umap or is_tsne),
    ]


@functools.cache
def warm_once() -> threading.Thread:
    """Have UMAP compiled in the background; a second call does nothing."""
    return warm_umap()


def listen_map(tab: MapTab, result: gr.State) -> None:
    """Place the texts anew, colour them, join one to its true neighbours, list those that are lassoed."""
    tab.method.input(_heeded, tab.settings, tab.settings, **UNQUEUED)
    tab.seed.blur(_usable_seed, [tab.seed], [tab.seed], **UNQUEUED)
    latest: dict[str, Any] = {
        "trigger_mode": "always_last",
        **PROJECT_QUEUE,
    }  # a slider that is dragged tells many values
    placed_anew, painted, picked = pending_state(), pending_state(), pending_state()
    for choice in tab.settings:
        made = choice.input(place_anew, [result, tab.colour, *tab.settings], [tab.caption, placed_anew], **latest)
        show_if_current(made, placed_anew, result, tab.drawn)
    made = tab.colour.input(_paint, [result, tab.placed, tab.colour], [painted], **latest)
    show_if_current(made, painted, result, [tab.plot, tab.caption, tab.point])
    for source in (tab.plot, tab.table):
        made = source.pick(_pick, [result, tab.placed, tab.colour], [picked], **PROJECT_QUEUE)
        show_if_current(made, picked, result, [tab.plot, tab.caption, tab.point])
    tab.plot.gather(_gather, [result, tab.placed], [tab.table, tab.everything], **UNQUEUED)
    tab.everything.click(_list_all, [result, tab.placed], [tab.table, tab.everything], **UNQUEUED)


def place_anew(result: ScoreResult | None, colour: str, *settings: Any) -> Iterator[list[Any]]:
    """Place the texts as the settings say: what is being done, then a draft of `MapTab.drawn`."""
    if result is None:
        yield [gr.skip(), gr.skip()]
        return
    yield [nodes.progress(None, "Placing the texts"), gr.skip()]
    try:
        placed = place_texts(result, valid_settings(*settings))
        drawn = _drawn(result, placed, valid_colour(colour))
    except Exception as error:
        drawn = [None, nodes.error(message_for_visitor(error)), [], gr.skip(), gr.skip(), None]
    yield [gr.skip(), PendingOutput(result.key, drawn)]


def _heeded(*settings: Any) -> list[Any]:
    return shown_settings(valid_settings(*settings))


def _drawn(result: ScoreResult, placed: TextMap, colour: Colour) -> list[Any]:
    figure, caption = draw_map(result, placed, colour)
    table = as_payload(map_table(result, placed))
    return [as_payload(figure), nodes.hint(caption), _point_help(placed), table, gr.update(visible=False), placed]


def _usable_seed(seed: Any) -> int:
    return valid_settings(seed=seed).seed


def _own(result: ScoreResult | None, placed: TextMap | None) -> TextMap | None:
    """The map, if it is of this result: a new one has none for a moment."""
    return placed if result is not None and placed is not None and placed.of == result.key else None


def _point_help(placed: TextMap) -> list[nodes.Node]:
    is_plane = placed.coordinates.shape[1] == 2
    return nodes.hint(_POINT_HELP + (_LASSO_HELP if is_plane else ""))


def _paint(result: ScoreResult | None, placed: TextMap | None, colour: str) -> Any:
    own = _own(result, placed)
    if result is None or own is None:
        return gr.skip()
    try:
        figure, caption = draw_map(result, own, valid_colour(colour))
    except Exception as error:
        return PendingOutput(result.key, [gr.skip(), nodes.error(message_for_visitor(error)), gr.skip()])
    return PendingOutput(result.key, [as_payload(figure), nodes.hint(caption), _point_help(own)])


def _pick(result: ScoreResult | None, placed: TextMap | None, colour: str, event: gr.EventData) -> Any:
    own, label = _own(result, placed), fields_of(event).get("label")
    if result is None or own is None or not isinstance(label, str) or label not in result.points[0]:
        return gr.skip()
    figure, caption = draw_map(result, own, valid_colour(colour), label)
    point = map_text.point(result, label, true_neighbours(result, own, label))
    return PendingOutput(result.key, [as_payload(figure), nodes.hint(caption), point])


def _gather(result: ScoreResult | None, placed: TextMap | None, event: gr.EventData) -> tuple[Any, Any]:
    own, labels = _own(result, placed), fields_of(event).get("labels")
    if result is None or own is None or not isinstance(labels, list) or not labels:
        return gr.skip(), gr.skip()
    members = {label for label in labels if isinstance(label, str)}
    return as_payload(map_table(result, own, members)), gr.update(visible=True)


def _list_all(result: ScoreResult | None, placed: TextMap | None) -> tuple[Any, Any]:
    own = _own(result, placed)
    if result is None or own is None:
        return gr.skip(), gr.skip()
    return as_payload(map_table(result, own)), gr.update(visible=False)
