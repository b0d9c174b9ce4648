"""Converted models: encoders over them, a cache of one's own, and new processes that load them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e5studio.encoder import E5Encoder
from tests.checkpoints import Checkpoint

ROOT = Path(__file__).parents[2]
START = """
import os, sys, numpy as np
from e5studio import E5Encoder
def load(**options):
    return E5Encoder(sys.argv[1], prompt_kind="query_passage", backend=sys.argv[2], **options)
"""

NewEncoder = Callable[..., E5Encoder]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of converted models for this test alone."""
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of converted models for the tests that only compute with them."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture(scope="session")
def converted(shared_cache: Path) -> Iterator[NewEncoder]:
    """Gives an encoder over a converted checkpoint, shared by all tests."""
    loaded: dict[tuple[str, str, str], E5Encoder] = {}

    def get(checkpoint: Checkpoint, backend: str, dtype: str = "float32") -> E5Encoder:
        key = (checkpoint.name, backend, dtype)
        if key not in loaded:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("E5STUDIO_CACHE", str(shared_cache))
                loaded[key] = E5Encoder(
                    checkpoint.meta, path=checkpoint.folder, device="cpu", backend=backend, dtype=dtype
                )
        return loaded[key]

    yield get
    for encoder in loaded.values():
        encoder.close()


@pytest.fixture
def load(cache: Path) -> Iterator[NewEncoder]:
    """Loads a checkpoint with a backend; what it converts goes into `cache`."""
    loaded = []

    def over(checkpoint: Checkpoint, backend: str, **options: object) -> E5Encoder:
        loaded.append(E5Encoder(checkpoint.meta, path=checkpoint.folder, device="cpu", backend=backend, **options))
        return loaded[-1]

    yield over
    for encoder in loaded:
        encoder.close()


def run(code: str, checkpoint: Checkpoint, backend: str, *, n: int = 1) -> list[str]:
    """Run the same code in `n` new processes at once; what each printed."""
    warnings = ["-W", "error", *(["-W", "ignore::DeprecationWarning"] if backend == "onnx" else [])]
    command = [sys.executable, *warnings, "-c", START + code, str(checkpoint.folder), backend]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("TOKENIZERS_PARALLELISM", "E5STUDIO_THREADS"):  # as a user has it, with threads
        environment.pop(name, None)
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(n)
    ]
    try:
        ended = [process.communicate(timeout=280) for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * n, ended
    assert not any(errors for _, errors in ended), ended
    return [output.strip() for output, _ in ended]
