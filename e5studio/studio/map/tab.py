"""The tab with the map: quick projections at once, slow ones when somebody looks; colours, a table of texts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import gradio as gr
import numpy as np

from e5studio.analysis.umap_projection import warm_umap
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
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
from e5studio.studio.map.panel import MapPanel, search_row
from e5studio.studio.map.picture import MapPicture
from e5studio.studio.map.placing import (
    Colour,
    MapSettings,
    TextMap,
    method_choices,
    place_texts,
    true_neighbours,
    valid_colour,
    valid_settings,
)
from e5studio.studio.map.table import chosen_table, hit_table, map_table
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.choice_menu import menu_update
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.table_data import Choice
from e5studio.studio.widgets.text_tree import text_tree

_DEFAULT = MapSettings()
_N_HITS = 5
_MANY = 1_000  # until it is known how many texts there are, every projection can be chosen
_COLOURS = [
    Choice("Side", "role"),
    Choice("Topic", "cluster"),
    Choice("Neighbours kept", "kept"),
    Choice("Best score", "best"),
    Choice("Length", "tokens"),
]


class MapTab:
    """The tab; made inside gr.Blocks."""

    def __init__(self, services: Services) -> None:
        self._downloads, self._engine = services.downloads, services.engine
        self.empty = text_tree(map_text.invitation(), elem_id="e5-map-empty")
        self.panel = MapPanel(
            services.downloads, "e5-map", method_choices(_MANY), _COLOURS, self._add_search, is_plot_first=True
        )
        self.table = data_table_view(elem_id="e5-map-texts")
        self.save = save_bar(
            [("texts and places", [("CSV", "map.csv"), ("Parquet", "map.parquet")]), ("page", [("HTML", "map.html")])],
            plot="e5-map",
            elem_id="e5-save-map",
        )
        self.text_map = gr.State(None)
        self.hits = gr.State(())  # rows that a search found

    def _add_search(self, add_picked: Callable[[], None]) -> None:
        self.query, self.search = search_row("e5-map")
        add_picked()

    @property
    def choices(self) -> list[Any]:
        """The colouring and the settings, which the next result's map keeps."""
        return [self.panel.colour, *self.panel.settings]

    def connect(self, result: gr.State) -> None:
        """Place the texts anew, colour them, join one to its true neighbours, list those that are lassoed."""
        panel = self.panel
        looks = [result, self.text_map, panel.colour, panel.label, self.hits]
        placed, coloured, picked = pending_state(), pending_state(), pending_state()
        searched = pending_state()
        on_settings = functools.partial(self.on_settings, placed)
        outputs = [panel.status, placed]
        events = panel.connect_settings(on_settings, [result, *self.choices], outputs, PROJECT_QUEUE)
        for event in (*events, panel.plot.stand_in(on_settings, [result, *self.choices], outputs, **PROJECT_QUEUE)):
            show_if_current(event, placed, result, components_of(self), self.choices, self.on_placed)
        event = panel.colour.choose(self.on_colour, looks, [coloured], **PROJECT_QUEUE)
        show_if_current(event, coloured, result, components_of(panel))
        for pick in (*panel.picked, self.table.pick):
            event = pick(self.on_pick, looks, [picked], **(PROJECT_QUEUE | EACH))
            show_if_current(event, picked, result, components_of(panel))
        listing = [panel.chosen, panel.drop_chosen]
        panel.plot.gather(self.on_gather, [result, self.text_map], listing, **(UNQUEUED | EACH))
        on_search = functools.partial(self.on_search, searched)
        for start, query in ((self.search, [self.query]), (panel.drop_chosen, [])):
            starts = [start.click, *([self.query.submit] if query else [])]
            event = gr.on(starts, on_search, [*looks[:3], *query], [panel.status, searched], **ENCODE_QUEUE)
            show_if_current(event, searched, result, [*components_of(panel), self.hits])

    def show(
        self,
        result: ScoreResult,
        colour: Colour = "role",
        settings: MapSettings = _DEFAULT,
        *,
        is_of_link: bool = False,
    ) -> Changes:
        """Show the map of a new result, by PCA where the method takes seconds.

        Args:
            result: Has the texts.
            colour: The colouring.
            settings: How to place the texts.
            is_of_link: Whether a link says so, and no choice on the page.
        """
        methods = method_choices(len(result.vectors), sides=not result.is_self)
        changes: Changes = {self.save: gr.update(visible=True), self.empty: [], self.panel.method: menu_update(methods)}
        if is_of_link:
            changes |= {**self.panel.show_settings(settings), self.panel.colour: colour}
            changes[self.panel.method] = menu_update(methods, settings.method)
        try:
            return {**changes, **self._show_map(result, place_texts(result, settings, is_quick=True), colour)}
        except Exception as error:
            empty = {**self.panel.clear(), self.table: None, self.text_map: None, self.hits: ()}
            return {**changes, **empty, **self.panel.show_error(error)}

    def on_settings(self, pending: gr.State, result: ScoreResult | None, *choices: Any) -> Iterator[Changes]:
        """Another setting was chosen, or PCA is looked at in place of a slow method: place the texts."""
        if result is None:
            yield {pending: NOTHING_PENDING}
            return
        colour, settings = valid_choices(*choices)
        yield {self.panel.status: nodes.progress(None, map_text.placing(settings.method))}
        try:
            changes = self._show_map(result, place_texts(result, settings), colour)
        except Exception as error:
            changes = self.panel.show_error(error)
        yield {pending: PendingOutput(result.key, changes, choices)}

    def on_placed(self, result: ScoreResult, output: PendingOutput, *choices: Any) -> Changes:
        """A map was placed, and something else chosen meanwhile: other settings have an event of their own."""
        colour, settings = valid_choices(*choices)
        if settings != valid_choices(*output.choices)[1]:
            return {}
        text_map = output.changes.get(self.text_map)
        return output.changes if text_map is None else {**output.changes, **self._draw(result, text_map, colour)}

    def on_colour(
        self, result: ScoreResult | None, text_map: TextMap | None, colour: str, label: str | None, hits: Sequence[int]
    ) -> PendingOutput:
        """Another colouring was chosen."""
        if result is None or not _is_of(text_map, result):
            return NOTHING_PENDING
        try:
            changes = self._draw(result, text_map, colour, label, hits)
        except Exception as error:
            changes = self.panel.show_error(error)
        return PendingOutput(result.key, changes)

    def on_pick(
        self,
        result: ScoreResult | None,
        text_map: TextMap | None,
        colour: str,
        _: str | None,
        hits: Sequence[int],
        event: gr.EventData,
    ) -> PendingOutput:
        """A point or a row was picked."""
        label = fields_of(event).get("label")
        if result is None or not _is_of(text_map, result) or label not in result.points[0]:
            return NOTHING_PENDING
        return PendingOutput(result.key, self._draw(result, text_map, colour, label, hits))

    def on_search(
        self, pending: gr.State, result: ScoreResult | None, text_map: TextMap | None, colour: str, query: str = ""
    ) -> Iterator[Changes]:
        """A query was asked: light up and list the passages nearest to it; without one, none."""
        if result is None or not _is_of(text_map, result):
            yield {pending: NOTHING_PENDING}
            return
        if query.strip():
            yield {self.panel.status: nodes.progress(None, "Searching")}
        try:
            hits = nearest_passages(self._engine, result, query) if query.strip() else {}
            table = hit_table(*result.points, hits) if hits else None
            drawn = self._draw(result, text_map, colour, None, tuple(hits))
            changes = {**drawn, **self.panel.show_chosen(table), self.hits: tuple(hits)}
        except Exception as error:
            changes = self.panel.show_error(error)
        yield {pending: PendingOutput(result.key, changes)}

    def on_gather(self, result: ScoreResult | None, text_map: TextMap | None, event: gr.EventData) -> Changes:
        """Points were lassoed."""
        labels = fields_of(event).get("labels")
        if result is None or not _is_of(text_map, result) or not isinstance(labels, list) or not labels:
            return {}
        return self.panel.show_chosen(chosen_table(*result.points, labels))

    def _show_map(self, result: ScoreResult, text_map: TextMap, colour: Colour) -> Changes:
        return {
            **self._draw(result, text_map, colour),
            **self.panel.show_chosen(None),
            self.table: self._downloads.as_payload(map_table(result, text_map)),
            self.text_map: text_map,
            self.hits: (),
        }

    def _draw(
        self,
        result: ScoreResult,
        text_map: TextMap,
        colour: str,
        picked: str | None = None,
        hits: Sequence[int] = (),
    ) -> Changes:
        valid = valid_colour(colour)
        picture = MapPicture(
            draw_map(result, text_map, valid, picked, hits),
            map_text.caption(result, text_map, valid, picked, len(hits)),
            map_text.quality(float(text_map.neighbours_kept.mean()), text_map.neighbours.ids.shape[1], text_map.trust),
        )
        point = [] if hits else map_text.point_help(text_map.coordinates)
        if picked in result.points[0]:
            point = map_text.point(result, picked, true_neighbours(result, text_map, picked))
        return {**self.panel.show(picture), self.panel.point: point, self.panel.label: picked}


def valid_choices(colour: Any, *settings: Any) -> tuple[Colour, MapSettings]:
    """The values of `MapTab.choices`, which came over the wire."""
    return valid_colour(colour), valid_settings(*settings)


@functools.cache
def warm_once() -> None:
    """Have UMAP compiled in the background; a second call does nothing."""
    warm_umap()


def nearest_passages(engine: Engine, result: ScoreResult, query: str) -> dict[int, float]:
    """The best passages for a query -> their scores, the highest first; a passage is its row of `result.points`."""
    request = result.request
    passages = request.passages or request.queries  # texts that were compared with each other are searched as passages
    [scores] = engine.score(replace(request, queries=query, passages=passages), before=[result]).scores[:1]
    first = 0 if result.is_self else len(result.queries)
    return {first + int(row): float(scores[row]) for row in np.argsort(-scores, kind="stable")[:_N_HITS]}


def _is_of(text_map: TextMap | None, result: ScoreResult) -> TypeGuard[TextMap]:
    """Whether the map is of this result: a new one has none for a moment."""
    return text_map is not None and text_map.of == result.key
