"""Modes that a program sets for its own arrays and models change no vector, and end no work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from e5studio.backends import BackendName
from e5studio.encoder import E5Encoder
from e5studio.similarity import cos_sim, top_k_search
from tests.checkpoints import Checkpoint, CheckpointName

TEXTS = ["one", "two words", "a text of several more words"]


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def numpy_raises() -> Iterator[None]:
    with np.errstate(all="raise"), np.printoptions(precision=1, threshold=2):
        yield


MODES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "numpy raises": numpy_raises,
    "default device": lambda: default_device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "deterministic": deterministic,
}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_model_is_loaded_and_encodes_as_ever(
    mode: Callable[[], AbstractContextManager[None]],
    checkpoints: Callable[[CheckpointName], Checkpoint],
    encoders: Callable[[CheckpointName], E5Encoder],
) -> None:
    made, loaded = checkpoints("e5"), encoders("e5")
    expected = loaded.encode(TEXTS, prompt_name="query")
    with mode():
        assert np.array_equal(loaded.encode(TEXTS, prompt_name="query"), expected)
        with E5Encoder(made.meta, path=made.folder, device="cpu") as fresh:
            assert np.array_equal(fresh.encode(TEXTS, prompt_name="query"), expected)
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_a_model_is_converted_as_ever(
    backend: BackendName,
    checkpoints: Callable[[CheckpointName], Checkpoint],
    encoders: Callable[[CheckpointName], E5Encoder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino" if backend == "openvino" else "onnx")
    made = checkpoints("e5")
    expected = encoders("e5").encode(TEXTS, prompt_name="query")
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path))
    with MODES["default device"](), MODES["float64"](), MODES["autocast"]():
        converted = E5Encoder(made.meta, path=made.folder, backend=backend)
        assert converted.encode(TEXTS, prompt_name="query") == pytest.approx(expected, abs=1e-5)
    converted.close()


def test_products_that_are_as_good_as_zero_are_no_errors() -> None:
    tiny = np.full((4, 8), 1e-30, np.float32)
    tiny[:, 0] = 1
    with numpy_raises():
        assert cos_sim(tiny, tiny) == pytest.approx(np.ones((4, 4)))
        assert top_k_search(tiny, tiny, top_k=2).ids.tolist() == [[0, 1]] * 4
        assert top_k_search(tiny.astype(np.float64), tiny.astype(np.float64) ** 2, top_k=1).ids.shape == (4, 1)
