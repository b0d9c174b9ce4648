"""What a dialect asks of an engine: vectors of texts, and of their tokens. It does not say how they are computed.

`engine` merges the texts of all requests into batches; the Studio computes one request after another, in its own queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from e5studio.encode_report import EncodeReport
from e5studio.prepared_texts import TokenEmbeddings
from e5studio.server.preparation import TextPart
from e5studio.server.served_models import OfferedModel
from e5studio.similarity import FloatArray


@dataclass(frozen=True)
class Timings:
    """Seconds that a request spent."""

    tokenization: float = 0.0
    queue: float = 0.0
    inference: float = 0.0


@dataclass(frozen=True)
class Embedded:
    """The vectors of one part of a request.

    Attributes:
        vectors: Not normalised, (n, embed_dim), in the order of the texts.
        report: What was done to the texts.
        fingerprint: Of the encoder.
        timings: How long it took.
    """

    vectors: FloatArray
    report: EncodeReport
    fingerprint: str
    timings: Timings = Timings()


@dataclass(frozen=True)
class TokenVectors:
    """The vectors of the tokens of each text.

    Attributes:
        of_parts: Of each part those of its texts.
        fingerprint: Of the encoder.
    """

    of_parts: Sequence[Sequence[TokenEmbeddings]]
    fingerprint: str


class TextEngine(Protocol):
    """Computes for requests."""

    async def embed(self, model: OfferedModel, parts: Sequence[TextPart]) -> list[Embedded]:
        """The vectors of all parts of a request.

        Raises:
            RequestError: It is refused or fails. No vectors leave then.
        """

    async def token_vectors(self, model: OfferedModel, parts: Sequence[TextPart]) -> TokenVectors:
        """The vectors of each text's tokens.

        Raises:
            RequestError: As `embed`; or the model's backend gives none.
        """
