"""Many people at once, twenty in the long run: nobody fails, nobody sees another's texts, and nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import re
from collections import deque
from pathlib import Path

import httpx
import pytest

from e5studio.default_model import ModelChoice
from e5studio.model_pool import ModelPool
from e5studio.models import get_model_meta
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.engine import Engine
from e5studio.studio.launch import launch_app
from e5studio.studio.page.app import build_app
from e5studio.studio.services import Services
from e5studio.studio.serving.gradio_patches import GradioSessions
from e5studio.studio.serving.waiting_queue import WaitingQueue
from tests.studio.conftest import ENGLISH, FAULTY, INSTRUCT, OFFLINE
from tests.studio.serving.visitor import Visitor, open_page

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),
    pytest.mark.usefixtures("gradio_litter"),
]


@pytest.fixture(scope="module")
def crowded(stand_in_pool, offline_encoder):
    """A Studio with room for everybody to wait: its Blocks, its services, its address."""
    services = Services(Engine(stand_in_pool))
    demo = build_app(services, ModelChoice(OFFLINE, "the tests' model"))
    address = launch_app(demo, services, wait=False, quiet=True)
    yield demo, services, address
    demo.close()


def texts_of(number, round_):
    mark = f"visitor{number:02d}round{round_}"
    return [f"where is the summit {mark}", f"protein {mark}"], [f"a mountain {mark}", f"meat {mark}", f"rain {mark}"]


async def score_once(visitor, number, round_, model=None):
    """What a person types and presses; the scores that the page then shows, by (query, passage)."""
    queries, passages = texts_of(number, round_)
    visitor.write("e5-queries", "\n".join(queries))
    visitor.write("e5-passages", "\n".join(passages))
    if model is not None:
        visitor.write("e5-model", model)
        await visitor.press("e5-model", "choose")
    await visitor.press("e5-link", "rescore")
    return shown_scores(visitor)


class NotScoredError(Exception):
    """The page's message instead of scores."""


def shown_scores(visitor):
    [[_, css, message], *_] = visitor.sees("e5-status")
    if css != "e5-done":
        raise NotScoredError(message)
    table = visitor.sees("e5-scores")
    queries, passages = ([text for _, text in side] for side in table["texts"])
    return {(queries[row], passages[column]): score for row, column, score, *_ in table["rows"]}


def expected_scores(encoder, number, round_):
    queries, passages = texts_of(number, round_)
    kind = encoder.spec.prompt_kind
    task = WEB_SEARCH_INSTRUCTION if kind == "instruct" else None  # what the page's box holds
    scores = bare(encoder, queries, passages) if kind == "none" else encoder.scores(queries, passages, instruction=task)
    return {
        (query, passage): pytest.approx(scores[row, column], abs=2e-3)
        for row, query in enumerate(queries)
        for column, passage in enumerate(passages)
    }


def bare(encoder, queries, passages):
    return 100 * encoder.encode(queries, prompt="") @ encoder.encode(passages, prompt="").T


def strangers_in(visitor, number):
    """Others whose texts came to this visitor's page, in whatever was sent to it."""
    marks = re.findall(r"visitor(\d\d)round", "".join(visitor.heard))
    assert marks
    return {int(mark) for mark in marks} - {number}


async def a_round(address, page, round_, n_people):
    """Everybody opens a page, scores and leaves; what each was shown."""

    async def visit(number):
        async with Visitor(address, page) as visitor:
            scores = await score_once(visitor, number, round_)
            return scores, strangers_in(visitor, number)

    return await asyncio.gather(*(visit(number) for number in range(n_people)))


def check_own_texts(shown, encoder, round_):
    for number, (scores, strangers) in enumerate(shown):
        assert scores == expected_scores(encoder, number, round_)
        assert not strangers


@pytest.mark.parametrize("n_people", [4, pytest.param(20, marks=pytest.mark.long)])
def test_many_people_at_once_see_their_own_scores(crowded, offline_encoder, n_people):
    demo, services, address = crowded

    async def once():
        check_own_texts(await a_round(address, await open_page(address), 0, n_people), offline_encoder, 0)
        await until_forgotten(demo, services)

    asyncio.run(once())
    assert services.engine.encode_queue.n_waiting == 0


@pytest.mark.long
def test_nothing_of_three_rounds_of_people_stays(crowded, offline_encoder):
    demo, services, address = crowded

    async def rounds():
        page = await open_page(address)
        counts = []
        for round_ in range(3):
            await a_round(address, page, round_, 3)
            await until_forgotten(demo, services)
            counts.append(census(demo, services))
        return counts

    _, second, last = asyncio.run(rounds())  # until the second, what is bounded may still fill
    assert {path: (second.get(path, 0), n) for path, n in last.items() if n > second.get(path, 0)} == {}
    assert len(last) > 100  # it was a census of something
    # An idle thread holds its last arguments; on a busy machine another may not have ended its work yet.
    assert any(not texts_in_memory(r"visitor\d\dround[01]") for _ in range(10))


