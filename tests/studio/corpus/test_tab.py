"""What the Corpus tab shows again after a reload."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.studio.corpus.tab import CorpusTab
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import Downloads
from tests.studio.browsing import MARKS
from tests.studio.conftest import ENGLISH
from tests.studio.node_text import text_of

pytestmark = MARKS[1:]  # no browser


@pytest.fixture
def tab(engine):
    with gr.Blocks():
        return CorpusTab(Services(engine, Downloads(), VisitorStores()))


def test_a_reload_shows_the_latest_texts_and_nothing_of_those_before(tab):
    reloaded = gr.EventData(None, {"token": None})
    token = tab.on_open(reloaded)[tab.token]
    column = tab.on_paste(token, "one\ntwo\nthree")[tab.source.text]["value"]
    visitor = SimpleNamespace(session_hash="somebody")
    *_, last = tab.on_embed(visitor, token, ENGLISH, "retrieval", "", column, "", "")
    assert last[tab.search.panel]["visible"]

    reloaded = gr.EventData(None, {"token": token})
    shown = tab.on_open(reloaded)
    assert shown[tab.token] == token
    assert shown[tab.search.panel]["visible"]
    assert "3 texts of pasted texts embedded" in text_of(shown[tab.job.status])

    tab.on_paste(token, "four\nfive")
    shown = tab.on_open(reloaded)
    assert not shown[tab.search.panel]["visible"]
    assert "pasted texts: 2 rows" in text_of(shown[tab.source.summary])
    assert "embedded with" not in text_of(shown[tab.job.status])
