"""Weights as arrays over their files: every number format gives the numbers that torch reads, and damage is known."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from e5studio.backends.word_table import WordTable
from e5studio.checkpoint import count_parameters
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelFilesError, OutputError
from e5studio.weights import as_float32, has_blocks, is_float, save_folder, shape_of, stored_arrays


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_format_gives_the_numbers_that_torch_reads(tmp_path, dtype):
    weights = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
    weights[0, :3] = torch.tensor([torch.inf, -0.0, torch.finfo(dtype).tiny / 4])
    safetensors.torch.save_file({"a": weights, "b": torch.arange(3)}, tmp_path / "model.safetensors")
    arrays = stored_arrays(tmp_path)
    assert arrays["a"].dtype.itemsize == weights.itemsize
    assert as_float32(arrays["a"]).tobytes() == weights.float().numpy().tobytes()
    assert as_float32(arrays["a"][[3, 0]]).tobytes() == weights[[3, 0]].float().numpy().tobytes()
    assert is_float(arrays["a"])
    assert not is_float(arrays["b"])


@pytest.fixture
def blocks():
    """Q4_0 blocks of a matrix (3, 64) as bytes, and its weights, each on its own."""
    random = np.random.default_rng(0)
    scales = random.normal(0, 0.05, (3, 2, 1)).astype("<f2")
    nibbles = random.integers(0, 256, (3, 2, 16), np.uint8)
    weights = [
        (int(nibble) - 8) * np.float32(scale[0])
        for row, row_scales in zip(nibbles, scales, strict=True)
        for block, scale in zip(row, row_scales, strict=True)
        for nibble in [*(block & 15), *(block >> 4)]
    ]
    return np.concatenate([scales.view(np.uint8), nibbles], axis=2), np.array(weights, np.float32).reshape(3, 64)


def test_blocks_of_4_bit_weights_are_read_to_the_bit(tmp_path, blocks):
    packed, weights = blocks
    safetensors.numpy.save_file({"a": packed, "b": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    arrays = stored_arrays(tmp_path)
    assert has_blocks(tmp_path)
    assert shape_of(arrays["a"]) == weights.shape
    assert as_float32(arrays["a"]).tobytes() == weights.tobytes()
    assert as_float32(arrays["a"][[2, 0, 2]]).tobytes() == weights[[2, 0, 2]].tobytes()
    assert count_parameters(tmp_path) == weights.size + 3
    WordTable(arrays["a"]).save(tmp_path / "words.npy")
    ids = np.array([[2, 0], [1, 1]])
    assert WordTable.from_file(tmp_path / "words.npy").look_up(ids).tobytes() == weights[ids].tobytes()


def test_weights_in_several_files_are_read_together(checkpoints):
    made = checkpoints("e5-mistral-instruct")
    assert sum(array.size for array in stored_arrays(made.folder).values()) == made.meta.n_parameters


def test_a_header_that_contradicts_itself_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2, 4)}, path)
    path.write_bytes(path.read_bytes().replace(b"[2,4]", b"[2,5]"))
    with pytest.raises(ModelFilesError, match="header contradicts itself"):
        stored_arrays(tmp_path)


def test_what_is_read_is_no_view_of_the_file(checkpoints):
    array = as_float32(stored_arrays(checkpoints("e5").folder)["embeddings.word_embeddings.weight"])
    array += np.float32(1)


def test_a_saved_folder_holds_blocks_as_float32(tmp_path, blocks):
    packed, weights = blocks
    source, saved = tmp_path / "source", tmp_path / "saved"
    (source / "1_Pooling").mkdir(parents=True)
    safetensors.numpy.save_file({"a": packed, "b": np.ones(3, np.float32)}, source / "model.safetensors")
    for name in ("config.json", "1_Pooling/config.json", "sha256.json"):
        (source / name).write_text(f'"{name}"')
    save_folder(source, saved)
    assert safetensors.numpy.load_file(saved / "model.safetensors")["a"].tobytes() == weights.tobytes()
    assert sorted(str(path.relative_to(saved)) for path in saved.rglob("*.json")) == [
        "1_Pooling/config.json",
        "config.json",
    ]
    with pytest.raises(OutputError, match="not empty"):
        save_folder(source, saved)


@pytest.mark.parametrize("name", ["multilingual-e5", "e5-mistral-instruct"])
def test_a_saved_folder_gives_the_same_vectors(checkpoints, encoders, tmp_path, name):
    encoder = encoders(name)
    folder = encoder.save_pretrained(tmp_path / "saved")
    with E5Encoder(checkpoints(name).meta, path=folder, device="cpu") as again:
        assert again.encode(["a b"], prompt="").tolist() == encoder.encode(["a b"], prompt="").tolist()
