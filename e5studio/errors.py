"""Every error and warning that E5 Studio raises on purpose.

    E5StudioError
    ├── UnknownModelError        no model of that name
    ├── ModelFilesError          files missing, damaged, unsafe, or at odds with what the caller said
    ├── ModelUnavailableError    not on this machine, and the Hub does not answer
    ├── BackendError             a back end, device or precision that is not to be had here
    ├── OutOfMemoryError         would not fit, or did not fit even one text at a time
    ├── PromptError              no role, a contradictory prompt, an instruction where none is taken
    ├── TextError                a text is empty (TextTypeError: or no text at all); `indices` says which
    ├── NonFiniteError           a back end returned NaN, infinity or a zero vector; `indices` says for which texts
    ├── VectorError              arrays that hold no vectors, or a number asked of them that makes no sense
    ├── FingerprintMismatchError vectors of another model, prompt kind, length or precision
    ├── CacheError               a folder in which vectors can't be kept
    ├── FileFormatError          a file of texts or vectors that cannot be read as what it claims to be
    │                            (FileEncodingError: because its encoding is another, or not known)
    ├── UnknownTaskError         no benchmark task of that name, or its data are not to be had
    └── MissingDependencyError   an optional package is not installed

Each message says what was given, what is valid, and what to do next, so that a face
(command line, Studio, plug-in) may show it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence


class E5StudioError(Exception):
    """Base of all errors that are meant for a person to read.

    Args:
        fact: What is wrong.
        advice: What to do about it in Python; a face with other means gives its own in its place.

    Attributes:
        fact: As given; the message is both.
    """

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(f"{fact} {advice}".rstrip())
        self.fact = fact


class UnknownModelError(E5StudioError, ValueError):
    """The name is no model of the table, no local folder, and no description came with it."""


class ModelFilesError(E5StudioError):
    """A model's files are missing, damaged, unsafe, or contradict the description given."""


class ModelUnavailableError(E5StudioError):
    """The model is not on this machine and cannot be downloaded now."""


class BackendError(E5StudioError, ValueError):
    """A back end, device or precision is unknown, or not to be had on this machine."""


class OutOfMemoryError(E5StudioError, MemoryError):
    """A model or a single text does not fit into memory."""


class PromptError(E5StudioError, ValueError):
    """It is not clear, or not possible, which prompt to put in front of the texts."""


class TextError(E5StudioError, ValueError):
    """Some of the texts cannot be embedded.

    Attributes:
        indices: Positions of the offending texts in the caller's list.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class TextTypeError(TextError, TypeError):
    """Some of the texts are not strings."""


class NonFiniteError(E5StudioError, ArithmeticError):
    """A back end returned vectors that must not be used.

    Attributes:
        indices: Positions of the affected texts in the caller's list.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class VectorError(E5StudioError, ValueError):
    """Arrays that hold no vectors, too few of them, or a number asked of them that makes no sense."""


class FingerprintMismatchError(E5StudioError, ValueError):
    """Vectors that are to be compared were made by different encoders."""


class CacheError(E5StudioError, OSError):
    """Vectors can't be kept in the folder given."""


class FileFormatError(E5StudioError, ValueError):
    """A file of texts or vectors cannot be read as what it claims to be."""


class FileEncodingError(FileFormatError):
    """A file of text has bytes that its encoding does not have; said outright, another encoding may read it."""


class UnknownTaskError(E5StudioError, ValueError):
    """No benchmark task has that name, or its data are not on this machine and can't be downloaded."""


class MissingDependencyError(E5StudioError, ImportError):
    """An optional package is needed for this and not installed."""


class E5StudioWarning(UserWarning):
    """Base of all warnings, so that one filter reaches them all."""


class TruncationWarning(E5StudioWarning):
    """Some texts were longer than the model reads."""


class CacheWarning(E5StudioWarning):
    """Vectors that were to be kept could not be, or not be read again; they are computed all the same."""


class PromptWarning(E5StudioWarning):
    """A prompt was probably applied twice, or a default instruction was used."""
