"""The targets of the Code tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from e5studio.studio.code.endpoint import curl_program, javascript_program, openai_program
from e5studio.studio.code.other_libraries import sentence_transformers_program, transformers_program
from e5studio.studio.code.own_packages import e5studio_program, langchain_program, llama_index_program
from e5studio.studio.code.state import ScoredState


@dataclass(frozen=True)
class Target:
    """A library or tool that can compute the scores.

    Attributes:
        title: Its name on the page.
        file_name: For the program; must not shadow a Python package.
        language: Of the program.
        write: Makes the program.
        calls_studio: Whether the program asks this Studio, by its routes under /v1.
    """

    title: str
    file_name: str
    language: Literal["python", "shell", "javascript"]
    write: Callable[[ScoredState], str]
    calls_studio: bool = False


TARGETS: tuple[Target, ...] = (
    Target("e5studio", "score_with_e5studio.py", "python", e5studio_program),
    Target("transformers", "score_with_transformers.py", "python", transformers_program),
    Target("sentence-transformers", "score_with_sentence_transformers.py", "python", sentence_transformers_program),
    Target("LangChain", "score_with_langchain.py", "python", langchain_program),
    Target("LlamaIndex", "score_with_llama_index.py", "python", llama_index_program),
    Target("OpenAI", "score_with_openai.py", "python", openai_program, calls_studio=True),
    Target("curl", "score_with_curl.sh", "shell", curl_program, calls_studio=True),
    Target("JavaScript", "score_with_javascript.mjs", "javascript", javascript_program, calls_studio=True),
)
