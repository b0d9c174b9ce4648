"""What a folder holds: its configuration and its weights, checked for damage and danger, compared with a ModelMeta.

A model whose files contradict its description is refused: its vectors would be silently wrong. No weights are loaded
here; what the folder says about the model's use is read by `folder_recipe`.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from e5studio import folder_recipe
from e5studio.errors import ModelFilesError
from e5studio.model_json import (
    NUMBER,
    SIZE,
    TEXT,
    TRUTH,
    JsonObject,
    Kind,
    exactly,
    list_of,
    mapping_to,
    read_object,
    whole,
)
from e5studio.models import ModelMeta, PromptKind

_MODEL_TYPES = ("bert", "xlm-roberta", "mistral")
# Fields of config.json through which files of a model have run, or may run, code.
_UNSAFE_FIELDS = ("auto_map", "_attn_implementation_internal", "quantization_config", "transformers_weights")
_SAFE_IMPLEMENTATIONS = (None, "eager", "sdpa")  # any other name is fetched from the Hub and run
_NUMBERS = ("hidden_size", "num_hidden_layers", "max_position_embeddings", "vocab_size")
# What other fields may be, where the model reads them: transformers finds some of the mistakes, and late.
_FIELDS: dict[str, Kind] = {
    **dict.fromkeys(("num_attention_heads", "intermediate_size", "type_vocab_size", "num_key_value_heads"), SIZE),
    **dict.fromkeys(("head_dim", "sliding_window"), SIZE),
    **dict.fromkeys(("layer_norm_eps", "rms_norm_eps", "rope_theta"), NUMBER),
    **dict.fromkeys(("output_attentions", "output_hidden_states", "return_dict"), TRUTH),
    **dict.fromkeys(("is_decoder", "add_cross_attention", "is_encoder_decoder"), exactly(False)),
    "chunk_size_feed_forward": whole(0, 2**31 - 1),
    "hidden_act": TEXT,
    "position_embedding_type": exactly("absolute"),
}
_TENSOR_FIELDS: dict[str, Kind] = {"dtype": TEXT, "shape": list_of(whole(0)), "data_offsets": list_of(whole(0), 2)}


def describe(folder: Path, *, name: str, prompt_kind: PromptKind) -> ModelMeta:
    """The ModelMeta of a fine-tuned model, from its files and its prompt kind, which they don't say.

    Args:
        folder: With config.json, 1_Pooling/config.json and, if present, sentence_bert_config.json.
        name: What to call it.
        prompt_kind: How its texts were introduced in training.

    Raises:
        ModelFilesError: The files are unsafe, of another architecture, or don't tell the pooling.
    """
    config = _read_config(folder)
    pooling = folder_recipe.pooling(folder)
    if pooling is None:
        raise ModelFilesError(
            f"{folder} does not say how tokens become one vector (no 1_Pooling/config.json). "
            "Pass a ModelMeta with pooling='mean' (E5 encoders) or 'last_token' (e5-mistral) and path=."
        )
    limit = _position_limit(config)
    stated = folder_recipe.stated_length(folder)
    return ModelMeta(
        name=name,
        group="Multilingual" if config.fields["model_type"] == "xlm-roberta" else "English",
        model_type=config.fields["model_type"],
        n_layers=config.fields["num_hidden_layers"],
        embed_dim=config.fields["hidden_size"],
        max_tokens=min(stated.n_tokens, limit) if stated else limit,
        pooling=pooling,
        prompt_kind=prompt_kind,
        languages=(),
        n_parameters=count_parameters(folder),
        license="unknown",
    )


def check(folder: Path, meta: ModelMeta, *, is_published: bool) -> None:
    """Compare the files with the description.

    Args:
        folder: The files.
        meta: What they should be.
        is_published: They are the commit that `meta` describes, so that `meta` says how they are used.

    Raises:
        ModelFilesError: They are unsafe, damaged, or of another model; the message has both values.
    """
    config = _read_config(folder)
    facts = {
        "model_type": config.fields["model_type"],
        "embed_dim": config.fields["hidden_size"],
        "n_layers": config.fields["num_hidden_layers"],
        "pooling": folder_recipe.pooling(folder) or meta.pooling,
    }
    for field, value in facts.items():
        expected = getattr(meta, field)
        if value != expected:
            raise ModelFilesError(
                f"{folder} is not {meta.name}: its files say {field} {value!r}, the description says {expected!r}. "
                "Correct the ModelMeta, or give the right folder."
            )
    check_max_tokens(folder, meta.max_tokens)
    if not is_published:
        folder_recipe.check(folder, meta)
    count_parameters(folder)


def check_max_tokens(folder: Path, max_tokens: int) -> None:
    """Refuse more tokens than the model has positions for.

    Raises:
        ModelFilesError: `max_tokens` is over the number of usable positions.
    """
    limit = _position_limit(_read_config(folder))
    if max_tokens > limit:
        raise ModelFilesError(f"max_tokens={max_tokens}, but the model in {folder} has {limit} usable positions.")


def check_vocabulary(folder: Path, n_ids: int) -> None:
    """Refuse a tokenizer with ids for which the model has no vectors.

    Raises:
        ModelFilesError: They were not made for each other.
    """
    n_rows = vocabulary_size(folder)
    if n_ids > n_rows:
        raise ModelFilesError(
            f"{folder}: tokenizer.json has {n_ids} tokens, and config.json says the model knows {n_rows}. They belong "
            "to different models. Save both again from the same one."
        )


def count_parameters(folder: Path) -> int:
    """Number of weights, from the headers of the safetensors files, which must be whole.

    Raises:
        ModelFilesError: A file is incomplete, or no safetensors file at all.
    """
    n_parameters = 0
    for name in weight_files(folder):
        path = folder / name
        if not path.is_file() or Path(name).name != name:
            raise ModelFilesError(f"{folder} lacks {name}, which holds weights. Fetch the model again.")
        _, header = tensor_entries(path)
        n_parameters += sum(map(_n_weights, header.values()))
    return n_parameters


def vocabulary_size(folder: Path) -> int:
    """The number of ids that the model has vectors for."""
    return int(_read_config(folder).fields["vocab_size"])


def count_words(folder: Path) -> int:
    """Number of weights in the table of the words, which is most of a multilingual model."""
    return vocabulary_size(folder) * int(_read_config(folder).fields["hidden_size"])


def pad_id(folder: Path) -> int:
    """The id that pads the shorter rows of a batch; XLM-RoBERTa derives positions from it."""
    return _pad_id(_read_config(folder))


def weight_files(folder: Path) -> list[str]:
    """Names of the files with weights: one, or those that the index of a large model names.

    Raises:
        ModelFilesError: The index is damaged.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return ["model.safetensors"]
    names = set(read_object(index).need("weight_map", mapping_to(TEXT)).values())
    if not names:
        raise ModelFilesError(f"{index} is damaged. Delete it and fetch it again.")
    return sorted(names)


