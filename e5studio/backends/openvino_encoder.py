"""Builds the OpenVINO graph of an encoder from its weights, mean pooling included. Imported for conversions only.

Follows transformers' modeling_bert.py and modeling_xlm_roberta.py, but for the words: the graph takes their vectors in
place of ids, and a `WordTable` looks them up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from e5studio.backends.encoder_weights import EncoderWeights

_Node = Any  # OpenVINO's nodes and outputs


def build(weights: EncoderWeights) -> Any:
    """The graph of an encoder.

    Returns:
        An `openvino.Model`: mask (rows, longest), word vectors (rows, longest, width) and, where the positions depend
        on them, ids in; pooled vectors and token vectors out.
    """
    ids = _parameter("input_ids", np.int64, [-1, -1])
    mask = _parameter("attention_mask", np.int64, [-1, -1])
    words = _parameter("word_vectors", np.float32, [-1, -1, weights.width])
    positions = _counted(ids, weights.pad_id) if weights.counts_tokens else _all_from_zero(words)
    layers = _Layers(weights)
    tokens = layers.embed(words, positions)
    is_token = ops.convert(ops.unsqueeze(mask, _ints([1, 2])), "boolean")
    for layer in range(weights.n_layers):
        tokens = layers.transform(tokens, is_token, f"encoder.layer.{layer}")
    outputs = {"pooled": _mean(tokens, mask), "tokens": tokens}
    for name, node in outputs.items():
        node.output(0).get_tensor().set_names({name})
    inputs = [ids, mask, words] if weights.counts_tokens else [mask, words]
    graph = openvino.Model([node.output(0) for node in outputs.values()], inputs, "encoder")
    graph.set_rt_info(str(weights.pad_id), "pad_id")
    return graph


@dataclass(frozen=True)
class _Layers:
    weights: EncoderWeights

    def embed(self, words: _Node, positions: _Node) -> _Node:
        """The sum of word, type and position vectors, normalised."""
        types = ops.constant(self.weights.read("embeddings.token_type_embeddings.weight")[0])
        at_positions = ops.gather(self._constant("embeddings.position_embeddings.weight"), positions, _ints(0))
        return self._norm(ops.add(ops.add(words, types), at_positions), "embeddings.LayerNorm")

    def transform(self, tokens: _Node, is_token: _Node, name: str) -> _Node:
        """One transformer layer."""
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

    def _heads(self, tokens: _Node) -> _Node:
        """(rows, longest, heads x width) to (rows, heads, longest, width)."""
        shape = _ints([0, 0, self.weights.n_heads, -1])
        return ops.transpose(ops.reshape(tokens, shape, True), _ints([0, 2, 1, 3]))

    def _linear(self, tokens: _Node, name: str) -> _Node:
        product = ops.matmul(tokens, self._constant(f"{name}.weight"), False, True)
        return ops.add(product, self._constant(f"{name}.bias", (1, 1, -1)))

    def _norm(self, tokens: _Node, name: str) -> _Node:
        normal = ops.mvn(tokens, _ints([-1]), True, self.weights.eps, "INSIDE_SQRT")
        scaled = ops.multiply(normal, self._constant(f"{name}.weight", (1, 1, -1)))
        return ops.add(scaled, self._constant(f"{name}.bias", (1, 1, -1)))

    def _constant(self, name: str, shape: tuple[int, ...] | None = None) -> _Node:
        array = self.weights.read(name)
        return ops.constant(array if shape is None else array.reshape(shape), name=name)


def _parameter(name: str, dtype: type[np.generic], shape: list[int]) -> _Node:
    parameter = ops.parameter(shape, dtype, name)
    parameter.output(0).get_tensor().set_names({name})
    return parameter


def _all_from_zero(words: _Node) -> _Node:
    """Indices of position vectors, (1, longest)."""
    length = ops.gather(ops.shape_of(words), _ints(1), _ints(0))
    return ops.unsqueeze(ops.range(_ints(0), length, _ints(1), "i64"), _ints(0))


def _counted(ids: _Node, pad_id: int) -> _Node:
    """The same of ids that are no padding, from `pad_id + 1`, (rows, longest); padding has `pad_id`."""
    is_token = ops.convert(ops.not_equal(ids, _ints(pad_id)), "i64")
    return ops.add(ops.multiply(ops.cum_sum(is_token, _ints(1)), is_token), _ints(pad_id))


def _mean(tokens: _Node, mask: _Node) -> _Node:
    weights = ops.unsqueeze(ops.convert(mask, "f32"), _ints(1))
    summed = ops.squeeze(ops.matmul(weights, tokens, False, False), _ints(1))
    return ops.divide(summed, ops.reduce_sum(weights, _ints(2), False))


def _ints(values: int | list[int]) -> _Node:
    return ops.constant(np.array(values, np.int64))
