"""The inputs on which int8 quantisation measures how large a model's activations get.

The texts were written for this (calibration.tsv: language and text) and stand in no data set, so that
no evaluation is touched. They are prompted as the model's card prompts queries and passages.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from e5studio.batching import TokenBatch
from e5studio.models import ENGLISH, ModelMeta
from e5studio.prompts import resolve_prompt
from e5studio.tokenization import Tokenizer

_FILE = Path(__file__).with_name("calibration.tsv")
# Activations at the length that a model reads are part of what it will see; longer inputs only take longer.
_MAX_TOKENS = 512


def digest(meta: ModelMeta) -> str:
    """What stands for a model's inputs: quantised models made from others are other models."""
    told = [*_prompts(meta), str(min(meta.max_tokens, _MAX_TOKENS)), *calibration_texts(meta)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def calibration_inputs(folder: Path, meta: ModelMeta) -> list[TokenBatch]:
    """Batches of one text each, so that no padding is measured.

    Args:
        folder: Where tokenizer.json is.
        meta: Its languages and prompts are taken.
    """
    tokenizer = Tokenizer.from_folder(folder, pooling=meta.pooling)
    texts = calibration_texts(meta)
    prompts = _prompts(meta)
    batches = []
    for place, prompt in enumerate(prompts):
        chosen = texts[place :: len(prompts)]
        batch = tokenizer.encode(chosen, prompt=prompt, max_tokens=min(meta.max_tokens, _MAX_TOKENS)).batch
        batches += [batch.select([row]) for row in range(len(batch))]
    return batches


def calibration_texts(meta: ModelMeta) -> list[str]:
    """The texts in the languages of a model, and one that fills its length."""
    rows = [line.split("\t", 1) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    texts = [text for language, text in rows if meta.languages != ENGLISH or language in ENGLISH]
    return [*texts, " ".join(texts[::3])]


def _prompts(meta: ModelMeta) -> list[str]:
    return sorted({resolve_prompt(meta.prompt_kind, prompt_name=role).text for role in ("query", "document")})
