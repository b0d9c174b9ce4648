"""What Gradio keeps of a page is forgotten some time after it was closed, and not before."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from e5studio.studio.serving.sessions import CLOSED_SECONDS, PRESENT_PATH, OpenPages, SessionMiddleware, steady_now

HEARTBEAT = "/gradio_api/heartbeat/"


class StoredSessions:
    def __init__(self, **used):
        self.last_used = used
        self.forgotten = []

    def forget(self, session):
        self.forgotten.append(session)
        self.last_used.pop(session, None)
        return True


class Clock:
    def __init__(self):
        self.now = datetime(2026, 1, 1)

    def __call__(self):
        return self.now

    def go(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pages(clock):
    return OpenPages(clock)


def test_an_open_page_is_kept_however_long_it_is_idle(pages, clock):
    stored = StoredSessions(ann=clock.now)
    pages.open("ann")
    clock.go(100 * CLOSED_SECONDS)
    pages.forget_absent(stored)
    assert "ann" in stored.last_used


def test_a_closed_page_is_kept_for_some_minutes_and_then_forgotten(pages, clock):
    stored = StoredSessions(ann=clock.now, bob=clock.now)
    pages.open("ann")
    pages.open("bob")
    clock.go(5 * CLOSED_SECONDS)  # idle for long before it is closed
    pages.close("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(stored)
    assert set(stored.last_used) == {"ann", "bob"}
    clock.go(2)
    pages.forget_absent(stored)
    assert set(stored.last_used) == {"bob"}


def test_a_page_that_comes_back_is_kept(pages, clock):
    stored = StoredSessions(ann=clock.now)
    pages.open("ann")
    pages.close("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.open("ann")
    clock.go(CLOSED_SECONDS)
    pages.forget_absent(stored)
    assert "ann" in stored.last_used


def test_of_two_connections_of_one_page_one_is_enough(pages, clock):
    stored = StoredSessions(ann=clock.now)
    pages.open("ann")
    pages.open("ann")
    pages.close("ann")
    clock.go(2 * CLOSED_SECONDS)
    pages.forget_absent(stored)
    assert "ann" in stored.last_used


def test_programs_have_no_heartbeat_and_are_forgotten_after_their_last_call(pages, clock):
    stored = StoredSessions(program=clock.now)
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(stored)
    assert stored.last_used
    clock.go(2)
    pages.forget_absent(stored)
    assert not stored.last_used


def test_what_others_keep_of_a_closed_page_is_forgotten_even_if_gradio_has_made_room_before(pages, clock):
    stored = StoredSessions()
    pages.open("ann")
    pages.close("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(stored)
    assert stored.forgotten == []
    clock.go(2)
    pages.forget_absent(stored)
    pages.forget_absent(stored)
    assert stored.forgotten == ["ann"]


def test_nothing_is_remembered_of_pages_that_are_forgotten(pages, clock):
    for number in range(100):
        pages.open(str(number))
        pages.close(str(number))
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(StoredSessions())
    assert not pages._open
    assert not pages._closed


def test_a_page_whose_connection_broke_is_kept_while_it_says_that_it_is_open(pages, clock):
    stored = StoredSessions(ann=clock.now)
    pages.open("ann")
    pages.close("ann")
    for _ in range(5):
        clock.go(CLOSED_SECONDS - 1)
        pages.note("ann")
        pages.forget_absent(stored)
    assert "ann" in stored.last_used
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(stored)
    assert "ann" not in stored.last_used


def test_many_programs_make_way_for_each_other_and_no_open_page_does(pages, clock):
    stored = StoredSessions(page=clock.now)
    pages.open("page")
    for number in range(300):
        clock.go(0.01)
        stored.last_used[f"program {number}"] = clock.now
        pages.make_room(stored, most=20)
    assert set(stored.last_used) == {"page", *(f"program {number}" for number in range(280, 300))}


def test_trouble_with_one_has_the_others_forgotten_all_the_same_and_is_tried_again(pages, clock):
    stored = StoredSessions(ann=clock.now, bob=clock.now)
    forget, is_broken = stored.forget, [True]

    def forget_or_fail(session):
        if session == "ann" and is_broken[0]:
            raise IsADirectoryError(session)
        return forget(session)

    stored.forget = forget_or_fail
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(stored)
    assert set(stored.last_used) == {"ann"}
    is_broken[0] = False
    pages.forget_absent(stored)
    assert not stored.last_used


def test_a_page_that_works_is_forgotten_when_it_has_ended(pages, clock):
    stored = StoredSessions()
    works = [True]
    stored.forget = lambda session: stored.forgotten.append(session) or not works[0]
    pages.open("ann")
    pages.close("ann")
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(stored)
    works[0] = False
    pages.forget_absent(stored)
    pages.forget_absent(stored)
    assert stored.forgotten == ["ann", "ann"]


async def test_the_watch_hears_pages_that_say_that_they_are_open(clock):
    pages, stored, sent = OpenPages(clock), StoredSessions(ann=clock.now), []

    async def send(message):
        sent.append(message.get("status"))

    watch = SessionMiddleware(None, stored, pages)
    clock.go(CLOSED_SECONDS - 1)
    await watch({"type": "http", "path": f"{PRESENT_PATH}ann"}, None, send)
    await watch({"type": "http", "path": f"{PRESENT_PATH}unknown"}, None, send)
    assert sent[::2] == [204, 202]  # a fault would stand in the console of a page that has just been opened
    clock.go(2)
    pages.forget_absent(stored)
    assert "ann" in stored.last_used
    assert set(pages._closed) == {"ann"}


async def test_the_watch_knows_a_page_by_its_heartbeat(clock):
    pages, stored = OpenPages(clock), StoredSessions(ann=clock.now)
    beating, end = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"].startswith(HEARTBEAT):
            beating.set()
            await end.wait()

    watch = SessionMiddleware(app, stored, pages)
    page = asyncio.create_task(watch({"type": "http", "path": HEARTBEAT + "ann"}, None, None))
    await beating.wait()
    await watch({"type": "http", "path": "/"}, None, None)
    clock.go(2 * CLOSED_SECONDS)
    pages.forget_absent(stored)
    assert "ann" in stored.last_used
    page.cancel()  # as a server does when a connection breaks off
    with pytest.raises(asyncio.CancelledError):
        await page
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(stored)
    assert not stored.last_used


async def test_it_goes_on_looking_after_trouble(clock):
    swept = []

    def on_sweep():
        swept.append(True)
        raise OSError("a bug nobody foresaw")

    async def app(scope, receive, send):
        return None

    watch = SessionMiddleware(app, StoredSessions(), OpenPages(clock), sweep_seconds=0.01, on_sweep=on_sweep)
    await watch({"type": "http", "path": "/"}, None, None)
    for _ in range(200):
        if len(swept) > 2:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it looked no more")


async def test_it_looks_by_itself(clock):
    stored = StoredSessions(program=clock.now)
    forgotten = asyncio.Event()

    def forget(session):
        del stored.last_used[session]
        forgotten.set()
        return True

    stored.forget = forget

    async def app(scope, receive, send):
        return None

    watch = SessionMiddleware(app, stored, OpenPages(clock), sweep_seconds=0.01)
    await watch({"type": "http", "path": "/"}, None, None)
    assert not forgotten.is_set()
    clock.go(CLOSED_SECONDS + 1)
    await asyncio.wait_for(forgotten.wait(), 10)


def test_a_clock_that_is_set_forgets_nobody(monkeypatch):
    before = steady_now()
    monkeypatch.setattr("e5studio.studio.serving.sessions.datetime", None)
    assert timedelta(0) <= steady_now() - before < timedelta(seconds=20)
