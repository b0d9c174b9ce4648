"""The inputs on which int8 quantisation measures how large a model's activations get.

The texts (calibration.tsv: language and text) were written for this and are part of no data set, so that
evaluations stay clean. They get the prompts of the model's card.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from e5studio.batching import TokenBatch
from e5studio.models import ENGLISH, ModelMeta
from e5studio.prompts import resolve_prompt
from e5studio.tokenization import Tokenizer

_FILE = Path(__file__).with_name("calibration.tsv")
# Full-length inputs are part of what the model will see; longer ones only take longer.
_MAX_TOKENS = 512


def digest(meta: ModelMeta) -> str:
    """The identity of a model's inputs: other inputs quantise to another model."""
    parts = [*_prompts(meta), str(min(meta.max_tokens, _MAX_TOKENS)), *calibration_texts(meta)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def calibration_inputs(folder: Path, meta: ModelMeta) -> list[TokenBatch]:
    """Batches of one text each, so that no padding is measured.

    Args:
        folder: Where tokenizer.json is.
        meta: Has the languages and prompts.
    """
    tokenizer = Tokenizer.from_folder(folder, pooling=meta.pooling)
    texts = calibration_texts(meta)
    prompts = _prompts(meta)
    batches = []
    for index, prompt in enumerate(prompts):
        share = texts[index :: len(prompts)]
        batch = tokenizer.encode(share, prompt=prompt, max_tokens=min(meta.max_tokens, _MAX_TOKENS)).batch
        batches += [batch.select([row]) for row in range(len(batch))]
    return batches


def calibration_texts(meta: ModelMeta) -> list[str]:
    """The texts in the languages of a model, and one that fills its length."""
    rows = [line.split("\t", 1) for line in _FILE.read_text(encoding="utf-8").splitlines()]
    texts = [text for language, text in rows if meta.languages != ENGLISH or language in ENGLISH]
    return [*texts, " ".join(texts[::3])]


def _prompts(meta: ModelMeta) -> list[str]:
    return sorted({resolve_prompt(meta.prompt_kind, prompt_name=name).text for name in ("query", "document")})
