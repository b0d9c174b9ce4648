"""What these tests share: an embedding over a small checkpoint, both ways of calling it, a look at what is computed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llama_index.embeddings.e5studio import E5Embedding

from e5studio import Embedder
from e5studio.prompts import PromptName
from tests.checkpoints import Checkpoint
from tests.corpus import AWKWARD_TEXTS, MULTILINGUAL_TEXTS, ORDINARY_TEXTS

TASK = "Given a question, find the passage that answers it"


@pytest.fixture(scope="session")
def embedding() -> Callable[..., E5Embedding]:
    """Makes an E5Embedding over a small checkpoint."""

    def make(checkpoint: Checkpoint, **options: Any) -> E5Embedding:
        kind = checkpoint.meta.prompt_kind
        if kind == "instruct":
            options.setdefault("instruction", TASK)
        return E5Embedding(model_name=str(checkpoint.folder), prompt_kind=kind, device="cpu", **options)

    return make


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Any]]:
    """Calls a public method, or its async twin: `await call(model, "get_text_embedding", "a text")`."""

    async def run(model: E5Embedding, method: str, *arguments: Any, **options: Any) -> Any:
        if request.param == "async":
            return await getattr(model, f"a{method}")(*arguments, **options)
        return await asyncio.to_thread(getattr(model, method), *arguments, **options)

    return run


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], PromptName]]:
    """The calls that reached the core: their texts and prompt names."""
    calls: list[tuple[list[str], PromptName]] = []
    embed = Embedder.embed

    def spy(self: Embedder, texts: list[str], prompt_name: PromptName, **options: Any) -> Any:
        calls.append((list(texts), prompt_name))
        return embed(self, texts, prompt_name, **options)

    monkeypatch.setattr(Embedder, "embed", spy)
    return calls


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of every kind; the one that brings a prompt of its own would be warned of."""
    return [text for text in (*ORDINARY_TEXTS, *MULTILINGUAL_TEXTS, *AWKWARD_TEXTS) if not text.startswith("query:")]
