"""The fingerprint differs whenever a vector would."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from e5studio.spec import EncoderSpec

SPEC = EncoderSpec(
    model="intfloat/e5-small-v2",
    revision="dca8b1a9dae0d4575df2bf423a5edb485a431236",
    prompt_kind="query_passage",
    pooling="mean",
    max_tokens=512,
    backend="torch",
    dtype="float32",
    embed_dim=384,
)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "intfloat/e5-small"},
        {"revision": "main"},
        {"prompt_kind": "none"},
        {"pooling": "last_token"},
        {"max_tokens": 256},
        {"backend": "onnx"},
        {"dtype": "bfloat16"},
        {"embed_dim": 128},
        {"quantization": "dynamic-8-1"},
        {"graph": "9f86d081"},
    ],
)
def test_each_field_counts(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).fingerprint != SPEC.fingerprint  # type: ignore[arg-type]


def test_the_fingerprint_stays() -> None:
    # Caches and files on people's disks carry it: change this value only together with the format.
    assert SPEC.fingerprint == "99d12617dec11997e5d6db7fe2c9a714"
    assert pickle.loads(pickle.dumps(SPEC)) == SPEC
