"""The folder of a trained model: it says in every library's words how its texts are introduced, pooled and cut.

It is written once before training, with the parent's weights; what is trained replaces the weights alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e5studio.encoder import E5Encoder
from e5studio.folder_recipe import SPEC_FILE
from e5studio.models import ModelMeta
from e5studio.prompts import describe_prompts, resolve_prompt

_WEIGHTS = "model.safetensors"
# transformers 5 builds this class's tokenizer anew, with other tokens than tokenizer.json gives (docs/tokens.md).
_REBUILT, _AS_IT_IS = ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast"), "PreTrainedTokenizerFast"


def write_start_folder(encoder: E5Encoder, into: Path) -> None:
    """Write the parent's files with the settings of its child; weights in float32 are those that are trained.

    Args:
        encoder: The parent.
        into: A new folder.
    """
    if into.exists():  # left by a run that was killed while it wrote
        shutil.rmtree(into)
    encoder.save_pretrained(into)
    meta = encoder.meta
    for name, content in _settings(meta).items():
        _write(into / name, content)
    for path in into.glob("sentence_*_config.json"):
        if path.name != "sentence_bert_config.json":
            path.unlink()
    _update(into / "config.json", {"dtype": "float32", "torch_dtype": None})
    tokenizer = _read(into / "tokenizer_config.json")
    is_rebuilt = tokenizer.get("tokenizer_class") in _REBUILT
    changes = {"model_max_length": meta.max_tokens} | ({"tokenizer_class": _AS_IT_IS} if is_rebuilt else {})
    _update(into / "tokenizer_config.json", changes)


def write_child_folder(start: Path, weights: Mapping[str, Any], into: Path) -> None:
    """Write the trained model.

    Args:
        start: From `write_start_folder`.
        weights: Tensors by their names in transformers.
        into: A new folder.
    """
    import safetensors.torch  # which loads torch

    if into.exists():
        shutil.rmtree(into)
    is_weights = shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json")
    shutil.copytree(start, into, ignore=is_weights)
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in weights.items()}
    safetensors.torch.save_file(tensors, into / _WEIGHTS, metadata={"format": "pt"})
    (into / _WEIGHTS).chmod((into / "config.json").stat().st_mode)  # it is made for its owner alone


def stated_prompts(meta: ModelMeta) -> dict[str, str]:
    """The prompts by the names that sentence-transformers looks for."""
    return {
        name: resolve_prompt(meta.prompt_kind, prompt_name=name).text for name in describe_prompts(meta.prompt_kind)
    }


def _settings(meta: ModelMeta) -> dict[str, Any]:
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    return {
        "modules.json": [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": meta.embed_dim,
            "pooling_mode_mean_tokens": meta.pooling == "mean",
            "pooling_mode_lasttoken": meta.pooling == "last_token",
        },
        "sentence_bert_config.json": {"max_seq_length": meta.max_tokens, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "model_type": "SentenceTransformer",
            "prompts": stated_prompts(meta),
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
        SPEC_FILE: {"prompt_kind": meta.prompt_kind},
    }


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content


def _update(path: Path, changes: Mapping[str, Any]) -> None:
    fields = {**_read(path), **changes}
    _write(path, {name: value for name, value in fields.items() if value is not None or name not in changes})


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
