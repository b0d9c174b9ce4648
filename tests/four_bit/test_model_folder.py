"""The folder that backends load: written once, whole or not at all, and never read when it is damaged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from e5studio import checkpoint, file_digest, hub
from e5studio.errors import ModelFilesError
from e5studio.four_bit import model_folder as module
from e5studio.four_bit.model_folder import model_folder
from e5studio.weights import as_float32, stored_arrays
from tests.four_bit.small_file import HIDDEN, WIDE, plain, write_small_file
from tests.test_offline_copy import flip_byte


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("E5STUDIO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def weights_file(tmp_path: Path) -> Path:
    write_small_file(tmp_path / "model.bin")
    return tmp_path / "model.bin"


def test_tensors_have_their_names_shapes_and_values(cache, tmp_path):
    tensors = write_small_file(tmp_path / "model.bin")
    written = stored_arrays(model_folder(tmp_path / "model.bin", "abc"))
    assert len(written) == len(tensors)
    for ours, name, shape in (
        ("emb.word", "embeddings.word_embeddings.weight", (-1, HIDDEN)),
        ("l0.ao.w", "encoder.layer.0.attention.output.dense.weight", (HIDDEN, HIDDEN)),
        ("l0.fi.w", "encoder.layer.0.intermediate.dense.weight", (WIDE, HIDDEN)),
        ("l0.fo.w", "encoder.layer.0.output.dense.weight", (HIDDEN, WIDE)),
    ):
        expected = np.array(plain(tensors[ours]), np.float32).reshape(shape)
        np.testing.assert_array_equal(as_float32(written[name]), expected)
    assert written["encoder.layer.0.output.LayerNorm.bias"].tobytes() == tensors["l0.oln.b"]


def test_the_folder_describes_itself(cache, weights_file):
    meta = checkpoint.describe(model_folder(weights_file, "abc"), name="own", prompt_kind="query_passage")
    assert (meta.model_type, meta.n_layers, meta.embed_dim, meta.pooling) == ("bert", 1, HIDDEN, "mean")


def test_it_is_written_once(cache, weights_file, monkeypatch):
    folder = model_folder(weights_file, "abc")
    monkeypatch.setattr(module, "_write", lambda *_: pytest.fail("written again"))
    assert model_folder(weights_file, "abc") == folder
    assert model_folder(weights_file.with_name("moved.bin"), "abc") == folder, "the file itself is not needed"


def test_later_starts_do_not_read_the_weights(cache, weights_file, monkeypatch):
    folder = model_folder(weights_file, "abc")
    file_digest._read.cache_clear()
    digested: list[str] = []
    monkeypatch.setattr(module, "sha256_of", lambda path: digested.append(path.name) or file_digest.sha256_of(path))
    model_folder(weights_file, "abc")
    assert "tokenizer.json" in digested
    assert "model.safetensors" not in digested
    assert file_digest._read.cache_info().currsize == len(set(digested)), folder


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"])
@pytest.mark.parametrize("damage", [flip_byte, Path.unlink, lambda path: os.truncate(path, 20)])
def test_what_is_damaged_is_written_again(cache, weights_file, name, damage):
    folder = model_folder(weights_file, "abc")
    before = (folder / name).read_bytes()
    damage(folder / name)
    assert (model_folder(weights_file, "abc") / name).read_bytes() == before


def test_a_flipped_bit_that_left_no_trace_is_found_before_the_weights_are_loaded(cache, weights_file):
    path = model_folder(weights_file, "abc") / "model.safetensors"
    stat = path.stat()
    flip_byte(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    file_digest._read.cache_clear()  # as in another process
    folder = model_folder(weights_file, "abc")
    with pytest.raises(ModelFilesError, match=r"model\.safetensors .* is damaged\. Delete the folder"):
        hub.check_blobs(folder, ["model.safetensors"])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), safetensors.SafetensorError("I/O error")])
def test_a_full_disk_leaves_nothing_and_is_said(cache, weights_file, monkeypatch, error):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(safetensors.numpy, "save_file", fail)
    with pytest.raises(ModelFilesError, match=r"takes 85 MB \(.* MB are free there\).* E5STUDIO_CACHE"):
        model_folder(weights_file, "abc")
    assert list((cache / "four-bit").iterdir()) == []


def test_a_cache_that_is_no_folder(cache, weights_file):
    cache.write_text("a file")
    with pytest.raises(ModelFilesError, match=r"cannot be written as a model under .*Not a directory"):
        model_folder(weights_file, "abc")
