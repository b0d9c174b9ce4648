"""What waits in Gradio's queue is bounded by count and by bytes, and whoever is refused reads why."""

from __future__ import annotations

import asyncio
import json

import pytest

from e5studio.studio.serving.middleware import BODY_BYTES, VISITOR
from e5studio.studio.serving.queue_limit import QueueLimitMiddleware


class Queue:
    def __init__(self, n_waiting=0):
        self.n_waiting = n_waiting
        self.event_ids = set()


class Server:
    """Answers each event with its id."""

    def __init__(self, queue):
        self._queue = queue
        self.n_events = 0

    async def __call__(self, scope, receive, send):
        self.n_events += 1
        event = f"event{self.n_events}"
        self._queue.event_ids.add(event)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"event_id": event}).encode()})


def post(middleware, n_bytes=10, path="/gradio_api/queue/join", method="POST", visitor="ann"):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], BODY_BYTES: n_bytes, VISITOR: visitor}
    asyncio.run(middleware(scope, None, send))
    return sent[0]["status"], json.loads(sent[-1]["body"])


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/call/score", "/gradio_api/call/v2/score"])
def test_a_full_queue_is_told_in_a_sentence(path):
    queue = Queue(n_waiting=3)
    middleware = QueueLimitMiddleware(Server(queue), queue, max_waiting=3)
    status, body = post(middleware, path=path)
    assert status == 429
    assert body == {"detail": "The Studio is full: 3 others came before. Try again in a few minutes."}
    queue.n_waiting = 2
    assert post(middleware, path=path)[0] == 200


def test_other_requests_pass_a_full_queue():
    queue = Queue(n_waiting=3)
    middleware = QueueLimitMiddleware(Server(queue), queue, max_waiting=3)
    assert post(middleware, path="/gradio_api/run/predict")[0] == 200
    assert post(middleware, path="/gradio_api/call/score/event1", method="GET")[0] == 200


def test_long_texts_wait_outside_until_others_are_done():
    queue = Queue()
    middleware = QueueLimitMiddleware(Server(queue), queue, max_bytes=200_000)
    assert post(middleware, 90_000)[0] == 200
    status, body = post(middleware, 90_000)
    assert status == 429
    assert "long texts. Try again" in body["detail"]
    assert post(middleware, 55_000, visitor="bob")[0] == 200, "others have their share"
    assert post(middleware, 40_000)[0] == 200, "short ones pass"
    queue.event_ids.discard("event1")
    assert post(middleware, 70_000)[0] == 200


def test_whoever_sends_much_leaves_room_for_others():
    queue = Queue()
    middleware = QueueLimitMiddleware(Server(queue), queue, max_waiting=20)
    statuses = [post(middleware, visitor="ann") for _ in range(100)]
    assert statuses[19] == (200, {"event_id": "event20"})
    assert statuses[20] == (429, {"detail": "20 of your requests wait or run already. Try again when they are done."})
    assert [post(middleware, visitor=f"visitor {number}")[0] for number in range(15)] == [200] * 15
    queue.event_ids.clear()
    assert post(middleware, visitor="ann")[0] == 200


def test_what_failed_on_its_way_is_not_counted():
    queue = Queue()

    async def fail(scope, receive, send):
        raise OSError("the connection broke")

    middleware = QueueLimitMiddleware(fail, queue, max_bytes=200_000)
    for _ in range(3):
        with pytest.raises(OSError, match="broke"):
            post(middleware, 90_000)
