"""Waiting queues: who works next, what is reported to those who wait, who is refused."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from e5studio.studio.errors import FullError, StoppedError
from e5studio.studio.serving.waiting_queue import ChainedQueue, WaitingQueue

WAIT = 20


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Visitor:
    """Takes a slot in a thread and holds it until `end`."""

    def __init__(self, queue, order=None, name=None, is_stopped=lambda: False, cost=1.0):
        self._cost = cost
        self.is_in, self.leave, self.news = threading.Event(), threading.Event(), []
        self.heard = threading.Event()
        self.error = None
        self._queue, self._order, self._name, self._is_stopped = queue, order, name, is_stopped
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            with self._queue.slot(self._hear, self._cost):
                if self._order is not None:
                    self._order.append(self._name)
                self.is_in.set()
                assert self.leave.wait(WAIT)
        except Exception as error:
            self.error = error

    def _hear(self, share, words):
        assert share is None
        self.news.append(words)
        self.heard.set()
        if self._is_stopped():
            raise StoppedError

    def end(self):
        self.leave.set()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


def wait_until(queue, n_waiting):
    for _ in range(2000):
        if queue.n_waiting == n_waiting:
            return
        threading.Event().wait(0.005)
    raise AssertionError(f"{queue.n_waiting} wait, not {n_waiting}")


def queue_up(queue, count, order=None):
    visitors = []
    for number in range(count):
        visitors.append(Visitor(queue, order, number))
        wait_until(queue, number)  # the first works
    return visitors


def test_first_come_first_served_and_one_at_a_time():
    queue, order = WaitingQueue(1, 10), []
    visitors = queue_up(queue, 6, order)
    for number, visitor in enumerate(visitors):
        assert visitor.is_in.wait(WAIT)
        assert order == list(range(number + 1))
        visitor.end()
    assert queue.n_waiting == 0


def test_as_many_work_as_there_are_slots():
    queue = WaitingQueue(2, 10)
    first, second, third = (Visitor(queue) for _ in range(3))
    wait_until(queue, 1)
    working = [visitor for visitor in (first, second, third) if visitor.is_in.wait(0.05)]
    assert len(working) == 2
    working[1].end()
    [waiting] = {first, second, third} - set(working)
    assert waiting.is_in.wait(WAIT)
    for visitor in (working[0], waiting):
        visitor.end()


def test_whoever_waits_hears_how_many_are_before_and_how_long_they_take():
    clock = Clock()
    queue = WaitingQueue(1, 10, clock)
    for _ in range(4):
        with queue.slot():
            clock.now += 3
    visitors = queue_up(queue, 3)
    assert visitors[1].heard.wait(WAIT)
    assert visitors[2].heard.wait(WAIT)
    assert visitors[1].news[0] == "Waiting for 1 other, about 3 seconds"
    assert visitors[2].news[0] == "Waiting for 2 others, about 6 seconds"
    for visitor in visitors:
        visitor.end()


def test_no_end_is_promised_of_work_that_takes_longer_than_others():
    clock = Clock()
    queue = WaitingQueue(1, 10, clock)
    for _ in range(20):
        with queue.slot():
            clock.now += 0.05
    visitors = queue_up(queue, 1)
    clock.now += 600
    visitors.append(Visitor(queue))
    assert visitors[1].heard.wait(WAIT)
    assert visitors[1].news[0] == "Waiting for 1 other, longer than usual"
    for visitor in visitors:
        visitor.end()


def test_where_nothing_is_known_no_time_is_guessed():
    queue = WaitingQueue(1, 10)
    visitors = queue_up(queue, 2)
    assert visitors[1].heard.wait(WAIT)
    assert visitors[1].news[0] == "Waiting for 1 other"
    for visitor in visitors:
        visitor.end()


def test_whoever_comes_to_a_full_queue_is_refused_at_once_and_the_others_go_on():
    clock = Clock()
    queue = WaitingQueue(1, 2, clock)
    with queue.slot():
        clock.now += 40
    visitors = queue_up(queue, 3)
    with (
        pytest.raises(FullError, match=r"full: 3 others came before, about 2 minutes\. Try again then\."),
        queue.slot(),
    ):
        pass
    assert queue.n_waiting == 2
    visitors[0].end()
    assert visitors[1].is_in.wait(WAIT)
    late = Visitor(queue)  # there is room again
    wait_until(queue, 2)
    for visitor in (*visitors[1:], late):
        visitor.end()
        assert visitor.error is None


def test_a_queue_without_room_to_wait_still_serves():
    queue = WaitingQueue(1, 0)
    with queue.slot(), pytest.raises(FullError, match="nobody knows"), queue.slot():
        pass
    with queue.slot():
        pass


def test_whoever_stops_leaves_the_queue():
    queue = WaitingQueue(1, 10)
    is_stopped = threading.Event()
    working = Visitor(queue)
    assert working.is_in.wait(WAIT)
    stopped = Visitor(queue, is_stopped=is_stopped.is_set)
    wait_until(queue, 1)
    behind = Visitor(queue)
    wait_until(queue, 2)
    is_stopped.set()
    stopped.end()
    assert isinstance(stopped.error, StoppedError)
    wait_until(queue, 1)
    working.end()
    assert behind.is_in.wait(WAIT)
    behind.end()


def test_a_slot_of_work_that_fails_is_given_back():
    queue = WaitingQueue(1, 0)
    with pytest.raises(ZeroDivisionError), queue.slot():
        raise ZeroDivisionError
    with queue.slot():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_the_threads_of_its_parent():
    queue = WaitingQueue(1, 0)
    with queue.slot():
        child = os.fork()
        if not child:
            code = 1
            try:
                with queue.slot():
                    code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_of_many_programs_a_visitor_waits_for_one():
    queue, order = WaitingQueue(1, 64), []
    programs = ChainedQueue(queue, 24)
    first = Visitor(programs, order, "program 0")
    assert first.is_in.wait(WAIT)
    others = []
    for number in range(1, 4):
        others.append(Visitor(programs, order, f"program {number}"))
        wait_until(programs._own, number)
    visitor = Visitor(queue, order, "visitor")
    wait_until(queue, 1)
    for each in (first, visitor, *others):
        each.leave.set()
    for each in others:
        assert each.is_in.wait(WAIT)
    assert order == ["program 0", "visitor", "program 1", "program 2", "program 3"]


def test_programs_are_refused_where_too_many_of_them_wait():
    queue = WaitingQueue(1, 64)
    programs = ChainedQueue(queue, 0)
    first = Visitor(programs)
    assert first.is_in.wait(WAIT)
    with pytest.raises(FullError, match="The Studio is full: 1 other came before"), programs.slot():
        raise AssertionError("there was room")
    first.end()
    with programs.slot():
        assert queue.n_waiting == 0


class Names:
    """Says who asks, in the thread that asks."""

    def __init__(self):
        self.now = "nobody"

    def __call__(self):
        return self.now


def queue_of(works, n_slots=1, max_waiting=64, clock=None):
    """A queue in which (visitor, cost) wait behind the first, which works, and the visitors in order of their turn."""
    names, order, visitors = Names(), [], []
    queue = WaitingQueue(n_slots, max_waiting, clock or Clock(), names)
    for name, cost in works:
        names.now = name
        n_waiting = queue.n_waiting
        visitors.append(Visitor(queue, order, name, cost=cost))
        assert visitors[-1].is_in.wait(WAIT) if len(visitors) == 1 else wait_until(queue, n_waiting + 1) is None
    return queue, names, visitors, order


def test_a_few_texts_do_not_wait_behind_the_many_of_others():
    _, _, visitors, order = queue_of([*((f"page {number}", 400) for number in range(6)), ("ann", 1)])
    for visitor in visitors:
        visitor.leave.set()
    for visitor in visitors:
        visitor.end()
    assert order == ["page 0", "ann", "page 1", "page 2", "page 3", "page 4", "page 5"]


def test_who_asks_again_and_again_waits_behind_who_asks_once():
    _, _, visitors, order = queue_of([*[("greedy", 2)] * 5, ("ann", 2), ("bob", 2)])
    for visitor in visitors:
        visitor.leave.set()
    for visitor in visitors:
        visitor.end()
    assert order == ["greedy", "ann", "bob", "greedy", "greedy", "greedy", "greedy"]


def test_many_texts_have_their_turn_though_others_keep_coming_with_few():
    queue, names, [working, large], order = queue_of([("first", 1), ("large", 50)])
    names.now = "small"
    working.leave.set()
    large.leave.set()
    for number in range(100):
        names.now = f"small {number}"
        if large.is_in.is_set():
            break
        others = [Visitor(queue, order, "small", cost=10)]
        for other in others:
            other.end()
    working.end()
    large.end()
    assert "large" in order


def test_a_full_queue_makes_room_for_who_takes_less():
    queue, names, visitors, order = queue_of([*((f"page {number}", 400) for number in range(5))], max_waiting=4)
    names.now = "ann"
    ann = Visitor(queue, order, "ann", cost=1)
    for _ in range(2000):
        if visitors[-1].error is not None:
            break
        threading.Event().wait(0.005)
    assert isinstance(visitors[-1].error, FullError)
    assert queue.n_waiting == 4
    names.now = "page 6"
    with pytest.raises(FullError), queue.slot(cost=400):
        raise AssertionError("there was room")
    for visitor in (*visitors[:-1], ann):
        visitor.leave.set()
    for visitor in (*visitors[:-1], ann):
        visitor.end()
        assert visitor.error is None
    assert order[:2] == ["page 0", "ann"]


def test_whoever_was_alone_does_not_pay_for_it_later():
    clock, names = Clock(), Names()
    queue = WaitingQueue(1, 4, clock, names)
    names.now = "ann"
    with queue.slot(cost=10_000):
        pass
    assert not queue._finish_of


def test_the_wait_is_told_by_the_work_that_comes_before():
    clock = Clock()
    queue, names, visitors, _ = queue_of([("first", 10)], clock=clock)
    clock.now += 10
    visitors[0].end()
    names.now = "page"
    working = Visitor(queue, cost=60)
    assert working.is_in.wait(WAIT)
    clock.now += 20
    names.now = "ann"
    waiting = Visitor(queue, cost=1)
    assert waiting.heard.wait(WAIT)
    assert waiting.news[0] == "Waiting for 1 other, about 40 seconds"
    working.end()
    waiting.end()


def test_long_work_lets_a_few_texts_go_first_and_then_goes_on():
    names, order = Names(), []
    queue = WaitingQueue(1, 4, Clock(), names)
    names.now = "long"
    with queue.slot(cost=400):
        queue.pause(order.append)
        names.now = "longer"
        longer = Visitor(queue, order, "longer", cost=500)
        wait_until(queue, 1)
        queue.pause(order.append)  # nobody has a better right
        names.now = "ann"
        ann = Visitor(queue, order, "ann", cost=1)
        wait_until(queue, 2)
        ann.leave.set()
        queue.pause(lambda *_: None)
        order.append("long goes on")
        assert queue.n_waiting == 1
    for visitor in (ann, longer):
        visitor.end()
    assert order == ["ann", "long goes on", "longer"]
    assert not queue._running


def test_work_that_is_stopped_in_a_pause_holds_no_slot():
    clock, names = Clock(), Names()
    queue = WaitingQueue(1, 4, clock, names)

    def stop(*_):
        raise StoppedError

    names.now = "long"
    with contextlib.suppress(StoppedError), queue.slot(cost=400):
        names.now = "ann"
        ann = Visitor(queue, cost=1)
        wait_until(queue, 1)
        clock.now += 1
        queue.pause(stop)
        raise AssertionError("it was not stopped")
    assert ann.is_in.wait(WAIT)
    ann.end()
    assert not queue._running
    assert not queue._waiting
