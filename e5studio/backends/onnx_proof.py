"""Whether a graph computes what the weights do: both run on random ids.

Imported only where that is not known yet, since it needs torch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from e5studio.backends.modules import load_module
from e5studio.backends.onnx_graph import Graph
from e5studio.batching import TokenBatch
from e5studio.checkpoint import pad_id, vocabulary_size
from e5studio.memory import is_out_of_memory
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray

_LENGTHS = (3, 9, 24, 64, 512)  # the last has all positions of most models
_TOLERANCE = 3e-5  # of vectors of length 1; two engines differ by 1e-6, and any training moves them by more


def agrees(graph: Graph, folder: Path, meta: ModelMeta) -> bool:
    """Whether the graph's vectors are those of the weights in the folder."""
    batch = _random_batch(folder, meta)
    try:
        theirs = graph.run(batch, token_vectors=False)
    except Exception as error:  # a graph of another shape; ONNX Runtime's error types have no common base
        if is_out_of_memory(error):
            raise
        return False
    ids, mask = (torch.from_numpy(each) for each in batch.padded(pad_id(folder)))
    with torch.inference_mode():
        pooled, _ = load_module(folder, meta, torch.float32)(ids, mask)
    return bool(np.abs(_unit(theirs) - _unit(pooled.numpy())).max() < _TOLERANCE)  # False where one is not finite


def _random_batch(folder: Path, meta: ModelMeta) -> TokenBatch:
    lengths = np.array([min(length, meta.max_tokens) for length in _LENGTHS], np.int32)
    ids = np.random.default_rng(0).integers(0, vocabulary_size(folder) - 1, lengths.sum())
    ids += ids >= pad_id(folder)  # which stands in no text
    return TokenBatch(ids.astype(np.int32), lengths)


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
