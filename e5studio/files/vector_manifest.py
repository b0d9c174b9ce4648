"""What a file of vectors says of itself: how they were made, and the digests by which a changed file is known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import FileFormatError
from e5studio.spec import EncoderSpec

_FORMAT = 2


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
class ContentDigests:
    """SHA-256 of what a file holds, whatever its format, compression and order of columns.

    Attributes:
        vectors: Of the numbers of all rows as little-endian float32, NaN in rows without a vector.
        texts: Of the texts; None where the file has none.
    """

    vectors: str
    texts: str | None = None


def to_json(manifest: VectorManifest, digests: ContentDigests) -> dict[str, Any]:
    """The record that a file keeps."""
    return {
        "format": _FORMAT,
        "fingerprint": manifest.spec.fingerprint,
        **asdict(manifest),
        "sha256": {"manifest": _digest(manifest), **asdict(digests)},
    }


def from_json(path: Path, content: bytes) -> tuple[VectorManifest, ContentDigests]:
    """Read a record.

    Args:
        path: Where it stands, for messages.
        content: What `to_json` gave, as JSON.

    Raises:
        FileFormatError: It is another record, or one of another version.
    """
    try:
        record = json.loads(content)
        is_other_version = record.get("format", _FORMAT) != _FORMAT
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if is_other_version:
        raise FileFormatError(
            f"{path} was written by a version of E5 Studio that stores vectors in another way. Encode the texts again."
        )
    try:
        spec = EncoderSpec(**record["spec"])
        manifest = VectorManifest(spec, **{each.name: record[each.name] for each in fields(VectorManifest)[1:]})
        expected = record["sha256"].pop("manifest")
        digests = ContentDigests(**record["sha256"])
        for part in (manifest, spec, digests):
            _check_types(part)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(path, error) from error
    if record.get("fingerprint") != spec.fingerprint or expected != _digest(manifest):
        raise FileFormatError(
            f"{path} was changed or damaged after it was written: what it says of its encoder and prompt does not have "
            "the digest that it gives. Encode the texts again."
        )
    return manifest, digests


def add_texts(digest: Any, texts: Iterable[str | None]) -> None:
    """Add texts to a digest, with their lengths, so that no text can pass for parts of two."""
    for text in texts:
        content = b"" if text is None else text.encode()
        digest.update((0 if text is None else len(content) + 1).to_bytes(8, "little") + content)


def as_stored(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Vectors as the bytes that are hashed."""
    return np.ascontiguousarray(vectors, "<f4")


def first_line(error: Exception) -> str:
    """The message of an error, cut: it may quote a whole header."""
    line = (str(error) or type(error).__name__).split("\n", maxsplit=1)[0]
    return line[:200].rstrip(". ")


def _digest(manifest: VectorManifest) -> str:
    return hashlib.sha256(json.dumps(asdict(manifest), sort_keys=True).encode()).hexdigest()


def _unreadable(path: Path, error: Exception) -> FileFormatError:
    return FileFormatError(
        f"{path} does not describe vectors as this version of E5 Studio does ({first_line(error)}). "
        "Encode the texts again."
    )


def _check_types(record: VectorManifest | EncoderSpec | ContentDigests) -> None:
    """Refuse values of other types than annotated, which JSON may contain."""
    for name, hint in get_type_hints(type(record)).items():
        value = getattr(record, name)
        if hint is int:
            if type(value) is not int or value < 1:
                raise TypeError(f"{name!r} is no whole number above 0")
        elif not isinstance(value, str | EncoderSpec) and not (value is None and hint == str | None):
            raise TypeError(f"{name!r} is not text but {type(value).__name__}")
