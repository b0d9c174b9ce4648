"""Builds the OpenVINO graph of a BERT or XLM-RoBERTa encoder from its weights, pooling included; needs no torch.

Follows transformers' modeling_bert.py and modeling_xlm_roberta.py for encoders without a head. Other architectures
are traced by `openvino_conversion`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from safetensors import safe_open

from e5studio.checkpoint import weight_files

_Node = Any  # OpenVINO's nodes and outputs


def build(folder: Path) -> Any:
    """The graph of the model in a folder.

    Returns:
        An `openvino.Model`: (rows, longest) int64 ids and mask in; pooled vectors and token vectors out.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    encoder = _Encoder.from_folder(folder, config)
    ids = ops.parameter([-1, -1], np.int64, "input_ids")
    mask = ops.parameter([-1, -1], np.int64, "attention_mask")
    for parameter in (ids, mask):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    tokens = encoder.embed(ids)
    is_token = ops.convert(ops.unsqueeze(mask, _ints([1, 2])), "boolean")
    for layer in range(config["num_hidden_layers"]):
        tokens = encoder.layer(tokens, is_token, layer)
    tokens.output(0).get_tensor().set_names({"tokens"})
    pooled = _mean(tokens, mask)
    pooled.output(0).get_tensor().set_names({"pooled"})
    graph = openvino.Model([pooled.output(0), tokens.output(0)], [ids, mask], "encoder")
    graph.set_rt_info(str(encoder.pad_id), "pad_id")
    return graph


@dataclass(frozen=True)
class _Encoder:
    """The weights and numbers of one model.

    Attributes:
        weights: Name to array, without the model's own prefix.
        n_heads: Attention heads.
        eps: Of the layer norms.
        pad_id: Stands for padding.
        first_position: Of the first token, where positions count tokens that are no padding; None where they
            count all.
        activation: Between the two matrices of the feed-forward step.
    """

    weights: dict[str, Any]
    n_heads: int
    eps: float
    pad_id: int
    first_position: int | None

    @classmethod
    def from_folder(cls, folder: Path, config: dict[str, Any]) -> _Encoder:
        is_roberta = config["model_type"] == "xlm-roberta"
        pad_id = config.get("pad_token_id")
        pad_id = int(is_roberta) if pad_id is None else int(pad_id)
        return cls(
            _read(folder),
            n_heads=config["num_attention_heads"],
            eps=config.get("layer_norm_eps", 1e-12),
            pad_id=pad_id,
            first_position=pad_id + 1 if is_roberta else None,
        )

    def embed(self, ids: _Node) -> _Node:
        """The sum of word, position and type vectors, normalised."""
        words = ops.gather(self._constant("embeddings.word_embeddings.weight"), ids, _ints(0))
        positions = ops.gather(self._constant("embeddings.position_embeddings.weight"), self._positions(ids), _ints(0))
        types = ops.constant(self.weights["embeddings.token_type_embeddings.weight"][0].astype(np.float32))
        return self._norm(ops.add(ops.add(words, types), positions), "embeddings.LayerNorm")

    def layer(self, tokens: _Node, is_token: _Node, index: int) -> _Node:
        """One transformer layer."""
        name = f"encoder.layer.{index}"
        query, key, value = (
            self._heads(self._linear(tokens, f"{name}.attention.self.{part}")) for part in ("query", "key", "value")
        )
        mixed = ops.scaled_dot_product_attention(query, key, value, is_token)
        joined = ops.reshape(ops.transpose(mixed, _ints([0, 2, 1, 3])), _ints([0, 0, -1]), True)
        attended = self._linear(joined, f"{name}.attention.output.dense")
        tokens = self._norm(ops.add(attended, tokens), f"{name}.attention.output.LayerNorm")
        wide = ops.gelu(self._linear(tokens, f"{name}.intermediate.dense"), "ERF")
        narrow = self._linear(wide, f"{name}.output.dense")
        return self._norm(ops.add(narrow, tokens), f"{name}.output.LayerNorm")

    def _positions(self, ids: _Node) -> _Node:
        if self.first_position is None:
            length = ops.gather(ops.shape_of(ids), _ints(1), _ints(0))
            return ops.unsqueeze(ops.range(_ints(0), length, _ints(1), "i64"), _ints(0))
        is_token = ops.convert(ops.not_equal(ids, _ints(self.pad_id)), "i64")
        counted = ops.multiply(ops.cum_sum(is_token, _ints(1)), is_token)
        return ops.add(counted, _ints(self.pad_id))

    def _heads(self, tokens: _Node) -> _Node:
        """(rows, longest, heads x width) to (rows, heads, longest, width)."""
        return ops.transpose(ops.reshape(tokens, _ints([0, 0, self.n_heads, -1]), True), _ints([0, 2, 1, 3]))

    def _linear(self, tokens: _Node, name: str) -> _Node:
        product = ops.matmul(tokens, self._constant(f"{name}.weight"), False, True)
        return ops.add(product, self._constant(f"{name}.bias", (1, 1, -1)))

    def _norm(self, tokens: _Node, name: str) -> _Node:
        normal = ops.mvn(tokens, _ints([-1]), True, self.eps, "INSIDE_SQRT")
        scaled = ops.multiply(normal, self._constant(f"{name}.weight", (1, 1, -1)))
        return ops.add(scaled, self._constant(f"{name}.bias", (1, 1, -1)))

    def _constant(self, name: str, shape: tuple[int, ...] | None = None) -> _Node:
        array = self.weights[name].astype(np.float32, copy=False)
        return ops.constant(array if shape is None else array.reshape(shape), name=name)


def _mean(tokens: _Node, mask: _Node) -> _Node:
    weights = ops.unsqueeze(ops.convert(mask, "f32"), _ints(1))
    summed = ops.squeeze(ops.matmul(weights, tokens, False, False), _ints(1))
    return ops.divide(summed, ops.reduce_sum(weights, _ints(2), False))


def _read(folder: Path) -> dict[str, Any]:
    """All tensors of a checkpoint. Some were saved inside a larger model, under its prefix."""
    tensors = {}
    for file_name in weight_files(folder):
        with safe_open(folder / file_name, framework="numpy") as file:
            for name in file.keys():
                tensors[name.removeprefix("bert.").removeprefix("roberta.")] = file.get_tensor(name)
    return tensors


def _ints(values: int | list[int]) -> _Node:
    return ops.constant(np.array(values, np.int64))
