"""What a dialect stands on: the models, the roles, the engine, and what one request did with them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from e5studio.encode_report import EncodeReport, ReportNotes
from e5studio.server.fields import Body
from e5studio.server.preparation import TextPart
from e5studio.server.request_errors import STATUSES, ErrorKind, RequestError
from e5studio.server.roles import Roles
from e5studio.server.schemas import Schema
from e5studio.server.served_models import Models, NamedModel
from e5studio.server.text_engine import Embedded, TextEngine, TokenVectors
from e5studio.server.token_ids import TokenIds


@dataclass(frozen=True)
class Service:
    """What all requests of a server share.

    Attributes:
        models: The models that requests can name.
        engine: What computes.
        roles: How prompts are chosen.
        token_ids: What token ids in place of texts mean.
        max_items: Most texts of a request.
        max_concurrent: Most requests at a time.
    """

    models: Models
    engine: TextEngine
    roles: Roles = field(default_factory=Roles)
    token_ids: TokenIds = field(default_factory=TokenIds)
    max_items: int = 2_048
    max_concurrent: int = 512


@dataclass
class Call:
    """One request, and what it did, for headers, metrics and the log.

    Attributes:
        service: Of the server.
        body: The request's JSON; empty for a GET.
        path: Parameters of the path.
        named: The model, once that is known.
        parts: The texts that were embedded.
        embedded: And their vectors.
        n_tokens: Tokens that the model read of them.
    """

    service: Service
    body: Body
    path: Mapping[str, str]
    named: NamedModel | None = None
    parts: list[TextPart] = field(default_factory=list)
    embedded: list[Embedded] = field(default_factory=list)
    n_tokens: int = 0

    def model_of_body(self) -> NamedModel:
        """The model that the body names; errors as `Models.find`."""
        self.named = self.service.models.of_body(self.body)
        return self.named

    def find_model(self, name: str | None) -> NamedModel:
        """The model of a name; errors as `Models.find`."""
        self.named = self.service.models.find(name)
        return self.named

    def first_model(self) -> NamedModel:
        """The model of routes that name none."""
        model = next(iter(self.service.models))
        self.named = NamedModel(model, model.name)
        return self.named

    async def embed(self, named: NamedModel, parts: Sequence[TextPart]) -> list[Embedded]:
        """The vectors of each part; errors as `TextEngine.embed`."""
        self.parts = list(parts)
        self.embedded = await self.service.engine.embed(named.model, parts)
        self.n_tokens = sum(sum(each.report.n_tokens.tolist()) for each in self.embedded)
        return self.embedded

    def truncated(self) -> list[dict[str, Any]]:
        """What was cut, text by text, in a form for JSON."""
        several = len(self.parts) > 1
        return [
            {**({"field": part.param} if several else {}), **cut}
            for part, each in zip(self.parts, self.embedded, strict=False)
            for cut in _cuts(each.report)
        ]

    def warnings(self) -> list[str]:
        """What the client should know about its texts, as sentences."""
        sentences: list[str] = []
        for part, each in zip(self.parts, self.embedded, strict=False):
            notes = ReportNotes().add(each.report, f"{part.param}.{{}}".format)
            sentences += notes.sentences().values()
        return sentences

    async def token_vectors(self, named: NamedModel, parts: Sequence[TextPart]) -> TokenVectors:
        """The vectors of the tokens of each part; errors as `TextEngine.token_vectors`."""
        return await self.service.engine.token_vectors(named.model, parts)

    @property
    def fingerprint(self) -> str:
        """Of the encoder that embedded the texts."""
        return self.embedded[0].fingerprint


Handler = Callable[[Call], Awaitable[Any]]
"""Answers with what JSON can hold, or with `PlainAnswer`."""


@dataclass(frozen=True)
class PlainAnswer:
    """An answer that is no JSON.

    Attributes:
        content: Its bytes.
        media_type: Of them.
        status: Its status.
    """

    content: bytes
    media_type: str = "text/plain; charset=utf-8"
    status: int = 200


@dataclass(frozen=True)
class Dialect:
    """How a family of clients reads errors.

    Attributes:
        name: For metrics.
        error_body: The body of an error with a status.
        statuses: Statuses of kinds of errors that differ from the usual ones.
    """

    name: str
    error_body: Callable[[RequestError, int], Any]
    statuses: Mapping[ErrorKind, int] = field(default_factory=dict)

    def status(self, kind: ErrorKind) -> int:
        """The status of a kind of error."""
        return self.statuses.get(kind, STATUSES[kind])


@dataclass(frozen=True)
class DialectRoute:
    """One route of a dialect.

    Attributes:
        method: GET or POST.
        path: As Starlette writes it.
        handler: What answers.
        body: The fields of its body; None for a GET, and for routes that only refuse.
        answer: What its answer is.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    body: Schema | None = None
    answer: Literal["object", "array"] = "object"


def _cuts(report: EncodeReport) -> list[dict[str, Any]]:
    return [
        {"index": cut.index, "tokens": cut.n_read + cut.n_dropped, "kept": cut.n_read, "exact": cut.exact}
        for cut in report.truncated
    ]
