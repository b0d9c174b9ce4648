"""The tab for thousands of texts: where they come from, embedding them; search, map and known answers stand below.

The server stores what a visitor uploads (`corpus.visitor_store`) and the page holds the key; no event carries texts
or vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from e5studio.errors import TextError
from e5studio.studio.corpus import text as corpus_words
from e5studio.studio.corpus.browser_key import browser_key
from e5studio.studio.corpus.corpus import MAX_ROWS, Corpus, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingNews, embed_corpus
from e5studio.studio.corpus.evaluate_panel import EvaluatePanel, listen_evaluate, no_answers, render_evaluate
from e5studio.studio.corpus.search_panel import SearchPanel, fresh_search, listen_search, render_search
from e5studio.studio.corpus.selection import check_machine, chosen_corpus, corpus_setting
from e5studio.studio.corpus.table_file import BadRows, SourceTable, choose_columns, read_pasted, read_table
from e5studio.studio.corpus.tables import preview_table
from e5studio.studio.corpus.vector_files import ImportedVectors, import_vectors
from e5studio.studio.corpus.visitor_store import VISITOR_STORES
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.errors import StoppedError
from e5studio.studio.form.form import Form
from e5studio.studio.jobs.button import listen_stop, run_with_progress, stopped_by
from e5studio.studio.jobs.events import EMBED_QUEUE, READ_QUEUE, UNQUEUED, fields_of
from e5studio.studio.jobs.job import SessionJobs
from e5studio.studio.serving.downloads import as_payload
from e5studio.studio.serving.uploads import still_there
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.text_tree import text_tree

_ENCODINGS = [
    ("UTF-8, or as the file says", ""),
    *((name, name) for name in ("cp1252", "utf-16-le", "utf-16-be", "gb18030", "big5", "shift_jis", "euc-kr")),
]
_DELIMITERS = [("As the ending says", ""), (",", ","), (";", ";"), ("|", "|"), ("Tab", "\t")]
_NONE = ""
# Classes and not `visible`: a row that is not visible takes its drop-downs off the page, which then goes on sending the
# columns of the file before.
_COLUMNS = ["e5-computing"]
_NO_COLUMNS = [*_COLUMNS, "e5-away"]
_N_SOURCE = 7  # values of `SourcePart.outputs`
_HINT = "Model, use and instruction are those of the form, which ends with the Score button."


@dataclass(frozen=True)
class SourcePart:
    """Where the texts come from."""

    file: gr.File
    paste: gr.Textbox
    use_paste: gr.Button
    encoding: gr.Dropdown
    delimiter: gr.Dropdown
    bad_rows: gr.Radio
    said: gr.HTML
    preview: gr.HTML
    columns: gr.Row
    text: gr.Dropdown
    title: gr.Dropdown
    colour: gr.Dropdown
    chosen: gr.HTML

    @property
    def reading(self) -> list[Any]:
        """How a file is read, in the order of `_read_file`."""
        return [self.encoding, self.delimiter, self.bad_rows]

    @property
    def chosen_columns(self) -> list[Any]:
        """In the order of `_chosen`."""
        return [self.text, self.title, self.colour]

    @property
    def outputs(self) -> list[Any]:
        """In the order of `_source_view`."""
        return [self.said, self.preview, self.columns, *self.chosen_columns, self.chosen]


@dataclass(frozen=True)
class CorpusTab:
    """The components of the tab."""

    key: gr.HTML
    token: gr.State
    source: SourcePart
    embed: gr.Button
    stop: gr.Button
    forget: gr.Button
    status: gr.HTML
    bring: gr.File
    found: SearchPanel
    answers: EvaluatePanel


def render_corpus() -> CorpusTab:
    """Lay out the tab."""
    key = browser_key(elem_id="e5-shelf")
    token = gr.State("")
    source = _render_source()
    with gr.Row(elem_id="e5-embed-buttons"):
        embed = gr.Button("Embed", variant="primary", elem_id="e5-embed", min_width=0)
        stop = gr.Button("Stop", elem_id="e5-embed-stop", visible=False, min_width=0)
        forget = gr.Button("Forget all of it", size="sm", elem_id="e5-forget", min_width=0)
    status = text_tree(nodes.hint(_HINT), elem_id="e5-embed-status", live="polite")
    with gr.Accordion("Bring vectors that you have already", open=False, elem_id="e5-bring"):
        bring = gr.File(
            label="A file of vectors, a row for each text",
            file_count="multiple",
            height=150,
            elem_id="e5-bring-file",
        )
    found = render_search()
    answers = render_evaluate()
    return CorpusTab(key, token, source, embed, stop, forget, status, bring, found, answers)


def _render_source() -> SourcePart:
    with gr.Row(elem_id="e5-source"):
        with gr.Column(min_width=0):
            file = gr.File(
                label="A file: CSV, TSV, JSONL, Parquet or TXT",
                height=170,
                elem_id="e5-corpus-file",
            )
        with gr.Column(min_width=0):
            paste = gr.Textbox(
                label="Or paste texts",
                placeholder="One text per line",
                lines=3,
                max_lines=3,
                elem_id="e5-paste",
            )
            use_paste = gr.Button("Take these lines", size="sm", elem_id="e5-use-paste", min_width=0)
    with (
        gr.Accordion("How the file is read", open=False, elem_id="e5-reading-options"),
        gr.Row(elem_classes="e5-computing"),
    ):
        encoding = gr.Dropdown(_ENCODINGS, value="", label="Encoding", min_width=0, elem_id="e5-encoding")
        delimiter = gr.Dropdown(
            _DELIMITERS, value="", label="Cells are separated by", min_width=0, elem_id="e5-delimiter"
        )
        bad_rows = gr.Radio(
            [("Leave them out", "skip"), ("Refuse the file", "refuse")],
            value="skip",
            label="Rows that cannot be read",
            min_width=0,
            elem_id="e5-bad-rows",
        )
    said = text_tree(_invitation(), elem_id="e5-corpus-said", live="polite")
    preview = data_table_view(elem_id="e5-preview")
    with gr.Row(elem_id="e5-columns", elem_classes=_NO_COLUMNS) as columns:
        text = gr.Dropdown([], label="Column of texts", min_width=0, elem_id="e5-text-column")
        title = gr.Dropdown([], label="Column of titles", min_width=0, elem_id="e5-title-column")
        colour = gr.Dropdown([], label="Column that colours the map", min_width=0, elem_id="e5-colour-column")
    chosen = text_tree(elem_id="e5-chosen", live="polite")
    return SourcePart(
        file, paste, use_paste, encoding, delimiter, bad_rows, said, preview, columns, text, title, colour, chosen
    )


def listen_corpus(tab: CorpusTab, inputs: Form, engine: Engine) -> list[Any]:
    """Read, embed, stop, bring, forget; the parts below listen for themselves.

    Returns:
        The events after which the embedded corpus may be another, or none.
    """
    source, running = tab.source, SessionJobs()
    found = tab.found.fresh
    opened = tab.key.opened(_open_store, None, [tab.token, tab.key, *source.outputs, tab.status, *found], **READ_QUEUE)
    asked = [tab.token, source.file, *source.reading]
    read = [tab.token, tab.key, *source.outputs, tab.status, *found]
    reads = [
        choice(_read_file, asked, read, **READ_QUEUE)
        for choice in (source.file.upload, *(each.input for each in source.reading))
    ]
    reads.append(source.use_paste.click(_take_lines, [tab.token, source.paste], read, **READ_QUEUE))
    for column in source.chosen_columns:
        column.input(_choose, [tab.token, *source.chosen_columns], [source.chosen, tab.status], **READ_QUEUE)
    left = [inputs.picker, inputs.prompt_mode, inputs.instruction]
    embedded = tab.embed.click(
        _embedder(engine, running),
        [tab.token, *left, *source.chosen_columns],
        [tab.embed, tab.stop, tab.status, *found],
        trigger_mode="once",
        **EMBED_QUEUE,
    )
    brought = tab.bring.upload(
        _bringer(engine, running),
        [tab.token, tab.bring, *left, *source.chosen_columns],
        [tab.embed, tab.stop, tab.status, *found],
        **EMBED_QUEUE,
    )
    listen_stop(tab.stop, running)
    listen_search(tab.found, engine, tab.token, inputs.instruction, after=[opened, embedded, brought])
    listen_evaluate(tab.answers, inputs, engine, tab.token, source.chosen_columns, after=[opened, *reads])
    emptied = [*read, source.file, source.paste, tab.bring, *tab.answers.emptied]
    forgotten = tab.forget.click(_forget, [tab.token], emptied, **UNQUEUED)
    return [opened, *reads, embedded, brought, forgotten]


def _invitation() -> list[nodes.Node]:
    return [
        ["p", "e5-empty-title", "Search, map and measure your own texts"],
        ["p", "e5-hint", f"Up to {MAX_ROWS:,} rows. They stay on this server while this page is open."],
    ]


def _source_view(table: SourceTable | None, corpus: Corpus | None = None) -> list[Any]:
    """A table as the values of `SourcePart.outputs`."""
    if table is None:
        none = gr.update(choices=[], value=None)
        return [_invitation(), None, gr.update(elem_classes=_NO_COLUMNS), none, none, none, []]
    text, title, colour = table.text_column, table.title_column, None
    if corpus is not None:
        text, title, colour = corpus.text_name, corpus.title_name, corpus.colour_name
    optional = [("none", _NONE), *((name, name) for name in table.columns)]
    try:
        told = corpus_words.chosen(corpus or choose_columns(table, text, title))
    except Exception as error:
        told = nodes.error(message_for_visitor(error))
    return [
        corpus_words.file_read(table),
        as_payload(preview_table(table)),
        gr.update(elem_classes=_COLUMNS if len(table.columns) > 1 else _NO_COLUMNS),
        gr.update(choices=list(table.text_columns), value=text),
        gr.update(choices=optional, value=title or _NONE),
        gr.update(choices=optional, value=colour or _NONE),
        told,
    ]


def _brought(token: str, read: Callable[[], SourceTable]) -> list[Any]:
    """A table that was just read, or what went wrong; the one before stays then.

    The shelf may have been forgotten since: then it has a new key.
    """
    try:
        table = read()
        token, store = VISITOR_STORES.open(token)
        store.keep_table(table)
        return [token, token, *_source_view(table), nodes.hint(_HINT), *fresh_search(None)]
    except Exception as error:
        token, store = VISITOR_STORES.open(token)
        left = f" {store.table.name} is still the one that is taken." if store.table else ""
        kept = [gr.skip()] * (_N_SOURCE + len(fresh_search(None)))
        return [token, token, nodes.error(message_for_visitor(error) + left), *kept]


def _open_store(event: gr.EventData) -> list[Any]:
    """What the page had before it was loaded again."""
    token, store = VISITOR_STORES.open(fields_of(event).get("token"))
    if store.table is None:
        return [token, token, *[gr.skip()] * _N_SOURCE, gr.skip(), *[gr.skip()] * len(fresh_search(None))]
    corpus, embedded = store.corpus, store.embedded
    source = _source_view(store.table, corpus)
    is_current = embedded is not None and embedded.corpus is corpus
    told = corpus_words.embedded(embedded) if embedded and is_current else nodes.hint(corpus_words.GO_ON)
    return [token, token, *source, told, *fresh_search(embedded if is_current else None)]


def _read_file(token: str, path: str | None, encoding: str, delimiter: str, bad_rows: str) -> list[Any]:
    if not path:
        return [gr.skip()] * (3 + _N_SOURCE + len(fresh_search(None)))
    on_bad_rows: BadRows = "refuse" if bad_rows == "refuse" else "skip"
    file = Path(path)
    token, _ = VISITOR_STORES.keep_file(token, file)
    return _brought(
        token,
        lambda: read_table(
            still_there(file),
            name=file.name,
            encoding=encoding or None,
            delimiter=delimiter or None,
            bad_rows=on_bad_rows,
        ),
    )


def _take_lines(token: str, pasted: str) -> list[Any]:
    return _brought(token, lambda: read_pasted(pasted))


def _choose(token: str, *columns: Any) -> list[Any]:
    store = VISITOR_STORES.open(token)[1]
    try:
        corpus = chosen_corpus(store, *columns)
    except Exception as error:
        return [nodes.error(message_for_visitor(error)), gr.skip()]
    is_old = store.embedded is not None and store.embedded.corpus is not corpus
    return [corpus_words.chosen(corpus), nodes.hint(corpus_words.OTHER_COLUMNS) if is_old else gr.skip()]


def _embedder(engine: Engine, running: SessionJobs) -> Any:
    """The work behind the Embed button."""

    def press(
        token: str,
        model: str,
        prompt_mode: str,
        instruction: str,
        text: Any,
        title: Any,
        colour: Any,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        store = VISITOR_STORES.open(token)[1]

        def work(tell: OnStage) -> EmbeddedCorpus:
            check_machine()
            corpus = chosen_corpus(store, text, title, colour)
            setting = corpus_setting(model, prompt_mode, instruction)
            try:
                with store.work() as is_stopped:
                    on_news = _teller(stopped_by(is_stopped, tell))
                    found = embed_corpus(engine, corpus, setting, store.vectors, on_news)
            except StoppedError:
                is_there = store.corpus is corpus
                raise StoppedError(corpus_words.STOPPED if is_there else corpus_words.REPLACED) from None
            if store.corpus is not corpus:
                raise StoppedError(corpus_words.REPLACED)
            store.keep_embedded(found)
            return found

        def show(found: EmbeddedCorpus) -> list[Any]:
            return [corpus_words.embedded(found), *fresh_search(found)]

        yield from run_with_progress(
            running, request, work, show, n_shown=len(fresh_search(None)), is_result_left=store.embedded is not None
        )

    return press


def _teller(tell: OnStage) -> Callable[[EmbeddingNews], None]:
    return lambda news: tell(news.share, corpus_words.news(news))


def _bringer(engine: Engine, running: SessionJobs) -> Any:
    """Takes vectors out of files in place of embedding."""

    def bring(
        token: str,
        paths: list[str] | None,
        model: str,
        prompt_mode: str,
        instruction: str,
        text: Any,
        title: Any,
        colour: Any,
        request: gr.Request,
    ) -> Iterator[list[Any]]:
        token, store = VISITOR_STORES.open(token)
        files = [Path(path) for path in paths or []]
        for file in files:
            VISITOR_STORES.keep_file(token, file)
        vectors = [file for file in files if file.suffix.lower() != ".json"]
        manifests = [file for file in files if file.suffix.lower() == ".json"]

        def work(tell: OnStage) -> ImportedVectors:
            check_machine()
            if len(vectors) != 1 or len(manifests) > 1:
                raise TextError("Bring one file of vectors, and with an .npy its .npy.json if there is one.")
            corpus = chosen_corpus(store, text, title, colour)
            found = import_vectors(
                engine,
                corpus,
                corpus_setting(model, prompt_mode, instruction),
                still_there(vectors[0]),
                name=vectors[0].name,
                manifest=manifests[0] if manifests else None,
                on_stage=tell,
            )
            if store.corpus is not corpus:
                raise StoppedError(corpus_words.REPLACED)
            store.keep_embedded(found.embedded)
            return found

        def show(found: ImportedVectors) -> list[Any]:
            told = corpus_words.embedded(found.embedded) + (nodes.hint(found.note) if found.note else [])
            return [told, *fresh_search(found.embedded)]

        is_left = store.embedded is not None
        yield from run_with_progress(
            running, request, work, show, n_shown=len(fresh_search(None)), is_result_left=is_left
        )

    return bring


def _forget(token: str) -> list[Any]:
    VISITOR_STORES.forget(token)
    new = VISITOR_STORES.open()[0]
    emptied = [None, "", None, *no_answers()]
    return [new, new, *_source_view(None), nodes.hint(corpus_words.FORGOTTEN), *fresh_search(None), *emptied]
