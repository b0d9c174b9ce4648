"""ONNX Runtime alone: int8 by rows, and the graphs that repositories publish."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import transformers

from e5studio.backends import onnx_files
from e5studio.encoder import E5Encoder
from e5studio.errors import MissingDependencyError, ModelFilesError
from tests.backends.conftest import run
from tests.checkpoints import Checkpoint
from tests.corpus import ALL_TEXTS, ORDINARY_TEXTS

pytest.importorskip("onnx")
onnx_graph = pytest.importorskip("e5studio.backends.onnx_graph")

traced_once = pytest.importorskip("tests.backends.conversions").traced_once

TEXTS = [text for text in ALL_TEXTS if text.strip()]

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


@pytest.fixture(scope="module", autouse=True)
def _traced_once():
    with traced_once():
        yield


@pytest.fixture
def load(load):
    return functools.partial(load, backend="onnx")


class BareModel(torch.nn.Module):
    """A model without pooling, as published graphs have it, which take their inputs in this order."""

    def __init__(self, folder: Path, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = transformers.AutoModel.from_pretrained(
            folder, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
        ).eval()
        self.inputs = inputs

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.inputs, given, strict=True))).last_hidden_state


def publish(
    checkpoint: Checkpoint,
    root: Path,
    *,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask"),
    output: str = "last_hidden_state",
    is_dynamic: bool = True,
    name: str = "model.onnx",
) -> Checkpoint:
    """A repository with the checkpoint's files and a graph of its own."""
    folder = root / "repository"
    shutil.copytree(checkpoint.folder, folder)
    (folder / "onnx").mkdir()
    (folder / "onnx" / name).write_bytes(published_graph(checkpoint, inputs, output, is_dynamic))
    return replace(checkpoint, folder=folder)


@functools.cache
def published_graph(checkpoint: Checkpoint, inputs: tuple[str, ...], output: str, is_dynamic: bool) -> bytes:
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, checkpoint.pads_with, checkpoint.pads_with]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    first = checkpoint.pads_with + 1 if checkpoint.meta.model_type == "xlm-roberta" else 0
    values = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(ids),
        "position_ids": torch.where(mask == 1, torch.arange(first, first + 4), max(first - 1, 0)),
    }
    sizes = {0: "batch_size", 1: "sequence_length"} if is_dynamic else {}
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as temporary:
        warnings.simplefilter("ignore")
        path = Path(temporary) / "model.onnx"
        torch.onnx.export(
            BareModel(checkpoint.folder, inputs).eval(),
            tuple(values[name] for name in inputs),
            str(path),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=dict.fromkeys([*inputs, output], sizes),
            opset_version=14,
            dynamo=False,
        )
        return path.read_bytes()


