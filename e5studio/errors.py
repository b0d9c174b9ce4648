"""Every error and warning that E5 Studio raises on purpose.

Each message says what was given, what is valid, and what to do next, so that any front end
(command line, Studio, plug-in) can show it as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class E5StudioError(Exception):
    """Base of all errors whose message is meant for users.

    Args:
        fact: What is wrong.
        advice: What to do about it in Python; another front end may replace it with its own.

    Attributes:
        fact: What is wrong, without the advice; the message has both.
    """

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(f"{fact} {advice}".rstrip())
        self.fact = fact


class UnknownModelError(E5StudioError, ValueError):
    """The name is neither a model of the table nor a local folder, and no description was given."""


class ModelFilesError(E5StudioError):
    """A model's files are missing, damaged, unsafe, or contradict the description given."""


class ModelUnavailableError(E5StudioError):
    """The model is not on this machine and cannot be downloaded now."""


class BackendError(E5StudioError, ValueError):
    """A backend, device or precision is unknown, or not available on this machine."""


class OutOfMemoryError(E5StudioError, MemoryError):
    """A model or a single text does not fit into memory."""


class PromptError(E5StudioError, ValueError):
    """The prompt is not specified, or not possible with this model."""


class _IndexedError(E5StudioError):
    """An error of some of the items of a list.

    Attributes:
        indices: Indices of these items in the caller's list.
    """

    def __init__(self, message: str, indices: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.indices = tuple(indices)


class TextError(_IndexedError, ValueError):
    """Some of the texts cannot be embedded; `indices` says which."""


class TextTypeError(TextError, TypeError):
    """Some of the texts are not strings."""


class NonFiniteError(_IndexedError, ArithmeticError):
    """Some of the vectors hold NaN or infinity or are zero; `indices` says which."""


class VectorError(E5StudioError, ValueError):
    """An array does not hold vectors, holds too few, or an argument is out of range."""


class FingerprintMismatchError(E5StudioError, ValueError):
    """The vectors to compare were made by different encoders."""


class CacheError(E5StudioError, OSError):
    """A folder cannot hold a vector cache."""


class FileFormatError(E5StudioError, ValueError):
    """A file of texts or vectors cannot be read as its format."""


class NoRowsError(FileFormatError):
    """A file of texts is empty, or has a header only."""


class FileOptionError(FileFormatError):
    """How a file is meant cannot be told from the file, so that an option has to say it.

    Args:
        fact: What is wrong.
        advice: How to say it on the command line.
        option: Which option says it.

    Attributes:
        option: As given; a front end with other names for it makes its own advice.
    """

    def __init__(self, fact: str, advice: str, option: Literal["encoding", "delimiter", "quotes"]) -> None:
        super().__init__(fact, advice)
        self.option = option


class FileEncodingError(FileOptionError):
    """A text file has bytes that are invalid in its encoding; naming another encoding may help."""

    def __init__(self, fact: str, advice: str) -> None:
        super().__init__(fact, advice, "encoding")


class OutputError(E5StudioError, OSError):
    """A file exists that may not be replaced, or another run is writing it."""


class JobError(E5StudioError):
    """A job cannot be run where it should, or a worker of it failed."""


class UnknownTaskError(E5StudioError, ValueError):
    """No benchmark task has that name, or its data can neither be found here nor downloaded."""


class MissingDependencyError(E5StudioError, ImportError):
    """A feature needs an optional package that is not installed."""


class UnsupportedError(E5StudioError, NotImplementedError):
    """An option or a method of another package that an adapter can't honour."""


class E5StudioWarning(UserWarning):
    """Base of all warnings, so that one filter catches them all."""


class TruncationWarning(E5StudioWarning):
    """Some texts were longer than the model reads."""


class UnreadTextWarning(E5StudioWarning):
    """Some texts hold characters that the model does not know, or that its tokenizer leaves out."""


class JudgementWarning(E5StudioWarning):
    """A benchmark's judgements name documents or queries that its files lack."""


class CacheWarning(E5StudioWarning):
    """Vectors could not be written to the cache or read from it; they are computed instead."""


class PromptWarning(E5StudioWarning):
    """A prompt was probably applied twice, or a default instruction was used."""


class FallbackWarning(E5StudioWarning):
    """The 4-bit weights of a model are used, because the full ones cannot be fetched."""
