"""Whether people at the Studio wait, or its process grows, while others attack it: mixed traffic of 5 clients.

    PYTHONPATH=. python benchmarks/soak.py [minutes]

The Studio runs in a process of its own with the offline all-MiniLM-L6-v2. One person scores, one loads corpora and
searches for them again, one program calls `/score`; two attackers go through `ATTACKS` in turn, each on connections of
its own. All come from this machine, so that the server cannot tell them apart by address: the hardest case. Every half
minute a line says what the server holds, and the longest wait and the errors of the honest three since the line before.
Not a test: run it by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import httpx

from benchmarks.machine import describe_machine
from benchmarks.visitors import until_served
from tests.studio.serving.visitor import Page, RefusedError, Visitor, open_page

RESULT = Path(__file__).with_name("results") / "soak.json"
PORT = 7962
ADDRESS = f"http://127.0.0.1:{PORT}"
MINUTES = 30.0
_LINE_SECONDS = 30
_GIVE_UP_SECONDS = 120
_JSON = {"content-type": "application/json"}
_FORM = {"content-type": "multipart/form-data; boundary=b"}


@dataclass
class Log:
    """What the honest clients saw since the last line, and in all."""

    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    n_attacks: int = 0

    async def note(self, work: Awaitable[str | None]) -> None:
        """Time a visit; what it returns is an error."""
        started = time.perf_counter()
        try:
            error = await asyncio.wait_for(work, _GIVE_UP_SECONDS)
        except (RefusedError, httpx.HTTPError, TimeoutError) as failed:
            error = f"{type(failed).__name__} {failed}"
        self.waits.append(time.perf_counter() - started)
        if error:
            self.errors.append(error[:200])


def main() -> None:
    """Serve, run the traffic, print, write."""
    seconds = 60 * (float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES)
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "GRADIO_TEMP_DIR"}
        command = [sys.executable, "app.py", "--model", "all-MiniLM-L6-v2", "--port", str(PORT)]
        with open(Path(folder) / "log", "wb") as log_file:
            server = subprocess.Popen(command, stdout=log_file, stderr=log_file, env={**environment, "TMPDIR": folder})
            try:
                result = asyncio.run(soak(server.pid, Path(folder), seconds))
            finally:
                server.terminate()
                server.wait(30)
        result["files_after_the_end"] = sum(path.name != "log" for path in Path(folder).rglob("*"))
    result["machine"] = describe_machine("torch", "gradio", "openvino")
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


async def soak(pid: int, folder: Path, seconds: float) -> dict[str, Any]:
    """The traffic of all clients for some time."""
    await until_served(ADDRESS)
    page, log = await open_page(f"{ADDRESS}/"), Log()
    clients = [_person(page, log), _librarian(page, log), _program(log), _attacker(log, 0), _attacker(log, 3)]
    tasks = [asyncio.create_task(client) for client in clients]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(_LINE_SECONDS)
        _line(log, pid, folder)
        for task in tasks:
            if task.done():
                task.result()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log.lines[-1]["note"] = "the traffic ends here"
    await asyncio.sleep(_LINE_SECONDS)
    _line(log, pid, folder)
    return {"lines": log.lines, "attacks": log.n_attacks}


def _line(log: Log, pid: int, folder: Path) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = []
    for parent, _, names in os.walk(folder):  # passes over folders that are deleted in this moment
        for name in set(names) - {"log"}:
            with suppress(FileNotFoundError):
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
    line = {
        "memory_mb": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024,  # type: ignore[index]
        "threads": int(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "files": len(sizes),
        "files_mb": round(sum(sizes) / 1e6, 1),
        "log_kb": (folder / "log").stat().st_size // 1000,
        "visits": len(log.waits),
        "median_wait": round(statistics.median(log.waits), 2) if log.waits else None,
        "longest_wait": round(max(log.waits, default=0), 2),
        "errors": log.errors[:],
        "attacks": log.n_attacks,
    }
    print(json.dumps(line), flush=True)
    log.lines.append(line)
    log.waits.clear()
    log.errors.clear()


async def _person(page: Page, log: Log) -> None:
    async def score() -> str | None:
        mark = secrets.token_hex(4)
        async with Visitor(f"{ADDRESS}/", page) as visitor:
            visitor.write("e5-queries", f"how high is the summit {mark}")
            visitor.write("e5-passages", "\n".join(f"passage {number} about mountains {mark}" for number in range(5)))
            await visitor.press("e5-score")
            said = str(visitor.sees("e5-status"))
            return None if "e5-done" in said else said

    while True:
        await log.note(score())
        await asyncio.sleep(0.5)


async def _librarian(page: Page, log: Log) -> None:
    """Pastes a corpus and finds it again some seconds later, on the same page."""

    async def paste(visitor: Visitor) -> str | None:
        await visitor.press("e5-shelf", "opened", {"token": ""})
        visitor.write("e5-paste", "\n".join(f"a text about mountains {number}" for number in range(500)))
        await visitor.press("e5-use-paste")
        said = str(visitor.sees("e5-corpus-said"))
        return None if "500" in said else said

    async def find(visitor: Visitor) -> str | None:
        token = visitor.sees("e5-shelf")
        await visitor.press("e5-shelf", "opened", {"token": token})
        return None if visitor.sees("e5-shelf") == token else "the corpus is gone"

    while True:
        async with Visitor(f"{ADDRESS}/", page) as visitor:
            await log.note(paste(visitor))
            await asyncio.sleep(10)
            await log.note(find(visitor))


async def _program(log: Log) -> None:
    async def call() -> str | None:
        async with httpx.AsyncClient(base_url=ADDRESS, timeout=_GIVE_UP_SECONDS) as client:
            data = [["a question"], ["an answer", secrets.token_hex(4)], None, None, None, None, None]
            joined = await client.post("/gradio_api/call/score", json={"data": data})
            if joined.status_code != 200:
                return joined.text
            async with client.stream("GET", f"/gradio_api/call/score/{joined.json()['event_id']}") as news:
                text = "".join([line async for line in news.aiter_lines()])
            return None if "complete" in text else text

    while True:
        await log.note(call())
        await asyncio.sleep(1)


async def _attacker(log: Log, first: int) -> None:
    """One attack after another, until cancelled."""
    number = first
    while True:
        attack = ATTACKS[number % len(ATTACKS)]
        with suppress(httpx.HTTPError, OSError, TimeoutError):
            await asyncio.wait_for(attack(), 60)
        log.n_attacks += 1
        number += 1
        await asyncio.sleep(0.2)


async def _sockets(beginning: bytes, n: int, seconds: float) -> None:
    """Connections that begin something and say no more."""
    writers = [(await asyncio.open_connection("127.0.0.1", PORT))[1] for _ in range(n)]
    try:
        for writer in writers:
            writer.write(beginning)
        await asyncio.sleep(seconds)
    finally:
        for writer in writers:
            writer.close()


async def _silent_bodies() -> None:
    head = b"POST /gradio_api/queue/join HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    await _sockets(head + b"Content-Length: 8000000\r\n\r\n{", 60, 25)


async def _half_headers() -> None:
    await _sockets(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-", 100, 25)


async def _post(path: str, content: bytes, headers: dict[str, str], n: int = 5) -> None:
    async with httpx.AsyncClient(base_url=ADDRESS, timeout=60) as client:
        await asyncio.gather(*(client.post(path, content=content, headers=headers) for _ in range(n)))


async def _many_values() -> None:
    await _post("/gradio_api/queue/join", b'{"data":[' + b"[]," * 2_600_000 + b"[]]}", _JSON, 3)


async def _deep_values() -> None:
    await _post("/gradio_api/call/score", b'{"data":' + b"[" * 500_000, _JSON)


async def _long_names() -> None:
    name = "\N{GRINNING FACE}" * 1_000_000
    body = json.dumps({"data": [], "fn_index": 0, "session_hash": name}, ensure_ascii=False)
    await _post("/gradio_api/run/predict", body.encode(), _JSON)


async def _tiny_files() -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%d.csv"\r\n\r\n%d\r\n'
    for _ in range(50):
        numbers = [secrets.randbelow(10**9) for _ in range(5)]
        await _post("/gradio_api/upload", b"".join(part % (n, n) for n in numbers) + b"--b--\r\n", _FORM, 1)


async def _broken_uploads() -> None:
    head = b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n"
    head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.csv"\r\n\r\n'
    await _sockets(head + part + b"x" * 2_000_000, 10, 3)


async def _long_texts() -> None:
    async def score(number: int) -> None:
        texts = [[f"{number} {side} {row} " + "word " * 100 for row in range(100)] for side in range(2)]
        await client.post("/gradio_api/call/score", json={"data": [*texts, None, None, None, None, None]})

    async with httpx.AsyncClient(base_url=ADDRESS, timeout=60) as client:
        await asyncio.gather(*map(score, range(3)))


async def _many_corpora() -> None:
    page = await open_page(f"{ADDRESS}/")
    for _ in range(8):
        async with Visitor(f"{ADDRESS}/", page) as visitor:
            await visitor.press("e5-shelf", "opened", {"token": ""})
            visitor.write("e5-paste", "\n".join(f"{number} {secrets.token_hex(8)}" for number in range(40_000)))
            with suppress(RefusedError):
                await visitor.press("e5-use-paste")


async def _odd_requests() -> None:
    async with httpx.AsyncClient(base_url=ADDRESS, timeout=60) as client:
        for path in ("pwa_icon/192", "gradio_api/file=/etc/passwd", "gradio_api/file=http://169.254.169.254/", "login"):
            await client.get(f"/{path}")
        await client.get("/", headers={"Host": "evil.example"})
        await client.post("/gradio_api/process_recording", files={"video": ("a.mp4", b"x" * 1_000_000)})
        for number in range(100):
            await client.get("/gradio_api/upload_progress", params={"upload_id": f"{number}"}, timeout=0.05)


ATTACKS: list[Callable[[], Awaitable[None]]] = [
    _silent_bodies,
    _many_values,
    _long_names,
    _half_headers,
    _tiny_files,
    _many_corpora,
    _broken_uploads,
    _long_texts,
    _deep_values,
    _odd_requests,
]


if __name__ == "__main__":
    main()
