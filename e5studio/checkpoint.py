"""What a folder says about its model: read, checked for damage and danger, compared with a ModelMeta.

A model whose files contradict its description is refused: its vectors would be silently wrong.
No weights are loaded here.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from e5studio.errors import ModelFilesError
from e5studio.models import ModelMeta, Pooling, PromptKind

_MODEL_TYPES = ("bert", "xlm-roberta", "mistral")
# Fields of config.json through which files of a model have run, or may run, code.
_UNSAFE_FIELDS = ("auto_map", "_attn_implementation_internal", "quantization_config", "transformers_weights")
_SAFE_IMPLEMENTATIONS = (None, "eager", "sdpa")  # any other name is fetched from the Hub and run
_NUMBERS = ("hidden_size", "num_hidden_layers", "max_position_embeddings", "vocab_size")
_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLING_FLAGS: dict[str, Pooling] = {"pooling_mode_mean_tokens": "mean", "pooling_mode_lasttoken": "last_token"}
_POOLING_MODES: dict[str, Pooling] = {"mean": "mean", "lasttoken": "last_token"}


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
    pooling = _read_pooling(folder)
    if pooling is None:
        raise ModelFilesError(
            f"{folder} does not say how tokens become one vector (no 1_Pooling/config.json). "
            "Pass a ModelMeta with pooling='mean' (E5 encoders) or 'last_token' (e5-mistral) and path=."
        )
    limit = _position_limit(config)
    stated = _stated_length(folder)
    return ModelMeta(
        name=name,
        group="Multilingual" if config["model_type"] == "xlm-roberta" else "English",
        model_type=config["model_type"],
        n_layers=config["num_hidden_layers"],
        embed_dim=config["hidden_size"],
        max_tokens=min(stated, limit) if stated else limit,
        pooling=pooling,
        prompt_kind=prompt_kind,
        languages=(),
        n_parameters=count_parameters(folder),
        license="unknown",
    )


def check(folder: Path, meta: ModelMeta) -> None:
    """Compare the files with the description.

    Raises:
        ModelFilesError: They are unsafe, damaged, or of another model; the message has both values.
    """
    config = _read_config(folder)
    _check_modules(folder)
    facts = {
        "model_type": config["model_type"],
        "embed_dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "pooling": _read_pooling(folder) or meta.pooling,
    }
    for field, value in facts.items():
        expected = getattr(meta, field)
        if value != expected:
            raise ModelFilesError(
                f"{folder} is not {meta.name}: its files say {field} {value!r}, the description says {expected!r}. "
                "Correct the ModelMeta, or give the right folder."
            )
    check_max_tokens(folder, meta.max_tokens)
    stated = _stated_length(folder)
    if stated and meta.max_tokens > stated:
        raise ModelFilesError(
            f"{folder}: sentence_bert_config.json says {stated} tokens, the description {meta.max_tokens}. "
            f"Correct the ModelMeta; for longer texts than the files say, pass max_tokens= to the encoder."
        )
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
    n_rows = _read_config(folder)["vocab_size"]
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
        header = _read_header(path)
        tensors = [entry for name, entry in header.items() if name != "__metadata__"]
        n_parameters += sum(math.prod(entry["shape"]) for entry in tensors)
    return n_parameters


def pad_id(folder: Path) -> int:
    """The id that pads the shorter rows of a batch; XLM-RoBERTa derives positions from it."""
    config = _read_config(folder)
    stated = config.get("pad_token_id")
    return int(stated) if stated is not None else int(config["model_type"] == "xlm-roberta")


def weight_files(folder: Path) -> list[str]:
    """Names of the files with weights: one, or those that the index of a large model names.

    Raises:
        ModelFilesError: The index is damaged.
    """
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file() or not index.is_file():
        return ["model.safetensors"]
    try:
        names = set(read_json(index)["weight_map"].values())
    except (KeyError, TypeError, AttributeError):
        names = set()
    if not names or not all(isinstance(name, str) for name in names):
        raise ModelFilesError(f"{index} is damaged. Delete it and fetch it again.")
    return sorted(names)


def _read_header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            raise ModelFilesError(f"{path} is a git-lfs pointer, not the weights. Run `git lfs pull` beside it.")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length + 8 > size:
            raise ModelFilesError(f"{path} is incomplete ({size:,} bytes). Delete it and fetch it again.")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            end = 8 + length + max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFilesError(f"{path} is damaged: its header is unreadable. Fetch it again.") from error
    if end != size:
        state = "incomplete" if size < end else "damaged"
        raise ModelFilesError(f"{path} is {state}: {size:,} bytes in place of {end:,}. Delete it and fetch it again.")
    return header


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelFilesError(f"No config.json in {folder}. Give the folder of a model saved with save_pretrained.")
    config = read_json(path)
    unsafe = [field for field in _UNSAFE_FIELDS if config.get(field) is not None]
    unsafe += [key for key, value in config.items() if "_implementation" in key and value not in _SAFE_IMPLEMENTATIONS]
    if unsafe:
        raise ModelFilesError(f"{path} has {unsafe[0]!r}, which can bring in code or formats that are never run here.")
    if config.get("model_type") not in _MODEL_TYPES:
        raise ModelFilesError(
            f"{path} says model_type {config.get('model_type')!r}. E5 models are {', '.join(_MODEL_TYPES)}."
        )
    for field in _NUMBERS:
        if not isinstance(config.get(field), int) or config[field] < 1:
            raise ModelFilesError(f"{path} says {field} {config.get(field)!r}, not a positive number. Fetch it again.")
    return config


def _stated_length(folder: Path) -> int | None:
    """The length that the model was trained with, where the folder says it."""
    path = folder / "sentence_bert_config.json"
    stated = read_json(path).get("max_seq_length")
    if stated is not None and (not isinstance(stated, int) or stated < 1):
        raise ModelFilesError(f"{path} says max_seq_length {stated!r}, not a positive number. Fetch it again.")
    return stated


def _read_pooling(folder: Path) -> Pooling | None:
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    modes = {mode: True for mode in [config.get("pooling_mode")] if isinstance(mode, str)}
    modes |= {key: True for key, value in config.items() if key.startswith("pooling_mode_") and value is True}
    known = [_POOLING_FLAGS.get(mode) or _POOLING_MODES.get(mode) for mode in modes]
    if len(known) == 1 and known[0] is not None:
        return known[0]
    raise ModelFilesError(f"{path} says {', '.join(modes) or 'nothing'}. E5 models pool by mean or last token.")


def _check_modules(folder: Path) -> None:
    """Refuse a model with steps that are not run here: its vectors would differ."""
    if (folder / "adapter_config.json").is_file():
        raise ModelFilesError(
            f"{folder} holds an adapter (PEFT), not a model. Merge it (merge_and_unload) and save that."
        )
    path = folder / "modules.json"
    modules = _parse(path) if path.is_file() else []
    for module in modules if isinstance(modules, list) else [modules]:
        kind = str(module.get("type", "") if isinstance(module, dict) else module)
        if not kind.startswith("sentence_transformers.") or kind.rsplit(".", 1)[-1] not in _MODULES:
            raise ModelFilesError(f"{path} names the module {kind!r}. E5 models have {', '.join(_MODULES)} only.")


def _position_limit(config: dict[str, Any]) -> int:
    # RoBERTa counts positions from pad_token_id + 1, so 514 positions serve 512 tokens.
    pad_id = config.get("pad_token_id", 1)
    reserved = (1 if pad_id is None else int(pad_id)) + 1 if config["model_type"] == "xlm-roberta" else 0
    return int(config["max_position_embeddings"]) - reserved


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where there is no file."""
    if not path.is_file():
        return {}
    content = _parse(path)
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} holds no JSON object. Fetch the file again.")
    return content


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFilesError(f"{path} is not valid JSON ({error}). Fetch the file again.") from error
