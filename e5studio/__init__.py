"""E5 Studio: E5 text embeddings with the recipe exactly right.

Importing this package loads neither torch nor any other heavy package; each public name
brings its module in when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e5studio.cache import CachedEncoder, VectorCache
    from e5studio.embedder import Embedder, EmbedderOptions
    from e5studio.encode_report import EncodeReport, Truncation
    from e5studio.encoder import E5Encoder, PreparedTexts, TokenEmbeddings
    from e5studio.errors import (
        CacheError,
        CacheWarning,
        E5StudioError,
        E5StudioWarning,
        FingerprintMismatchError,
        NonFiniteError,
        PromptError,
        PromptWarning,
        TextError,
        TextTypeError,
        TruncationWarning,
    )
    from e5studio.long_documents import encode_long_documents, split_to_fit
    from e5studio.model_pool import Lease, ModelPool, get_model_pool
    from e5studio.models import ModelMeta, get_model_meta, list_models
    from e5studio.prompts import Prompt
    from e5studio.similarity import cos_sim, semantic_search
    from e5studio.spec import EncoderSpec
    from e5studio.text_checks import find_bad_texts

__version__ = "0.1.0"

_MODULES = {
    "CacheError": "errors",
    "CacheWarning": "errors",
    "CachedEncoder": "cache",
    "E5Encoder": "encoder",
    "E5StudioError": "errors",
    "E5StudioWarning": "errors",
    "Embedder": "embedder",
    "EncodeReport": "encode_report",
    "EncoderSpec": "spec",
    "FingerprintMismatchError": "errors",
    "Lease": "model_pool",
    "ModelMeta": "models",
    "ModelPool": "model_pool",
    "NonFiniteError": "errors",
    "PreparedTexts": "encoder",
    "Prompt": "prompts",
    "PromptError": "errors",
    "PromptWarning": "errors",
    "EmbedderOptions": "embedder",
    "TextError": "errors",
    "TextTypeError": "errors",
    "TokenEmbeddings": "encoder",
    "Truncation": "encode_report",
    "TruncationWarning": "errors",
    "VectorCache": "cache",
    "cos_sim": "similarity",
    "encode_long_documents": "long_documents",
    "find_bad_texts": "text_checks",
    "get_model_meta": "models",
    "get_model_pool": "model_pool",
    "list_models": "models",
    "semantic_search": "similarity",
    "split_to_fit": "long_documents",
}

__all__ = [
    "CacheError",
    "CacheWarning",
    "CachedEncoder",
    "E5Encoder",
    "E5StudioError",
    "E5StudioWarning",
    "Embedder",
    "EmbedderOptions",
    "EncodeReport",
    "EncoderSpec",
    "FingerprintMismatchError",
    "Lease",
    "ModelMeta",
    "ModelPool",
    "NonFiniteError",
    "PreparedTexts",
    "Prompt",
    "PromptError",
    "PromptWarning",
    "TextError",
    "TextTypeError",
    "TokenEmbeddings",
    "Truncation",
    "TruncationWarning",
    "VectorCache",
    "cos_sim",
    "encode_long_documents",
    "find_bad_texts",
    "get_model_meta",
    "get_model_pool",
    "list_models",
    "semantic_search",
    "split_to_fit",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'e5studio' has no attribute {name!r}")
    return getattr(importlib.import_module(f"e5studio.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
