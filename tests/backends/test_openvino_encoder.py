"""Encoders whose OpenVINO graph is built from the weights, and models that are left to the tracer."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import safetensors.numpy
import transformers

from e5studio.backends.encoder_weights import EncoderWeights
from e5studio.backends.word_table import WordTable
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError
from tests.backends.conftest import run
from tests.checkpoint_names import CHECKPOINT_NAMES

openvino_backend = pytest.importorskip("e5studio.backends.openvino")
ENCODERS = [name for name in CHECKPOINT_NAMES if name != "e5-mistral-instruct"]
# Of unlike lengths, so that there is padding; the last holds a padding token of its own, which XLM-RoBERTa counts.
TEXTS = ["summit", "define summit, protein and 46 grams per day", "a <pad> b [PAD] c"]

pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")


@pytest.fixture
def load(load):
    return partial(load, backend="openvino")


@pytest.fixture
def copied(checkpoints, tmp_path):
    """A checkpoint of one's own, with other fields in its config.json and other tensors."""

    def copy(name="e5", *, config=(), tensors=()):
        folder = shutil.copytree(checkpoints(name).folder, tmp_path / "copy")
        fields = json.loads((folder / "config.json").read_text()) | dict(config)
        (folder / "config.json").write_text(json.dumps(fields))
        weights = safetensors.numpy.load_file(folder / "model.safetensors") | dict(tensors)
        safetensors.numpy.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return copy


@pytest.mark.parametrize("name", ENCODERS)
def test_it_is_built_without_torch_and_gives_the_same_vectors(checkpoints, encoders, load, monkeypatch, name):
    monkeypatch.setattr(openvino_backend, "_trace", None)
    ours, theirs = load(checkpoints(name)), encoders(name)
    for prompt in ("", "query: "):
        rows, expected = (each.encode(TEXTS, prompt=prompt) for each in (ours, theirs))
        np.testing.assert_allclose(rows, expected, atol=1e-6)
        tokens, expected = (each.token_embeddings(TEXTS[2], prompt=prompt).vectors for each in (ours, theirs))
        np.testing.assert_allclose(tokens, expected, atol=2e-5)


def test_the_first_start_imports_no_torch(checkpoints, cache):
    code = "load().encode_query('a')\nprint(sorted({'torch', 'transformers', 'safetensors'} & {*sys.modules}))"
    assert run(code, checkpoints("multilingual-e5"), "openvino") == ["[]"]


@pytest.mark.parametrize(
    ("config", "tensors"),
    [
        ({"hidden_act": "relu"}, {}),
        ({"rescale_embeddings": True}, {}),
        ({}, {"encoder.layer.0.adapter.weight": np.zeros((48, 48), np.float32)}),
        ({}, {"encoder.layer.0.output.dense.bias": np.zeros(48, np.int8)}),
        ({}, {"encoder.layer.0.output.dense.bias": np.zeros(49, np.float32)}),
    ],
    ids=["activation", "unknown field", "extra tensor", "whole numbers", "other shape"],
)
def test_what_is_not_understood_is_left_to_the_tracer(checkpoints, copied, config, tensors):
    meta = checkpoints("e5").meta
    assert EncoderWeights.from_folder(checkpoints("e5").folder, meta)
    assert EncoderWeights.from_folder(copied(config=config, tensors=tensors), meta) is None


def test_another_activation_gives_the_vectors_of_torch(checkpoints, copied, cache):
    folder = copied(config={"hidden_act": "relu"})
    ours, theirs = (
        E5Encoder(checkpoints("e5").meta, path=folder, backend=name, device="cpu") for name in ("openvino", "torch")
    )
    np.testing.assert_allclose(ours.encode_query(TEXTS), theirs.encode_query(TEXTS), atol=3e-6)


