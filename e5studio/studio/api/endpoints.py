"""The endpoints for programs: `/models`, `/score`, `/search`, `/explain`, `/embed`. Their names and arguments stay.

They take the models that /models lists, by name: a request names no folder and no other repository. Where the Studio
is an MCP server, all but `/embed` are tools for assistants: a function's name is the tool's name, and its docstring,
one line an argument, is the tool's description.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast, get_args

import gradio as gr

from e5studio.backends import BackendName, DType
from e5studio.errors import BackendError, PromptError
from e5studio.similarity import scores as score_matrix
from e5studio.studio.api.answers import (
    Answers,
    check_hits_readable,
    check_scores_readable,
    checked_top_k,
    readable,
    shortened,
)
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.error_messages import message_for_visitor
from e5studio.studio.engine.prompt_modes import PromptArguments, PromptMode
from e5studio.studio.engine.sides import with_prompts
from e5studio.studio.serving.gradio_patches import add_endpoint, hide_from_assistants
from e5studio.studio.serving.request_guard import ASSISTANT_HEADER

Result = TypeVar("Result")
_MAX_MESSAGE = 900


def publish(engine: Engine, default_model: str) -> None:
    """Add the endpoints to the Blocks being built."""
    endpoints = Endpoints(engine.for_programs, default_model)
    add_endpoint(endpoints.models, "models", queue=False)
    for function in (endpoints.score, endpoints.embed, endpoints.search, endpoints.explain):
        add_endpoint(function, function.__name__, concurrency_limit=None, concurrency_id="encode")


class Endpoints:
    """The endpoints; Gradio reads the arguments from their signatures.

    Args:
        engine: Computes the answers.
        default_model: The model of requests that name none.
    """

    def __init__(self, engine: Engine, default_model: str) -> None:
        answers = Answers(engine)
        self._engine = engine
        self._default_model = default_model
        self._embed = engine.on_gpu(engine.embed)
        self._search = engine.on_gpu(answers.search)
        self._explain = engine.on_gpu(answers.explain)

    def models(self, request: gr.Request | None = None) -> list[dict[str, Any]] | str:
        """List the models by name, with what is known of each: layers, dimensions, languages, whether it is here."""
        known = [
            {
                "name": card.name,
                "group": card.group,
                "layers": card.n_layers,
                "dimensions": card.embed_dim,
                "max_tokens": card.max_tokens,
                "parameters": card.n_parameters,
                "languages": card.languages,
                "prompts": card.prompts,
                "download": card.download,
                "is_here": card.is_here,
                "is_default": card.name == self._default_model,
            }
            for card in self._engine.catalog.cards()
        ]
        return _for_reader(known, request)

    def score(
        self,
        queries: list[str],
        passages: list[str],
        model: str | None = None,
        instruction: str | None = None,
        prompt_mode: str | None = None,
        dtype: str | None = None,
        backend: str | None = None,
        request: gr.Request | None = None,
    ) -> list[list[float]] | str:
        """Score every query against every passage: cosine x 100, one row a query, one column a passage.

        Queries and passages get the model's own prompts. To find the best of many passages, search is better.

        Args:
            queries: The queries, as bare texts.
            passages: The passages, as bare texts; under "symmetric" and "none" may be empty: queries with each other.
            model: A name that models lists, such as "e5-small-v2"; left out, the one the Studio was started with.
            instruction: The task in one sentence, for instruct models only.
            prompt_mode: "retrieval" (the default), "symmetric" (the query prompt on every text) or "none" (no prompt).
            dtype: The precision; left out, float32 on a processor.
            backend: What computes: "torch", "openvino" or "onnx"; left out, the usual one.
            request: Brought by Gradio.
        """
        with _messages():
            is_self = _is_symmetric(prompt_mode) and not passages
            lists = {"queries": queries} if is_self else {"queries": queries, "passages": passages}
            self._check(lists)
            if _is_of_assistant(request):
                check_scores_readable(len(queries) * len(passages or queries))
            prompts = _prompts(prompt_mode, instruction)[: len(lists)]
            prepare = with_prompts(lists, prompts)
            vectors = self._embed(self._named(model), lists, prepare, *_computing(dtype, backend)).vectors
            return _for_reader(_rows(score_matrix(vectors[0], vectors[-1])), request)

    def embed(
        self,
        texts: list[str],
        role: str | None = None,
        model: str | None = None,
        instruction: str | None = None,
        prompt: str | None = None,
        dtype: str | None = None,
        backend: str | None = None,
    ) -> list[list[float]]:
        """Embed texts as unit vectors, one row a text.

        Args:
            texts: The texts.
            role: "query", "passage" or "symmetric": which of the model's prompts is put in front.
            model: A name that models lists, such as "e5-small-v2"; left out, the one the Studio was started with.
            instruction: The task in one sentence, for instruct models only.
            prompt: A text of your own to put in front, instead of a role's.
            dtype: The precision; left out, float32 on a processor.
            backend: What computes: "torch", "openvino" or "onnx"; left out, the usual one.
        """
        with _messages():
            prompt_name = None if role is None else str(role)
            prompts: list[PromptArguments] = [
                {"prompt_name": prompt_name, "prompt": prompt, "instruction": instruction}
            ]
            lists = {"texts": texts}
            prepare = with_prompts(lists, prompts)
            [vectors] = self._embed(self._named(model), lists, prepare, *_computing(dtype, backend)).vectors
            return _rows(vectors)

    hide_from_assistants(embed)  # nobody reads thousands of numbers

    def search(
        self,
        queries: list[str],
        passages: list[str],
        top_k: int = 5,
        model: str | None = None,
        instruction: str | None = None,
        request: gr.Request | None = None,
    ) -> dict[str, Any] | str:
        """Find the passages that answer each query best: a JSON object with results, one for each query, and notes.

        Each of a result's best passages has its rank, its score (cosine x 100), its number (its place among the
        passages, counted from 1) and the first 400 characters of its text, fewer where there are many. Scores of E5
        models lie close together, mostly between 70 and 90: their order counts, not their height.

        Args:
            queries: The queries, as bare texts.
            passages: The passages to choose from, as bare texts.
            top_k: How many passages to give for each query, from 1 to 100.
            model: A name that models lists, such as "e5-small-v2"; left out, the one the Studio was started with.
            instruction: The task in one sentence, for instruct models only.
            request: Brought by Gradio.
        """
        with _messages():
            self._check({"queries": queries, "passages": passages})
            count = checked_top_k(top_k)
            if not _is_of_assistant(request):
                return self._search(self._named(model), queries, passages, instruction, count)
            check_hits_readable(len(queries) * min(count, len(passages)))
            answer = self._search(self._named(model), queries, passages, instruction, count)
            return readable(shortened(answer))

    def explain(
        self,
        query: str,
        passage: str,
        model: str | None = None,
        instruction: str | None = None,
        request: gr.Request | None = None,
    ) -> dict[str, Any] | str:
        """Explain why a query and a passage score as they do, as a JSON object.

        It holds the score (cosine x 100); for both texts the prompt put in front, the tokens read, what was cut off or
        unknown, and by how many points the score changes when each word is left out; and the word pairs that hold
        most of the score, in points.

        Args:
            query: The query, as a bare text.
            passage: The passage, as a bare text.
            model: A name that models lists, such as "e5-small-v2"; left out, the one the Studio was started with.
            instruction: The task in one sentence, for instruct models only.
            request: Brought by Gradio.
        """
        with _messages():
            return _for_reader(self._explain(self._named(model), query, passage, instruction), request)

    def _named(self, model: str | None) -> str:
        return self._default_model if model is None else model

    def _check(self, lists: Mapping[str, list[str]]) -> None:
        for what, texts in lists.items():
            self._engine.check(texts, what)


@contextmanager
def _messages() -> Iterator[None]:
    """Turn any error into a message for the client."""
    try:
        yield
    except Exception as error:
        # Some clients show the message as HTML, and it may quote the request.
        message = html.escape(message_for_visitor(error)[:_MAX_MESSAGE], quote=False)
        raise gr.Error(message, print_exception=False) from error


def _is_of_assistant(request: gr.Request | None) -> bool:
    """Whether the request came by MCP and not from a program by HTTP."""
    return request is not None and ASSISTANT_HEADER in request.headers


def _for_reader(answer: Result, request: gr.Request | None) -> Result | str:
    """An answer as it is; for assistants as JSON text, where Gradio would send the result of str()."""
    return readable(answer) if _is_of_assistant(request) else answer


def _prompts(prompt_mode: str | None, instruction: str | None) -> list[PromptArguments]:
    """The prompts of queries and of passages; the encoder refuses an instruction that the model does not take."""
    if prompt_mode not in (None, *get_args(PromptMode)):
        choices = ", ".join(map(repr, get_args(PromptMode)))
        raise PromptError(
            f"prompt_mode={str(prompt_mode)[:80]!r} is unknown. It is one of {choices}; left out, it is 'retrieval'."
        )
    query: PromptArguments = {"prompt_name": "query", "instruction": instruction}
    if prompt_mode == "none":
        query = {"prompt": "", "instruction": instruction}
    return [query, query if _is_symmetric(prompt_mode) else {"prompt_name": "document"}]


def _is_symmetric(prompt_mode: str | None) -> bool:
    """Whether all texts get the same prompt or none, so that they can be compared with each other."""
    return prompt_mode in ("symmetric", "none")


def _computing(dtype: str | None, backend: str | None) -> tuple[DType, BackendName]:
    for name, value, known in (("dtype", dtype, get_args(DType)), ("backend", backend, get_args(BackendName))):
        if value not in (None, *known):
            choices = ", ".join(map(repr, known))
            raise BackendError(
                f"{name}={str(value)[:80]!r} is unknown. It is one of {choices}; left out, it is 'auto'."
            )
    return cast(DType, dtype or "auto"), cast(BackendName, backend or "auto")


def _rows(array: Any) -> list[list[float]]:
    rows: list[list[float]] = array.tolist()
    return rows