def quantised(published: Checkpoint, name: str) -> Checkpoint:
    """The repository with its graph in int8, under another name, instead."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    graph = published.folder / "onnx" / "model.onnx"
    model = onnx.load(graph)
    model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    graph.unlink()
    quantize_dynamic(model, graph.with_name(name), per_channel=True)
    return published


def test_int8_depends_on_the_text_alone(checkpoint, converted):
    encoder = converted(checkpoint, "onnx", "int8")
    together = encoder.encode_document(TEXTS)
    assert np.array_equal(together, np.stack([encoder.encode_document(text) for text in TEXTS]))
    assert np.array_equal(together, encoder.with_options(token_budget=100_000).encode_document(TEXTS))


def test_int8_is_near_and_named(checkpoint, encoder, converted):
    near = converted(checkpoint, "onnx", "int8")
    cosines = (near.encode_document(TEXTS) * encoder.encode_document(TEXTS)).sum(axis=1)
    assert 0.95 < cosines.min() < 0.9999
    assert near.spec.dtype == "int8"
    assert near._backend.n_bytes < converted(checkpoint, "onnx")._backend.n_bytes * 0.6


def test_int8_of_the_real_model(offline_folder, offline_encoder, cache):
    with E5Encoder(offline_encoder.meta, path=offline_folder, backend="onnx", dtype="int8") as near:
        cosines = (near.encode(TEXTS, prompt="") * offline_encoder.encode(TEXTS, prompt="")).sum(axis=1)
    assert cosines.min() > 0.97


def test_a_published_graph_needs_neither_torch_nor_onnx(checkpoints, tmp_path, cache):
    published = publish(checkpoints("e5"), tmp_path)
    E5Encoder(published.folder, prompt_kind="query_passage", backend="onnx").close()  # compares it with the weights
    code = "load().encode_query('summit define')\nprint({'torch', 'transformers', 'onnx'} & {*sys.modules})"
    assert run(code, published, "onnx") == ["set()"]


def test_int8_for_chips_that_overflow_is_stored_apart(checkpoints, load, cache, monkeypatch):
    for may_overflow in (False, True, False):
        monkeypatch.setattr(onnx_files, "may_overflow", lambda may_overflow=may_overflow: may_overflow)
        load(checkpoints("e5"), dtype="int8")
    assert len(list((cache / "onnx").iterdir())) == 2


def test_a_package_that_only_conversion_needs(checkpoints, load, monkeypatch):
    monkeypatch.delitem(sys.modules, "e5studio.backends.onnx_conversion", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=r"pip install onnx$"):
        load(checkpoints("e5"))


@pytest.mark.parametrize(
    ("name", "inputs", "output"),
    [
        ("e5", ("input_ids", "attention_mask"), "last_hidden_state"),
        ("e5", ("input_ids", "attention_mask", "token_type_ids"), "token_embeddings"),
        ("e5", ("attention_mask", "token_type_ids", "position_ids", "input_ids"), "last_hidden_state"),
        ("multilingual-e5", ("input_ids", "attention_mask"), "token_embeddings"),
        ("multilingual-e5", ("input_ids", "attention_mask", "position_ids"), "last_hidden_state"),
        ("multilingual-e5-small", ("input_ids", "attention_mask", "token_type_ids"), "last_hidden_state"),
        # Its weights are stored in float16.
        ("multilingual-e5-instruct", ("input_ids", "attention_mask"), "last_hidden_state"),
    ],
)
def test_published_graphs_are_read(checkpoints, encoders, load, cache, tmp_path, name, inputs, output):
    published = load(publish(checkpoints(name), tmp_path, inputs=inputs, output=output))
    theirs = encoders(name)
    together = published.encode_document(TEXTS)
    np.testing.assert_allclose(together, theirs.encode_document(TEXTS), atol=3e-6)
    np.testing.assert_allclose(together, np.stack([published.encode_document(text) for text in TEXTS]), atol=1e-6)
    tokens, expected = (each.token_embeddings("summit define it", prompt="") for each in (published, theirs))
    np.testing.assert_allclose(tokens.vectors, expected.vectors, atol=3e-5)
    assert not (cache / "onnx").exists()


def test_the_last_token_of_a_published_graph():
    tokens = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    rows = onnx_graph._pool(tokens, np.array([[1, 1, 1], [1, 1, 0]]), "last_token")
    assert rows.tolist() == [tokens[0, 2].tolist(), tokens[1, 1].tolist()]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"output": "pooler_output"}, "no vectors of tokens"),
        ({"is_dynamic": False}, "made for two rows of four tokens"),
        ({"name": "model_O4.onnx"}, "float16 in places"),
    ],
)
def test_a_graph_that_does_not_serve_is_left(checkpoints, encoders, load, cache, tmp_path, options, reason):
    rows = load(publish(checkpoints("e5"), tmp_path, **options)).encode_document(ORDINARY_TEXTS)
    np.testing.assert_allclose(rows, encoders("e5").encode_document(ORDINARY_TEXTS), atol=3e-6, err_msg=reason)
    assert (cache / "onnx").is_dir()


@pytest.mark.parametrize(
    "moved",
    [
        "layer.2.output.LayerNorm.weight",
        "layer.2.attention.self.key.weight",
        "layer.0.intermediate.dense.bias",
        "embeddings.position_embeddings.weight",
        "embeddings.word_embeddings.weight",
    ],
)
def test_a_graph_of_other_weights_is_left(checkpoints, load, cache, tmp_path, moved):
    published = publish(checkpoints("e5"), tmp_path)
    path = published.folder / "model.safetensors"
    weights = safetensors.numpy.load_file(path)
    [name] = [name for name in weights if name.endswith(moved)]
    weights[name][-1] *= np.float32(1.5)  # one row: a few words or the last position alone may have been trained
    safetensors.numpy.save_file(weights, path, metadata={"format": "pt"})
    load(published)
    assert (cache / "onnx").is_dir(), "it was converted from the weights"


def test_a_graph_is_compared_once_and_part_of_the_fingerprint(checkpoints, load, tmp_path, monkeypatch):
    published = publish(checkpoints("e5"), tmp_path)
    with_graph = load(published).spec
    with monkeypatch.context() as patch:
        patch.setattr("e5studio.backends.onnx_proof.agrees", None)
        assert load(published).spec == with_graph
    graph = published.folder / "onnx" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\x72\x00")  # an empty name of its domain: another file, the same graph
    assert load(published).spec.fingerprint != with_graph.fingerprint
    graph.unlink()
    assert load(published).spec.graph is None


def test_a_published_graph_that_is_damaged(checkpoints, load, tmp_path):
    published = publish(checkpoints("e5"), tmp_path)
    path = published.folder / "onnx" / "model.onnx"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"version https://git-lfs.github.com/spec/v1\n", b""):
        path.write_bytes(content)
        with pytest.raises(ModelFilesError, match=r"model\.onnx is damaged.* Fetch it again"):
            load(published)


def test_a_quantised_graph_is_no_float32(checkpoints, encoders, load, tmp_path):
    published = quantised(publish(checkpoints("e5"), tmp_path), "model.onnx")
    rows = load(published).encode_document(ORDINARY_TEXTS)
    np.testing.assert_allclose(rows, encoders("e5").encode_document(ORDINARY_TEXTS), atol=3e-6)


# What a forked child does while a thread of its parent may be embedding; it ends as any program does.
CHILDREN = [
    "assert is_near()",
    "assert load(dtype='int8').encode_document(texts).shape == expected.shape",
    "encoder.close()",
    "del encoder; gc.collect()",
    "pass",
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process(checkpoints, cache):
    # From the disk, the new process needs neither torch nor the time to import it.
    for dtype in ("float32", "int8"):
        E5Encoder(checkpoints("e5").folder, prompt_kind="query_passage", backend="onnx", dtype=dtype).close()
    code = f"""
import gc, threading
encoder = load()
texts = [f"text {{i}} " + "summit define " * i for i in range(30)]
expected = encoder.encode_document(texts)
is_near = lambda: np.abs(encoder.encode_document(texts) - expected).max() < 1e-6
for child in {CHILDREN!r}:
    busy = threading.Thread(target=lambda: [encoder.encode_document(texts) for _ in range(3)])
    busy.start()
    pid = os.fork()
    if pid == 0:
        exec(child)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), child)
    busy.join()
"""
    assert run(code, checkpoints("e5"), "onnx") == ["\n".join(f"0 {child}" for child in CHILDREN)]
