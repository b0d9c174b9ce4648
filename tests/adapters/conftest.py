"""What the adapters' tests stand on: the folder of a small E5 model, and the core's own vectors from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e5studio.encoder import E5Encoder
from e5studio.model_pool import get_model_pool


@pytest.fixture(scope="session")
def e5_folder(checkpoints) -> str:
    """A small model with prompts, as a user's own folder."""
    return str(checkpoints("e5").folder)


@pytest.fixture(scope="session")
def core(e5_folder) -> Iterator[E5Encoder]:
    with E5Encoder(e5_folder, prompt_kind="query_passage", device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module", autouse=True)
def _free_models() -> Iterator[None]:
    yield
    get_model_pool().clear()
