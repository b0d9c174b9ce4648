"""E5 Studio: E5 text embeddings with the recipe exactly right.

Importing this package loads neither torch nor any other heavy package: the first use of a
public name imports its module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from e5studio.cache import CachedEncoder, VectorCache
    from e5studio.embedder import Embedder, EmbedderOptions
    from e5studio.encode_report import EncodeReport, Truncation
    from e5studio.encoder import E5Encoder
    from e5studio.errors import (
        CacheError,
        CacheWarning,
        E5StudioError,
        E5StudioWarning,
        FallbackWarning,
        FingerprintMismatchError,
        JudgementWarning,
        NonFiniteError,
        PromptError,
        PromptWarning,
        TextError,
        TextTypeError,
        TruncationWarning,
        UnreadTextWarning,
    )
    from e5studio.long_documents import encode_long_documents, split_to_fit
    from e5studio.model_pool import Lease, ModelPool, get_model_pool
    from e5studio.models import ModelMeta, get_model_meta, list_models
    from e5studio.prepared_texts import PreparedTexts, TokenEmbeddings
    from e5studio.prompts import Prompt
    from e5studio.similarity import cos_sim, semantic_search
    from e5studio.spec import EncoderSpec
    from e5studio.text_checks import find_bad_texts

__version__ = "0.1.0"

_MODULES = {
    name: module
    for module, names in {
        "cache": "CachedEncoder VectorCache",
        "embedder": "Embedder EmbedderOptions",
        "encode_report": "EncodeReport Truncation",
        "encoder": "E5Encoder PreparedTexts TokenEmbeddings",
        "errors": "CacheError CacheWarning E5StudioError E5StudioWarning FallbackWarning FingerprintMismatchError "
        "JudgementWarning NonFiniteError PromptError PromptWarning TextError TextTypeError TruncationWarning "
        "UnreadTextWarning",
        "long_documents": "encode_long_documents split_to_fit",
        "model_pool": "Lease ModelPool get_model_pool",
        "models": "ModelMeta get_model_meta list_models",
        "prompts": "Prompt",
        "similarity": "cos_sim semantic_search",
        "spec": "EncoderSpec",
        "text_checks": "find_bad_texts",
    }.items()
    for name in names.split()
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
    "FallbackWarning",
    "FingerprintMismatchError",
    "JudgementWarning",
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
    "UnreadTextWarning",
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
