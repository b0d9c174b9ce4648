"""A diagnosis waits in a line of its own, and whoever waits is told."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
import pytest

from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.diagnose.tab import DiagnoseTab
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.services import Services
from e5studio.studio.serving.downloads import Downloads
from e5studio.studio.serving.waiting_queue import WaitingQueue
from tests.studio.browsing import MARKS
from tests.studio.conftest import OFFLINE

pytestmark = MARKS[1:]  # no browser


@pytest.fixture
def scored(engine):
    return engine.score(ScoreRequest(OFFLINE, "none", "a\nb", "c"))


def pressed(engine, scored, meanwhile=None):
    """What the status says, one after the other; the page may hold other texts once the diagnosis is done."""
    with gr.Blocks():
        tab = DiagnoseTab(Services(engine, Downloads(), VisitorStores()))
    for changes in tab.on_diagnose("scores", scored, "", None, SimpleNamespace(session_hash="somebody")):
        if tab.diagnosed in changes:
            assert tab.slots[0].panel not in changes  # it shows nothing before it is known that the texts are there
            changes = tab.on_texts(meanwhile or scored, "", changes[tab.diagnosed])
            assert changes[tab.slots[0].panel]["visible"] == (meanwhile is None)
            assert tab.on_texts(scored, "", changes[tab.diagnosed]) == {}
        yield json.dumps(changes[tab.status])


def test_whoever_waits_reads_that_and_has_the_diagnosis_then(engine, scored):
    with engine.diagnosis_queue.slot():  # somebody's corpus takes long
        statuses = pressed(engine, scored)
        assert "Starting" in next(statuses)
        assert "Waiting for 1 other" in next(statuses)
    assert "Diagnosed 2 queries and 1 passages" in list(statuses)[-1]
    assert engine.diagnosis_queue.n_waiting == 0


def test_texts_that_come_meanwhile_keep_the_diagnosis_from_being_shown(engine, scored):
    others = engine.score(ScoreRequest(OFFLINE, "none", "d", "e"))
    assert "Other texts have come since" in list(pressed(engine, scored, others))[-1]


def test_without_scores_it_says_what_to_do(engine):
    assert "Nothing is scored yet. Press Score" in list(pressed(engine, None))[-1]


def test_a_full_line_is_told_at_once(engine, scored):
    crammed = replace(engine, diagnosis_queue=WaitingQueue(1, 0))
    with crammed.diagnosis_queue.slot():
        assert "The Studio is full: 1 other came before" in list(pressed(crammed, scored))[-1]
