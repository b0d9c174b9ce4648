"""The models that these tests run on, as options of `E5Embeddings` and as the core's own encoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_e5studio import E5Embeddings

from e5studio import E5Encoder

OFFLINE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
INSTRUCTION = "Given a claim, find documents that refute it"


@pytest.fixture(scope="session")
def options(e5, instruct, offline_folder) -> dict[str, dict[str, Any]]:
    """What chooses a model: a small plain E5, a small instruct one, and the offline copy, which takes no prompts."""
    return {
        "e5": {"model": str(e5.folder), "prompt_kind": "query_passage", "device": "cpu"},
        "instruct": {
            "model": str(instruct.folder),
            "prompt_kind": "instruct",
            "instruction": INSTRUCTION,
            "device": "cpu",
        },
        "offline": {"model": OFFLINE_MODEL, "device": "cpu"},
    }


@pytest.fixture(scope="session")
def make(options) -> Callable[..., E5Embeddings]:
    """Makes embeddings with a model of `options`, and further options."""

    def make(name: str, **more: Any) -> E5Embeddings:
        return E5Embeddings(**{**options[name], **more})

    return make


@pytest.fixture(scope="session")
def cores(core, e5, instruct, offline_encoder) -> dict[str, E5Encoder]:
    """The core's own encoder over each model of `options`."""
    return {"e5": core(e5), "instruct": core(instruct), "offline": offline_encoder}
