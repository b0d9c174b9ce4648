"""Writes the model in the box as a folder that every backend loads: config, tokenizer, pooling and weights.

The folder lies among the converted models. It is written once, whole or not at all, and known by its digests.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy.typing as npt

from e5studio.backends import conversion_cache
from e5studio.checkpoint import count_parameters
from e5studio.errors import ModelFilesError
from e5studio.file_digest import RECORD, recorded_digests, sha256_of
from e5studio.four_bit.tokenizer_json import tokenizer_json
from e5studio.four_bit.weights_file import Shape, WeightsFile, open_weights

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

_FORMAT = 2  # increase when other files are written for the same weights
_WEIGHTS, _TOKENIZER = "model.safetensors", "tokenizer.json"
_N_BYTES = 85_000_000

_TOKENIZER_CONFIG = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "mask_token": "<mask>",
    "model_max_length": 512,
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "tokenizer_class": "XLMRobertaTokenizer",
    "unk_token": "<unk>",
}
_MODULES = [
    {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
    for index, (path, name) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])
]
_POOLING = {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True}


def model_folder(weights_file: Path, sha256: str) -> Path:
    """The folder with the model's files; written where it is not there yet, or is damaged.

    Args:
        weights_file: The file with the 4-bit weights, undamaged.
        sha256: Its digest, by which the folder is known.

    Raises:
        ModelFilesError: The folder cannot be written.
    """
    folder = _folder_of(sha256)
    if not _is_whole(folder):
        weights = open_weights(weights_file)
        if not conversion_cache.store(folder, lambda into: _write(weights, into)):
            raise _not_written(folder.parent)
    try:
        _write_pooling(folder)
    except OSError as error:
        raise _not_written(folder.parent) from error
    return folder


def fault(sha256: str) -> str | None:
    """Why the folder cannot be written, to stand after "because"; None where it can, or is there."""
    folder = _folder_of(sha256)
    if _is_whole(folder):
        return None
    existing = next(path for path in folder.parents if path.exists())
    if not os.access(existing, os.W_OK):
        return f"nothing can be written into {existing}"
    free = shutil.disk_usage(existing).free
    return f"only {free / 1e6:,.0f} MB are free under {existing}" if free < _N_BYTES else None


def _folder_of(sha256: str) -> Path:
    return conversion_cache.folder_of("four-bit", {"format": _FORMAT, "weights": sha256})


def _is_whole(folder: Path) -> bool:
    """Whether the files are there and hold what was written.

    Of the weights, which no converted model needs, only the length is compared: `hub.check_blobs` reads them all where
    they are loaded. But a change after their digest was recorded is found here, and they are written anew.
    """
    digests = recorded_digests(folder)
    try:
        if (folder / _WEIGHTS).stat().st_mtime_ns > (folder / RECORD).stat().st_mtime_ns:
            return conversion_cache.is_whole(folder)
        count_parameters(folder)
        settings = {name: digest for name, digest in digests.items() if name != _WEIGHTS}
        return _TOKENIZER in settings and all(sha256_of(folder / name) == digest for name, digest in settings.items())
    except (OSError, ModelFilesError):
        return False


def _not_written(parent: Path) -> ModelFilesError:
    try:
        free = f"{shutil.disk_usage(parent).free / 1e6:,.0f} MB are free there"
    except OSError as error:
        free = f"{error.strerror}"
    return ModelFilesError(
        f"The 4-bit weights cannot be written as a model under {parent}: it takes {_N_BYTES / 1e6:,.0f} MB ({free}).",
        "Free some space, or let E5STUDIO_CACHE name a folder on another disk.",
    )


def _write(weights: WeightsFile, into: Path) -> None:
    """Write the files, under the names that transformers and sentence-transformers give them."""
    settings = {
        "config.json": _config(weights.shape),
        "tokenizer_config.json": _TOKENIZER_CONFIG,
        "modules.json": _MODULES,
    }
    for name, content in settings.items():
        (into / name).write_bytes(_json(content))
    (into / _TOKENIZER).write_bytes(tokenizer_json(weights.pieces, weights.scores.tolist()))
    import safetensors.numpy  # not to be imported where the folder is there

    try:
        safetensors.numpy.save_file(dict(_tensors(weights)), into / _WEIGHTS, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:  # as it calls a full disk
        raise OSError(str(error)) from error
    (into / _WEIGHTS).chmod((into / _TOKENIZER).stat().st_mode)  # it is made for its owner alone


def _write_pooling(folder: Path) -> None:
    """Write the one file in a subfolder, where it is not what it should be: converted models have none."""
    path, content = folder / "1_Pooling" / "config.json", _json(_POOLING)
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(secrets.token_hex(8))
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=2).encode()


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


def _tensors(weights: WeightsFile) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    width, wide = weights.shape.hidden_size, weights.shape.intermediate_size
    for ours, name in _EMBEDDINGS.items():
        is_float = weights.tensors[ours].kind == 0
        rows = weights.read(ours).reshape(-1, width) if is_float else weights.read_blocks(ours, width)
        yield f"embeddings.{name}.weight", rows
    yield from _norm(weights, "emb.ln", "embeddings.LayerNorm")
    for layer in range(weights.shape.n_layers):
        for ours, name in _MATRICES.items():
            ours, name = f"l{layer}.{ours}", f"encoder.layer.{layer}.{name}"
            yield f"{name}.weight", weights.read_blocks(f"{ours}.w", wide if ours.endswith(".fo") else width)
            yield f"{name}.bias", weights.read(f"{ours}.b")
        for ours, name in _NORMS.items():
            yield from _norm(weights, f"l{layer}.{ours}", f"encoder.layer.{layer}.{name}")


def _norm(weights: WeightsFile, ours: str, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    yield f"{name}.weight", weights.read(f"{ours}.w")
    yield f"{name}.bias", weights.read(f"{ours}.b")
