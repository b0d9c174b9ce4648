"""A program that kills two writers at random moments, again and again, and reads what they left.

Usage: python -m tests.kills KIND N FOLDER [MODEL]. It says how often there was something to read, or fails.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from e5studio.backends import conversion_cache
from e5studio.cache import VectorCache, vector_key
from e5studio.errors import FileFormatError

Write = Callable[[int], None]
Read = Callable[[], bool]
_DIM = 384


def main(kind: str, n: int, folder: Path, *arguments: str) -> None:
    """Kill two writers of one kind `n` times."""
    kinds = {"encode": encoding, "convert": converting, "four-bit": unpacking, "cache": caching}
    write, read = kinds[kind](folder, *arguments)
    chance = random.Random(0)
    n_whole = 0
    for _ in range(n):
        writers = [start(write, number) for number in range(2)]
        time.sleep(chance.uniform(0.005, 0.08))
        for writer in chance.sample(writers, 2):
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            n_whole += read()  # while the other writes, and after its end
    sys.stdout.write(json.dumps({"reads": 2 * n, "whole": n_whole}))


def start(write: Write, number: int) -> int:
    """A process that writes until it is killed."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                write(number)
        finally:
            os._exit(1)
    return child


def encoding(folder: Path, model: str) -> tuple[Write, Read]:
    """Two runs of `encode` to one .npy and one .parquet, with other prompts."""
    from e5studio.cli.encode import encode_to_file, parts_folder
    from e5studio.encoder import E5Encoder
    from e5studio.errors import OutputError
    from e5studio.files import read_vectors
    from e5studio.jobs.folder import JobFolder
    from e5studio.jobs.plan import Plan
    from e5studio.jobs.run import read_corpus

    texts = folder / "texts.txt"
    texts.write_text("\n".join(f"text {number}" for number in range(40)))
    encoder = E5Encoder(model, prompt_kind="query_passage", backend="torch", device="cpu")
    corpus = read_corpus([texts], {}, (), "truncate", JobFolder(parts_folder(texts)))
    prompts = [encoder.resolve_prompt(role) for role in ("query", "document")]
    lines = texts.read_text().splitlines()
    right = {prompt.text: encoder.encode(lines, prompt=prompt) for prompt in prompts}
    outputs = [folder / "v.npy", folder / "v.parquet"]

    def write(number: int) -> None:
        for output in outputs:
            try:
                plan = Plan(corpus, encoder.spec, prompts[number], shard_rows=16, layout="parts")
                encode_to_file(plan, encoder, output, overwrite=True)
            except OutputError:  # the other one is writing it
                continue

    def read() -> bool:
        whole = []
        for output in outputs:
            try:
                vectors = read_vectors(output)
                texts = vectors.texts(range(40))
            except (FileFormatError, FileNotFoundError):
                continue
            np.testing.assert_allclose(vectors.vectors, right[vectors.manifest.prompt], atol=1e-5)
            assert texts in (lines, [None] * 40)
            whole.append(output)
        return len(whole) == len(outputs)

    return write, read


def converting(folder: Path) -> tuple[Write, Read]:
    """Two conversions of one model, which is lost or damaged again and again."""
    os.environ["E5STUDIO_CACHE"] = str(folder)
    model_folder = conversion_cache.folder_of("openvino", {"model": "one"})
    files = {"model.xml": b"x" * 20_000, "model.bin": bytes(range(256)) * 2_000}

    def put(into: Path) -> None:
        for name, content in files.items():
            (into / name).write_bytes(content)

    def write(number: int) -> None:
        conversion_cache.store(model_folder, put)
        if number:
            shutil.rmtree(model_folder, ignore_errors=True)
        elif model_folder.is_dir():
            (model_folder / "model.bin").write_bytes(files["model.bin"][:-1] + b"?")

    return write, _reading(model_folder, {model_folder / name: content for name, content in files.items()})


def unpacking(folder: Path) -> tuple[Write, Read]:
    """Two processes that write the 4-bit weights as one folder, which is lost or damaged again and again."""
    from e5studio.errors import ModelFilesError
    from e5studio.four_bit.model_folder import model_folder
    from tests.four_bit.small_file import write_small_file

    os.environ["E5STUDIO_CACHE"] = str(folder / "cache")
    write_small_file(folder / "model.bin")
    written = model_folder(folder / "model.bin", "abc")
    weights = written / "model.safetensors"
    right = {path: path.read_bytes() for path in written.iterdir() if path.is_file()}

    def write(number: int) -> None:
        try:
            model_folder(folder / "model.bin", "abc")
            if number:
                shutil.rmtree(written, ignore_errors=True)
            elif weights.is_file():
                weights.write_bytes(right[weights][:-1] + b"?")
        except (ModelFilesError, OSError):  # the other one took it away
            return

    return write, _reading(written, right)


def _reading(folder: Path, right: dict[Path, bytes]) -> Read:
    def read() -> bool:
        if not conversion_cache.is_whole(folder):
            return False
        try:
            are_right = all(path.read_bytes() == content for path, content in right.items())
        except FileNotFoundError:
            are_right = False
        assert are_right or not conversion_cache.is_whole(folder), "the other writer damages it, but not unnoticed"
        return are_right

    return read


def caching(folder: Path) -> tuple[Write, Read]:
    """Two processes that store vectors in one cache."""
    keys = [vector_key("f", "query: ", f"text {number}") for number in range(500)]
    vectors = {key: np.frombuffer(key * (_DIM // 8), "<u4").astype(np.float32)[:_DIM] for key in keys}
    chance = random.Random(1)

    def write(number: int) -> None:
        cache = VectorCache(folder)
        while True:
            cache.put_many({key: vectors[key] for key in chance.sample(keys, 20)})

    def read() -> bool:
        cache = VectorCache(folder)
        stored = cache.get_many(keys, _DIM)
        cache.close()
        assert all(np.array_equal(vector, vectors[key]) for key, vector in stored.items())
        return bool(stored)

    return write, read


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
