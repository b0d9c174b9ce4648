"""Vectors in an .npy file, with their manifest in `NAME.npy.json` beside it: one unit, tied by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.files.atomic import atomic_files
from e5studio.files.vector_block import VectorBlock, check_row_count
from e5studio.files.vector_manifest import (
    ContentDigests,
    VectorManifest,
    as_stored,
    first_line,
    from_json,
    to_json,
)

_ROWS_AT_ONCE = 16_384


def sidecar_path(path: Path) -> Path:
    """Path of the manifest of an .npy file."""
    return path.with_name(path.name + ".json")


@contextmanager
def write_npy(
    path: Path, manifest: VectorManifest, n_rows: int, *, overwrite: bool
) -> Iterator[Callable[[VectorBlock], None]]:
    """Write an array and its manifest; arguments as `write_vectors` takes them."""
    embed_dim = manifest.spec.embed_dim
    without_vector: dict[str, list[int]] = {}
    digest = hashlib.sha256()
    written = 0
    with atomic_files(path, sidecar_path(path), overwrite=overwrite) as (array, sidecar):
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, embed_dim)}
        np.lib.format.write_array_header_1_0(array, header)

        def write(block: VectorBlock) -> None:
            nonlocal written
            rows = block.rows(embed_dim)
            for row, status in enumerate(block.statuses):
                if status != "ok":
                    without_vector.setdefault(status, []).append(written + row)
            array.write(rows.data)
            digest.update(rows.data)
            written += len(rows)

        yield write
        check_row_count(written, n_rows)
        record = to_json(manifest, ContentDigests(digest.hexdigest()))
        content = {**record, "n_rows": n_rows, "nan_rows": without_vector}
        sidecar.write(json.dumps(content, indent=1).encode())


def read_npy(path: Path) -> tuple[VectorManifest, NDArray[np.float32]]:
    """The manifest and the vectors, of which the system loads what is used.

    Raises:
        FileFormatError: One of the two is damaged or missing, or they do not belong together.
    """
    vectors = open_npy(path)
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        raise FileFormatError(
            f"{sidecar.name} is missing beside {path}. It says which model made the vectors; without it they cannot "
            "be searched. Bring it back, or encode the texts again."
        )
    manifest, digests = from_json(sidecar, sidecar.read_bytes())
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != manifest.spec.embed_dim:
        raise FileFormatError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}, but {sidecar.name} says float32 of "
            f"{manifest.spec.embed_dim} dimensions. One of the two is of another run; encode the texts again."
        )
    check_digest(path, vectors, sidecar, digests)
    return manifest, vectors


def check_digest(path: Path, vectors: NDArray[Any], sidecar: Path, digests: ContentDigests) -> None:
    """Refuse an array that is not the one its manifest was written with.

    Raises:
        FileFormatError: It is another.
    """
    digest = hashlib.sha256()
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        digest.update(as_stored(vectors[start : start + _ROWS_AT_ONCE]).data)
    if digest.hexdigest() != digests.vectors:
        raise FileFormatError(
            f"{path} does not hold the vectors that {sidecar.name} describes: one of the two is of another run, or was "
            "changed or damaged after it was written. Bring back the other, or encode the texts again."
        )


def open_npy(path: Path) -> NDArray[Any]:
    """An array on disk, of which nothing is run.

    Raises:
        FileFormatError: It is no array.
    """
    try:
        with np.errstate(over="raise"):  # a shape whose product wraps around would pass for a small one
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise  # Python's own message if it is missing or not readable
    except Exception as error:
        # The header is read as Python code, and numpy doesn't say which errors a broken one leads to: besides
        # ValueError they are at least OverflowError, SyntaxError, TokenError, IndexError and MemoryError.
        raise FileFormatError(
            f"{path} cannot be read as a numpy array: {first_line(error)}. Save it anew with numpy.save."
        ) from error
    return array
