"""Devices and precisions are checked, and running out of memory is survived."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from e5studio import memory
from e5studio.backends import DType, onednn_linear
from e5studio.backends import torch as torch_backend
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError, OutOfMemoryError
from tests.checkpoints import Checkpoint, CheckpointName

Checkpoints = Callable[[CheckpointName], Checkpoint]
TEXTS = [f"text number {number}" for number in range(12)]


@pytest.fixture
def e5(checkpoints: Checkpoints) -> E5Encoder:
    made = checkpoints("e5")
    return E5Encoder(made.meta, path=made.folder, device="cpu")


def limit_rows(encoder: E5Encoder, monkeypatch: pytest.MonkeyPatch, most: int, error: type[Exception]) -> list[int]:
    """Let the model run out of memory on more rows than `most`."""
    module: Any = encoder._backend._module  # type: ignore[attr-defined]
    sizes: list[int] = []
    forward = module.forward

    def limited(input_ids: torch.Tensor, *rest: Any) -> Any:
        sizes.append(len(input_ids))
        if len(input_ids) > most:
            raise error("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes. Error code 12")
        return forward(input_ids, *rest)

    monkeypatch.setattr(module, "forward", limited)
    return sizes


@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError])
def test_out_of_memory_halves_the_batch_and_goes_on(
    e5: E5Encoder, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    expected = e5.encode_query(TEXTS)
    sizes = limit_rows(e5, monkeypatch, 3, error)
    np.testing.assert_allclose(e5.encode_query(TEXTS), expected, atol=2e-6)
    assert sizes[0] == 12
    assert max(size for size in sizes if size <= 3) == 3


def test_a_text_that_does_not_fit_alone(e5: E5Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_rows(e5, monkeypatch, 0, RuntimeError)
    with pytest.raises(OutOfMemoryError, match=r"A text of \d+ tokens does not fit into the memory of cpu"):
        e5.encode_query(TEXTS)


def test_other_errors_are_not_taken_for_it(e5: E5Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(e5._backend._module, "forward", broken)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        e5.encode_query(TEXTS)


@pytest.mark.parametrize("device", ["cuda:7", "tpu", "mps:3", "meta"])
def test_a_device_that_is_not_here(device: str, checkpoints: Checkpoints) -> None:
    made = checkpoints("e5")
    with pytest.raises(BackendError, match=r"Here are: .*cpu"):
        E5Encoder(made.meta, path=made.folder, device=device)


def test_unknown_precision(checkpoints: Checkpoints) -> None:
    made = checkpoints("e5")
    with pytest.raises(BackendError, match="float32, bfloat16, float16"):
        E5Encoder(made.meta, path=made.folder, dtype="int3")  # type: ignore[arg-type]


def test_unknown_backend(checkpoints: Checkpoints) -> None:
    made = checkpoints("e5")
    with pytest.raises(BackendError, match="'tensorflow'"):
        E5Encoder(made.meta, path=made.folder, backend="tensorflow")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_and_named(e5: E5Encoder, checkpoints: Checkpoints, dtype: Any) -> None:
    made = checkpoints("e5")
    half = E5Encoder(made.meta, path=made.folder, device="cpu", dtype=dtype)
    cosines = (half.encode_query(TEXTS) * e5.encode_query(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.99
    assert (half.spec.dtype, half.encode_query(TEXTS).dtype) == (dtype, np.float32)
    assert half.spec.fingerprint != e5.spec.fingerprint
    assert half.n_bytes * 2 == e5.n_bytes


def test_too_large_for_the_memory(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    made = checkpoints("e5")
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000)
    with pytest.raises(OutOfMemoryError, match=r"needs 0\.3 GB of memory in float32"):
        E5Encoder(made.meta, path=made.folder, device="cpu")


def test_too_large_is_known_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 16_000_000_000)
    with pytest.raises(OutOfMemoryError, match=r"28\.7 GB of memory in float32, and 16\.0 GB .*bfloat16"):
        E5Encoder("intfloat/e5-mistral-7b-instruct", device="cpu")


def test_closed(e5: E5Encoder) -> None:
    e5.close()
    with pytest.raises(BackendError, match="was closed"):
        e5.encode_query("text")


def test_best_device_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert torch_backend.choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert torch_backend.choose_device("auto") == torch_backend.choose_device("cuda") == torch.device("cuda:0")


class TestPackedLinearLayers:
    @pytest.fixture
    def load(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., E5Encoder]:
        def loaded(made: Checkpoint, *, is_intel: bool, dtype: DType) -> E5Encoder:
            monkeypatch.setattr(onednn_linear, "_is_intel", lambda: is_intel)
            monkeypatch.setattr(onednn_linear, "_is_x86", lambda: True)
            return E5Encoder(made.meta, path=made.folder, device="cpu", dtype=dtype)

        return loaded

    def test_vectors_stay_the_same(self, checkpoint: Checkpoint, load: Callable[..., E5Encoder]) -> None:
        usual, packed = (load(checkpoint, is_intel=is_intel, dtype="float32") for is_intel in (True, False))
        np.testing.assert_allclose(packed.encode_document(TEXTS), usual.encode_document(TEXTS), atol=2e-6)

    @pytest.mark.skipif(
        not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()), reason="needs MKL and oneDNN"
    )
    def test_all_are_packed_but_where_mkl_is_at_its_best(
        self, checkpoints: Checkpoints, load: Callable[..., E5Encoder]
    ) -> None:
        made = checkpoints("e5")
        assert count_linear(load(made, is_intel=False, dtype="float32")) == 0
        assert count_linear(load(made, is_intel=True, dtype="float32")) > 0
        assert count_linear(load(made, is_intel=False, dtype="float16")) > 0

    def test_bfloat16_stays_the_same(self, checkpoints: Checkpoints, load: Callable[..., E5Encoder]) -> None:
        made = checkpoints("e5")
        packed = load(made, is_intel=True, dtype="bfloat16").encode_document(TEXTS)
        exact = load(made, is_intel=True, dtype="float32").encode_document(TEXTS)
        assert (packed * exact).sum(axis=1).min() > 0.999


def count_linear(encoder: E5Encoder) -> int:
    module: Any = encoder._backend._module  # type: ignore[attr-defined]
    return sum(isinstance(each, torch.nn.Linear) for each in module.modules())
