"""Below an embedded corpus: search, map, and download of the vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.errors import VectorError
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.map import (
    CorpusGroups,
    CorpusMap,
    corpus_neighbours,
    group_corpus,
    place_corpus,
    row_of_label,
)
from e5studio.studio.corpus.map_figure import (
    CORPUS_COLOURS,
    CorpusColour,
    colour_corpus,
    colours_of,
    draw_corpus_map,
)
from e5studio.studio.corpus.search import SearchResult, carrying_words, search_corpus
from e5studio.studio.corpus.vector_files import export_vectors
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.form.form import Form
from e5studio.studio.jobs.button import JobButton
from e5studio.studio.jobs.events import (
    EACH,
    ENCODE_QUEUE,
    PLACE_QUEUE,
    SAVE_QUEUE,
    UNQUEUED,
    Changes,
    components_of,
    fields_of,
)
from e5studio.studio.map.placing import valid_settings
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

N_HITS = 10
_COLOUR_NAMES: dict[CorpusColour, str] = {
    "plain": "One colour",
    "column": "Column",
    "group": "Group",
    "tokens": "Length",
    "score": "Score of the search",
}


@dataclass(frozen=True)
class _View:
    """What the map shows."""

    map: CorpusMap | None
    colour: str
    groups: CorpusGroups | None
    search: SearchResult | None


class SearchPanel:
    """Components of the search and the map; hidden until there is an embedded corpus."""

    def __init__(self, services: Services) -> None:
        """Lay out the panel."""
        self._services = services
        with gr.Column(visible=False, elem_id="e5-found") as self.panel:
            heading("Search")
            with gr.Row(elem_id="e5-search-row"):
                self.query = gr.Textbox(
                    label="Query",
                    placeholder="What are you looking for?",
                    show_label=False,
                    container=False,
                    lines=1,
                    max_lines=1,
                    elem_id="e5-corpus-query",
                )
                self.start = gr.Button("Search", variant="primary", elem_id="e5-corpus-search", min_width=0)
            self.hits = text_tree(elem_id="e5-hits", live="polite")
            heading("Map")
            with gr.Row(elem_id="e5-corpus-map-choices", elem_classes="e5-map-choices"):
                self.method = gr.Radio(
                    [("PCA", "pca"), ("UMAP", "umap"), ("t-SNE", "tsne")],
                    value="pca",
                    label="Projection",
                    min_width=0,
                    elem_id="e5-corpus-method",
                )
                self.n_dims = gr.Radio(
                    [("2D", 2), ("3D", 3)], value=2, label="Dimensions", min_width=0, elem_id="e5-corpus-dims"
                )
                self.colour = gr.Radio(
                    _colour_choices(CORPUS_COLOURS),
                    value="plain",
                    label="Colour",
                    min_width=0,
                    elem_id="e5-corpus-colour",
                )
                stop = gr.Button("Stop", size="sm", visible=False, min_width=0, elem_id="e5-place-stop")
            caption = text_tree(elem_id="e5-corpus-caption", live="polite")
            self.job = JobButton(self.method, stop, caption)  # type: ignore[arg-type]  # a choice starts this job
            self.plot = plotly_view(elem_id="e5-corpus-map")
            self.point = text_tree(elem_id="e5-corpus-point", live="polite")
            self.save = save_bar(
                [("vectors", [("Parquet", ".parquet"), ("NumPy", ".npy")])],
                plot="e5-corpus-map",
                elem_id="e5-save-corpus",
            )
        self.result = gr.State(None)
        self.map = gr.State(None)
        self.groups = gr.State(None)

    def connect(self, form: Form, token: gr.State, after: Sequence[Any]) -> None:
        """Bind the events; the first map is made after the events in `after`."""
        view = [token, self.map, self.colour, self.groups, self.result]
        placing = [self.method, self.n_dims, *view]
        shown = [*components_of(self.job), self.plot, self.point, self.map]
        for event in after:
            event.then(self.on_corpus, placing, shown, **PLACE_QUEUE)
        for choice in (self.method, self.n_dims):
            choice.input(self.on_place, placing, shown, **PLACE_QUEUE)
        self.job.connect_stop()
        drawn = [self.job.status, self.plot]
        self.colour.input(self.on_colour, view, [*drawn, self.groups], **PLACE_QUEUE)
        self.plot.pick(self.on_pick, view, [*drawn, self.point], **(UNQUEUED | EACH))
        hits = [self.hits, self.result, self.colour]
        for start in (self.start.click, self.query.submit):
            searched = start(self.on_search, [token, self.query, form.instruction], hits, **ENCODE_QUEUE)
            explained = searched.then(
                self.on_explain, [token, self.result, form.instruction], [self.hits], **ENCODE_QUEUE
            )
            explained.then(self.on_mark, view, drawn, **UNQUEUED)
        self.save.wanted(self.on_export, [token], [self.save], **(SAVE_QUEUE | EACH))

    def show(self, embedded: EmbeddedCorpus | None) -> Changes:
        """The panel of a corpus that was just embedded; hidden without one."""
        colours = CORPUS_COLOURS if embedded is None else colours_of(embedded)
        colour = "column" if embedded is not None and "column" in colours else "plain"
        return {
            self.panel: gr.update(visible=embedded is not None),
            self.hits: [],
            self.result: None,
            self.method: gr.update(value="pca"),
            self.colour: gr.update(choices=_colour_choices(colours), value=colour),
            self.job.status: [],
            self.plot: None,
            self.point: [],
            self.map: None,
            self.groups: None,
            self.save: gr.update(visible=embedded is not None),
        }

    def on_corpus(
        self, request: gr.Request, method: str, n_dims: int, token: str, corpus_map: CorpusMap | None, *view: Any
    ) -> Iterator[Changes]:
        """Place a corpus that has no map yet."""
        embedded = self._embedded(token)
        if embedded is None or (corpus_map is not None and corpus_map.of == embedded.key):
            yield {}
        else:
            yield from self.on_place(request, method, n_dims, token, corpus_map, *view)

    def on_place(
        self, request: gr.Request, method: str, n_dims: int, token: str, corpus_map: CorpusMap | None, *view: Any
    ) -> Iterator[Changes]:
        """Place the texts on a new map."""
        embedded = self._embedded(token)
        if embedded is None:
            yield {}
            return

        def project(on_stage: OnStage) -> CorpusMap:
            return place_corpus(embedded, valid_settings(method, n_dims), on_stage)

        def show(new_map: CorpusMap) -> Changes:
            if self._embedded(token) is not embedded:  # replaced meanwhile
                return {}
            help_text = nodes.hint(corpus_text.POINT_HELP)
            return {self.map: new_map, self.point: help_text, **self._draw(embedded, _View(new_map, *view))}

        is_left = corpus_map is not None and corpus_map.of == embedded.key
        yield from self.job.run(request, project, show, is_result_left=is_left)

    def on_colour(self, token: str, *values: Any) -> Iterator[Changes]:
        """Colour the map; the first time by group, find the groups."""
        embedded, view = self._embedded(token), _View(*values)
        if embedded is None or view.map is None:
            yield {}
            return
        groups = view.groups
        if view.colour == "group" and (groups is None or groups.of != embedded.key):
            yield {self.job.status: nodes.progress(None, "Finding groups")}
            try:
                groups = group_corpus(embedded)
            except Exception as error:
                yield {self.job.status: nodes.error(message_for_visitor(error))}
                return
        is_current = self._embedded(token) is embedded
        drawn = _View(view.map, view.colour, groups, view.search)
        yield {self.groups: groups, **self._draw(embedded, drawn)} if is_current else {}

    def on_mark(self, token: str, *values: Any) -> Changes:
        """Put rings around the hits of a search."""
        embedded, view = self._embedded(token), _View(*values)
        if embedded is None or view.map is None or view.search is None or view.search.of != embedded.key:
            return {}
        return self._draw(embedded, view)

    def on_pick(self, event: gr.EventData, token: str, *values: Any) -> Changes:
        """Show a text of the map in full, and its nearest neighbours."""
        embedded, view, label = self._embedded(token), _View(*values), fields_of(event).get("label")
        row = row_of_label(embedded.corpus, label) if embedded is not None and isinstance(label, str) else None
        if embedded is None or row is None or view.map is None:
            return {}
        point = corpus_text.point(embedded.corpus, row, corpus_neighbours(embedded, row))
        return {self.point: point, **self._draw(embedded, view, picked=row)}

    def on_search(self, token: str, query: str, instruction: str) -> Changes:
        """Find the passages nearest to the query."""
        embedded = self._embedded(token)
        if embedded is None:
            return {self.hits: nodes.error(corpus_text.EXPIRED), self.result: None}
        try:
            result = search_corpus(self._services.engine, embedded, query, _task(embedded, instruction), N_HITS)
        except Exception as error:
            return {self.hits: nodes.error(message_for_visitor(error)), self.result: None}
        if self._embedded(token) is not embedded:  # replaced meanwhile
            return {}
        return {
            self.hits: corpus_text.hits(result, row_word=embedded.corpus.row_word),
            self.result: result,
            self.colour: gr.update(choices=_colour_choices(colours_of(embedded, has_scores=True))),
        }

    def on_explain(self, token: str, result: SearchResult | None, instruction: str) -> Changes:
        """Mark the words that carry the scores, once the hits are shown."""
        embedded = self._embedded(token)
        if embedded is None or result is None or result.of != embedded.key:
            return {}
        try:
            rows = [hit.row for hit in result.hits]
            task = _task(embedded, instruction)
            carrying = carrying_words(self._services.engine, embedded, result.query, rows, task)
        except Exception as error:
            reason = nodes.hint(f"Words could not be marked: {message_for_visitor(error)}")
            return {self.hits: [*corpus_text.hits(result, row_word=embedded.corpus.row_word), *reason]}
        if self._embedded(token) is not embedded:
            return {}
        return {self.hits: corpus_text.hits(result, carrying, embedded.corpus.row_word)}

    def on_export(self, event: gr.EventData, token: str) -> Changes:
        """Write the vectors to files for download."""
        ending, embedded = fields_of(event).get("kind"), self._embedded(token)
        if embedded is None:
            return {self.save: {"fault": corpus_text.EXPIRED}}
        downloads = self._services.downloads
        try:
            if ending not in (".npy", ".parquet"):
                raise VectorError(f"{str(ending)[:80]!r} is no file of vectors; .npy and .parquet are.")
            files = export_vectors(embedded, ending, downloads)
            return {self.save: {"addresses": [downloads.add_file(file) for file in files]}}
        except Exception as error:
            return {self.save: {"fault": message_for_visitor(error)}}

    def _embedded(self, token: str) -> EmbeddedCorpus | None:
        return self._services.visitor_stores.embedded(token)

    def _draw(self, embedded: EmbeddedCorpus, view: _View, picked: int | None = None) -> Changes:
        """The map and its caption."""
        assert view.map is not None  # as the callers check
        search = view.search if view.search is not None and view.search.of == embedded.key else None
        colours = colours_of(embedded, has_scores=search is not None)
        colour: CorpusColour = next((colour for colour in colours if colour == view.colour), "plain")
        hits = [] if search is None else [hit.row for hit in search.hits]
        scores = None if search is None else search.scores
        try:
            colouring = colour_corpus(embedded, colour, groups=view.groups, scores=scores)
            figure = draw_corpus_map(embedded, view.map, colouring, hits=hits, picked=picked)
            caption = corpus_text.map_caption(embedded, view.map, colouring, len(hits), picked)
        except Exception as error:
            return {self.job.status: nodes.error(message_for_visitor(error))}
        return {self.job.status: nodes.hint(caption), self.plot: self._services.downloads.as_payload(figure)}


def _task(embedded: EmbeddedCorpus, instruction: str) -> str | None:
    """The instruction of a search: the form's in retrieval, else that of the corpus, for its texts have it too."""
    return instruction if embedded.setting.prompt_mode == "retrieval" else None


def _colour_choices(colours: Sequence[CorpusColour]) -> list[tuple[Any, str]]:
    return [(_COLOUR_NAMES[colour], colour) for colour in colours]
