"""Programs that call this Studio: with OpenAI's client, curl, and JavaScript. See `e5studio.studio.api.v1`."""

from __future__ import annotations

import shlex
from typing import Any

from e5studio.studio.code.literals import json_text, python_text, shell_json
from e5studio.studio.code.program import PRODUCT, about, python_program
from e5studio.studio.code.state import PAGE_FILE, ScoredState

_RUNNING = "Calls the Studio from which this was copied; it must be running."

_EMBED = """client = OpenAI(base_url={url}, api_key="none")


def embed(texts, fields):
    answer = client.embeddings.create(
        model={model},
        input=texts,
        extra_body=fields,
    )
    return np.array([each.embedding for each in answer.data])

"""

_NEEDS_SHELL = (
    "Needs a POSIX shell (on Windows Git Bash or WSL) with curl 7.76 or later{python}. There is nothing to install."
)
# Pasted into zsh, the shell of macOS, a line with "#" is no comment. This is a comment in all shells.
_COMMENT = ": <<'E5STUDIO'\n{lines}\nE5STUDIO\n"
_PRINT_REQUEST = (
    'import json; page = json.load(open("{file}", encoding="utf-8"))["result"]; '
    'print(json.dumps({{**json.loads({settings}), "queries": page["row_texts"]{passages}}}))'
)

_NEEDS_NODE = "Needs Node.js 18 or later. There is nothing to install."
_READ_PAGE = """import {{ readFile }} from "node:fs/promises";
const page = JSON.parse(await readFile("{file}", "utf8")).result;
request.queries = page.row_texts;
"""
_FETCH = """const response = await fetch({url}, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json" }},
  body: JSON.stringify(request),
}});
const answer = await response.json();
if (!response.ok) throw new Error(answer.error.message);
for (const row of answer.scores) console.log(row.map((score) => score.toFixed(2)).join(" "));
"""


def openai_program(state: ScoredState) -> str:
    """With OpenAI's client, which gets the vectors."""
    is_retrieval = state.prompt_mode == "retrieval"
    query = _fields(state, "query" if is_retrieval else state.prompt_mode, state.query_prompt.instruction)
    fields = f"query_fields = {query}\n"
    if is_retrieval:
        fields += f"passage_fields = {_fields(state, 'passage')}\n"
    embed = _EMBED.format(url=python_text(f"{state.address}v1"), model=python_text(state.model))
    columns = f"embed(passages, {'passage' if is_retrieval else 'query'}_fields)"
    return python_program(
        state,
        install="pip install openai numpy",
        family="e5studio",
        note=_RUNNING,
        imports=["import numpy as np\nfrom openai import OpenAI\n"],
        blocks=[
            fields,
            embed,
            f"rows = embed(queries, query_fields)\ncolumns = {'rows' if state.is_self else columns}\n{PRODUCT}",
        ],
    )


def curl_program(state: ScoredState) -> str:
    """For any POSIX shell: prints the answer, which is JSON."""
    # Between single quotes no character has a meaning.
    source, body = "", f"'{shell_json(_request(state), indent=2)}'"
    if not state.is_inline:
        source, body = f"python3 -c {shlex.quote(_print_request(state))} | ", "@-"
    needs = _NEEDS_SHELL.format(python="" if state.is_inline else " and Python")
    lines = about(state, needs, "e5studio", _RUNNING, prints='JSON, whose "scores" are cosine x 100')
    return (
        f"{_COMMENT.format(lines=chr(10).join(lines))}\n"
        f"{source}curl --silent --show-error --fail-with-body {shlex.quote(state.address + 'v1/score')} \\\n"
        f"  --header 'Content-Type: application/json' --data-binary {body}\n"
    )


def javascript_program(state: ScoredState) -> str:
    """With `fetch`."""
    comment = "".join(f"// {line}".rstrip() + "\n" for line in about(state, _NEEDS_NODE, "e5studio", _RUNNING))
    page = ""
    if not state.is_inline:
        page = _READ_PAGE.format(file=PAGE_FILE) + ("" if state.is_self else "request.passages = page.column_texts;\n")
    url = json_text(f"{state.address}v1/score")
    return f"{comment}\nconst request = {json_text(_request(state), indent=2)};\n{page}\n{_FETCH.format(url=url)}"


def _request(state: ScoredState) -> dict[str, Any]:
    """The body of `/v1/score`, without texts that are too long for a program."""
    instruction = state.query_prompt.instruction
    texts: dict[str, Any] = {}
    if state.is_inline:
        texts = {"queries": state.queries, **({} if state.is_self else {"passages": state.passages})}
    return {
        "model": state.model,
        "use": state.prompt_mode,
        **({} if instruction is None else {"instruction": instruction}),
        "dtype": state.dtype,
        "backend": state.backend,
        **texts,
    }


def _fields(state: ScoredState, role: str, instruction: str | None = None) -> str:
    """The fields of `/v1/embeddings` for which OpenAI's client has no arguments."""
    given = {"input_type": role, "instruction": instruction, "dtype": state.dtype, "backend": state.backend}
    lines = [f'    "{name}": {python_text(value)},\n' for name, value in given.items() if value is not None]
    return "{\n" + "".join(lines) + "}"


def _print_request(state: ScoredState) -> str:
    passages = "" if state.is_self else ', "passages": page["column_texts"]'
    settings = python_text(json_text(_request(state)))
    return _PRINT_REQUEST.format(file=PAGE_FILE, settings=settings, passages=passages)
