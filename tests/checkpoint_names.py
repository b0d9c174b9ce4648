"""The small checkpoints by name, apart from what makes them, which imports torch and transformers."""

from __future__ import annotations

from typing import Literal

CheckpointName = Literal[
    "e5", "multilingual-e5", "multilingual-e5-small", "multilingual-e5-instruct", "e5-mistral-instruct"
]
CHECKPOINT_NAMES: tuple[CheckpointName, ...] = (
    "e5",
    "multilingual-e5",
    "multilingual-e5-small",
    "multilingual-e5-instruct",
    "e5-mistral-instruct",
)
