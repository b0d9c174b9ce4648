"""Below an embedded corpus: searching it, its map, and its vectors to take along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from e5studio.errors import VectorError
from e5studio.studio.corpus import text as corpus_words
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.map import (
    CORPUS_COLOURS,
    CorpusColour,
    CorpusGroups,
    CorpusMap,
    colours_of,
    corpus_neighbours,
    draw_corpus_map,
    group_corpus,
    place_corpus,
    row_of_label,
)
from e5studio.studio.corpus.search import SearchResult, carrying_words, search_corpus
from e5studio.studio.corpus.vector_files import export_vectors
from e5studio.studio.corpus.visitor_store import VISITOR_STORES
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.jobs.button import listen_stop, run_with_progress
from e5studio.studio.jobs.events import ENCODE_QUEUE, PLACE_QUEUE, SAVE_QUEUE, UNQUEUED, fields_of
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.map.placing import valid_settings
from e5studio.studio.serving.downloads import DOWNLOADS, as_payload
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.plotly_view import plotly_view
from e5studio.studio.widgets.save_bar import save_bar
from e5studio.studio.widgets.text_tree import text_tree

N_HITS = 10
_GONE = "The texts are no longer kept here. Choose the file again and press Embed."
_COLOUR_NAMES: dict[CorpusColour, str] = {
    "plain": "One colour",
    "column": "Column",
    "group": "Group",
    "tokens": "Length",
    "score": "Score of the search",
}


@dataclass(frozen=True)
class SearchPanel:
    """The components of the part."""

    panel: gr.Column
    query: gr.Textbox
    search: gr.Button
    hits: gr.HTML
    searched: gr.State
    method: gr.Radio
    n_dims: gr.Radio
    colour: gr.Radio
    stop: gr.Button
    caption: gr.HTML
    plot: gr.HTML
    point: gr.HTML
    placed: gr.State
    groups: gr.State
    save: gr.HTML

    @property
    def fresh(self) -> list[Any]:
        """What a new corpus empties, in the order of `fresh_search`."""
        return [
            self.panel,
            self.hits,
            self.searched,
            self.method,
            self.colour,
            self.caption,
            self.plot,
            self.point,
            self.placed,
            self.groups,
            self.save,
        ]

    @property
    def looks(self) -> list[Any]:
        """What a figure is drawn from, in the order of `_Looks`."""
        return [self.placed, self.colour, self.groups, self.searched]


@dataclass(frozen=True)
class _Looks:
    """How the map is drawn."""

    placed: CorpusMap | None
    colour: str
    groups: CorpusGroups | None
    searched: SearchResult | None


def render_search() -> SearchPanel:
    """Lay out the part, hidden until there is a corpus."""
    with gr.Column(visible=False, elem_id="e5-found") as panel:
        heading("Search")
        with gr.Row(elem_id="e5-search-row"):
            query = gr.Textbox(
                label="Query",
                placeholder="What are you looking for?",
                show_label=False,
                container=False,
                lines=1,
                max_lines=1,
                elem_id="e5-corpus-query",
            )
            search = gr.Button("Search", variant="primary", elem_id="e5-corpus-search", min_width=0)
        hits = text_tree(elem_id="e5-hits", live="polite")
        heading("Map")
        with gr.Row(elem_id="e5-corpus-map-choices", elem_classes="e5-map-choices"):
            method = gr.Radio(
                [("PCA", "pca"), ("UMAP", "umap"), ("t-SNE", "tsne")],
                value="pca",
                label="Projection",
                min_width=0,
                elem_id="e5-corpus-method",
            )
            n_dims = gr.Radio(
                [("2D", 2), ("3D", 3)],
                value=2,
                label="Dimensions",
                min_width=0,
                elem_id="e5-corpus-dims",
            )
            colour = gr.Radio(
                _colour_choices(CORPUS_COLOURS),
                value="plain",
                label="Colour",
                min_width=0,
                elem_id="e5-corpus-colour",
            )
            stop = gr.Button("Stop", size="sm", visible=False, min_width=0, elem_id="e5-place-stop")
        caption = text_tree(elem_id="e5-corpus-caption", live="polite")
        plot = plotly_view(elem_id="e5-corpus-map")
        point = text_tree(elem_id="e5-corpus-point", live="polite")
        save = save_bar(
            [("vectors", [("Parquet", ".parquet"), ("NumPy", ".npy")])],
            plot="e5-corpus-map",
            elem_id="e5-save-corpus",
        )
    states = [gr.State(None) for _ in range(3)]
    searched, placed, groups = states
    return SearchPanel(
        panel, query, search, hits, searched, method, n_dims, colour, stop, caption, plot, point, placed, groups, save
    )


def fresh_search(embedded: EmbeddedCorpus | None) -> list[Any]:
    """The part of a corpus that was just embedded, or of none, as the values of `SearchPanel.fresh`."""
    colours = CORPUS_COLOURS if embedded is None else colours_of(embedded)
    return [
        gr.update(visible=embedded is not None),
        [],
        None,
        gr.update(value="pca"),
        gr.update(choices=_colour_choices(colours), value="column" if "column" in colours and embedded else "plain"),
        [],
        None,
        [],
        None,
        None,
        gr.update(visible=embedded is not None),
    ]


def listen_search(
    part: SearchPanel, engine: Engine, token: gr.State, instruction: gr.Textbox, after: Sequence[Any]
) -> None:
    """Search, place, colour, pick and take; the first map is made after the events in `after`."""
    running = SessionJobs()
    asked = [token, part.method, part.n_dims, *part.looks]
    outputs = [part.method, part.stop, part.caption, part.plot, part.point, part.placed]
    place = _placer(running)
    for event in after:
        event.then(place, [gr.State(False), *asked], outputs, **PLACE_QUEUE)
    for choice in (part.method, part.n_dims):
        choice.input(place, [gr.State(True), *asked], outputs, trigger_mode="always_last", **PLACE_QUEUE)
    listen_stop(part.stop, running)
    part.colour.input(
        _paint, [token, *part.looks], [part.caption, part.plot, part.groups], trigger_mode="always_last", **PLACE_QUEUE
    )
    part.plot.pick(_pick, [token, *part.looks], [part.point, part.caption, part.plot], **UNQUEUED)
    found = [part.hits, part.searched, part.colour]
    for start in (part.search.click, part.query.submit):
        searched = start(_searcher(engine), [token, part.query, instruction], found, **ENCODE_QUEUE)
        marked = searched.then(_explainer(engine), [token, part.searched, instruction], [part.hits], **ENCODE_QUEUE)
        marked.then(_mark, [token, *part.looks], [part.caption, part.plot], **UNQUEUED)
    part.save.wanted(_take, [token], [part.save], **SAVE_QUEUE)


def _placer(running: SessionJobs) -> Any:
    def place(
        is_asked: bool,
        token: str,
        method: str,
        n_dims: int,
        placed: CorpusMap | None,
        colour: str,
        groups: CorpusGroups | None,
        searched: SearchResult | None,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        store = VISITOR_STORES.open(token)[1]
        embedded = store.embedded
        is_there = placed is not None and embedded is not None and placed.of == embedded.key
        if embedded is None or (is_there and not is_asked):
            yield [gr.skip()] * 6
            return

        def work(tell: OnStage) -> CorpusMap:
            return place_corpus(embedded, valid_settings(method, n_dims), tell)

        def show(found: CorpusMap) -> list[Any]:
            if store.embedded is not embedded:  # another corpus has come meanwhile
                return [gr.skip()] * 4
            figure, caption = _drawn(embedded, _Looks(found, colour, groups, searched))
            return [nodes.hint(caption), as_payload(figure), _point_help(), found]

        yield from run_with_progress(running, request, work, show, n_shown=3, is_result_left=is_there)

    return place


def _paint(
    token: str, placed: CorpusMap | None, colour: str, groups: CorpusGroups | None, searched: SearchResult | None
) -> Iterator[list[Any]]:
    """Colour the map anew; groups are found when they are first wanted."""
    embedded = VISITOR_STORES.open(token)[1].embedded
    if embedded is None or placed is None:
        yield [gr.skip()] * 3
        return
    try:
        if colour == "group" and (groups is None or groups.of != embedded.key):
            yield [nodes.progress(None, "Finding groups"), gr.skip(), gr.skip()]
            groups = group_corpus(embedded)
        figure, caption = _drawn(embedded, _Looks(placed, colour, groups, searched))
        is_current = VISITOR_STORES.open(token)[1].embedded is embedded
        yield [nodes.hint(caption), as_payload(figure), groups] if is_current else [gr.skip()] * 3
    except Exception as error:
        yield [nodes.error(message_for_visitor(error)), gr.skip(), gr.skip()]


def _mark(token: str, *looks: Any) -> list[Any]:
    """The map with rings around what was found."""
    embedded, found = VISITOR_STORES.open(token)[1].embedded, _Looks(*looks)
    if embedded is None or found.placed is None or found.searched is None or found.searched.of != embedded.key:
        return [gr.skip()] * 2
    try:
        figure, caption = _drawn(embedded, found)
    except Exception as error:
        return [nodes.error(message_for_visitor(error)), gr.skip()]
    return [nodes.hint(caption), as_payload(figure)]


def _pick(event: gr.EventData, token: str, *looks: Any) -> list[Any]:
    """A text of the map in full, and its true neighbours."""
    embedded, found, name = VISITOR_STORES.open(token)[1].embedded, _Looks(*looks), fields_of(event).get("label")
    row = row_of_label(embedded.corpus, name) if embedded is not None and isinstance(name, str) else None
    if embedded is None or row is None or found.placed is None:
        return [gr.skip()] * 3
    try:
        figure, caption = _drawn(embedded, found, picked=row)
    except Exception as error:
        return [nodes.error(message_for_visitor(error)), gr.skip(), gr.skip()]
    near = corpus_neighbours(embedded, row)
    return [corpus_words.point(embedded.corpus, row, near), nodes.hint(caption), as_payload(figure)]


def _drawn(embedded: EmbeddedCorpus, looks: _Looks, picked: int | None = None) -> tuple[dict[str, Any], str]:
    assert looks.placed is not None  # as whoever calls has seen
    searched = looks.searched if looks.searched is not None and looks.searched.of == embedded.key else None
    known = colours_of(embedded, has_scores=searched is not None)
    colour: CorpusColour = next((each for each in known if each == looks.colour), "plain")
    return draw_corpus_map(
        embedded,
        looks.placed,
        colour,
        groups=looks.groups,
        scores=None if searched is None else searched.scores,
        hits=[] if searched is None else [hit.row for hit in searched.hits],
        picked=picked,
    )


def _searcher(engine: Engine) -> Any:
    def search(token: str, query: str, instruction: str) -> list[Any]:
        embedded = VISITOR_STORES.open(token)[1].embedded
        if embedded is None:
            return [nodes.error(_GONE), None, gr.skip()]
        try:
            found = search_corpus(engine, embedded, query, _task(embedded, instruction), N_HITS)
        except Exception as error:
            return [nodes.error(message_for_visitor(error)), None, gr.skip()]
        if VISITOR_STORES.open(token)[1].embedded is not embedded:  # another corpus has come meanwhile
            return [gr.skip()] * 3
        choices = _colour_choices(colours_of(embedded, has_scores=True))
        return [corpus_words.hits(found, row_word=embedded.corpus.row_word), found, gr.update(choices=choices)]

    return search


def _explainer(engine: Engine) -> Any:
    """Marks the words that carry the scores, after the hits are shown."""

    def mark(token: str, found: SearchResult | None, instruction: str) -> Any:
        embedded = VISITOR_STORES.open(token)[1].embedded
        if embedded is None or found is None or found.of != embedded.key:
            return gr.skip()
        try:
            rows = [hit.row for hit in found.hits]
            carrying = carrying_words(engine, embedded, found.query, rows, _task(embedded, instruction))
        except Exception as error:
            return [*corpus_words.hits(found), *nodes.hint(f"Words could not be marked: {message_for_visitor(error)}")]
        if VISITOR_STORES.open(token)[1].embedded is not embedded:
            return gr.skip()
        return corpus_words.hits(found, carrying, embedded.corpus.row_word)

    return mark


def _task(embedded: EmbeddedCorpus, instruction: str) -> str | None:
    """The instruction of a search: the form's, for queries alone have one; where texts have it too, theirs."""
    return instruction if embedded.setting.prompt_mode == "retrieval" else None


def _take(event: gr.EventData, token: str) -> dict[str, Any]:
    wanted, embedded = fields_of(event).get("kind"), VISITOR_STORES.open(token)[1].embedded
    if embedded is None:
        return {"fault": _GONE}
    try:
        if wanted not in (".npy", ".parquet"):
            raise VectorError(f"{str(wanted)[:80]!r} is no file of vectors; .npy and .parquet are.")
        return {"addresses": [DOWNLOADS.add_file(download) for download in export_vectors(embedded, wanted)]}
    except Exception as error:
        return {"fault": message_for_visitor(error)}


def _point_help() -> list[nodes.Node]:
    return nodes.hint("Click a point to read its text and to see what truly lies next to it.")


def _colour_choices(colours: Sequence[CorpusColour]) -> list[tuple[Any, str]]:
    return [(_COLOUR_NAMES[colour], colour) for colour in colours]
