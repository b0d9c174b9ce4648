"""The map as the Map and the Corpus tab show it: a row of choices, the plot, and beside it the picked texts.

Knows no texts: a tab places them, draws them as a `MapPicture`, and binds the events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.map.picture import MapPicture
from e5studio.studio.map.placing import MAX_NEIGHBOURHOOD, MapSettings, valid_settings
from e5studio.studio.serving.downloads import Downloads
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.choice_menu import choice_menu
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.table_data import Choice, TableView
from e5studio.studio.widgets.text_tree import text_tree

_DEFAULT = MapSettings()


class MapPanel:
    """Components of a map; made inside gr.Blocks."""

    def __init__(
        self,
        downloads: Downloads,
        elem_id: str,
        methods: Sequence[Choice],
        colours: Sequence[Choice],
        beside: Callable[[Callable[[], None]], None],
        *,
        is_plot_first: bool = False,
    ) -> None:
        """Lay out the map.

        Args:
            downloads: Of the page.
            elem_id: Of the plot; those of the other components begin with it.
            methods: Projections to choose from.
            colours: Colourings to choose from; the first is chosen.
            beside: Lays out what stands beside the plot; calls what it gets where the picked texts are to stand.
            is_plot_first: Whether the plot comes before that, and stands above it on a phone.
        """
        self._downloads = downloads
        self._id = elem_id
        self.label = gr.State(None)  # of the picked text
        with gr.Column(elem_id=f"{elem_id}-view", elem_classes="e5-map-view"):
            if not is_plot_first:
                self._add_side(beside)
            with gr.Column(elem_classes="e5-map-drawing", min_width=0):
                self._add_choices(methods, colours)
                self.status = text_tree(elem_id=f"{elem_id}-status", live="polite")
                self.plot = plotly_view(elem_id=elem_id)
                self.caption = text_tree(elem_id=f"{elem_id}-caption", live="polite")
            if is_plot_first:
                self._add_side(beside)
        self.job = JobButton(self.method, self._stop, self.status)  # type: ignore[arg-type]  # a choice starts it

    def _add_choices(self, methods: Sequence[Choice], colours: Sequence[Choice]) -> None:
        with gr.Row(elem_classes="e5-map-tools"):
            self.method = choice_menu("Projection", methods, _DEFAULT.method, elem_id=f"{self._id}-method")
            self.colour = choice_menu("Colour", colours, colours[0].value, elem_id=f"{self._id}-colour")
            with gr.Accordion("More", open=False, elem_id=f"{self._id}-more", elem_classes="e5-map-more"):
                self.n_dims = gr.Radio(
                    [("2D", 2), ("3D", 3)], value=2, label="Dimensions", elem_id=f"{self._id}-dims", min_width=0
                )
                steps = (2, MAX_NEIGHBOURHOOD, 1)
                self.n_neighbors = self._slider("n_neighbors", steps, "Neighbours", "Few show details, many the whole")
                self.min_dist = self._slider("min_dist", (0, 1, 0.05), "Distance", "How close points may lie")
                steps = (1, MAX_NEIGHBOURHOOD, 1)
                self.perplexity = self._slider("perplexity", steps, "Perplexity", "How many neighbours count")
                self.seed = gr.Number(
                    _DEFAULT.seed, label="Seed", info="The same number, the same map", elem_id=f"{self._id}-seed"
                )
            self.quality = text_tree(elem_id=f"{self._id}-quality", live="polite")
            self._stop = gr.Button("Stop", size="sm", visible=False, min_width=0, elem_id=f"{self._id}-stop")

    def _add_side(self, beside: Callable[[Callable[[], None]], None]) -> None:
        with gr.Column(elem_classes="e5-map-side", min_width=0):
            beside(self._add_picked)

    def _add_picked(self) -> None:
        self.point = text_tree(elem_id=f"{self._id}-point", live="polite")
        self.chosen = data_table_view(elem_id=f"{self._id}-chosen")
        self.drop_chosen = gr.Button(
            "Drop this choice", size="sm", visible=False, elem_id=f"{self._id}-drop", min_width=0
        )

    def _slider(self, name: str, steps: tuple[float, float, float], label: str, info: str) -> gr.Slider:
        """The slider of a field of `MapSettings`, from the first to the second value of `steps` by the third."""
        low, high, step = steps
        elem_id = f"{self._id}-{name.replace('_', '-')}"
        value = getattr(_DEFAULT, name)
        return gr.Slider(low, high, value, step=step, label=label, info=info, visible=False, elem_id=elem_id)

    @property
    def settings(self) -> list[Any]:
        """The inputs of a callback that takes `valid_settings`' arguments."""
        return [self.method, self.n_dims, self.n_neighbors, self.min_dist, self.perplexity, self.seed]

    def connect_settings(
        self, project: Callable[..., Any], inputs: list[Any], outputs: list[Any], queue: Any
    ) -> list[Any]:
        """Show the settings of a method that is chosen; place the texts anew after each change.

        A map shows the settings that it was made with, so that two that are changed at once end with what is drawn.

        Returns:
            The events that place.
        """

        def on_method(*settings: Any) -> Changes:
            return self.show_settings(valid_settings(*settings))

        chosen = self.method.choose(on_method, self.settings, self.settings, **UNQUEUED)
        self.seed.blur(lambda seed: valid_settings(seed=seed).seed, [self.seed], [self.seed], **UNQUEUED)
        changed = [setting.input for setting in self.settings[1:]]
        return [chosen.then(project, inputs, outputs, **queue), gr.on(changed, project, inputs, outputs, **queue)]

    @property
    def picked(self) -> list[Any]:
        """Events of a text that was picked."""
        return [self.plot.pick, self.chosen.pick]

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

    def show(self, picture: MapPicture) -> Changes:
        """Show a map."""
        return {
            self.status: [],
            self.plot: self._downloads.as_payload(picture.figure),
            self.caption: nodes.hint(picture.caption),
            self.quality: picture.quality,
        }

    def show_error(self, error: Exception) -> Changes:
        """Say why there is no new map; the one before stays."""
        return {self.status: nodes.error(message_for_visitor(error))}

    def show_chosen(self, table: TableView | None) -> Changes:
        """List the texts in a loop, or none."""
        return {
            self.chosen: None if table is None else self._downloads.as_payload(table),
            self.drop_chosen: gr.update(visible=table is not None),
        }

    def clear(self) -> Changes:
        """No map."""
        empty: Changes = {self.status: [], self.plot: None, self.caption: [], self.quality: [], self.point: []}
        return {**empty, **self.show_chosen(None), self.label: None}


def search_row(elem_id: str) -> tuple[gr.Textbox, gr.Button]:
    """A box for a query, and its button; their elem_ids begin with that of the row."""
    with gr.Row(elem_classes="e5-search-row"):
        query = gr.Textbox(
            label="Query",
            placeholder="What are you looking for?",
            show_label=False,
            container=False,
            lines=1,
            max_lines=1,
            elem_id=f"{elem_id}-query",
        )
        start = gr.Button("Search", variant="primary", elem_id=f"{elem_id}-search", min_width=0)
    return query, start