def test_nothing_of_a_closed_page_stays(crowded):
    """Neither large figures and tables, nor a corpus with its file."""
    demo, services, address = crowded
    downloads, visitor_stores = services.downloads, services.visitor_stores

    async def visit(upload):
        async with Visitor(address, await open_page(address)) as visitor:
            visitor.write("e5-passages", "\n".join(f"{number} " + "a passage " * 2 for number in range(250)))
            await visitor.press("e5-link", "rescore")
            assert "Scored 2 × 250" in str(visitor.sees("e5-status"))
            await visitor.press("e5-shelf", "opened", {"token": ""})
            visitor.write("e5-corpus-file", await upload(visitor))
            await visitor.press("e5-corpus-file", "upload")
            assert "3 rows" in str(visitor.sees("e5-corpus-said"))
            return visitor.sees("e5-corpus-file")["path"]

    async def upload(visitor):
        async with httpx.AsyncClient(base_url=address) as client:
            answer = await client.post("/gradio_api/upload", files={"files": ("three.csv", b"text\none\ntwo\nthree\n")})
        return {"path": answer.json()[0], "orig_name": "three.csv", "meta": {"_type": "gradio.FileData"}}

    async def stay_and_go():
        before = downloads.n_bytes, visitor_stores.n_bytes
        path = Path(await visit(upload))
        while_open = downloads.n_bytes, visitor_stores.n_bytes
        assert path.exists()
        assert while_open[0] > before[0]
        assert while_open[1] > before[1]
        await until_forgotten(demo, services)
        assert (downloads.n_bytes, visitor_stores.n_bytes) == before
        assert not path.exists()

    asyncio.run(stay_and_go())


class CheckpointPool(ModelPool):
    """The pool itself, over small checkpoints under the names of the table; one folder is empty."""

    def __init__(self, checkpoints, empty, **options):
        super().__init__(**options)
        self._checkpoints, self._empty = checkpoints, empty

    def lease(self, model, **options):
        checkpoint = self._checkpoints.get(model)
        if checkpoint is None:
            return super().lease(get_model_meta(model), path=self._empty, **options)
        return super().lease(checkpoint.meta, path=checkpoint.folder, **options)


@pytest.fixture
def switching(checkpoints, tmp_path):
    """A Studio whose memory holds one of three models, and where a fourth cannot be loaded."""
    names = {ENGLISH: "e5", OFFLINE: "multilingual-e5", INSTRUCT: "multilingual-e5-instruct"}
    pool = CheckpointPool({name: checkpoints(kind) for name, kind in names.items()}, tmp_path, memory_budget=1)
    services = Services(Engine(pool))
    demo = build_app(services, ModelChoice(OFFLINE, "the tests' model"))
    yield pool, launch_app(demo, services, wait=False, quiet=True)
    demo.close()
    pool.clear()


def test_models_change_while_many_people_score(switching, encoders):
    pool, address = switching
    models = [ENGLISH, INSTRUCT, ENGLISH, FAULTY, INSTRUCT]
    loaded = {ENGLISH: encoders("e5"), INSTRUCT: encoders("multilingual-e5-instruct")}

    async def visit(page, number):
        outcomes = []
        async with Visitor(address, page) as visitor:
            for step in range(2):
                model = models[(number + step) % len(models)]
                try:
                    outcomes.append((model, await score_once(visitor, number, step, model)))
                except NotScoredError as error:
                    outcomes.append((model, str(error)))
        return outcomes

    async def everybody():
        page = await open_page(address)
        return await asyncio.gather(*(visit(page, number) for number in range(5)))

    for number, visits in enumerate(asyncio.run(everybody())):
        for step, (model, scores) in enumerate(visits):
            if model == FAULTY:
                assert "damaged or incomplete" in scores
                assert "config.json" not in scores  # nor where it was looked for
            else:
                assert scores == expected_scores(loaded[model], number, step)
    assert len(pool.loaded()) <= 1  # the others left as soon as nobody needed them


@pytest.fixture
def crammed(stand_in_pool):
    """A Studio where one may wait."""
    engine = Engine(stand_in_pool, encode_queue=WaitingQueue(1, 1), corpus_queue=WaitingQueue(1, 0))
    services = Services(engine)
    demo = build_app(services, ModelChoice(ENGLISH, "the tests' model"))
    yield engine, launch_app(demo, services, wait=False, quiet=True)
    demo.close()


