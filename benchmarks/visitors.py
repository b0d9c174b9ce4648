"""How long 40 people wait who press Score at the same moment, three times, and what the server holds afterwards.

    PYTHONPATH=. python benchmarks/visitors.py

The Studio runs in a process of its own, as `python app.py` starts it, with the offline all-MiniLM-L6-v2. Each person
opens a page, types a query and five passages of their own and presses Score, over raw HTTP: what a browser sends and
hears, without its drawing. The wait is from the press until the scores are there; the map follows by itself. The
people share the machine with the server, so on two cores a fifth of the load is theirs. Not a test: run it by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import httpx

from benchmarks.machine import describe_machine, load_of_others
from tests.studio.serving.visitor import Page, RefusedError, Visitor, open_page

RESULT = Path(__file__).with_name("results") / "visitors.json"
PEOPLE = 40
ROUNDS = 3
PORT = 7961
ADDRESS = f"http://127.0.0.1:{PORT}/"


def main() -> None:
    """Measure, print, write."""
    command = [sys.executable, "app.py", "--model", "all-MiniLM-L6-v2", "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        result = asyncio.run(measure(server.pid))
    finally:
        server.terminate()
        server.wait(30)
    result["machine"] = describe_machine("torch", "gradio", "openvino")
    print(json.dumps(result, indent=2))
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


async def measure(pid: int) -> dict[str, Any]:
    """One person alone, then all of them, three times."""
    await until_served(ADDRESS)
    page = await open_page(ADDRESS)
    alone = [(await visit(page, 99, round_))["wait"] for round_ in range(5)]
    memory, rounds = [resident_mb(pid)], []
    for round_ in range(ROUNDS):
        before = load_of_others()
        found = await asyncio.gather(*(visit(page, number, round_) for number in range(PEOPLE)))
        after = load_of_others()
        memory.append(resident_mb(pid))
        waits = [each["wait"] for each in found]
        rounds.append(
            {
                "errors": sum(each["error"] is not None for each in found),
                "saw_others": sum(each["saw_others"] for each in found),
                "wait": spread(waits),
                "until_the_map": spread([each["whole"] for each in found]),
                "told_to_wait": sum(each["told_to_wait"] for each in found),
                "cores_of_server_and_others": round((after[1] - before[1]) / (after[0] - before[0]), 2),
            }
        )
    return {
        "people": PEOPLE,
        "alone": spread(alone[1:]),
        "rounds": rounds,
        "resident_mb_before_and_after_each_round": memory,
    }


async def visit(page: Page, number: int, round_: int) -> dict[str, Any]:
    """One person: what they waited, and whether they saw anything of others."""
    mark = f"person{number:02d}round{round_}"
    async with Visitor(ADDRESS, page) as visitor:
        visitor.write("e5-queries", f"how high is the summit {mark}")
        visitor.write("e5-passages", "\n".join(f"passage {place} about mountains {mark}" for place in range(5)))
        started, error = time.perf_counter(), None
        try:
            await visitor.press("e5-link", "rescore")
        except RefusedError as refused:
            error = str(refused)
        whole = time.perf_counter() - started
        heard = "".join(visitor.heard)
        said = str(visitor.sees("e5-status"))
        return {
            "error": error or (None if "e5-done" in said else said),
            "wait": visitor.seconds_of("e5-link") if error is None else whole,
            "whole": whole,
            "saw_others": bool(set(re.findall(r"person\d\dround", heard)) - {f"person{number:02d}round"}),
            "told_to_wait": "Waiting for" in heard,
        }


async def until_served(address: str) -> None:
    """Return when the Studio at an address answers."""
    async with httpx.AsyncClient(base_url=address, timeout=120) as client:
        for _ in range(600):
            try:
                if (await client.get("/")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)
    raise SystemExit("The Studio did not start.")


def resident_mb(pid: int) -> float:
    """Memory of the server."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, best and worst."""
    values = {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}
    return {name: round(value, 3) for name, value in values.items()}


if __name__ == "__main__":
    main()
