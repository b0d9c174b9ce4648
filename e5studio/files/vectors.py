"""Files of vectors (.npy or .parquet) that store the encoder's fingerprint, and digests of what they hold.

Written block by block, and renamed to their name when complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from e5studio.errors import FileFormatError, FingerprintMismatchError
from e5studio.files.arrow import import_pyarrow
from e5studio.files.atomic import atomic_files
from e5studio.files.npy_vectors import read_npy, sidecar_path, write_npy
from e5studio.files.parquet_vectors import read_parquet, read_texts, write_parquet
from e5studio.files.vector_block import VectorBlock
from e5studio.files.vector_manifest import ContentDigests, VectorManifest
from e5studio.similarity import FloatArray
from e5studio.spec import EncoderSpec

VECTOR_ENDINGS = (".npy", ".parquet")


@dataclass(frozen=True)
class VectorFile:
    """Vectors read from a file.

    Attributes:
        path: The file.
        manifest: How they were made.
        vectors: (rows, embed_dim) float32; rows without a vector are NaN.
        digests: Of a Parquet file, by which changed texts are known.
    """

    path: Path
    manifest: VectorManifest
    vectors: FloatArray
    digests: ContentDigests | None = None

    def texts(self, rows: Sequence[int]) -> list[str | None]:
        """The texts of some rows; None if the file has none, as .npy.

        Raises:
            FileFormatError: They are not those that the vectors were made of.
        """
        return [None] * len(rows) if self.digests is None else read_texts(self.path, rows, self.digests)

    def check_made_by(self, spec: EncoderSpec) -> None:
        """Refuse a comparison with the vectors of another encoder.

        Raises:
            FingerprintMismatchError: The encoders differ; the message says in what.
        """
        check_made_by(self.path, self.manifest.spec, spec)


def check_made_by(path: Path, maker: EncoderSpec, spec: EncoderSpec) -> None:
    """Refuse a comparison of the vectors in a file with those of another encoder than their maker.

    Raises:
        FingerprintMismatchError: The encoders differ; the message says in what.
    """
    if maker.fingerprint == spec.fingerprint:
        return
    theirs, ours = asdict(maker), asdict(spec)
    differing = [f"{name} {theirs[name]!r} and not {ours[name]!r}" for name in ours if theirs[name] != ours[name]]
    raise FingerprintMismatchError(
        f"{path} was made with {', '.join(differing)}, so its vectors cannot be compared with this encoder's.",
        "Search with the encoder that made them, or encode the texts again.",
    )


def check_vector_ending(path: Path) -> None:
    """Refuse names that end in neither .npy nor .parquet, and Parquet without pyarrow (MissingDependencyError)."""
    if path.suffix.lower() not in VECTOR_ENDINGS:
        raise FileFormatError(f"{path} ends in {path.suffix!r}. Vectors are stored in .npy or .parquet files.")
    if path.suffix.lower() == ".parquet":
        import_pyarrow()


def files_of(path: Path) -> list[Path]:
    """The files that `write_vectors` makes under a name."""
    return [path, sidecar_path(path)] if path.suffix.lower() == ".npy" else [path]


@contextmanager
def write_vectors(
    path: Path,
    manifest: VectorManifest,
    n_rows: int,
    *,
    overwrite: bool = False,
    more: Mapping[str, type[str] | type[int]] | None = None,
) -> Iterator[Callable[[VectorBlock], None]]:
    """Write vectors block by block; the file appears when the block of code ends without an error.

    Args:
        path: Ends in .npy or .parquet.
        manifest: How the vectors were made.
        n_rows: Rows of all blocks together.
        overwrite: Replace a file that exists.
        more: Further columns of a Parquet file and what they hold; .npy has no room for them.

    Raises:
        FileFormatError: Another ending, or another number of rows came.
        OutputError: The file exists, or another run is writing it.
        OSError: The disk is full, or the folder is missing or not writable.
    """
    check_vector_ending(path)
    if path.suffix.lower() == ".npy":
        with write_npy(path, manifest, n_rows, overwrite=overwrite) as write:
            yield write
    else:
        with (
            atomic_files(path, overwrite=overwrite) as (file,),
            write_parquet(file, manifest, n_rows, more or {}) as write,
        ):
            yield write


def read_vectors(path: Path) -> VectorFile:
    """Read what `write_vectors` wrote.

    Raises:
        FileFormatError: It is damaged or another kind of file, was changed by another program, or its manifest is
            missing or of another run.
    """
    check_vector_ending(path)
    if path.suffix.lower() == ".npy":
        return VectorFile(path, *read_npy(path))
    manifest, digests, vectors = read_parquet(path)
    return VectorFile(path, manifest, vectors, digests)