def tensor_entries(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    """Where the tensors of a safetensors file begin, and the header's entry of each.

    Raises:
        ModelFilesError: The file is incomplete or damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            raise ModelFilesError(f"{path} is a git-lfs pointer, not the weights. Run `git lfs pull` beside it.")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size:
            raise ModelFilesError(f"{path} is incomplete ({size:,} bytes). Delete it and fetch it again.")
        header = _parse_header(path, file.read(length))
    end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
    if end != size:
        state = "incomplete" if size < end else "damaged"
        raise ModelFilesError(f"{path} is {state}: {size:,} bytes in place of {end:,}. Delete it and fetch it again.")
    return 8 + length, header


def _n_weights(entry: dict[str, Any]) -> int:
    n_numbers = int(math.prod(entry["shape"]))
    # Blocks of 32 weights in 18 bytes; see `e5studio.weights`.
    return n_numbers * 32 // 18 if entry["dtype"] == "U8" else n_numbers


def _parse_header(path: Path, content: bytes) -> dict[str, dict[str, Any]]:
    """The entry of each tensor."""
    try:
        header = json.loads(content)
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, RecursionError, AttributeError) as error:
        raise ModelFilesError(f"{path} is damaged: its header is unreadable. Fetch it again.") from error
    if not tensors or not all(isinstance(entry, dict) for entry in tensors.values()):
        raise ModelFilesError(f"{path} is damaged: its header is unreadable. Fetch it again.")
    for name, entry in tensors.items():
        for field, kind in _TENSOR_FIELDS.items():
            JsonObject(path, {f"{field} of {name}": entry.get(field)}).need(f"{field} of {name}", kind)
    return tensors


def _read_config(folder: Path) -> JsonObject:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelFilesError(f"No config.json in {folder}. Give the folder of a model saved with save_pretrained.")
    config = read_object(path)
    fields = config.fields
    unsafe = [field for field in _UNSAFE_FIELDS if fields.get(field) is not None]
    unsafe += [key for key, value in fields.items() if "_implementation" in key and value not in _SAFE_IMPLEMENTATIONS]
    if unsafe:
        raise ModelFilesError(f"{path} has {unsafe[0]!r}, which can bring in code or formats that are never run here.")
    if fields.get("model_type") not in _MODEL_TYPES:
        raise ModelFilesError(
            f"{path} says model_type {fields.get('model_type')!r}. E5 models are {', '.join(_MODEL_TYPES)}."
        )
    for field in _NUMBERS:
        config.need(field, SIZE)
    for field, kind in _FIELDS.items():
        config.get(field, kind)
    config.get("pad_token_id", whole(0, fields["vocab_size"] - 1))
    return config


def _pad_id(config: JsonObject) -> int:
    stated = config.fields.get("pad_token_id")
    return int(config.fields["model_type"] == "xlm-roberta") if stated is None else int(stated)


def _position_limit(config: JsonObject) -> int:
    # RoBERTa counts positions from pad_token_id + 1, so 514 positions serve 512 tokens.
    reserved = _pad_id(config) + 1 if config.fields["model_type"] == "xlm-roberta" else 0
    return int(config.fields["max_position_embeddings"]) - reserved
