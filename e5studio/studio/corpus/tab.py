"""The tab for thousands of texts: bring them and embed them, then work with them, then evaluate models on them.

The server stores what a visitor uploads (`corpus.visitor_store`) and the page holds the key; no event carries texts
or vectors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast, get_args

import gradio as gr

from e5studio.errors import TextError
from e5studio.files.delimited import Quotes
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.beir_files import read_corpus_zip
from e5studio.studio.corpus.browser_key import browser_key
from e5studio.studio.corpus.choices import read_choices
from e5studio.studio.corpus.corpus import Corpus, EmbeddedCorpus
from e5studio.studio.corpus.corpus_folder import CorpusFolder
from e5studio.studio.corpus.embedding import EmbeddingProgress, embed_corpus
from e5studio.studio.corpus.evaluate_panel import EvaluatePanel
from e5studio.studio.corpus.samples import SAMPLES, sample_table
from e5studio.studio.corpus.search_panel import SearchPanel
from e5studio.studio.corpus.selection import CorpusChoice, check_machine, chosen_corpus, store_of
from e5studio.studio.corpus.source_panel import SourcePanel
from e5studio.studio.corpus.table_file import BadRows, SourceTable, read_pasted, read_table
from e5studio.studio.corpus.vector_files import ImportedVectors, import_vectors
from e5studio.studio.corpus.visitor_store import SharedCorpus, VisitorStore
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

_WORK = ["e5-work"]
_SHOWN = ["e5-part"]
_AWAY = ["e5-away"]
# What led to the press of Embed goes; a page that was scrolled down to it would end below the search.
_SHOW_BAR = """() => {
  const bar = document.querySelector("#e5-corpus-bar");
  if (bar.getBoundingClientRect().top < 0) bar.scrollIntoView();
}"""


class CorpusTab:
    """The tab with the visitor's own file of texts."""

    def __init__(self, services: Services) -> None:
        """Lay out the tab."""
        self._engine = services.engine
        self._stores = services.visitor_stores
        self.key = browser_key(elem_id="e5-shelf")
        self.token = gr.State("")
        with gr.Row(elem_id="e5-corpus-bar", elem_classes=_AWAY) as self.bar:
            self.line = text_tree(elem_id="e5-corpus-line", live="polite")
            self.change = gr.Button("Change", size="sm", elem_id="e5-change", min_width=0)
            self.delete = gr.Button("Delete my data", size="sm", elem_id="e5-forget", min_width=0)
            self.section = gr.Radio(
                [("Search", "search"), ("Evaluate", "evaluate")],
                value="search",
                label="Section",
                show_label=False,
                container=False,
                elem_id="e5-section",
                min_width=0,
            )
        with gr.Column(elem_id="e5-setup", elem_classes=_SHOWN) as self.setup:
            with gr.Row(elem_id="e5-samples"):
                self.folders = {
                    folder: gr.Button(
                        corpus_text.folder_title(folder), size="sm", elem_id=f"e5-folder-{number}", min_width=0
                    )
                    for number, folder in enumerate(services.corpora)
                }
                self.samples = {
                    name: gr.Button(title, size="sm", elem_id=f"e5-sample-{name.replace('_', '-')}", min_width=0)
                    for name, title in SAMPLES.items()
                }
            self.source = SourcePanel(services)
            with gr.Row(elem_id="e5-embed-buttons"):
                embed = gr.Button("Embed", variant="primary", interactive=False, elem_id="e5-embed", min_width=0)
                stop = gr.Button("Stop", elem_id="e5-embed-stop", visible=False, min_width=0)
        status = text_tree(nodes.hint(corpus_text.FORM_HINT), elem_id="e5-embed-status", live="polite")
        self.job = JobButton(embed, stop, status)
        with gr.Column(elem_id="e5-setup-vectors", elem_classes=_SHOWN) as self.setup_vectors:
            with gr.Accordion("Upload existing embeddings", open=False, elem_id="e5-bring"):
                self.vectors = gr.File(
                    label="A file of vectors, a row for each text",
                    file_count="multiple",
                    height=150,
                    elem_id="e5-bring-file",
                )
        self.search = SearchPanel(services)
        self.evaluation = EvaluatePanel(services)
        self.is_open = gr.State(False)

    def connect(self, form: Form) -> list[Any]:
        """Bind the events.

        Returns:
            The events after which the embedded corpus may be another, or none.
        """
        source = self.source
        columns = [source.text, source.title]
        choice = [self.token, form.picker, form.prompt_mode, form.instruction, *columns]
        evaluate = self.evaluation.panel
        state = [self.bar, self.line, self.change, self.section, self.setup, self.setup_vectors, evaluate]
        state += [self.is_open, self.job.start]
        job = [self.job.stop, self.job.status]
        read = [self.token, self.key, *state, *job, *components_of(source, self.search)]
        read += [each for each in components_of(self.evaluation) if each not in read]
        opened = self.key.opened(self.on_open, None, read, **(READ_QUEUE | EACH))
        reading = [self.token, source.file, source.encoding, source.delimiter, source.quotes, source.bad_rows]
        choices = (source.encoding.input, source.delimiter.input, source.quotes.input, source.bad_rows.input)
        reads = [start(self.on_read, reading, read, **READ_QUEUE) for start in (source.file.upload, *choices)]
        reads.append(source.use_paste.click(self.on_paste, [self.token, source.paste], read, **READ_QUEUE))
        tries = [
            button.click(functools.partial(self.on_sample, name), [self.token], read, **READ_QUEUE)
            for name, button in self.samples.items()
        ]
        for column in columns:
            chosen = [source.chosen, self.job.status, *components_of(self.evaluation)]
            column.input(self.on_choose, [self.token, *columns], chosen, **READ_QUEUE)
        shown = [*state, *job, *components_of(self.search)]
        folders = [
            button.click(self._opener(folder), [self.token], read, **EMBED_QUEUE)
            for folder, button in self.folders.items()
        ]
        embedded = [
            self.job.start.click(self.on_embed, choice, shown, **(EMBED_QUEUE | ONCE)),
            *(event.then(self.on_embed, choice, shown, **EMBED_QUEUE) for event in tries),
        ]
        imported = self.vectors.upload(self.on_import, [self.vectors, *choice], shown, **EMBED_QUEUE)
        for event in embedded:
            event.then(None, js=_SHOW_BAR, **UNQUEUED)
        self.job.connect_stop()
        self.change.click(self.on_change, [self.token, self.is_open, self.section], state, **UNQUEUED)
        self.section.input(self.on_section, [self.token, self.section], [*state, self.search.panel], **UNQUEUED)
        self.search.connect(form, self.token, opened, after=[*embedded, imported, *folders])
        self.evaluation.connect(choice)
        deleted = self.delete.click(self.on_delete, [self.token], [*read, self.vectors], **UNQUEUED)
        return [opened, *reads, *embedded, imported, *folders, deleted]

    def on_open(self, event: gr.EventData) -> Changes:
        """Show again what the page had before it was reloaded."""
        fields = fields_of(event)
        store, changes = self._open(fields.get("token"))
        changes |= self.evaluation.show_columns(store)
        if store.table is None:
            return changes
        embedded = store.embedded if store.embedded is not None and store.embedded.corpus is store.corpus else None
        status = nodes.hint(corpus_text.RESUMED) if embedded is None else corpus_text.embedded(embedded)
        token = str(changes[self.token])
        shown = self.source.show(store.table, store.corpus) | self.search.show(
            embedded, token, read_choices(fields.get("choices"))
        )
        return changes | shown | self._state(store) | {self.job.status: status}

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

        def read() -> tuple[SourceTable, SourceTable | None]:
            if file.suffix.lower() == ".zip":
                return read_corpus_zip(still_there(file), on_bad_rows)
            table = read_table(
                still_there(file),
                name=file.name,
                encoding=encoding or None,
                delimiter=delimiter or None,
                quotes=cast("Quotes", quotes) if quotes in get_args(Quotes) else None,
                bad_rows=on_bad_rows,
            )
            return table, None

        return self._replace_table(token, read)

    def on_paste(self, token: str, pasted: str) -> Changes:
        """Read the pasted texts."""
        return self._replace_table(token, lambda: (read_pasted(pasted), None))

    def on_sample(self, name: str, token: str) -> Changes:
        """Read texts that come with the Studio."""
        return self._replace_table(token, lambda: (sample_table(name), None))

    def on_folder(self, request: gr.Request, token: str, folder: CorpusFolder) -> Iterator[Changes]:
        """Show a folder of vectors, which is embedded already."""
        before = self._stores.get(token)
        table = before.table if before else None

        def open_folder(on_stage: OnStage) -> SharedCorpus:
            check_machine()
            return folder.open(self._engine, on_stage)

        def show(shared: SharedCorpus) -> Changes:
            store, changes = self._open(token)  # after reading: the store may have expired meanwhile
            if store.table is not table and store is before:
                raise StoppedError(corpus_text.REPLACED)
            store.set_shared(shared)
            embedded = shared.embedded
            return {
                **changes,
                **self.source.show(shared.table, embedded.corpus),
                **self.search.show(embedded, str(changes[self.token])),
                **self.evaluation.show_columns(store),
                **self.evaluation.clear_results(),
                **self._state(store),
                self.job.status: corpus_text.embedded(embedded),
            }

        yield from self.job.run(request, open_folder, show, is_result_left=self._has_result(token))

    def on_change(self, token: str, is_open: bool, section: str) -> Changes:
        """Show the set-up of texts that are embedded, or hide it again."""
        store = self._stores.get(token)
        return self._state(store, is_open=not is_open, section=section) if store else {}

    def on_section(self, token: str, section: str) -> Changes:
        """Search, or evaluate."""
        store = self._stores.get(token)
        is_search = section != "evaluate"
        state = self._state(store, section=section) if store else {}
        return {**state, self.search.panel: gr.update(elem_classes=_WORK if is_search else [*_WORK, *_AWAY])}

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
        return {self.source.chosen: corpus_text.chosen(corpus), **status, **self.evaluation.clear_results()}

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
            state = self._state(store_of(self._stores, token))
            return {self.job.status: corpus_text.embedded(embedded), **self.search.show(embedded, token), **state}

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
            state = self._state(store_of(self._stores, token))
            return {
                self.job.status: corpus_text.imported(imported),
                **self.search.show(imported.embedded, token),
                **state,
            }

        yield from self.job.run(request, read, show, is_result_left=self._has_result(token))

    def on_delete(self, token: str) -> Changes:
        """Delete the visitor's texts, vectors and files."""
        before = self._stores.get(token)
        is_shared = before is not None and before.shared is not None
        self._stores.forget(token)
        store, changes = self._open(None)
        cleared = self.source.clear() | self.search.show(None) | self.evaluation.clear() | self._state(store)
        message = corpus_text.CLOSED if is_shared else corpus_text.DELETED
        return changes | cleared | {self.vectors: None, self.job.status: nodes.hint(message)}

    def _opener(self, folder: CorpusFolder) -> Callable[[gr.Request, str], Iterator[Changes]]:
        """`on_folder` of one folder. Not `functools.partial`, to which Gradio passes no request."""

        def on_click(request: gr.Request, token: str) -> Iterator[Changes]:
            yield from self.on_folder(request, token, folder)

        return on_click

    def _open(self, token: object) -> tuple[VisitorStore, Changes]:
        """The store of a token or a new one, and its token for the page."""
        token, store = self._stores.open_or_create(token)
        return store, {self.token: token, self.key: token}

    def _replace_table(self, token: str, read: Callable[[], tuple[SourceTable, SourceTable | None]]) -> Changes:
        """A new table, and the pairs that came with it, in place of the one before; that stays where reading fails."""
        try:
            table, pairs = read()
        except Exception as error:
            store, changes = self._open(token)
            return changes | {self.source.summary: corpus_text.not_read(message_for_visitor(error), store.table)}
        store, changes = self._open(token)  # after reading: the store may have expired meanwhile
        store.set_table(table, pairs)
        shown = self.source.show(table) | self.search.show(None) | self.evaluation.show_columns(store)
        shown |= self.evaluation.clear_results()
        if pairs is not None:
            shown[self.source.summary] = [*corpus_text.file_read(table), *corpus_text.pairs_came_along(pairs)]
        return changes | shown | self._state(store) | {self.job.status: nodes.hint(corpus_text.FORM_HINT)}

    def _state(self, store: VisitorStore, *, is_open: bool = False, section: str = "search") -> Changes:
        """Bring, work or evaluate: the set-up is one line once the texts are embedded."""
        table, embedded = store.table, store.embedded
        is_embedded = embedded is not None and embedded.corpus is store.corpus
        setup = _SHOWN if is_open or not is_embedded else _AWAY
        return {
            self.is_open: is_open,
            self.bar: gr.update(elem_classes=_AWAY if table is None else _SHOWN),
            self.line: [] if table is None else corpus_text.in_a_line(table, embedded),
            self.change: gr.update(value="Close" if is_open else "Change", visible=is_embedded),
            self.section: gr.update(value=section, visible=is_embedded),
            self.setup: gr.update(elem_classes=setup),
            self.setup_vectors: gr.update(elem_classes=setup),
            self.evaluation.panel: gr.update(elem_classes=_SHOWN if section == "evaluate" else _AWAY),
            self.job.start: gr.update(interactive=table is not None),
        }

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
