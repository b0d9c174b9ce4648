"""What Gradio keeps of a page is forgotten some time after it was closed, and not before."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from e5studio.studio.sessions import CLOSED_SECONDS, PresentPages, SessionWatch

HEARTBEAT = "/gradio_api/heartbeat/"


class Kept:
    def __init__(self, **used):
        self.time_last_used = used
        self.forgotten = []

    def forget(self, session):
        self.forgotten.append(session)
        self.time_last_used.pop(session, None)


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
    return PresentPages(clock)


def test_an_open_page_is_kept_however_long_it_is_idle(pages, clock):
    kept = Kept(ann=clock.now)
    pages.come("ann")
    clock.go(100 * CLOSED_SECONDS)
    pages.forget_absent(kept)
    assert "ann" in kept.time_last_used


def test_a_closed_page_is_kept_for_some_minutes_and_then_forgotten(pages, clock):
    kept = Kept(ann=clock.now, bob=clock.now)
    pages.come("ann")
    pages.come("bob")
    clock.go(5 * CLOSED_SECONDS)  # idle for long before it is closed
    pages.go("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(kept)
    assert set(kept.time_last_used) == {"ann", "bob"}
    clock.go(2)
    pages.forget_absent(kept)
    assert set(kept.time_last_used) == {"bob"}


def test_a_page_that_comes_back_is_kept(pages, clock):
    kept = Kept(ann=clock.now)
    pages.come("ann")
    pages.go("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.come("ann")
    clock.go(CLOSED_SECONDS)
    pages.forget_absent(kept)
    assert "ann" in kept.time_last_used


def test_of_two_connections_of_one_page_one_is_enough(pages, clock):
    kept = Kept(ann=clock.now)
    pages.come("ann")
    pages.come("ann")
    pages.go("ann")
    clock.go(2 * CLOSED_SECONDS)
    pages.forget_absent(kept)
    assert "ann" in kept.time_last_used


def test_programs_have_no_heartbeat_and_are_forgotten_after_their_last_call(pages, clock):
    kept = Kept(program=clock.now)
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(kept)
    assert kept.time_last_used
    clock.go(2)
    pages.forget_absent(kept)
    assert not kept.time_last_used


def test_what_others_keep_of_a_closed_page_is_forgotten_even_if_gradio_has_made_room_before(pages, clock):
    kept = Kept()
    pages.come("ann")
    pages.go("ann")
    clock.go(CLOSED_SECONDS - 1)
    pages.forget_absent(kept)
    assert kept.forgotten == []
    clock.go(2)
    pages.forget_absent(kept)
    pages.forget_absent(kept)
    assert kept.forgotten == ["ann"]


def test_nothing_is_remembered_of_pages_that_are_forgotten(pages, clock):
    for number in range(100):
        pages.come(str(number))
        pages.go(str(number))
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(Kept())
    assert not pages._open
    assert not pages._closed


async def test_the_watch_knows_a_page_by_its_heartbeat(clock):
    pages, kept = PresentPages(clock), Kept(ann=clock.now)
    beating, end = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        if scope["path"].startswith(HEARTBEAT):
            beating.set()
            await end.wait()

    watch = SessionWatch(app, kept, pages)
    page = asyncio.create_task(watch({"type": "http", "path": HEARTBEAT + "ann"}, None, None))
    await beating.wait()
    await watch({"type": "http", "path": "/"}, None, None)
    clock.go(2 * CLOSED_SECONDS)
    pages.forget_absent(kept)
    assert "ann" in kept.time_last_used
    page.cancel()  # as a server does when a connection breaks off
    with pytest.raises(asyncio.CancelledError):
        await page
    clock.go(CLOSED_SECONDS + 1)
    pages.forget_absent(kept)
    assert not kept.time_last_used


async def test_it_looks_by_itself(clock):
    kept = Kept(program=clock.now)
    forgotten = asyncio.Event()

    def forget(session):
        del kept.time_last_used[session]
        forgotten.set()

    kept.forget = forget

    async def app(scope, receive, send):
        return None

    watch = SessionWatch(app, kept, PresentPages(clock), sweep_seconds=0.01)
    await watch({"type": "http", "path": "/"}, None, None)
    assert not forgotten.is_set()
    clock.go(CLOSED_SECONDS + 1)
    await asyncio.wait_for(forgotten.wait(), 10)
