"""The server under load on the loopback: 1, 8 and 64 clients with queries, passages, and both mixed.

    PYTHONPATH=. python benchmarks/serve.py [--model MODEL] [--dtype DTYPE] [--seconds 60]
    PYTHONPATH=. python benchmarks/serve.py --answers 20000    # of two models and both roles, each compared

Throughput is a share of what the core's own `encode` makes of the same texts in this process, measured before and after
while the server is idle. The clients share the server's cores, so they speak plain HTTP over sockets, which costs less
than a client library. Every answer is compared with the core's vector: one that differs by more than 1e-5 in float32
counts as wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson

from benchmarks.corpora import Corpus, make_corpus
from benchmarks.machine import describe_machine
from e5studio import E5Encoder

RESULT = Path(__file__).with_name("results") / "serve.json"
CLIENTS = (1, 8, 64)
PORT = 8931
_N_TEXTS = 512
_AT_ONCE = {"queries": 1, "passages": 32, "mixed": 32}
_MOST_DIFFERENT = {"float32": 1e-5}  # int8 quantises what a batch holds; neighbours matter there
_START_SECONDS = 120


@dataclass
class Seen:
    """What the clients saw."""

    waits: list[float] = field(default_factory=list)
    n_texts: int = 0
    n_errors: int = 0
    n_wrong: int = 0


async def one_client(
    number: int, corpus: Corpus, expected: np.ndarray, tolerance: float, until: float, seen: Seen
) -> None:
    """Send requests one after the other until it is time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 24)
    try:
        order = np.random.default_rng(number).permutation(len(corpus.texts))
        for start in cycle(range(0, len(order), _AT_ONCE[corpus.name])):
            if time.perf_counter() > until:
                return
            rows = order[start : start + _AT_ONCE[corpus.name]]
            body = {
                "input": [corpus.texts[row] for row in rows],
                "input_type": corpus.role,
                "encoding_format": "base64",
            }
            begin = time.perf_counter()
            status, answer = await post(reader, writer, orjson.dumps(body))
            seen.waits.append(time.perf_counter() - begin)
            if status != 200:
                seen.n_errors += 1
                continue
            vectors = [
                np.frombuffer(base64.b64decode(each["embedding"]), "<f4") for each in orjson.loads(answer)["data"]
            ]
            seen.n_wrong += int((np.abs(np.array(vectors) - expected[rows]).max(axis=1) > tolerance).sum())
            seen.n_texts += len(rows)
    finally:
        writer.close()


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> tuple[int, bytes]:
    """Status and body of an answer."""
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n"
    writer.write(head.encode() + b"content-type: application/json\r\n\r\n" + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", answer)
    assert length is not None, answer
    return int(answer.split(None, 2)[1]), await reader.readexactly(int(length.group(1)))


async def run(kinds: list[tuple[Corpus, np.ndarray]], clients: int, seconds: float, tolerance: float) -> dict[str, Any]:
    """All clients at once, of each kind in turn."""
    seen = {corpus.name: Seen() for corpus, _ in kinds}
    begin = time.perf_counter()
    await asyncio.gather(
        *(
            one_client(number, corpus, expected, tolerance, begin + seconds, seen[corpus.name])
            for number, (corpus, expected) in zip(range(clients), cycle(kinds), strict=False)
        )
    )
    elapsed = time.perf_counter() - begin
    return {
        name: {
            "texts_per_second": each.n_texts / elapsed,
            "p50_ms": float(np.percentile(each.waits, 50)) * 1e3,
            "p99_ms": float(np.percentile(each.waits, 99)) * 1e3,
            "errors": each.n_errors,
            "wrong": each.n_wrong,
        }
        for name, each in seen.items()
        if each.waits
    }


@dataclass(frozen=True)
class Question:
    """A text for one of the models in one of the roles, and the core's vector of it."""

    body: bytes
    vector: np.ndarray


def make_questions(models: Sequence[str], texts: list[str]) -> list[Question]:
    """All texts, for all models, in both roles."""
    questions = []
    for model in models:
        encoder = E5Encoder(model, dtype="float32", show_progress=False)
        for role in ("query", "document"):
            vectors = encoder.encode(texts, prompt_name=role)
            for text, vector in zip(texts, vectors, strict=True):
                body = {"input": text, "model": model, "input_type": role, "encoding_format": "base64"}
                questions.append(Question(orjson.dumps(body), vector))
    return questions


async def ask(questions: list[Question], n_answers: int, clients: int) -> Seen:
    """Ask questions at random, from all clients at once, until there are so many answers."""
    seen, choices = Seen(), iter(np.random.default_rng(0).integers(len(questions), size=n_answers))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=1 << 24)
        for index in choices:
            begin = time.perf_counter()
            status, answer = await post(reader, writer, questions[index].body)
            seen.waits.append(time.perf_counter() - begin)
            if status != 200:
                seen.n_errors += 1
                continue
            vector = np.frombuffer(base64.b64decode(orjson.loads(answer)["data"][0]["embedding"]), "<f4")
            seen.n_wrong += vector.shape != questions[index].vector.shape or bool(
                np.abs(vector - questions[index].vector).max() > _MOST_DIFFERENT["float32"]
            )
            seen.n_texts += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return seen