def test_weights_saved_inside_a_larger_model_are_found(checkpoints, tmp_path):
    whole = checkpoints("multilingual-e5")
    shutil.copy(whole.folder / "config.json", tmp_path)
    weights = safetensors.numpy.load_file(whole.folder / "model.safetensors")
    renamed = {f"roberta.{name}": array for name, array in weights.items()}
    safetensors.numpy.save_file(renamed, tmp_path / "model.safetensors")
    plain, prefixed = (EncoderWeights.from_folder(folder, whole.meta) for folder in (whole.folder, tmp_path))
    assert plain.arrays.keys() == prefixed.arrays.keys()


def test_the_weights_may_be_overwritten_while_the_model_is_in_use(checkpoints, copied, cache):
    folder = copied()
    with E5Encoder(checkpoints("e5").meta, path=folder, backend="openvino") as encoder:
        expected = encoder.encode_query(TEXTS)
        (folder / "model.safetensors").write_bytes(b"")
        np.testing.assert_array_equal(encoder.encode_query(TEXTS), expected)


def test_damaged_weights_of_the_hub_s_cache_are_refused(checkpoints, copied, cache):
    folder = copied()
    (folder / "blobs").mkdir()
    blob = (folder / "model.safetensors").rename(folder / "blobs" / ("0" * 64))
    (folder / "model.safetensors").symlink_to(blob)
    with pytest.raises(ModelFilesError, match=r"model.safetensors of .* is damaged"):
        E5Encoder(checkpoints("e5").meta, path=folder, backend="openvino")


def in_blocks(weights):
    """A matrix rounded to 4 bits: the packed bytes, and what they stand for."""
    blocks = weights.reshape(*weights.shape[:-1], -1, 32)
    scales = (np.abs(blocks).max(axis=-1, keepdims=True) / 7 + 1e-3).astype("<f2")
    nibbles = np.clip(np.round(blocks / scales.astype(np.float32)) + 8, 0, 15).astype(np.uint8)
    packed = np.concatenate([scales.view(np.uint8), nibbles[..., :16] | nibbles[..., 16:] << 4], axis=-1)
    return packed, ((nibbles.astype(np.float32) - 8) * scales.astype(np.float32)).reshape(weights.shape)


@pytest.fixture(scope="module")
def four_bit(checkpoints, tmp_path_factory):
    """A small BERT twice: its matrices as blocks of 4 bits, and as the float32 that they stand for."""
    made, folders = checkpoints("e5"), []
    fields = json.loads((made.folder / "config.json").read_text()) | {"hidden_size": 64, "intermediate_size": 128}
    weights = transformers.BertModel(transformers.BertConfig(**fields), add_pooling_layer=False).state_dict()
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    rounded = {name: in_blocks(array) for name, array in arrays.items() if array.ndim == 2 and "token_type" not in name}
    for index, form in enumerate(("blocks", "floats")):
        folder = shutil.copytree(made.folder, tmp_path_factory.mktemp("four-bit") / form)
        (folder / "config.json").write_text(json.dumps(fields))
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
        own = {name: pair[index] for name, pair in rounded.items()}
        safetensors.numpy.save_file(arrays | own, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return replace(made.meta, embed_dim=64), *folders


def test_blocks_of_4_bits_give_the_vectors_of_their_floats_to_the_bit(four_bit, cache):
    meta, blocks, floats = four_bit
    ours, theirs = (E5Encoder(meta, path=folder, backend="openvino") for folder in (blocks, floats))
    assert ours.encode_query(TEXTS).tobytes() == theirs.encode_query(TEXTS).tobytes()
    assert ours._backend.n_bytes < theirs._backend.n_bytes
    by_torch = E5Encoder(meta, path=blocks, backend="torch", device="cpu")
    np.testing.assert_allclose(by_torch.encode_query(TEXTS), theirs.encode_query(TEXTS), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_table_on_disk_gives_the_rows_of_the_one_in_memory(tmp_path, dtype):
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(dtype)
    WordTable(rows).save(tmp_path / "words.npy")
    table = WordTable.from_file(tmp_path / "words.npy")
    ids = np.array([[8, 1, 1], [0, 8, 3]])
    assert table.look_up(ids).tobytes() == rows[ids].astype(np.float32).tobytes()
    assert table.n_bytes == rows.nbytes
