"""An embedded corpus at work: a search box and its hits beside the map; each lights up the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from e5studio.errors import VectorError
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.browser_key import note_choices
from e5studio.studio.corpus.choices import CHOICES, SEARCH_AGAIN, SearchChoices
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.hit_list import hit_list
from e5studio.studio.corpus.map import MAX_TSNE_TEXTS, CorpusGroups, CorpusMap, group_corpus, place_corpus
from e5studio.studio.corpus.map_figure import COLUMN, colour_choices
from e5studio.studio.corpus.map_view import MapView, draw_view, point_nodes
from e5studio.studio.corpus.search import SearchResult, carrying_words, search_corpus, search_like, with_hits
from e5studio.studio.corpus.selection import (
    ALL_TEXTS,
    category_columns,
    filter_choices,
    filtered,
    other_cells,
    other_columns,
    store_of,
    table_of,
)
from e5studio.studio.corpus.vector_files import export_vectors
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.form.form import Form
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
from e5studio.studio.map import text as map_text
from e5studio.studio.map.panel import MapPanel, search_row
from e5studio.studio.map.placing import method_choices, valid_settings
from e5studio.studio.map.table import chosen_table
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.choice_menu import choice_menu, menu_update
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.table_data import valid_choice

N_HITS = 10
_MAX_EXPLAINED = 20
_FIRST = SearchChoices()
_AWAY = ["e5-work", "e5-away"]
_HERE = ["e5-work"]


class SearchPanel:
    """Components of the search and the map; hidden until there is an embedded corpus."""

    def __init__(self, services: Services) -> None:
        """Lay out the panel."""
        self._services = services
        # A class and not `visible`: Gradio would take what stands in the panel off the page.
        with gr.Column(elem_id="e5-found", elem_classes=_AWAY) as self.panel:
            methods, colours = method_choices(MAX_TSNE_TEXTS, has_axis=False), colour_choices(None)
            self.map = MapPanel(services.downloads, "e5-corpus-map", methods, colours, self._add_search)
            self.save = save_bar(
                [("vectors", [("Parquet", ".parquet"), ("NumPy", ".npy")])],
                plot="e5-corpus-map",
                elem_id="e5-save-corpus",
            )
        self.result = gr.State(None)
        self.corpus_map = gr.State(None)
        self.groups = gr.State(None)

    def _add_search(self, add_picked: Callable[[], None]) -> None:
        self.query, self.start = search_row("e5-corpus")
        self.filter = choice_menu("Among", [ALL_TEXTS], ALL_TEXTS.value, elem_id="e5-corpus-filter")
        add_picked()
        self.hits = hit_list(elem_id="e5-hits")

    def connect(self, form: Form, token: gr.State, opened: Any, after: Sequence[Any]) -> None:
        """Bind the events; the first map is made after `opened`, a reload, and the events in `after`."""
        panel = self.map
        view = [token, self.corpus_map, panel.colour, self.groups, self.result, panel.label]
        placing = [*view, *panel.settings]
        shown = [*components_of(panel), self.corpus_map, self.groups]
        placed = [event.then(self.on_corpus, placing, shown, **PLACE_QUEUE) for event in (opened, *after)]
        placed[0].then(None, [self.query], None, js=SEARCH_AGAIN, **UNQUEUED)
        panel.connect_settings(self.on_place, placing, shown, PLACE_QUEUE)
        panel.job.connect_stop()
        panel.colour.choose(self.on_colour, view, shown, **PLACE_QUEUE)
        for pick in (*panel.picked, self.hits.pick):
            pick(self.on_pick, view, shown, **(UNQUEUED | EACH))
        listing = [panel.chosen, panel.drop_chosen]
        panel.plot.gather(self.on_gather, [token], listing, **(UNQUEUED | EACH))
        panel.drop_chosen.click(lambda: panel.show_chosen(None), None, listing, **UNQUEUED)
        query, answer = [token, self.query, self.filter, form.instruction], [self.hits, self.result]
        again = [token, self.result, self.filter]
        searches = [
            *(start(self.on_search, query, answer, **ENCODE_QUEUE) for start in (self.start.click, self.query.submit)),
            self.hits.like(self.on_like, [token, self.filter], answer, **(UNQUEUED | EACH)),
            self.hits.more(self.on_more, again, answer, **UNQUEUED),
            self.filter.choose(self.on_filter, again, answer, **UNQUEUED),
        ]
        choices = [self.query, self.filter, panel.colour, *panel.settings]
        chosen = [panel.colour.choose, panel.method.choose, *(setting.input for setting in panel.settings[1:])]
        for listener in (*chosen, *(event.then for event in (*placed[1:], *searches))):
            listener(None, choices, None, js=note_choices(CHOICES), **UNQUEUED)
        for search in searches:
            marked = search.then(self.on_mark, view, [*shown, panel.colour], **UNQUEUED)
            marked.then(self.on_explain, [token, self.result, form.instruction], [self.hits], **ENCODE_QUEUE)
        self.save.wanted(self.on_export, [token], [self.save], **(SAVE_QUEUE | EACH))

    def show(self, embedded: EmbeddedCorpus | None, token: str = "", choices: SearchChoices = _FIRST) -> Changes:
        """The panel of a corpus that is embedded, with what was chosen for it before a reload; hidden without one."""
        n, columns, filters = 0, [], [ALL_TEXTS]
        if embedded is not None:
            table = table_of(store_of(self._services.visitor_stores, token))
            n, columns = len(embedded.corpus), other_columns(embedded.corpus, table)
            filters = filter_choices(embedded.corpus, table)
        methods = method_choices(n, has_axis=False, max_tsne=MAX_TSNE_TEXTS)
        colours = colour_choices(embedded, columns)
        return {
            self.panel: gr.update(elem_classes=_AWAY if embedded is None else _HERE),
            self.hits: None,
            self.query: choices.query,
            self.filter: menu_update(filters, valid_choice(filters, choices.among, ALL_TEXTS.value)),
            self.result: None,
            **self.map.show_settings(choices.placing),
            self.map.method: menu_update(methods, valid_choice(methods, choices.placing.method, _FIRST.placing.method)),
            self.map.colour: menu_update(colours, valid_choice(colours, choices.colour, "group")),
            **self.map.clear(),
            self.corpus_map: None,
            self.groups: None,
            self.save: gr.update(visible=embedded is not None),
        }

    def on_corpus(
        self, request: gr.Request, token: str, corpus_map: CorpusMap | None, *values: Any
    ) -> Iterator[Changes]:
        """Place a corpus that has no map yet."""
        embedded = self._embedded(token)
        if embedded is None or (corpus_map is not None and corpus_map.of == embedded.key):
            yield {}
        else:
            yield from self.on_place(request, token, corpus_map, *values)

    def on_place(
        self,
        request: gr.Request,
        token: str,
        corpus_map: CorpusMap | None,
        colour: str,
        groups: CorpusGroups | None,
        search: SearchResult | None,
        label: str | None,
        *settings: Any,
    ) -> Iterator[Changes]:
        """Place the texts on a new map; the first time, find their topics too."""
        embedded = self._embedded(token)
        if embedded is None:
            yield {}
            return
        chosen = valid_settings(*settings)

        def project(on_stage: OnStage) -> tuple[CorpusMap, CorpusGroups]:
            on_stage(None, map_text.placing(chosen.method))
            placed = place_corpus(embedded, chosen, on_stage)
            if groups is not None and groups.of == embedded.key:
                return placed, groups
            on_stage(None, "Finding topics")
            return placed, group_corpus(embedded)

        def show(placed: tuple[CorpusMap, CorpusGroups]) -> Changes:
            if self._embedded(token) is not embedded:  # replaced meanwhile
                return {}
            new_map, topics = placed
            columns = category_columns(embedded.corpus, table_of(store_of(self._services.visitor_stores, token)))
            is_dull = colour == "group" and topics.n_topics < 2 and columns  # no topics, but columns that have some
            view = MapView(new_map, f"{COLUMN}{columns[0]}" if is_dull else colour, topics, search, label)
            used = self.map.show_settings(new_map.settings)
            shown = {self.corpus_map: new_map, self.groups: topics, self.map.colour: view.colour}
            return {**shown, **used, **self._draw(token, embedded, view)}

        is_left = corpus_map is not None and corpus_map.of == embedded.key
        yield from self.map.job.run(request, project, show, is_result_left=is_left)

    def on_colour(self, token: str, *values: Any) -> Changes:
        """Colour the map."""
        embedded, view = self._embedded(token), MapView(*values)
        return {} if embedded is None or view.map is None else self._draw(token, embedded, view)

    def on_mark(self, token: str, *values: Any) -> Changes:
        """Light up the hits of a search."""
        embedded, view = self._embedded(token), MapView(*values)
        if embedded is None or view.map is None or view.search is None or view.search.of != embedded.key:
            return {}
        colours = colour_choices(embedded, self._columns(token, embedded), has_scores=True)
        return {self.map.colour: menu_update(colours, view.colour), **self._draw(token, embedded, view)}

    def on_pick(self, event: gr.EventData, token: str, *values: Any) -> Changes:
        """Show a text of the map or a hit in full, and its nearest neighbours."""
        embedded, view = self._embedded(token), MapView(*values)
        label = fields_of(event).get("label")
        if embedded is None or view.map is None or embedded.corpus.row_of(label) is None:
            return {}
        return self._draw(token, embedded, replace(view, label=str(label)))

    def on_gather(self, token: str, event: gr.EventData) -> Changes:
        """List the texts in a loop."""
        embedded, labels = self._embedded(token), fields_of(event).get("labels")
        if embedded is None or not isinstance(labels, list) or not labels:
            return {}
        return self.map.show_chosen(chosen_table(embedded.corpus.labels, embedded.corpus.documents, labels))

    def on_search(self, token: str, query: str, chosen: str, instruction: str) -> Changes:
        """Find the passages nearest to the query."""

        def search(embedded: EmbeddedCorpus, among: NDArray[np.bool_] | None) -> SearchResult:
            task = _task(embedded, instruction)
            return search_corpus(self._services.engine, embedded, query, task, N_HITS, among)

        return self._find(token, chosen, search)

    def on_like(self, event: gr.EventData, token: str, chosen: str) -> Changes:
        """Find texts like a hit."""

        def search(embedded: EmbeddedCorpus, among: NDArray[np.bool_] | None) -> SearchResult:
            row = embedded.corpus.row_of(fields_of(event).get("label"))
            if row is None:
                raise VectorError("There is no such text. Search again.")
            return search_like(embedded, row, N_HITS, among)

        return self._find(token, chosen, search)

    def on_more(self, token: str, result: SearchResult | None, chosen: str) -> Changes:
        """List more hits."""
        return self._again(token, result, chosen, n_more=N_HITS)

    def on_filter(self, token: str, result: SearchResult | None, chosen: str) -> Changes:
        """Find among other texts."""
        return self._again(token, result, chosen, n_more=0)

    def on_explain(self, token: str, result: SearchResult | None, instruction: str) -> Changes:
        """Mark the words that carry the scores, once the hits are shown."""
        embedded = self._embedded(token)
        if embedded is None or result is None or result.of != embedded.key or result.like is not None:
            return {}
        fields = self._fields(token, embedded, result)
        try:
            rows = [hit.row for hit in result.hits[:_MAX_EXPLAINED]]
            task = _task(embedded, instruction)
            carrying = carrying_words(self._services.engine, embedded, result.query, rows, task)
        except Exception as error:
            shown = corpus_text.hits(result, fields)
            reason = nodes.hint(f"Words could not be marked: {message_for_visitor(error)}")
            return {self.hits: {**shown, "head": [*shown["head"], *reason]}}
        if self._embedded(token) is not embedded:
            return {}
        return {self.hits: corpus_text.hits(result, fields, carrying)}

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

    def _find(self, token: str, chosen: str, search: Any) -> Changes:
        """The hits of a search, which is called with the corpus and the texts to find among."""
        embedded = self._embedded(token)
        if embedded is None:
            return {self.hits: corpus_text.no_hits(nodes.error(corpus_text.EXPIRED)), self.result: None}
        try:
            result = search(embedded, self._among(token, embedded, chosen))
            shown = corpus_text.hits(result, self._fields(token, embedded, result))
        except Exception as error:
            return {self.hits: corpus_text.no_hits(nodes.error(message_for_visitor(error))), self.result: None}
        return {self.hits: shown, self.result: result} if self._embedded(token) is embedded else {}

    def _again(self, token: str, result: SearchResult | None, chosen: str, n_more: int) -> Changes:
        """The hits of the latest search among other texts, or more of them."""
        if result is None:
            return {}

        def search(embedded: EmbeddedCorpus, among: NDArray[np.bool_] | None) -> SearchResult:
            if result.of != embedded.key:
                raise VectorError("These hits are of other texts. Search again.")
            return with_hits(embedded, result, max(len(result.hits), N_HITS) + n_more, among)

        return self._find(token, chosen, search)

    def _embedded(self, token: str) -> EmbeddedCorpus | None:
        return self._services.visitor_stores.embedded(token)

    def _columns(self, token: str, embedded: EmbeddedCorpus) -> list[str]:
        return other_columns(embedded.corpus, table_of(store_of(self._services.visitor_stores, token)))

    def _among(self, token: str, embedded: EmbeddedCorpus, chosen: str) -> NDArray[np.bool_] | None:
        table = table_of(store_of(self._services.visitor_stores, token))
        return filtered(embedded.corpus, table, chosen)

    def _fields(self, token: str, embedded: EmbeddedCorpus, result: SearchResult) -> list[list[tuple[str, str]]]:
        """Name and cell of each column beside the hits."""
        table = table_of(store_of(self._services.visitor_stores, token))
        return other_cells(embedded.corpus, table, [hit.row for hit in result.hits])

    def _draw(self, token: str, embedded: EmbeddedCorpus, view: MapView) -> Changes:
        """The map, its caption and its quality, and the picked text."""
        table = table_of(store_of(self._services.visitor_stores, token))
        try:
            picture = draw_view(embedded, table, view)
        except Exception as error:
            return self.map.show_error(error)
        return {
            **self.map.show(picture),
            self.map.point: point_nodes(embedded, view),
            self.map.label: view.label,
        }


def _task(embedded: EmbeddedCorpus, instruction: str) -> str | None:
    """The instruction of a search: the form's in retrieval, else that of the corpus, for its texts have it too."""
    return instruction if embedded.setting.prompt_mode == "retrieval" else None
