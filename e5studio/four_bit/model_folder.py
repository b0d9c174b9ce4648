"""Writes the model in the box as a folder that every backend loads: config, tokenizer, pooling and float32 weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import safetensors.numpy

from e5studio.four_bit.tokenizer_json import tokenizer_json
from e5studio.four_bit.weights_file import FloatArray, Shape, WeightsFile

_EMBEDDINGS = {"emb.word": "word_embeddings", "emb.pos": "position_embeddings", "emb.type": "token_type_embeddings"}
_MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


def write_model_folder(weights: WeightsFile, into: Path) -> None:
    """Write the files, under the names that transformers gives them.

    Args:
        weights: The open file.
        into: An empty folder.
    """
    (into / "config.json").write_text(json.dumps(_config(weights.shape), indent=2), encoding="utf-8")
    (into / "tokenizer.json").write_bytes(tokenizer_json(weights.pieces, weights.scores.tolist()))
    (into / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": weights.shape.hidden_size, "pooling_mode_mean_tokens": True}
    (into / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2), encoding="utf-8")
    safetensors.numpy.save_file(dict(_tensors(weights)), into / "model.safetensors", metadata={"format": "pt"})


def _config(shape: Shape) -> dict[str, object]:
    """What the published config.json says, but for what changes no vector."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.n_positions,
        "num_attention_heads": shape.n_heads,
        "num_hidden_layers": shape.n_layers,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": shape.n_token_types,
        "vocab_size": shape.vocab_size,
    }


def _tensors(weights: WeightsFile) -> Iterator[tuple[str, FloatArray]]:
    shape = weights.shape
    for ours, name in _EMBEDDINGS.items():
        yield f"embeddings.{name}.weight", weights.read(ours).reshape(-1, shape.hidden_size)
    yield from _pair(weights, "emb.ln", "embeddings.LayerNorm", ())
    widths = {"fo": shape.intermediate_size}
    for layer in range(shape.n_layers):
        for ours, name in _MATRICES.items():
            width = widths.get(ours, shape.hidden_size)
            yield from _pair(weights, f"l{layer}.{ours}", f"encoder.layer.{layer}.{name}", (-1, width))
        for ours, name in _NORMS.items():
            yield from _pair(weights, f"l{layer}.{ours}", f"encoder.layer.{layer}.{name}", ())


def _pair(
    weights: WeightsFile, ours: str, name: str, matrix: tuple[int, ...]
) -> Iterator[tuple[str, FloatArray]]:
    values = weights.read(f"{ours}.w")
    yield f"{name}.weight", values.reshape(matrix) if matrix else values
    yield f"{name}.bias", weights.read(f"{ours}.b")
