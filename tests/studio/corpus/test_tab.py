"""What the Corpus tab shows again after a reload."""

from __future__ import annotations

import zipfile
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
    *_, last = tab.on_embed(visitor, token, ENGLISH, "retrieval", "", column, "")
    assert "e5-away" not in last[tab.search.panel]["elem_classes"]
    assert "e5-away" in last[tab.setup]["elem_classes"]  # one line is left of it
    assert text_of(last[tab.line]) == "pasted texts · 3 texts · e5-small-v2"

    reloaded = gr.EventData(None, {"token": token})
    shown = tab.on_open(reloaded)
    assert shown[tab.token] == token
    assert "e5-away" not in shown[tab.search.panel]["elem_classes"]
    assert "3 texts of pasted texts embedded" in text_of(shown[tab.job.status])

    tab.on_paste(token, "four\nfive")
    shown = tab.on_open(reloaded)
    assert "e5-away" in shown[tab.search.panel]["elem_classes"]
    assert "pasted texts: 2 rows" in text_of(shown[tab.source.summary])
    assert "embedded with" not in text_of(shown[tab.job.status])


def test_a_reload_brings_back_the_search_and_the_choices_of_the_map(tab):
    token = tab.on_open(gr.EventData(None, {"token": None}))[tab.token]
    tab.on_sample("town_hall", token)
    list(tab.on_embed(SimpleNamespace(session_hash="somebody"), token, ENGLISH, "retrieval", "", "text", ""))
    noted = {"query": "summit", "among": "1:library", "colour": "column:topic", "method": "umap", "n_neighbors": 7}
    panel = tab.search
    shown = tab.on_open(gr.EventData(None, {"token": token, "choices": noted}))
    assert (shown[panel.query], shown[panel.filter]["value"]) == ("summit", "1:library")
    assert (shown[panel.map.colour]["value"], shown[panel.map.method]["value"]) == ("column:topic", "umap")
    assert shown[panel.map.n_neighbors]["value"] == 7
    forged = {"query": 7, "among": "9:nothing", "colour": ["group"], "method": "magic", "n_neighbors": "many"}
    for choices in (forged, "nonsense", None):
        shown = tab.on_open(gr.EventData(None, {"token": token, "choices": choices}))
        assert (shown[panel.query], shown[panel.filter]["value"]) == ("", "")
        assert (shown[panel.map.colour]["value"], shown[panel.map.method]["value"]) == ("group", "pca")


def test_a_sample_is_read_and_then_embedded_like_any_file(tab):
    token = tab.on_open(gr.EventData(None, {"token": None}))[tab.token]
    read = tab.on_sample("town_hall", token)
    assert "town_hall.csv: 42 rows" in text_of(read[tab.source.summary])
    assert read[tab.job.start]["interactive"]
    visitor = SimpleNamespace(session_hash="somebody")
    *_, last = tab.on_embed(visitor, token, ENGLISH, "retrieval", "", "text", "")
    assert text_of(last[tab.line]) == "town_hall.csv · 42 texts · e5-small-v2"
    assert [choice["title"] for choice in last[tab.search.filter]["choices"]][:2] == ["All texts", "building (6)"]
    assert "column:topic" in [choice["value"] for choice in last[tab.search.map.colour]["choices"]]

    opened = tab.on_change(token, False, "evaluate")
    assert "e5-away" not in opened[tab.evaluation.panel]["elem_classes"]  # the section stays
    assert "e5-away" not in opened[tab.setup]["elem_classes"]
    assert "e5-away" in tab.on_change(token, True, "search")[tab.setup]["elem_classes"]
    evaluated = tab.on_section(token, "evaluate")
    assert "e5-away" in evaluated[tab.search.panel]["elem_classes"]
    assert "e5-away" not in evaluated[tab.evaluation.panel]["elem_classes"]


def test_other_texts_or_columns_take_the_evaluation_away(tab):
    token = tab.on_open(gr.EventData(None, {"token": None}))[tab.token]
    panel = tab.evaluation
    first = tab.on_sample("town_hall", token)
    assert first[panel.evaluation] is None
    columns = tab.on_choose(token, "text", "topic")
    for changes in (tab.on_paste(token, "one\ntwo"), columns):
        assert all(changes[part] is None for part in (panel.evaluation, panel.plot, panel.table, panel.queries))
        assert (changes[panel.verdict], changes[panel.job.status]) == ([], [])
        assert "e5-away" in changes[panel.failures]["elem_classes"]


def test_the_pairs_of_a_zip_come_and_go_with_its_texts(tab, tmp_path):
    token = tab.on_open(gr.EventData(None, {"token": None}))[tab.token]
    file = tmp_path / "help.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("corpus.jsonl", '{"_id": "d1", "text": "one"}\n{"_id": "d2", "text": "two"}\n')
        archive.writestr("queries.jsonl", '{"_id": "q1", "text": "first?"}\n')
        archive.writestr("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    panel = tab.evaluation
    read = tab.on_read(token, str(file), "", "", "", "skip")
    assert "1 query with known answers" in text_of(read[tab.source.summary])
    for shown in (read, tab.on_open(gr.EventData(None, {"token": token}))):
        assert (shown[panel.query]["value"], shown[panel.answer]["value"]) == ("query", "corpus-id")
        assert "1 row" in text_of(shown[panel.summary])
    other = tab.on_paste(token, "three")
    assert (other[panel.query]["value"], other[panel.summary]) == (None, [])


def test_a_search_and_its_map_point_at_each_other(tab):
    token = tab.on_open(gr.EventData(None, {"token": None}))[tab.token]
    tab.on_sample("town_hall", token)
    visitor = SimpleNamespace(session_hash="somebody")
    list(tab.on_embed(visitor, token, ENGLISH, "retrieval", "", "text", ""))
    panel = tab.search
    *_, placed = panel.on_place(visitor, token, None, "group", None, None, None, "pca", 2, 15, 0.1, 30, 0)
    assert placed[panel.map.colour] in ("group", "column:topic")  # topics, or else a column that has some
    found = panel.on_search(token, "summit", "1:library", "")
    result = found[panel.result]
    assert len(found[panel.hits]["hits"]) == 6
    assert {"topic": "library"}.items() <= dict(found[panel.hits]["hits"][0]["fields"]).items()
    view = [placed[panel.corpus_map], "plain", placed[panel.groups], result, None]
    marked = panel.on_mark(token, *view)
    assert marked[panel.map.plot]["data"][-1]["text"][0] == "1"
    event = SimpleNamespace(_data={"label": found[panel.hits]["hits"][0]["label"]})
    picked = panel.on_pick(event, token, *view)
    assert "Nearest in all dimensions" in text_of(picked[panel.map.point])
    assert picked[panel.map.label] == result.hits[0].label
    more = panel.on_more(token, result, "")[panel.hits]
    assert (len(more["hits"]), more["more"]) == (20, True)
    filtered = panel.on_filter(token, result, "")  # six hits in the library, ten everywhere
    assert len(filtered[panel.hits]["hits"]) == 10
    like = panel.on_like(event, token, "")[panel.hits]
    assert f"Most like {result.hits[0].label}" in text_of(like["head"])
    forged = panel.on_like(SimpleNamespace(_data={"label": "#0"}), token, "")[panel.hits]
    assert "no such text" in text_of(forged["head"])


def test_embedding_without_texts_is_a_sentence(tab):
    *_, last = tab.on_embed(SimpleNamespace(session_hash="somebody"), "nothing", ENGLISH, "retrieval", "", "", "")
    assert "There are no texts yet" in text_of(last[tab.job.status])
