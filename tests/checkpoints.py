"""Small checkpoints in the exact architectures of the E5 family, saved as their repositories on the Hub are.

Random weights of the library's default make all texts alike (cosine 0.97) and would hide most
mistakes; these are drawn so wide that a wrong token, position or prompt moves every vector.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import transformers
from tokenizers import Tokenizer

from e5studio.models import ModelMeta
from tests import tiny_tokenizers
from tests.checkpoint_names import CheckpointName

_HIDDEN = 48
_EMBEDDING_SIZES = {"position": 0.25, "token_type": 0.05, "": 1.0}
_SPARE_ROWS = 35  # multilingual-e5-small has more rows in its embedding table than tokens


@dataclass(frozen=True)
class Checkpoint:
    """A folder with a model, and what the model is."""

    name: CheckpointName
    meta: ModelMeta
    folder: Path

    @property
    def pads_with(self) -> int:
        """The tokenizer's padding token."""
        return {"e5": 0, "e5-mistral-instruct": 2}.get(self.name, 1)

    def raw_tokenizer(self) -> Tokenizer:
        """The tokenizer as `tokenizers` reads it, without transformers in between."""
        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))


@dataclass(frozen=True)
class _Recipe:
    tokenizer: Callable[[], Tokenizer]
    model: Callable[[int], transformers.PreTrainedModel]
    tokenizer_config: dict[str, Any]
    meta: dict[str, Any]
    spread: float  # chosen with the seed: float16 is caught at 1e-3, and float32 is exact to 1e-6
    seed: int


def make_checkpoint(name: CheckpointName, root: Path) -> Checkpoint:
    """Write the checkpoint into a new folder under `root`."""
    recipe = _RECIPES[name]
    folder = root / name
    folder.mkdir(parents=True)
    tokenizer = recipe.tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", recipe.tokenizer_config)
    _write_json(folder / "special_tokens_map.json", _special_tokens(recipe.tokenizer_config))
    model = recipe.model(tokenizer.get_vocab_size())
    _draw_weights(model, recipe.spread, recipe.seed)
    meta = ModelMeta(
        name=f"tiny/{name}",
        group="Multilingual",
        n_layers=model.config.num_hidden_layers,
        embed_dim=_HIDDEN,
        languages=("en",),
        n_parameters=model.num_parameters(),
        **recipe.meta,
    )
    _save_weights(model, folder, meta)
    _save_sentence_transformers_files(folder, meta)
    return Checkpoint(name, meta, folder)


