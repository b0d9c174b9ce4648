"""A forked process takes over the models of its parent: it neither waits for ever nor gives other vectors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import e5studio.backends.torch as torch_backend
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

# In a process of its own: the tests' one computes with one thread, and shows nothing of what threads do to a fork.
PREPARE = """
import asyncio, os, sys, threading
import numpy as np
from e5studio import E5Encoder, Embedder, EmbedderOptions, get_model_pool

if sys.argv[2] == "torch":
    import torch
    torch.set_num_threads(2)
chosen = {"prompt_kind": "query_passage", "backend": sys.argv[2], "device": "cpu"}
options = EmbedderOptions(model=sys.argv[1], token_budget=8192, **chosen)
embedder = Embedder(options)
texts = [f"text {i} " + "summit define " * i for i in range(30)]
expected = embedder.embed(texts, "document")

def in_child(check):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def same(vectors):
    return np.abs(vectors - expected).max() <= 1e-6
"""

CHECKS = {
    "with the parent's weights": "assert in_child(lambda: same(embedder.embed(texts, 'document'))) == 0",
    "in threads of its own": """
asyncio.run(embedder.aembed(texts, 'document'))
assert in_child(lambda: same(asyncio.run(embedder.aembed(texts, 'document')))) == 0
""",
    "with a model that it loads": """
def load():
    get_model_pool()
    with E5Encoder(sys.argv[1], token_budget=8192, **chosen) as own:
        return same(own.encode_document(texts))
assert in_child(load) == 0
""",
    "while the parent goes on": """
is_done = threading.Event()
def embed():
    while not is_done.is_set():
        embedder.embed(texts, "document")
threads = [threading.Thread(target=embed) for _ in range(2)]
for thread in threads:
    thread.start()
try:
    assert [in_child(lambda: same(embedder.embed(texts, 'document'))) for _ in range(3)] == [0] * 3
finally:
    is_done.set()
    for thread in threads:
        thread.join()
""",
    "with a cache on disk": """
import dataclasses, tempfile
options = dataclasses.replace(options, cache_folder=tempfile.mkdtemp())
embedder = Embedder(options)
embedder.embed(texts[:20], "document")
def same_twice():
    return same(embedder.embed(texts, "document")) and same(embedder.embed(texts, "document"))
assert in_child(same_twice) == 0
assert Embedder(options).embed(texts, "document").shape == expected.shape
""",
    "while the parent loads another": """
pool = get_model_pool()
with pool._lock:
    assert in_child(lambda: same(pool.lease(sys.argv[1], **chosen).encoder.encode_document(texts))) == 0
""",
}


RUN = f"""
import traceback
for name, check in {CHECKS!r}.items():
    try:
        exec(check, dict(globals()))
    except Exception:
        print(name, traceback.format_exc(), file=sys.stderr)
"""


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_forked_process_embeds(checkpoints, backend):
    pytest.importorskip(backend)
    if backend == "openvino":  # a converted model is read without torch, whose import would take most of the time
        E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", backend=backend, device="cpu").close()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    for name in ("TOKENIZERS_PARALLELISM", "E5STUDIO_THREADS"):  # as a user has it, with threads
        environment.pop(name, None)
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", PREPARE + RUN]
    ended = subprocess.run(
        [*command, str(checkpoints("e5").folder), backend],
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_gpu_stays_with_the_process_that_loaded_the_model(checkpoints, monkeypatch):
    checkpoint = checkpoints("e5")
    with E5Encoder(checkpoint.meta, path=checkpoint.folder, device="cpu") as encoder:
        monkeypatch.setattr(encoder._backend, "_device", torch_backend.torch.device("cuda"))
        monkeypatch.setattr(torch_backend.os, "getpid", lambda: -1)
        with pytest.raises(BackendError, match=r"forked.*spawn"):
            encoder.encode_query("a")