def compare_answers(n_answers: int) -> None:
    """Two models and both roles at once: no answer may be another's."""
    models = ("multilingual-e5-small@4bit", "all-MiniLM-L6-v2")
    questions = make_questions(models, make_corpus("queries", _N_TEXTS).texts)
    process, _ = started(models, "float32")
    try:
        seen = asyncio.run(ask(questions, n_answers, CLIENTS[-1]))
    finally:
        process.terminate()
        process.wait(60)
    print(f"{seen.n_texts:,} answers of {len(questions):,} questions: {seen.n_errors} errors, {seen.n_wrong} wrong")


def core_speed(encoder: E5Encoder, corpus: Corpus) -> float:
    """Texts per second of the core alone."""
    begin = time.perf_counter()
    encoder.encode(corpus.texts, prompt_name=corpus.role)
    return len(corpus.texts) / (time.perf_counter() - begin)


def started(models: Sequence[str], dtype: str) -> tuple[subprocess.Popen[bytes], float]:
    """A server, and the seconds from its start to its first answer."""
    command = [sys.executable, "-m", "e5studio", "serve", "--dtype", dtype, "--port", str(PORT)]
    command += [part for model in models for part in ("--model", model)]
    begin = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{PORT}"
    client = httpx.Client(timeout=120, trust_env=False, verify=False)  # certificates take long to read
    while time.perf_counter() - begin < _START_SECONDS:
        try:
            client.post(f"{address}/v1/embeddings", json={"input": "a", "input_type": "query", "model": models[0]})
            return process, time.perf_counter() - begin
        except httpx.ConnectError:
            time.sleep(0.02)
    process.kill()
    raise SystemExit("The server did not start.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="multilingual-e5-small@4bit")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--answers", type=int, default=0)
    options = parser.parse_args()
    if options.answers:
        return compare_answers(options.answers)
    encoder = E5Encoder(options.model, dtype=options.dtype, show_progress=False)
    kinds = [make_corpus(name, _N_TEXTS) for name in ("queries", "passages", "mixed")]
    expected = [encoder.encode(corpus.texts, prompt_name=corpus.role) for corpus in kinds]
    tolerance = _MOST_DIFFERENT.get(options.dtype, np.inf)
    before = {corpus.name: core_speed(encoder, corpus) for corpus in kinds}
    process, seconds_to_start = started([options.model], options.dtype)
    results: dict[str, Any] = {"start_seconds": seconds_to_start}
    groups = [[each] for each in zip(kinds, expected, strict=True)] + [list(zip(kinds[:2], expected, strict=False))]
    try:
        for group in groups:
            for clients in CLIENTS:
                name = f"{'+'.join(corpus.name for corpus, _ in group)}, {clients} clients"
                results[name] = asyncio.run(run(group, clients, options.seconds, tolerance))
                print(name, json.dumps(results[name]))
    finally:
        process.terminate()
        results["exit_code"] = process.wait(60)
    after = {corpus.name: core_speed(encoder, corpus) for corpus in kinds}
    core = {name: max(before[name], after[name]) for name in before}
    for name, kinds_seen in results.items():
        if isinstance(kinds_seen, dict) and len(kinds_seen) == 1:
            [(kind, each)] = kinds_seen.items()
            each["share_of_core"] = each["texts_per_second"] / core[kind]
            print(f"{name}: {each['share_of_core']:.1%} of the core's own speed")
    machine = describe_machine("openvino", "uvicorn", "starlette", "orjson")
    RESULT.write_text(json.dumps({"machine": machine, "options": vars(options), "core": core, **results}, indent=1))


if __name__ == "__main__":
    main()
