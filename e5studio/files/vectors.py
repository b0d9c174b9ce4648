"""Files of vectors (.npy or .parquet) that store the encoder's fingerprint.

Written block by block, and renamed to their name when complete. Parquet stores the identity in
its schema metadata; for .npy it is in `NAME.npy.json` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_type_hints

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError, FingerprintMismatchError
from e5studio.files.atomic import atomic_file
from e5studio.files.delimited import refuse_repeated
from e5studio.files.parquet import import_pyarrow, open_parquet, parquet_cells, text_columns
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec
from e5studio.tokenization import replace_surrogates

RowStatus = Literal["ok", "empty", "missing", "bad_type", "bad_row", "failed"]
"""Why a row has a vector ("ok") or none; "failed" is a text whose vector was not finite."""

VECTOR_ENDINGS = (".npy", ".parquet")
_FORMAT = 1
_METADATA_KEY = b"e5studio"


@dataclass(frozen=True)
class VectorManifest:
    """How the vectors of a file were made.

    Attributes:
        spec: Identity of the encoder.
        prompt: Prompt in front of every text.
        role: "query" or "document", or None for an explicit prompt.
        instruction: The task given to an instruct model.
        source: Name of the file that the texts came from.
    """

    spec: EncoderSpec
    prompt: str
    role: str | None
    instruction: str | None
    source: str


@dataclass(frozen=True)
class VectorBlock:
    """Some rows to write.

    Attributes:
        texts: The texts, None where there is none.
        statuses: What became of each row.
        vectors: (rows, embed_dim) float32; rows whose status is not "ok" are ignored.
        more: Cells of the further columns of a Parquet file.
    """

    texts: Sequence[str | None]
    statuses: Sequence[RowStatus]
    vectors: FloatArray
    more: Mapping[str, Sequence[str] | Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class ForeignVectors:
    """Vectors of any origin.

    Attributes:
        vectors: (rows, embed_dim), of any real type; NaN in rows without a vector.
        manifest: How they were made, if the file says so.
        texts: The column "text", if there is one.
        titles: The column "title", if there is one.
    """

    vectors: NDArray[Any]
    manifest: VectorManifest | None
    texts: list[str | None] | None
    titles: list[str | None] | None


@dataclass(frozen=True)
class VectorFile:
    """Vectors read from a file.

    Attributes:
        path: The file.
        manifest: How they were made.
        vectors: (rows, embed_dim) float32; rows without a vector are NaN.
    """

    path: Path
    manifest: VectorManifest
    vectors: FloatArray

    def texts(self, rows: Sequence[int]) -> list[str | None]:
        """The texts of some rows; None if the file has none, as .npy."""
        if self.path.suffix.lower() != ".parquet":
            return [None] * len(rows)
        with open_parquet(self.path) as file:
            column = file.read(columns=["text"]).column("text")
            return [column[row].as_py() for row in rows]

    def check_made_by(self, spec: EncoderSpec) -> None:
        """Refuse a comparison with the vectors of another encoder.

        Raises:
            FingerprintMismatchError: The encoders differ; the message says in what.
        """
        if self.manifest.spec.fingerprint == spec.fingerprint:
            return
        theirs, ours = asdict(self.manifest.spec), asdict(spec)
        differing = [f"{name} {theirs[name]!r} and not {ours[name]!r}" for name in ours if theirs[name] != ours[name]]
        raise FingerprintMismatchError(
            f"{self.path} was made with {', '.join(differing)}, so its vectors cannot be compared with this encoder's.",
            "Search with the encoder that made them, or encode the texts again.",
        )


def sidecar_path(path: Path) -> Path:
    """Path of the manifest of an .npy file."""
    return path.with_name(path.name + ".json")


def check_vector_ending(path: Path) -> None:
    """Refuse names that end in neither .npy nor .parquet, and Parquet without pyarrow (MissingDependencyError)."""
    if path.suffix.lower() not in VECTOR_ENDINGS:
        raise FileFormatError(f"{path} ends in {path.suffix!r}. Vectors are stored in .npy or .parquet files.")
    if path.suffix.lower() == ".parquet":
        import_pyarrow()


@contextmanager
def write_vectors(
    path: Path, manifest: VectorManifest, n_rows: int, *, more: Mapping[str, type[str] | type[int]] | None = None
) -> Iterator[Callable[[VectorBlock], None]]:
    """Write vectors block by block; the file appears when the block of code ends without an error.

    Args:
        path: Ends in .npy or .parquet; replaced where it exists.
        manifest: How the vectors were made.
        n_rows: Rows of all blocks together.
        more: Further columns of a Parquet file and what they hold; .npy has no room for them.

    Raises:
        FileFormatError: Another ending, or another number of rows came.
        OSError: The disk is full, or the folder is missing or not writable.
    """
    check_vector_ending(path)
    if path.suffix.lower() == ".npy":
        with _npy_writer(path, manifest, n_rows) as write:
            yield write
    else:
        with atomic_file(path) as file, _parquet_writer(file, manifest, n_rows, more or {}) as write:
            yield write


def read_vectors(path: Path) -> VectorFile:
    """Read what `write_vectors` wrote.

    Raises:
        FileFormatError: It is damaged or another kind of file, or its manifest is missing.
    """
    check_vector_ending(path)
    return _read_npy(path) if path.suffix.lower() == ".npy" else _read_parquet(path)


def read_foreign_vectors(
    path: Path, ending: str, *, n_rows: int, embed_dim: int, manifest: Path | None = None, max_chars: int | None = None
) -> ForeignVectors:
    """Read vectors that another program may have written; checks the shape before reading.

    Args:
        path: The file.
        ending: What to read it as: one of VECTOR_ENDINGS.
        n_rows: Expected number of vectors.
        embed_dim: Expected dimensions.
        manifest: The file that `write_vectors` writes beside an .npy, if there is one.
        max_chars: Most characters of all texts, and of all titles; a small Parquet file may repeat a huge text.

    Raises:
        FileFormatError: It is damaged or another kind of file, or has another shape or more text.
    """
    if ending == ".parquet":
        return _read_foreign_parquet(path, n_rows, embed_dim, max_chars)
    vectors = _open_npy(path)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        raise FileFormatError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}. Vectors are real numbers, a row for each text."
        )
    _check_shape(path, vectors.shape, (n_rows, embed_dim))
    made_by = None if manifest is None else _from_json(manifest, manifest.read_bytes())
    return ForeignVectors(np.array(vectors), made_by, None, None)


@contextmanager
def _npy_writer(path: Path, manifest: VectorManifest, n_rows: int) -> Iterator[Callable[[VectorBlock], None]]:
    embed_dim = manifest.spec.embed_dim
    without_vector: dict[str, list[int]] = {}
    written = 0
    with atomic_file(path) as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, embed_dim)}
        np.lib.format.write_array_header_1_0(file, header)

        def write(block: VectorBlock) -> None:
            nonlocal written
            rows = np.array(block.vectors, "<f4").reshape(-1, embed_dim)
            for row, status in enumerate(block.statuses):
                if status != "ok":
                    rows[row] = np.nan
                    without_vector.setdefault(status, []).append(written + row)
            file.write(rows.tobytes())
            written += len(rows)

        yield write
        _check_row_count(written, n_rows)
        # In this order a crash in between leaves an array without a manifest, which is refused,
        # and never an array beside the manifest of another.
        sidecar_path(path).unlink(missing_ok=True)
    with atomic_file(sidecar_path(path)) as file:
        content = {**_to_json(manifest), "n_rows": n_rows, "nan_rows": without_vector}
        file.write(json.dumps(content, indent=1).encode())


@contextmanager
def _parquet_writer(
    file: BinaryIO, manifest: VectorManifest, n_rows: int, more: Mapping[str, type[str] | type[int]]
) -> Iterator[Callable[[VectorBlock], None]]:
    arrow, parquet = import_pyarrow(), import_pyarrow("pyarrow.parquet")
    embed_dim = manifest.spec.embed_dim
    schema = arrow.schema(
        [
            ("row", arrow.int64()),
            ("text", arrow.string()),
            ("status", arrow.string()),
            # Not a list of fixed size: Arrow before version 26 can neither write nor read one with nulls.
            ("vector", arrow.list_(arrow.float32())),
            *((name, arrow.int64() if kind is int else arrow.string()) for name, kind in more.items()),
        ],
        metadata={_METADATA_KEY: json.dumps(_to_json(manifest))},
    )
    written = 0
    with parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=["status"]) as writer:

        def write(block: VectorBlock) -> None:
            nonlocal written
            missing = np.array([status != "ok" for status in block.statuses])
            present = np.ascontiguousarray(block.vectors[~missing], np.float32).ravel()
            ends = np.cumsum(np.where(missing, 0, embed_dim), dtype=np.int32)
            starts_and_end = arrow.array(np.concatenate([np.zeros(1, np.int32), ends]))
            columns = [
                arrow.array(np.arange(written, written + len(missing))),
                arrow.array([text and replace_surrogates(text) for text in block.texts], arrow.string()),
                arrow.array(block.statuses, arrow.string()),
                arrow.ListArray.from_arrays(starts_and_end, arrow.array(present), mask=arrow.array(missing)),
                *(arrow.array([_storable(cell) for cell in block.more[name]]) for name in more),
            ]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
            written += len(missing)

        yield write
    _check_row_count(written, n_rows)


def _storable(cell: str | int) -> str | int:
    return replace_surrogates(cell) if isinstance(cell, str) else cell


def _check_row_count(written: int, expected: int) -> None:
    if written != expected:
        raise FileFormatError(
            f"Expected {expected:,} rows and got {written:,}: the file of texts changed while it was read. "
            "Run it again."
        )


def _open_npy(path: Path) -> NDArray[Any]:
    try:
        with np.errstate(over="raise"):  # a shape whose product wraps around would pass for a small one
            array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise  # Python's own message if it is missing or not readable
    except Exception as error:
        # The header is read as Python code, and numpy doesn't say which errors a broken one leads to: besides
        # ValueError they are at least OverflowError, SyntaxError, TokenError, IndexError and MemoryError.
        raise FileFormatError(
            f"{path} cannot be read as a numpy array: {_first_line(error)}. Save it anew with numpy.save."
        ) from error
    return array


def _first_line(error: Exception) -> str:
    """The message of an error, cut: it may quote a whole header."""
    line = (str(error) or type(error).__name__).split("\n", maxsplit=1)[0]
    return line[:200].rstrip(". ")


def _check_shape(path: Path, shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    if shape[0] != expected[0]:
        raise FileFormatError(
            f"{path} has {shape[0]:,} vectors, and there are {expected[0]:,} texts. Each text needs one, in the same "
            "order."
        )
    if shape[1] != expected[1]:
        raise FileFormatError(
            f"The vectors of {path} have {shape[1]:,} dimensions, those of this model {expected[1]:,}. "
            "Take the model that made them."
        )


def _read_foreign_parquet(path: Path, n_rows: int, embed_dim: int, max_chars: int | None) -> ForeignVectors:
    with open_parquet(path) as file:
        schema = file.schema_arrow
        content = (schema.metadata or {}).get(_METADATA_KEY)
        name = _vector_column(path, schema)
        _check_shape(path, (file.metadata.num_rows, embed_dim), (n_rows, embed_dim))

        def check(widths: NDArray[np.integer[Any]]) -> None:
            if len(widths) > 1:
                raise FileFormatError(
                    f"{path}: the vectors of column {name!r} differ in length; they have from {widths[0]:,} to "
                    f"{widths[-1]:,} dimensions. All need {embed_dim:,}. Embed the texts anew."
                )
            _check_shape(path, (n_rows, int(widths[0])), (n_rows, embed_dim))

        vectors = _read_column(file, name, (n_rows, embed_dim), check)
        texts, titles = (_text_column(path, schema, name, n_rows, max_chars) for name in ("text", "title"))
    return ForeignVectors(vectors, None if content is None else _from_json(path, content), texts, titles)


def _text_column(path: Path, schema: Any, name: str, n_rows: int, max_chars: int | None) -> list[str | None] | None:
    """The cells of a column; None if there is no column of text of this name."""
    if not text_columns(path).get(name, False):
        return None
    refuse_repeated(path, (each for each in schema.names if each == name), ". Rename one.")
    cells: list[str | None] = []
    n_chars = 0
    for [block] in parquet_cells(path, {name: "text"}):
        cells += block
        n_chars += sum(len(cell) for cell in block if cell)
        if max_chars is not None and n_chars > max_chars:
            raise FileFormatError(
                f"{path} has more than {max_chars:,} characters in column {name!r}, which is more than the corpus "
                "has. Take the file that was made from these texts."
            )
    if len(cells) != n_rows:
        raise FileFormatError(f"{path} has {len(cells):,} cells in column {name!r}, not {n_rows:,}. Save it anew.")
    return cells


def _vector_column(path: Path, schema: Any) -> str:
    """The column "vector", or the only column of lists of numbers."""
    types = import_pyarrow("pyarrow.types")
    candidates = [
        field.name
        for field in schema
        if (types.is_list(field.type) or types.is_large_list(field.type) or types.is_fixed_size_list(field.type))
        and types.is_floating(field.type.value_type)
    ]
    if "vector" in candidates:
        return "vector"
    if len(candidates) == 1:
        return str(candidates[0])
    listed = ", ".join(map(repr, candidates or schema.names))
    if candidates:
        raise FileFormatError(f"{path} has several columns of vectors: {listed}. Name the one that counts 'vector'.")
    raise FileFormatError(f"{path} has no column of vectors (lists of numbers). Its columns: {listed}.")


def _read_npy(path: Path) -> VectorFile:
    vectors = _open_npy(path)
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        raise FileFormatError(
            f"{sidecar.name} is missing beside {path}. It says which model made the vectors; without it they cannot "
            "be searched. Bring it back, or encode the texts again."
        )
    manifest = _from_json(sidecar, sidecar.read_bytes())
    if vectors.dtype != np.float32 or vectors.ndim != 2 or vectors.shape[1] != manifest.spec.embed_dim:
        raise FileFormatError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}, but {sidecar.name} says float32 of "
            f"{manifest.spec.embed_dim} dimensions. One of the two is of another run; encode the texts again."
        )
    return VectorFile(path, manifest, vectors)


def _read_parquet(path: Path) -> VectorFile:
    with open_parquet(path) as file:
        content = (file.schema_arrow.metadata or {}).get(_METADATA_KEY)
        if content is None or "vector" not in file.schema_arrow.names:
            raise FileFormatError(
                f"{path} does not say which model made its vectors. Only files that `e5studio encode` wrote "
                "are searched."
            )
        manifest = _from_json(path, content)
        embed_dim = manifest.spec.embed_dim

        def check(widths: NDArray[np.integer[Any]]) -> None:
            if (widths != embed_dim).any():
                raise FileFormatError(
                    f"{path} holds vectors that do not have {embed_dim} dimensions each, so it was "
                    "changed after it was written. Encode the texts again."
                )

        vectors = _read_column(file, "vector", (file.metadata.num_rows, embed_dim), check)
    return VectorFile(path, manifest, vectors)


def _read_column(
    file: Any, name: str, shape: tuple[int, int], check: Callable[[NDArray[np.integer[Any]]], None]
) -> FloatArray:
    """The vectors of a column, NaN in rows without one; `check` may refuse the widths of some of them."""
    compute = import_pyarrow("pyarrow.compute")
    vectors = np.full(shape, np.nan, np.float32)
    start = 0
    for batch in file.iter_batches(batch_size=1024, columns=[name]):
        column = batch.column(0)
        present = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        if len(present):
            column_of_present = column.drop_null()
            # Each, not their sum: a short one before a long one would shift numbers from vector to vector.
            check(np.unique(compute.list_value_length(column_of_present).to_numpy(zero_copy_only=False)))
            values = column_of_present.flatten().to_numpy(zero_copy_only=False)
            vectors[start + present] = values.reshape(-1, shape[1])
        start += len(column)
    return vectors


def _to_json(manifest: VectorManifest) -> dict[str, Any]:
    return {"format": _FORMAT, "fingerprint": manifest.spec.fingerprint, **asdict(manifest)}


def _from_json(path: Path, content: bytes) -> VectorManifest:
    try:
        record = json.loads(content)
        spec = EncoderSpec(**record["spec"])
        manifest = VectorManifest(spec, **{each.name: record[each.name] for each in fields(VectorManifest)[1:]})
        _check_types(manifest)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FileFormatError(
            f"{path} does not describe vectors as this version of E5 Studio does ({_first_line(error)}). "
            "Encode the texts again."
        ) from error
    if record.get("format") != _FORMAT or record.get("fingerprint") != spec.fingerprint:
        raise FileFormatError(
            f"{path} was written by a version of E5 Studio that computed vectors in another way. "
            "Encode the texts again."
        )
    return manifest


def _check_types(manifest: VectorManifest) -> None:
    """Refuse values of other types than annotated, which JSON may contain."""
    for record in (manifest, manifest.spec):
        for name, hint in get_type_hints(type(record)).items():
            value = getattr(record, name)
            if hint is int:
                if type(value) is not int or value < 1:
                    raise TypeError(f"{name!r} is no whole number above 0")
            elif not isinstance(value, str | EncoderSpec) and not (value is None and hint == str | None):
                raise TypeError(f"{name!r} is not text but {type(value).__name__}")
