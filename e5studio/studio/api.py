"""The endpoints for programs: `/models`, `/score`, `/embed`. Their names and arguments stay.

They take models of the table only, by name: nothing that comes over the wire names a folder
or another repository.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.events import api as endpoint

from e5studio.similarity import scores as score_matrix
from e5studio.studio.boxes import check_limits
from e5studio.studio.catalog import model_cards
from e5studio.studio.failures import explain
from e5studio.studio.handlers import Handlers
from e5studio.studio.uses import PromptArguments
from e5studio.texts import checked_types

Result = TypeVar("Result")


def publish(handlers: Handlers, default_model: str) -> None:
    """Add the endpoints to the Blocks being built."""
    gpu_embed = handlers.on_gpu(handlers.embed)

    def models() -> list[dict]:  # type: ignore[type-arg]  # Gradio reads the hint and knows plain types only
        """List the models, with what is known of each and whether its files are here."""
        return [
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

    def score(
        queries: list[str], passages: list[str], model: str | None = None, instruction: str | None = None
    ) -> list[list[float]]:
        """Score every query against every passage: cosine x 100, one row a query.

        Queries and passages get the model's own prompts; `instruction` is for instruct models.
        """

        def work() -> list[list[float]]:
            for texts, what in ((queries, "queries"), (passages, "passages")):
                check_limits(checked_types(texts), handlers.limits, what)
            asked: PromptArguments = {"prompt_name": "query", "instruction": instruction}
            name = default_model if model is None else model
            left = gpu_embed(name, queries, asked)
            right = gpu_embed(name, passages, {"prompt_name": "document"})
            return _rows(score_matrix(left, right))

        return _answer(work)

    def embed(
        texts: list[str],
        role: str | None = None,
        model: str | None = None,
        instruction: str | None = None,
        prompt: str | None = None,
    ) -> list[list[float]]:
        """Embed texts as unit vectors, one row a text.

        `role` is "query", "passage" or "symmetric"; `prompt` puts a text of your own in front instead.
        """
        name = default_model if model is None else model
        role = None if role is None else str(role)
        arguments: PromptArguments = {"prompt_name": role, "prompt": prompt, "instruction": instruction}
        return _answer(lambda: _rows(gpu_embed(name, texts, arguments)))

    endpoint(models, api_name="models", queue=False)
    for function in (score, embed):
        endpoint(function, api_name=function.__name__, concurrency_limit=None, concurrency_id="encode")


def _rows(array: Any) -> list[list[float]]:
    rows: list[list[float]] = array.tolist()
    return rows


def _answer(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except Exception as error:
        # Clients show the message as HTML in places; it may quote what they sent.
        raise gr.Error(html.escape(explain(error)[:900], quote=False), print_exception=False) from error
