"""A person at the page without a browser: sends what the page's script sends, hears what it hears, over raw HTTP."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from gradio_client.utils import apply_diff

PATIENCE = 120


class RefusedError(Exception):
    """The server answered an event with an error: the toast of the page."""


@dataclass
class Page:
    """What `/config` says, looked up by the names that the layout gives."""

    config: dict[str, Any]
    by_name: dict[str, int] = field(init=False)
    after: dict[int, list[dict[str, Any]]] = field(init=False)

    def __post_init__(self):
        components = self.config["components"]
        self.by_name = {part["props"]["elem_id"]: part["id"] for part in components if part["props"].get("elem_id")}
        self.after = {}
        for event in self.config["dependencies"]:
            self.after.setdefault(event["trigger_after"], []).append(event)

    def value(self, component: int) -> Any:
        [part] = [part for part in self.config["components"] if part["id"] == component]
        return None if part["type"] == "state" else part["props"].get("value")

    def events(self, name: str, trigger: str) -> list[dict[str, Any]]:
        target = [self.by_name[name], trigger]
        return [event for event in self.config["dependencies"] if target in event["targets"]]


class Visitor:
    """One open page.

    Args:
        address: Of the Studio.
        page: Of `open_page`; the same for all visitors.
    """

    def __init__(self, address: str, page: Page):
        self.session = secrets.token_hex(6)
        self.heard: list[str] = []  # everything that came from the server, as it came
        self.shown: dict[int, Any] = {}
        self._seconds: dict[str, float] = {}
        self._page = page
        self.address = address
        self.config = page.config
        # A busy server may close a connection that waits for its next request just as that is sent. A browser then asks
        # again by itself, httpx does not: so each request has a connection of its own.
        alone = httpx.Limits(max_keepalive_connections=0)
        self._http = httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=alone)
        self._heart: asyncio.Task | None = None

    async def __aenter__(self):
        self._heart = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_):
        self._heart.cancel()
        with suppress(asyncio.CancelledError):
            await self._heart
        await self._http.aclose()

    def write(self, name: str, value: Any) -> None:
        self.shown[self._page.by_name[name]] = value

    def sees(self, name: str) -> Any:
        component = self._page.by_name[name]
        return self.shown.get(component, self._page.value(component))

    async def press(self, name: str, trigger: str = "click", event_data: Any = None) -> None:
        """Trigger an element's events, and all that the page does after them.

        At once and each time: what the page's script holds back by `trigger_mode` ("once", "always_last") is not.
        """
        self._pressed, started = name, time.perf_counter()
        await asyncio.gather(*(self._run(event, event_data, started) for event in self._page.events(name, trigger)))

    def seconds_of(self, name: str) -> float:
        """From the latest press until the queued event itself had ended; what the page does after it not counted."""
        return self._seconds[name]

    async def _run(self, event: dict[str, Any], event_data: Any = None, started: float | None = None) -> None:
        if event["backend_fn"]:
            values = [self.shown.get(each, self._page.value(each)) for each in event["inputs"]]
            body = {
                "fn_index": event["id"],
                "data": values,
                "session_hash": self.session,
                "event_data": event_data,
                "trigger_id": event["targets"][0][0],
            }
            await (self._queued(event, body) if event["queue"] else self._at_once(event, body))
            if started is not None and event["queue"]:
                self._seconds[self._pressed] = time.perf_counter() - started
        for following in self._page.after.get(event["id"], []):
            await self._run(following)

    async def _at_once(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        answer = await self._post("run/predict", body)
        self.heard.append(answer.text)
        if answer.status_code != 200:
            raise RefusedError(f"{answer.status_code}: {answer.text[:500]}")
        self._show(event, answer.json()["data"])

    async def _queued(self, event: dict[str, Any], body: dict[str, Any]) -> None:
        joined = await self._post("queue/join", body)
        if joined.status_code != 200:
            raise RefusedError(f"{joined.status_code}: {joined.text[:500]}")
        own, shown = joined.json()["event_id"], None
        async with self._http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as news:
            async for line in news.aiter_lines():
                self.heard.append(line)
                message = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if message.get("event_id") != own:
                    continue
                if message["msg"] == "process_generating" and message["success"]:
                    shown = _updated(shown, message["output"]["data"])
                    self._show(event, shown)
                if message["msg"] == "process_completed":
                    if not message["success"]:
                        raise RefusedError(str(message["output"]))
                    if shown is None:
                        self._show(event, message["output"]["data"])
                    return
        raise RefusedError("the stream ended before the event did")

    async def _post(self, route: str, body: dict[str, Any]) -> httpx.Response:
        # Escaped, as lone surrogates must be.
        return await self._http.post(
            f"/gradio_api/{route}", content=json.dumps(body), headers={"content-type": "application/json"}
        )

    def _show(self, event: dict[str, Any], values: list[Any]) -> None:
        for component, value in zip(event["outputs"], values, strict=False):
            if not _is_update(value):
                self.shown[component] = value
            elif "value" in value:
                self.shown[component] = value["value"]

    async def _beat(self) -> None:
        async with self._http.stream("GET", f"/gradio_api/heartbeat/{self.session}", timeout=None) as beats:
            async for _ in beats.aiter_lines():
                pass


async def open_page(address: str) -> Page:
    """What every visitor's browser fetches first."""
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/")).status_code == 200
        return Page((await http.get("/config")).json())


def _updated(shown: list[Any] | None, values: list[Any]) -> list[Any]:
    """The first news are values, later ones say what differs."""
    if shown is None:
        return list(values)
    return [apply_diff(before, diff) for before, diff in zip(shown, values, strict=True)]


def _is_update(value: Any) -> bool:
    """Of some properties; what it does not name stays."""
    return isinstance(value, dict) and value.get("__type__") == "update"