def test_whoever_comes_to_a_full_queue_is_told_so_at_once_and_the_others_get_their_scores(crammed, encoders):
    engine, address = crammed

    async def everybody():
        page = await open_page(address)
        async with Visitor(address, page) as first, Visitor(address, page) as second:
            with engine.encode_queue.slot():  # somebody's work takes long
                waiting = asyncio.create_task(score_once(first, 1, 0, ENGLISH))
                await until(lambda: engine.encode_queue.n_waiting == 1)
                with pytest.raises(NotScoredError) as refused:
                    await score_once(second, 2, 0, ENGLISH)
                program = await call(address, "score", {"queries": ["a"], "passages": ["b"]})
                await until(lambda: any("Waiting for 1 other" in news for news in first.heard))
                assert not waiting.done()
            return await waiting, str(refused.value), program

    scores, refused, program = asyncio.run(everybody())
    assert scores == expected_scores(encoders("e5"), 1, 0)
    for message in (refused, program):
        assert "The Studio is full: 2 others came before" in message
        assert "Try again then." in message


def test_a_page_that_is_closed_while_it_waits_leaves_the_queue(crammed, monkeypatch):
    engine, address = crammed
    monkeypatch.setattr("e5studio.studio.jobs.job._SECONDS_UNTIL_REPEATED", 0.3)

    async def everybody():
        page = await open_page(address)
        with engine.encode_queue.slot():
            async with Visitor(address, page) as visitor:
                waiting = asyncio.create_task(score_once(visitor, 1, 0, ENGLISH))
                await until(lambda: engine.encode_queue.n_waiting == 1)
                await until(lambda: any("Waiting for 1 other" in news for news in visitor.heard))
                waiting.cancel()
            await until(lambda: engine.encode_queue.n_waiting == 0)

    asyncio.run(everybody())


def test_a_corpus_too_many_is_told_at_once(crammed):
    engine, address = crammed

    async def visit():
        async with Visitor(address, await open_page(address)) as visitor:
            await visitor.press("e5-shelf", "opened", {"token": ""})
            visitor.write("e5-paste", "one\ntwo")
            await visitor.press("e5-use-paste")
            with engine.corpus_queue.slot():
                await visitor.press("e5-embed")
            return visitor.sees("e5-embed-status")

    [[_, css, message]] = asyncio.run(visit())
    assert css == "e5-error"
    assert "The Studio is full: 1 other came before" in message


async def until(is_so):
    for _ in range(2000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never became so")


async def call(address, name, values):
    """What a program without a client library gets."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        event = (await http.post(f"/gradio_api/call/v2/{name}", json=values)).json()["event_id"]
        return (await http.get(f"/gradio_api/call/v2/{name}/{event}")).text


async def until_forgotten(demo, services):
    """What the sweep does ten minutes later."""
    sessions = GradioSessions(demo, on_forget=[services.downloads.forget, services.visitor_stores.forget_session])
    for _ in range(200):
        for session in list(sessions.last_used):
            sessions.forget(session)
        if not sessions.last_used:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{list(sessions.last_used)} stay")


def census(*roots):
    """The length of every container that the server's objects hold, by its path."""
    gc.collect()
    lengths, seen, waiting = {}, set(), [(type(root).__name__, root, 0) for root in roots]
    while waiting:
        path, thing, depth = waiting.pop()
        if id(thing) in seen or depth > 5:
            continue
        seen.add(id(thing))
        if isinstance(thing, (dict, list, set, deque)):
            if getattr(thing, "maxlen", None) is None:  # with one, it is bounded
                lengths[path] = len(thing)
            parts = thing.values() if isinstance(thing, dict) else ()
            waiting += [(f"{path}[{type(part).__name__}]", part, depth + 1) for part in list(parts)]
        elif type(thing).__module__.split(".")[0] in ("gradio", "e5studio", "fastapi", "starlette"):
            waiting += [(f"{path}.{name}", part, depth + 1) for name, part in vars_of(thing).items()]
    return lengths


def vars_of(thing):
    return getattr(thing, "__dict__", {}) | {
        name: getattr(thing, name) for name in getattr(type(thing), "__slots__", ()) if hasattr(thing, name)
    }


def texts_in_memory(pattern):
    """What containers of this process hold in which a pattern is found."""
    gc.unfreeze()  # the containers of modules count, too
    gc.collect()
    containers = [thing for thing in gc.get_objects() if type(thing) in (dict, list, tuple, set)]
    parts = (part for thing in containers for part in (list(thing.values()) if type(thing) is dict else list(thing)))
    hits = [part[:200] for part in parts if type(part) is str and re.search(pattern, part) and part != pattern]
    gc.freeze()  # or each collection of the tests that follow would search the modules again
    return hits
