"""Builds the published tokenizer.json of the multilingual E5 models, byte for byte, from its pieces and scores.

All of them (small, base, large, large-instruct) share XLM-RoBERTa's vocabulary. The normalisation table beside this
module is sentencepiece's `nmt_nfkc` of the edition that XLM-RoBERTa was trained with (Apache-2.0; NOTICE.md).
"""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

_MASK_ID = 250_001
_VOCABULARY = "the vocabulary"
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def tokenizer_json(pieces: Sequence[str], scores: Iterable[float]) -> bytes:
    """The file as the Hub has it.

    Args:
        pieces: The vocabulary, at its ids: 250,002 with `<mask>` as the last.
        scores: Log probability of each piece.
    """
    special = [("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3), ("<mask>", _MASK_ID)]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(name, token_id) for name, token_id in special],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(normalisation_table()).decode()},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ],
        },
        "pre_tokenizer": _metaspace(),
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_special("<s>", 0), _sequence("A", 0), _special("</s>", 0)],
            "pair": [
                _special("<s>", 0),
                _sequence("A", 0),
                _special("</s>", 0),
                _special("</s>", 0),
                _sequence("B", 0),
                _special("</s>", 0),
            ],
            "special_tokens": {
                name: {"id": name, "ids": [token_id], "tokens": [name]} for name, token_id in (("</s>", 2), ("<s>", 0))
            },
        },
        "decoder": _metaspace(),
        "model": {"type": "Unigram", "unk_id": 3, "vocab": _VOCABULARY},
    }
    # json's indented form is written in Python, which takes seconds for so many pieces.
    entries = ",".join(_entry(piece, float(score)) for piece, score in zip(pieces, scores, strict=True))
    before, after = json.dumps(content, ensure_ascii=False, indent=2).split(f'"{_VOCABULARY}"')
    return f"{before}[{entries}\n    ]{after}".encode()


def normalisation_table() -> bytes:
    """The precompiled table of sentencepiece from Unicode to the characters that the vocabulary knows."""
    return lzma.decompress((resources.files(__package__) / "nmt_nfkc.bin.xz").read_bytes())


def _entry(piece: str, score: float) -> str:
    return f"\n      [\n        {_quoted(piece)},\n        {_as_published(score)!r}\n      ]"


def _as_published(score: float) -> float:
    """The score after the round trip through JSON that the published file has behind it.

    serde_json read it as an integer of all digits divided by a power of ten, each rounded on its own: the last bit of
    many scores moved, and their shortest decimal forms with it.
    """
    whole, _, decimals = repr(score).partition(".")
    return float(int(whole + decimals)) / 10.0 ** len(decimals)


def _added(name: str, token_id: int) -> dict[str, Any]:
    no = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": name, **no, "special": True}


def _metaspace() -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}


def _special(name: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": type_id}}


def _sequence(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}
