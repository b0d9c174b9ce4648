"""The tab with the map: PCA at once, other projections on request; colours, neighbours of a point, a table of texts."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import Any, TypeGuard

import gradio as gr

from e5studio.analysis.projection import warm_umap
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    EACH,
    NOTHING_PENDING,
    PROJECT_QUEUE,
    UNQUEUED,
    Changes,
    PendingOutput,
    components_of,
    fields_of,
    pending_state,
    show_if_current,
)
from e5studio.studio.map import text as map_text
from e5studio.studio.map.charts import draw_map
from e5studio.studio.map.placing import (
    MAX_NEIGHBOURHOOD,
    Colour,
    MapSettings,
    TextMap,
    place_texts,
    true_neighbours,
    valid_colour,
    valid_settings,
)
from e5studio.studio.map.table import map_table
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

_DEFAULT = MapSettings()
_METHODS = [("PCA", "pca"), ("UMAP", "umap"), ("t-SNE", "tsne"), ("Between the sides", "axis")]
_COLOURS = [
    ("Side", "role"),
    ("Group", "cluster"),
    ("Neighbours kept", "kept"),
    ("Best score", "best"),
    ("Length", "tokens"),
]


class MapTab:
    """The tab; made inside gr.Blocks."""

    def __init__(self, services: Services) -> None:
        self._downloads = services.downloads
        with gr.Row(elem_id="e5-map-choices", elem_classes="e5-map-choices"):
            self.method = gr.Radio(
                _METHODS, value=_DEFAULT.method, label="Projection", elem_id="e5-method", min_width=0
            )
            self.n_dims = gr.Radio([("2D", 2), ("3D", 3)], value=2, label="Dimensions", elem_id="e5-dims", min_width=0)
            self.colour = gr.Radio(_COLOURS, value="role", label="Colour", elem_id="e5-colour", min_width=0)
        with gr.Row(elem_id="e5-map-settings"):
            self.n_neighbors = _slider(
                "n_neighbors", (2, MAX_NEIGHBOURHOOD, 1), "Neighbours", "Few show details, many the whole"
            )
            self.min_dist = _slider("min_dist", (0, 1, 0.05), "Distance", "How close points may lie")
            self.perplexity = _slider(
                "perplexity", (1, MAX_NEIGHBOURHOOD, 1), "Perplexity", "How many neighbours count"
            )
            self.seed = gr.Number(
                _DEFAULT.seed, label="Seed", info="The same number, the same map", visible=False, elem_id="e5-seed"
            )
        self.caption = text_tree(map_text.invitation(), elem_id="e5-map-caption", live="polite")
        self.plot = plotly_view(elem_id="e5-map")
        self.point = text_tree(elem_id="e5-point", live="polite")
        self.list_all = gr.Button("List all texts again", size="sm", visible=False, elem_id="e5-list-all", min_width=0)
        self.table = data_table_view(elem_id="e5-map-texts")
        self.save = save_bar(
            [("texts and places", [("CSV", "map.csv"), ("Parquet", "map.parquet")])],
            plot="e5-map",
            elem_id="e5-save-map",
        )
        self.text_map = gr.State(None)

    @property
    def settings(self) -> list[Any]:
        """The inputs of a callback that takes `valid_settings`' arguments."""
        return [self.method, self.n_dims, self.n_neighbors, self.min_dist, self.perplexity, self.seed]

    def connect(self, result: gr.State) -> None:
        """Place the texts anew, colour them, join one to its true neighbours, list those that are lassoed."""
        self.method.input(self.on_method, self.settings, self.settings, **UNQUEUED)
        self.seed.blur(lambda seed: valid_settings(seed=seed).seed, [self.seed], [self.seed], **UNQUEUED)
        looks = [result, self.text_map, self.colour]
        placed, coloured, picked = pending_state(), pending_state(), pending_state()
        on_settings = functools.partial(self.on_settings, placed)
        # One event for all, or two settings changed at once would place the texts side by side, in either order.
        changed = [setting.input for setting in self.settings]
        event = gr.on(
            changed, on_settings, [result, self.colour, *self.settings], [self.caption, placed], **PROJECT_QUEUE
        )
        show_if_current(event, placed, result, components_of(self))
        event = self.colour.input(self.on_colour, looks, [coloured], **PROJECT_QUEUE)
        show_if_current(event, coloured, result, [self.plot, self.caption, self.point])
        for source in (self.plot, self.table):
            event = source.pick(self.on_pick, looks, [picked], **(PROJECT_QUEUE | EACH))
            show_if_current(event, picked, result, [self.plot, self.caption, self.point])
        listing = [self.table, self.list_all]
        self.plot.gather(self.on_gather, [result, self.text_map], listing, **(UNQUEUED | EACH))
        self.list_all.click(self.on_list_all, [result, self.text_map], listing, **UNQUEUED)

    def show(self, result: ScoreResult) -> Changes:
        """Show the map of a new result."""
        changes = {**self.show_settings(_DEFAULT), self.colour: "role", self.save: gr.update(visible=True)}
        try:
            return {**changes, **self._show_map(result, place_texts(result, _DEFAULT), "role")}
        except Exception as error:
            return {**changes, **self._failed(error), self.table: None, self.list_all: gr.update(visible=False)}

    def show_settings(self, settings: MapSettings) -> Changes:
        """Show the settings that the method uses."""
        is_umap, is_tsne = settings.method == "umap", settings.method == "tsne"
        return {
            self.method: settings.method,
            self.n_dims: settings.n_dims,
            self.n_neighbors: gr.update(value=settings.n_neighbors, visible=is_umap),
            self.min_dist: gr.update(value=settings.min_dist, visible=is_umap),
            self.perplexity: gr.update(value=settings.perplexity, visible=is_tsne),
            self.seed: gr.update(value=settings.seed, visible=is_umap or is_tsne),
        }

    def place(self, pending: gr.State, result: ScoreResult, colour: Colour, settings: MapSettings) -> Iterator[Changes]:
        """Place the texts: shows that it does, then leaves the map in `pending`."""
        yield {self.caption: nodes.progress(None, "Placing the texts")}
        try:
            changes = self._show_map(result, place_texts(result, settings), colour)
        except Exception as error:
            changes = self._failed(error)
        yield {pending: PendingOutput(result.key, changes)}

    def on_method(self, *settings: Any) -> Changes:
        """Another method was chosen."""
        return self.show_settings(valid_settings(*settings))

    def on_settings(
        self, pending: gr.State, result: ScoreResult | None, colour: str, *settings: Any
    ) -> Iterator[Changes]:
        """Another setting was chosen."""
        if result is None:
            yield {pending: NOTHING_PENDING}
            return
        yield from self.place(pending, result, valid_colour(colour), valid_settings(*settings))

    def on_colour(self, result: ScoreResult | None, text_map: TextMap | None, colour: str) -> PendingOutput:
        """Another colouring was chosen."""
        if result is None or not _is_of(text_map, result):
            return NOTHING_PENDING
        try:
            changes = self._draw(result, text_map, colour)
        except Exception as error:
            changes = {self.caption: nodes.error(message_for_visitor(error))}
        return PendingOutput(result.key, changes)

    def on_pick(
        self, result: ScoreResult | None, text_map: TextMap | None, colour: str, event: gr.EventData
    ) -> PendingOutput:
        """A point or a row was picked."""
        label = fields_of(event).get("label")
        if result is None or not _is_of(text_map, result) or label not in result.points[0]:
            return NOTHING_PENDING
        point = map_text.point(result, label, true_neighbours(result, text_map, label))
        return PendingOutput(result.key, {**self._draw(result, text_map, colour, label), self.point: point})

    def on_gather(self, result: ScoreResult | None, text_map: TextMap | None, event: gr.EventData) -> Changes:
        """Points were lassoed."""
        labels = fields_of(event).get("labels")
        if not isinstance(labels, list) or not labels:
            return {}
        return self._list(result, text_map, {label for label in labels if isinstance(label, str)})

    def on_list_all(self, result: ScoreResult | None, text_map: TextMap | None) -> Changes:
        """All texts are to be listed again."""
        return self._list(result, text_map, None)

    def _show_map(self, result: ScoreResult, text_map: TextMap, colour: Colour) -> Changes:
        drawn = self._draw(result, text_map, colour)
        return {**drawn, **self._list(result, text_map, None), self.text_map: text_map}

    def _draw(self, result: ScoreResult, text_map: TextMap, colour: str, picked: str | None = None) -> Changes:
        valid = valid_colour(colour)
        return {
            self.plot: self._downloads.as_payload(draw_map(result, text_map, valid, picked)),
            self.caption: map_text.caption(result, text_map, valid, picked),
            self.point: map_text.point_help(text_map),
        }

    def _list(self, result: ScoreResult | None, text_map: TextMap | None, members: Collection[str] | None) -> Changes:
        if result is None or not _is_of(text_map, result):
            return {}
        table = self._downloads.as_payload(map_table(result, text_map, members))
        return {self.table: table, self.list_all: gr.update(visible=members is not None)}

    def _failed(self, error: Exception) -> Changes:
        message = nodes.error(message_for_visitor(error))
        return {self.plot: None, self.caption: message, self.point: [], self.text_map: None}


@functools.cache
def warm_once() -> None:
    """Have UMAP compiled in the background; a second call does nothing."""
    warm_umap()


def _slider(name: str, steps: tuple[float, float, float], label: str, info: str) -> gr.Slider:
    """The slider of a field of `MapSettings`, from the first to the second value of `steps` by the third."""
    low, high, step = steps
    value, elem_id = getattr(_DEFAULT, name), f"e5-{name.replace('_', '-')}"
    return gr.Slider(low, high, value, step=step, label=label, info=info, visible=False, elem_id=elem_id)


def _is_of(text_map: TextMap | None, result: ScoreResult) -> TypeGuard[TextMap]:
    """Whether the map is of this result: a new one has none for a moment."""
    return text_map is not None and text_map.of == result.key
