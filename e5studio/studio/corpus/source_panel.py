"""The upload form of the Corpus tab: a file or pasted texts, how the file is read, which columns are used."""

from __future__ import annotations

import gradio as gr

from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.corpus import Corpus
from e5studio.studio.corpus.table_file import SourceTable, choose_columns
from e5studio.studio.corpus.tables import preview_table
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.jobs.events import Changes
from e5studio.studio.services import Services
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.data_table import data_table_view
from e5studio.studio.widgets.text_tree import text_tree

_ENCODINGS = [
    ("UTF-8, or as the file says", ""),
    *((name, name) for name in ("cp1252", "utf-16-le", "utf-16-be", "gb18030", "big5", "shift_jis", "euc-kr")),
]
_DELIMITERS = [("As the ending says", ""), (",", ","), (";", ";"), ("|", "|"), ("Tab", "\t")]
_QUOTES = [
    ("What it can only mean", ""),
    ('Enclose cells; inside, "" is one', "doubled"),
    ('Enclose cells; inside, \\" is one', "backslash"),
    ("Characters like any other", "literal"),
]
_NONE = ""
# Classes and not `visible`: Gradio takes the drop-downs of an invisible row off the page, which then goes on sending
# the columns of the file before.
_COLUMNS = ["e5-computing"]
_NO_COLUMNS = [*_COLUMNS, "e5-away"]


class SourcePanel:
    """Components that choose the texts."""

    def __init__(self, services: Services) -> None:
        """Lay out the panel."""
        self._downloads = services.downloads
        with gr.Row(elem_id="e5-source"):
            with gr.Column(min_width=0):
                self.file = gr.File(
                    label="A file: CSV, TSV, JSONL, Parquet, TXT, or BEIR's zip", height=170, elem_id="e5-corpus-file"
                )
            with gr.Column(min_width=0):
                self.paste = gr.Textbox(
                    label="Or paste texts", placeholder="One text per line", lines=3, max_lines=3, elem_id="e5-paste"
                )
                self.use_paste = gr.Button("Use pasted texts", size="sm", elem_id="e5-use-paste", min_width=0)
        with (
            gr.Accordion("How the file is read", open=False, elem_id="e5-reading-options"),
            gr.Row(elem_classes="e5-computing"),
        ):
            self.encoding = gr.Dropdown(_ENCODINGS, value="", label="Encoding", min_width=0, elem_id="e5-encoding")
            self.delimiter = gr.Dropdown(
                _DELIMITERS, value="", label="Cells are separated by", min_width=0, elem_id="e5-delimiter"
            )
            self.quotes = gr.Dropdown(_QUOTES, value="", label="Quotes in CSV", min_width=0, elem_id="e5-quotes")
            self.bad_rows = gr.Radio(
                [("Leave them out", "skip"), ("Refuse the file", "refuse")],
                value="skip",
                label="Rows that cannot be read",
                min_width=0,
                elem_id="e5-bad-rows",
            )
        self.summary = text_tree(corpus_text.INVITATION, elem_id="e5-corpus-said", live="polite")
        self.preview = data_table_view(elem_id="e5-preview")
        with gr.Row(elem_id="e5-columns", elem_classes=_NO_COLUMNS) as self.columns:
            self.text = gr.Dropdown([], label="Column of texts", min_width=0, elem_id="e5-text-column")
            self.title = gr.Dropdown([], label="Column of titles", min_width=0, elem_id="e5-title-column")
        self.chosen = text_tree(elem_id="e5-chosen", live="polite")

    def show(self, table: SourceTable | None, corpus: Corpus | None = None) -> Changes:
        """A table and its columns, chosen as for the corpus or guessed; the invitation without a table."""
        if table is None:
            no_choice = gr.update(choices=[], value=None)
            return {
                self.summary: corpus_text.INVITATION,
                self.preview: None,
                self.columns: gr.update(elem_classes=_NO_COLUMNS),
                self.text: no_choice,
                self.title: no_choice,
                self.chosen: [],
            }
        text, title = table.text_column, table.title_column
        if corpus is not None:
            text, title = corpus.text_name, corpus.title_name
        optional = [("none", _NONE), *((name, name) for name in table.columns)]
        try:
            chosen = corpus_text.chosen(corpus or choose_columns(table, text, title))
        except Exception as error:
            chosen = nodes.error(message_for_visitor(error))
        return {
            self.summary: corpus_text.file_read(table),
            self.preview: self._downloads.as_payload(preview_table(table)),
            self.columns: gr.update(elem_classes=_COLUMNS if len(table.columns) > 1 else _NO_COLUMNS),
            self.text: gr.update(choices=list(table.text_columns), value=text),
            self.title: gr.update(choices=optional, value=title or _NONE),
            self.chosen: chosen,
        }

    def clear(self) -> Changes:
        """No file, no texts."""
        return self.show(None) | {self.file: None, self.paste: ""}
