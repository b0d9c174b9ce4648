"""EncoderSpec: everything that changes a vector, and its fingerprint.

Vectors with equal fingerprints may be compared and cached together; others may not.
Options that do not change a vector (device, threads, batch sizes) are left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from e5studio.models import Pooling, PromptKind

_FORMAT = 1  # increase when the same spec computes other vectors


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The identity of an encoder; picklable, comparable, hashable.

    Attributes:
        model: Hub id, or the name that a ModelMeta gave.
        revision: Commit on the Hub, or "sha256:..." over the files of a local folder.
        prompt_kind: How texts are introduced.
        pooling: How token vectors become one.
        max_tokens: Tokens read of a text, prompt and special tokens counted.
        backend: "torch", "openvino" or "onnx".
        dtype: Precision of the computation, such as "float32".
        embed_dim: Length of the vectors that leave the encoder.
        quantization: How an int8 model was made, since two ways give two sets of vectors; None for float models.
        graph: Digest of the repository's own ONNX graph, where that computed the vectors.
    """

    model: str
    revision: str
    prompt_kind: PromptKind
    pooling: Pooling
    max_tokens: int
    backend: str
    dtype: str
    embed_dim: int
    quantization: str | None = None
    graph: str | None = None

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that differ whenever a field differs."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        canonical = json.dumps({"format": _FORMAT, **fields}, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]