def _draw_weights(model: transformers.PreTrainedModel, spread: float, seed: int) -> None:
    """Words far apart, little that all texts share, and layers that pull words further apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                is_gain = name.endswith("norm.weight") or name.endswith("LayerNorm.weight")
                weight.copy_(1 + 0.2 * noise if is_gain else 0.05 * noise)
            elif "embed" in name:
                weight.copy_(noise * next(size for part, size in _EMBEDDING_SIZES.items() if part in name))
            else:
                # Centred, or what all activations share (GELU is mostly positive) would become every text's direction.
                weight.copy_((noise - noise.mean(1, keepdim=True)) * spread / weight.shape[1] ** 0.5)


def _save_weights(model: transformers.PreTrainedModel, folder: Path, meta: ModelMeta) -> None:
    model.to(getattr(torch, meta.stored_dtype))
    if meta.model_type == "mistral":  # published in shards
        model.save_pretrained(folder, max_shard_size="60KB")
        assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1
        return
    model.save_pretrained(folder)
    if meta.model_type == "bert":
        # Older files of transformers carry this buffer, the published E5 ones among them.
        weights = safetensors.torch.load_file(folder / "model.safetensors")
        weights["embeddings.position_ids"] = torch.arange(model.config.max_position_embeddings)[None]
        safetensors.torch.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _save_sentence_transformers_files(folder: Path, meta: ModelMeta) -> None:
    kinds = ("Transformer", "Pooling", "Normalize")
    paths = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": meta.max_tokens, "do_lower_case": False})
    pooling = {
        "word_embedding_dimension": meta.embed_dim,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": meta.pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    if meta.pooling == "last_token":
        pooling |= {"pooling_mode_weightedmean_tokens": False, "pooling_mode_lasttoken": True}
    (folder / "1_Pooling").mkdir()
    _write_json(folder / "1_Pooling" / "config.json", pooling)


def _bert(vocab_size: int) -> transformers.PreTrainedModel:
    config = transformers.BertConfig(
        vocab_size=vocab_size,
        hidden_size=_HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=512,
        type_vocab_size=2,
        pad_token_id=0,
    )
    return transformers.BertModel(config)


def _bert_with_spare_rows(vocab_size: int) -> transformers.PreTrainedModel:
    return _bert(vocab_size + _SPARE_ROWS)


def _xlm_roberta(vocab_size: int) -> transformers.PreTrainedModel:
    config = transformers.XLMRobertaConfig(
        vocab_size=vocab_size,
        hidden_size=_HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return transformers.XLMRobertaModel(config)


def _mistral(vocab_size: int) -> transformers.PreTrainedModel:
    config = transformers.MistralConfig(
        vocab_size=vocab_size,
        hidden_size=_HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=32768,
        sliding_window=4096,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        use_cache=False,
    )
    return transformers.MistralModel(config)


def _special_tokens(tokenizer_config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tokenizer_config.items() if key.endswith("_token") and "add" not in key}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


_BERT_TOKENS = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
    "do_lower_case": True,
    "do_basic_tokenize": True,
    "never_split": None,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "model_max_length": 512,
    "tokenizer_class": "BertTokenizer",
}
_MASK = {"content": "<mask>", "lstrip": True, "normalized": True, "rstrip": False}
_XLM_R_TOKENS = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "mask_token": {**_MASK, "single_word": False},
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "model_max_length": 512,
    "tokenizer_class": "XLMRobertaTokenizer",
}
_MISTRAL_TOKENS = {
    "add_bos_token": True,
    "add_eos_token": True,
    "bos_token": "<s>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "</s>",
    "legacy": True,
    "model_max_length": 1000000000000000019884624838656,
    "pad_token": "</s>",
    "tokenizer_class": "LlamaTokenizer",
    "unk_token": "<unk>",
}
_ENCODER_META = {"max_tokens": 512, "pooling": "mean", "prompt_kind": "query_passage"}
_RECIPES: dict[CheckpointName, _Recipe] = {
    "e5": _Recipe(
        tiny_tokenizers.wordpiece, _bert, _BERT_TOKENS, {"model_type": "bert", **_ENCODER_META}, spread=1.4, seed=5
    ),
    "multilingual-e5": _Recipe(
        tiny_tokenizers.unigram,
        _xlm_roberta,
        _XLM_R_TOKENS,
        {"model_type": "xlm-roberta", **_ENCODER_META},
        spread=2.0,
        seed=1,
    ),
    "multilingual-e5-small": _Recipe(
        tiny_tokenizers.unigram,
        _bert_with_spare_rows,
        _XLM_R_TOKENS,
        {"model_type": "bert", **_ENCODER_META},
        spread=1.6,
        seed=6,
    ),
    "multilingual-e5-instruct": _Recipe(
        tiny_tokenizers.unigram,
        _xlm_roberta,
        _XLM_R_TOKENS,
        {"model_type": "xlm-roberta", **_ENCODER_META, "prompt_kind": "instruct", "stored_dtype": "float16"},
        spread=2.0,
        seed=1,
    ),
    "e5-mistral-instruct": _Recipe(
        tiny_tokenizers.byte_fallback_bpe,
        _mistral,
        _MISTRAL_TOKENS,
        {
            "model_type": "mistral",
            "max_tokens": 4096,
            "pooling": "last_token",
            "prompt_kind": "instruct",
            "stored_dtype": "float16",
        },
        spread=1.35,
        seed=5,
    ),
}
