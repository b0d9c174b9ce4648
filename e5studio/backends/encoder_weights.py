"""The weights of a BERT or XLM-RoBERTa encoder with mean pooling, for backends that build their graph from them.

A model of which anything is not understood, such as a field of its config.json, is none of these: it is left to
transformers, which knows what it computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e5studio.backends.word_table import WordTable
from e5studio.checkpoint import pad_id
from e5studio.model_json import read_fields
from e5studio.models import ModelMeta
from e5studio.similarity import FloatArray
from e5studio.weights import StoredArray, as_float32, is_float, shape_of, stored_arrays

_WORDS = "embeddings.word_embeddings.weight"
_UNUSED = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")
_PREFIXES = {"bert": "bert.", "xlm-roberta": "roberta."}  # of weights that were saved inside a larger model

# Fields of config.json that decide what is computed, those that may have one value only, and those that decide nothing.
_SIZES = (
    *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("max_position_embeddings", "type_vocab_size"),
)
_READ = {"model_type", *_SIZES, "layer_norm_eps", "pad_token_id"}
_FIXED = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    **dict.fromkeys(("is_decoder", "add_cross_attention", "is_encoder_decoder"), False),
}
_WITHOUT_EFFECT = {
    *("architectures", "_name_or_path", "transformers_version", "torch_dtype", "dtype", "tokenizer_class"),
    *("attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout", "initializer_range"),
    *("bos_token_id", "eos_token_id", "output_past", "use_cache", "gradient_checkpointing", "tie_word_embeddings"),
    *("output_attentions", "output_hidden_states", "return_dict", "chunk_size_feed_forward"),
    *("id2label", "label2id", "problem_type"),
}


@dataclass(frozen=True)
class EncoderWeights:
    """The weights and numbers of one model.

    Attributes:
        arrays: Name to array as stored, without the model's own prefix.
        n_layers: Transformer layers.
        n_heads: Attention heads.
        eps: Of the layer norms.
        pad_id: Stands for padding.
        counts_tokens: Whether positions count the ids that are no padding, from `pad_id + 1`; else all from 0.
    """

    arrays: Mapping[str, StoredArray]
    n_layers: int
    n_heads: int
    eps: float
    pad_id: int
    counts_tokens: bool

    @classmethod
    def from_folder(cls, folder: Path, meta: ModelMeta) -> EncoderWeights | None:
        """The encoder in a folder that `checkpoint.check` accepts; None where it is not understood whole."""
        if meta.model_type not in _PREFIXES or meta.pooling != "mean":
            return None
        config = read_fields(folder / "config.json")
        arrays = _own(stored_arrays(folder), _PREFIXES[meta.model_type])
        if not _is_understood(config) or not _has_shapes(arrays, dict(_expected_shapes(config))):
            return None
        return cls(
            arrays,
            n_layers=config["num_hidden_layers"],
            n_heads=config["num_attention_heads"],
            eps=config.get("layer_norm_eps", 1e-12),
            pad_id=pad_id(folder),
            counts_tokens=meta.model_type == "xlm-roberta",
        )

    @property
    def width(self) -> int:
        """Length of a token's vector."""
        return shape_of(self.arrays[_WORDS])[1]

    @property
    def words(self) -> WordTable:
        """The embedding table, which graphs leave to the caller."""
        return WordTable(self.arrays[_WORDS])

    def read(self, name: str) -> FloatArray:
        """The numbers of one array."""
        return as_float32(self.arrays[name])


def _is_understood(config: dict[str, Any]) -> bool:
    if any(config.get(size) is None for size in _SIZES) or config.get("layer_norm_eps", 0) is None:
        return False
    others = config.keys() - _READ - _WITHOUT_EFFECT
    is_usual = all(name in _FIXED and config[name] == _FIXED[name] for name in others)
    return is_usual and config["hidden_size"] % config["num_attention_heads"] == 0


def _own(arrays: Mapping[str, StoredArray], prefix: str) -> dict[str, StoredArray]:
    """The model's weights without its prefix, if all have it, and without what it does not use."""
    if all(name.startswith(prefix) for name in arrays):
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return {name: array for name, array in arrays.items() if name not in _UNUSED}


def _has_shapes(arrays: Mapping[str, StoredArray], expected: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether there are exactly these weights, and all are numbers that can be read."""
    shapes = {name: shape_of(array) for name, array in arrays.items() if is_float(array)}
    return arrays.keys() == expected.keys() and shapes == expected


def _expected_shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, wide = config["hidden_size"], config["intermediate_size"]
    yield _WORDS, (config["vocab_size"], width)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], width)
    yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], width)
    yield from _norm_shapes("embeddings.LayerNorm", width)
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _linear_shapes(f"{name}.attention.{part}", width, width)
        yield from _linear_shapes(f"{name}.intermediate.dense", wide, width)
        yield from _linear_shapes(f"{name}.output.dense", width, wide)
        yield from _norm_shapes(f"{name}.attention.output.LayerNorm", width)
        yield from _norm_shapes(f"{name}.output.LayerNorm", width)


def _linear_shapes(name: str, n_out: int, n_in: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def _norm_shapes(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
