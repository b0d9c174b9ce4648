"""The endpoints for programs: `/models`, `/score`, `/search`, `/explain`, `/embed`. Their names and arguments stay.

They take models of the table only, by name: nothing that comes over the wire names a folder
or another repository. Where the Studio is an MCP server, all but `/embed` are tools of assistants: the name of a
function is the tool's, and its docstring, one line an argument, is what an assistant is told.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, TypeVar, cast, get_args

import gradio as gr
from gradio.events import api as endpoint

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
from e5studio.studio.engine import error_messages
from e5studio.studio.engine.catalog import model_cards
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.prompt_modes import PromptArguments, PromptMode
from e5studio.studio.serving.request_guard import ASSISTANT_HEADER

Result = TypeVar("Result")


def publish(engine: Engine, default_model: str) -> None:
    """Add the endpoints to the Blocks being built."""
    engine = engine.for_programs()
    gpu_embed = engine.on_gpu(engine.embed)

    def models(request: gr.Request | None = None) -> list[dict[str, Any]] | str:
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
                "is_default": card.name == default_model,
            }
            for card in model_cards()
        ]
        return _written(known, request)

    def score(
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

        def work() -> list[list[float]] | str:
            for texts, what in ((queries, "queries"), (passages, "passages")):
                if what == "queries" or passages or not _is_symmetric(prompt_mode):
                    engine.check(texts, what)
            if _is_of_assistant(request):
                check_scores_readable(len(queries) * len(passages or queries))
            one, other = _sides(prompt_mode, instruction)
            lists = {"queries": queries, "passages": passages} if passages else {"queries": queries}
            name = default_model if model is None else model
            vectors, _ = gpu_embed(name, lists, [one, other][: len(lists)], *_computing(dtype, backend))
            return _written(_rows(score_matrix(vectors[0], vectors[-1])), request)

        return _answer(work)

    def embed(
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
        name = default_model if model is None else model
        role = None if role is None else str(role)
        arguments: PromptArguments = {"prompt_name": role, "prompt": prompt, "instruction": instruction}

        def work() -> list[list[float]]:
            [vectors], _ = gpu_embed(name, {"texts": texts}, [arguments], *_computing(dtype, backend))
            return _rows(vectors)

        return _answer(work)

    # No tool: nobody reads thousands of numbers. Gradio lists as tools what is of this kind, or of none.
    embed._mcp_type = "endpoint only"  # type: ignore[attr-defined]
    endpoint(models, api_name="models", queue=False)
    for function in (score, embed):
        endpoint(function, api_name=function.__name__, concurrency_limit=None, concurrency_id="encode")
    _publish_answers(engine, default_model)


def _publish_answers(engine: Engine, default_model: str) -> None:
    """Add the endpoints that answer in fields, for those who read what comes back."""
    answers = Answers(engine)
    gpu_search, gpu_explain = engine.on_gpu(answers.search), engine.on_gpu(answers.explain)

    def search(
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

        def work() -> dict[str, Any] | str:
            for texts, what in ((queries, "queries"), (passages, "passages")):
                engine.check(texts, what)
            count = checked_top_k(top_k)
            if _is_of_assistant(request):
                check_hits_readable(len(queries) * min(count, len(passages)))
            name = default_model if model is None else model
            found = gpu_search(name, queries, passages, instruction, count)
            return _written(shortened(found) if _is_of_assistant(request) else found, request)

        return _answer(work)

    def explain(
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
        name = default_model if model is None else model
        return _answer(lambda: _written(gpu_explain(name, query, passage, instruction), request))

    for function in (search, explain):
        endpoint(function, api_name=function.__name__, concurrency_limit=None, concurrency_id="encode")


def _is_of_assistant(request: gr.Request | None) -> bool:
    """Whether somebody who reads what comes back asked by MCP, and no program by HTTP."""
    return request is not None and ASSISTANT_HEADER in request.headers


def _written(answer: Result, request: gr.Request | None) -> Result | str:
    """An answer as it is; for assistants as JSON text, for Gradio would send them what str() makes of it."""
    if not _is_of_assistant(request):
        return answer
    return readable(answer)


def _sides(prompt_mode: str | None, instruction: str | None) -> tuple[PromptArguments, PromptArguments]:
    """The prompts of queries and of passages; an instruction where none is taken is left for the encoder to refuse."""
    if prompt_mode not in (None, *get_args(PromptMode)):
        choices = ", ".join(map(repr, get_args(PromptMode)))
        raise PromptError(
            f"prompt_mode={str(prompt_mode)[:80]!r} is unknown. It is one of {choices}; left out, it is 'retrieval'."
        )
    query: PromptArguments = {"prompt_name": "query", "instruction": instruction}
    if prompt_mode == "none":
        query = {"prompt": "", "instruction": instruction}
    return query, query if _is_symmetric(prompt_mode) else {"prompt_name": "document"}


def _is_symmetric(prompt_mode: str | None) -> bool:
    """Whether one prompt, or none, stands in front of all texts, so that they can be compared with each other."""
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


def _answer(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except Exception as error:
        # Clients show the message as HTML in places; it may quote what they sent.
        raise gr.Error(
            html.escape(error_messages.message_for_visitor(error)[:900], quote=False), print_exception=False
        ) from error
