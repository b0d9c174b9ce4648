"""What the tests of both plug-ins stand on: the core's fixtures, as its own tests have them."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e5studio import E5Encoder, get_model_pool
from tests.conftest import (  # noqa: F401 - fixtures and hooks are used by their names
    _certificates_are_read_once,
    _network_attempts,
    _no_network,
    checkpoints,
    offline_encoder,
    offline_folder,
    pytest_sessionstart,
)
from tests.corpus import (
    MULTILINGUAL_TEXTS,
    PROTEIN_PASSAGE,
    PROTEIN_QUERY,
    PUMPKIN_PASSAGE,
    PUMPKIN_QUERY,
    SUMMIT_PASSAGE,
    SUMMIT_QUERY,
    TRAINING_TEXT,
)

if TYPE_CHECKING:
    from tests.checkpoint_names import CheckpointName
    from tests.checkpoints import Checkpoint

OFFLINE_MODEL = "sentence-transformers/all-MiniLM-L6-v2"

for _name in ("LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING"):
    os.environ[_name] = "false"


@pytest.fixture(scope="session")
def e5(checkpoints: Callable[[CheckpointName], Checkpoint]) -> Checkpoint:  # noqa: F811
    """A small model of the plain E5 kind, with prompts."""
    return checkpoints("e5")


@pytest.fixture(scope="session")
def instruct(checkpoints: Callable[[CheckpointName], Checkpoint]) -> Checkpoint:  # noqa: F811
    """A small instruct model."""
    return checkpoints("multilingual-e5-instruct")


@pytest.fixture(scope="session")
def core() -> Iterator[Callable[[Checkpoint], E5Encoder]]:
    """Gives the core's own encoder over a checkpoint's folder, loaded apart from the plug-ins' pool."""
    loaded: dict[Path, E5Encoder] = {}

    def get(checkpoint: Checkpoint) -> E5Encoder:
        if checkpoint.folder not in loaded:
            loaded[checkpoint.folder] = E5Encoder(
                checkpoint.folder, prompt_kind=checkpoint.meta.prompt_kind, device="cpu"
            )
        return loaded[checkpoint.folder]

    yield get
    for encoder in loaded.values():
        encoder.close()


@pytest.fixture(autouse=True, scope="session")
def _free_models() -> Iterator[None]:
    yield
    get_model_pool().clear()


@dataclass(frozen=True)
class RetrievalSet:
    """Passages to search in, some with titles, and questions about them."""

    titles: list[str]
    passages: list[str]
    questions: list[str]


@pytest.fixture(scope="session")
def retrieval_set() -> RetrievalSet:
    """100 abstracts and 20 claims of SciFact where a folder of it is at hand, else the small corpus of the tests."""
    folder = Path(os.environ.get("E5STUDIO_SCIFACT", Path(__file__).parents[2] / "shared" / "data" / "scifact"))
    if not folder.is_dir():
        lines = [line.strip() for line in TRAINING_TEXT.splitlines() if line.strip()]
        passages = list(dict.fromkeys([PROTEIN_PASSAGE, SUMMIT_PASSAGE, PUMPKIN_PASSAGE, *MULTILINGUAL_TEXTS, *lines]))
        return RetrievalSet([""] * len(passages), passages, [PROTEIN_QUERY, SUMMIT_QUERY, PUMPKIN_QUERY])
    documents = _rows(folder / "corpus.jsonl", 100)
    titles = [document["title"] for document in documents]
    return RetrievalSet(
        titles,
        [document["text"] for document in documents],
        [row["text"] for row in _rows(folder / "queries.jsonl", 20)],
    )


def _rows(path: Path, n_rows: int) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in itertools.islice(lines, n_rows)]
