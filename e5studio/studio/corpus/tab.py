"""The tab for thousands of texts: upload and embedding; search, map and evaluation stand below.

The server stores what a visitor uploads (`corpus.visitor_store`) and the page holds the key; no event carries texts
or vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast, get_args

import gradio as gr

from e5studio.errors import TextError
from e5studio.files.delimited import Quotes
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.browser_key import browser_key
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingProgress, embed_corpus
from e5studio.studio.corpus.evaluate_panel import EvaluatePanel
from e5studio.studio.corpus.search_panel import SearchPanel
from e5studio.studio.corpus.selection import CorpusChoice, check_machine, chosen_corpus, store_of
from e5studio.studio.corpus.source_panel import SourcePanel
from e5studio.studio.corpus.table_file import BadRows, SourceTable, read_pasted, read_table
from e5studio.studio.corpus.vector_files import ImportedVectors, import_vectors
from e5studio.studio.corpus.visitor_store import VisitorStore
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.progress import OnStage
from e5studio.studio.errors import StoppedError
from e5studio.studio.form.form import Form
from e5studio.studio.jobs.button import JobButton, stopped_by
from e5studio.studio.jobs.events import EACH, EMBED_QUEUE, ONCE, READ_QUEUE, UNQUEUED, Changes, components_of, fields_of
from e5studio.studio.services import Services
from e5studio.studio.serving.uploads import still_there
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.text_tree import text_tree


class CorpusTab:
    """The tab with the visitor's own file of texts."""

    def __init__(self, services: Services) -> None:
        """Lay out the tab."""
        self._engine = services.engine
        self._stores = services.visitor_stores
        self.key = browser_key(elem_id="e5-shelf")
        self.token = gr.State("")
        self.source = SourcePanel(services)
        with gr.Row(elem_id="e5-embed-buttons"):
            embed = gr.Button("Embed", variant="primary", elem_id="e5-embed", min_width=0)
            stop = gr.Button("Stop", elem_id="e5-embed-stop", visible=False, min_width=0)
            self.delete = gr.Button("Delete my data", size="sm", elem_id="e5-forget", min_width=0)
        status = text_tree(nodes.hint(corpus_text.FORM_HINT), elem_id="e5-embed-status", live="polite")
        self.job = JobButton(embed, stop, status)
        with gr.Accordion("Upload existing embeddings", open=False, elem_id="e5-bring"):
            self.vectors = gr.File(
                label="A file of vectors, a row for each text",
                file_count="multiple",
                height=150,
                elem_id="e5-bring-file",
            )
        self.search = SearchPanel(services)
        self.evaluation = EvaluatePanel(services)

    def connect(self, form: Form) -> list[Any]:
        """Bind the events.

        Returns:
            The events after which the embedded corpus may be another, or none.
        """
        source = self.source
        columns = [source.text, source.title, source.colour]
        choice = [self.token, form.picker, form.prompt_mode, form.instruction, *columns]
        evaluated = [self.evaluation.query, self.evaluation.answer]
        read = [self.token, self.key, self.job.status, *components_of(source, self.search), *evaluated]
        opened = self.key.opened(self.on_open, None, read, **(READ_QUEUE | EACH))
        reading = [self.token, source.file, source.encoding, source.delimiter, source.quotes, source.bad_rows]
        choices = (source.encoding.input, source.delimiter.input, source.quotes.input, source.bad_rows.input)
        reads = [start(self.on_read, reading, read, **READ_QUEUE) for start in (source.file.upload, *choices)]
        reads.append(source.use_paste.click(self.on_paste, [self.token, source.paste], read, **READ_QUEUE))
        for column in columns:
            column.input(self.on_choose, [self.token, *columns], [source.chosen, self.job.status], **READ_QUEUE)
        shown = components_of(self.job, self.search)
        embedded = self.job.start.click(self.on_embed, choice, shown, **(EMBED_QUEUE | ONCE))
        imported = self.vectors.upload(self.on_import, [self.vectors, *choice], shown, **EMBED_QUEUE)
        self.job.connect_stop()
        self.search.connect(form, self.token, after=[opened, embedded, imported])
        self.evaluation.connect(choice)
        everything = [*read, self.vectors, *components_of(self.evaluation)]
        deleted = self.delete.click(self.on_delete, [self.token], everything, **UNQUEUED)
        return [opened, *reads, embedded, imported, deleted]

    def on_open(self, event: gr.EventData) -> Changes:
        """Show again what the page had before it was reloaded."""
        store, changes = self._open(fields_of(event).get("token"))
        changes |= self.evaluation.show_columns(store)
        if store.table is None:
            return changes
        embedded = store.embedded if store.embedded is not None and store.embedded.corpus is store.corpus else None
        status = nodes.hint(corpus_text.RESUMED) if embedded is None else corpus_text.embedded(embedded)
        shown = self.source.show(store.table, store.corpus) | self.search.show(embedded)
        return changes | shown | {self.job.status: status}

    def on_read(
        self, token: str, path: str | None, encoding: str, delimiter: str, quotes: str, bad_rows: str
    ) -> Changes:
        """Read the uploaded file."""
        if not path:
            return {}
        on_bad_rows: BadRows = "refuse" if bad_rows == "refuse" else "skip"
        file = Path(path)
        token, _ = self._stores.open_or_create(token)
        self._stores.add_file(token, file)
        return self._replace_table(
            token,
            lambda: read_table(
                still_there(file),
                name=file.name,
                encoding=encoding or None,
                delimiter=delimiter or None,
                quotes=cast("Quotes", quotes) if quotes in get_args(Quotes) else None,
                bad_rows=on_bad_rows,
            ),
        )

    def on_paste(self, token: str, pasted: str) -> Changes:
        """Read the pasted texts."""
        return self._replace_table(token, lambda: read_pasted(pasted))

    def on_choose(self, token: str, *columns: str | None) -> Changes:
        """Make other columns the corpus."""
        try:
            store = store_of(self._stores, token)
            corpus = chosen_corpus(store, *columns)
        except Exception as error:
            return {self.source.chosen: nodes.error(message_for_visitor(error))}
        store.set_corpus(corpus)
        is_old = store.embedded is not None and store.embedded.corpus is not corpus
        status = {self.job.status: nodes.hint(corpus_text.OTHER_COLUMNS)} if is_old else {}
        return {self.source.chosen: corpus_text.chosen(corpus), **status}

    def on_embed(self, request: gr.Request, token: str, *choice: str) -> Iterator[Changes]:
        """Embed the corpus as the form says; a stopped run continues where it was."""
        chosen = CorpusChoice(*choice)

        def embed(on_stage: OnStage) -> EmbeddedCorpus:
            check_machine()
            store = store_of(self._stores, token)
            corpus = chosen.set_corpus(store)
            try:
                with store.job() as stop:
                    on_progress = _as_stages(stopped_by(stop, on_stage))
                    setting = chosen.setting(self._engine.catalog)
                    embedded = embed_corpus(self._engine, corpus, setting, store.vectors, on_progress)
            except StoppedError:
                message = corpus_text.STOPPED if store.corpus is corpus else corpus_text.REPLACED
                raise StoppedError(message) from None
            _set_embedded(store, corpus, embedded)
            return embedded

        def show(embedded: EmbeddedCorpus) -> Changes:
            return {self.job.status: corpus_text.embedded(embedded), **self.search.show(embedded)}

        yield from self.job.run(request, embed, show, is_result_left=self._has_result(token))

    def on_import(self, request: gr.Request, paths: list[str] | None, token: str, *choice: str) -> Iterator[Changes]:
        """Read the vectors of the corpus from files instead of embedding it."""
        chosen = CorpusChoice(*choice)
        files = [Path(path) for path in paths or []]
        for file in files:
            self._stores.add_file(token, file)

        def read(on_stage: OnStage) -> ImportedVectors:
            check_machine()
            vectors, manifest = _vectors_and_manifest(files)
            store = store_of(self._stores, token)
            corpus = chosen.set_corpus(store)
            imported = import_vectors(
                self._engine,
                corpus,
                chosen.setting(self._engine.catalog),
                still_there(vectors),
                name=vectors.name,
                manifest=manifest,
                on_stage=on_stage,
            )
            _set_embedded(store, corpus, imported.embedded)
            return imported

        def show(imported: ImportedVectors) -> Changes:
            return {self.job.status: corpus_text.imported(imported), **self.search.show(imported.embedded)}

        yield from self.job.run(request, read, show, is_result_left=self._has_result(token))

    def on_delete(self, token: str) -> Changes:
        """Delete the visitor's texts, vectors and files."""
        self._stores.forget(token)
        _, changes = self._open(None)
        cleared = self.source.clear() | self.search.show(None) | self.evaluation.clear()
        return changes | cleared | {self.vectors: None, self.job.status: nodes.hint(corpus_text.DELETED)}

    def _open(self, token: object) -> tuple[VisitorStore, Changes]:
        """The store of a token or a new one, and its token for the page."""
        token, store = self._stores.open_or_create(token)
        return store, {self.token: token, self.key: token}

    def _replace_table(self, token: str, read: Callable[[], SourceTable]) -> Changes:
        """A new table in place of the one before; that one stays where reading fails."""
        try:
            table = read()
        except Exception as error:
            store, changes = self._open(token)
            return changes | {self.source.summary: corpus_text.not_read(message_for_visitor(error), store.table)}
        store, changes = self._open(token)  # after reading: the store may have expired meanwhile
        store.set_table(table)
        shown = self.source.show(table) | self.search.show(None) | self.evaluation.show_columns(store)
        return changes | shown | {self.job.status: nodes.hint(corpus_text.FORM_HINT)}

    def _has_result(self, token: str) -> bool:
        return self._stores.embedded(token) is not None


def _as_stages(on_stage: OnStage) -> Callable[[EmbeddingProgress], None]:
    return lambda progress: on_stage(progress.share, corpus_text.embedding_progress(progress))


def _set_embedded(store: VisitorStore, corpus: Corpus, embedded: EmbeddedCorpus) -> None:
    """Store the vectors of a corpus, unless another corpus has replaced it meanwhile."""
    if store.corpus is not corpus:
        raise StoppedError(corpus_text.REPLACED)
    store.set_embedded(embedded)


def _vectors_and_manifest(files: list[Path]) -> tuple[Path, Path | None]:
    """The file of vectors, and the .npy.json beside it if there is one."""
    vectors = [file for file in files if file.suffix.lower() != ".json"]
    manifests = [file for file in files if file.suffix.lower() == ".json"]
    if len(vectors) != 1 or len(manifests) > 1:
        raise TextError("Upload one file of vectors, and with an .npy its .npy.json if there is one.")
    return vectors[0], manifests[0] if manifests else None
