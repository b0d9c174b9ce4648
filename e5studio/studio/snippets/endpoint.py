"""Programs that ask this very Studio: curl in a shell, and gradio_client. See `e5studio.studio.api`."""

from __future__ import annotations

import shlex
from typing import Any

from e5studio.studio.snippets.literals import json_text, python_text, shell_json
from e5studio.studio.snippets.program import header, python_program
from e5studio.studio.snippets.state import PAGE_FILE, ScoredState

# The body of a large request is written by Python, which such a machine is sure to have.
_READ_PAGE = (
    'import json; page = json.load(open("{file}", encoding="utf-8"))["result"]; '
    'print(json.dumps({{"data": [page["row_texts"], {passages}, *json.loads({rest})]}}))'
)
_CURL = "curl --silent --show-error --fail"
_RUNNING = "Asks the Studio from whose page this was copied, which must be running."


def curl_program(state: ScoredState) -> str:
    """For any POSIX shell: post the call, then read its answer, whose line `data:` holds the matrix."""
    source, body = "", _quoted_body(state)
    if not state.is_inline:
        source, body = f"python3 -c {shlex.quote(_page_script(state))} | ", "@-"
    return (
        f"{header(state, 'curl alone: there is nothing to install.', 'e5studio', _RUNNING)}\n"
        f"STUDIO={shlex.quote(state.address.rstrip('/'))}\n"
        f'EVENT=$({source}{_CURL} "$STUDIO/gradio_api/call/score" \\\n'
        f"  --header 'Content-Type: application/json' \\\n"
        f"  --data-binary {body} | cut -d '\"' -f 4)\n"
        f'{_CURL} --no-buffer "$STUDIO/gradio_api/call/score/$EVENT"\n'
    )


def gradio_client_program(state: ScoredState) -> str:
    """With Gradio's own client."""
    settings = "".join(
        f"    {name}={'None' if value is None else python_text(value)},\n" for name, value in _settings(state).items()
    )
    return python_program(
        state,
        install="pip install gradio_client",
        family="e5studio",
        note=_RUNNING,
        imports=["from gradio_client import Client\n"],
        blocks=[
            f"client = Client({python_text(state.address)}, verbose=False)\n"
            "scores = client.predict(\n    queries=queries,\n    passages=passages,\n"
            f'{settings}    api_name="/score",\n)\n'
        ],
    )


def _quoted_body(state: ScoredState) -> str:
    """The request as one word of the shell: in single quotes, in which nothing means anything but their end."""
    sides = [state.queries, () if state.is_self else state.passages]
    lists = ["[\n" + ",\n".join(f"  {shell_json(text)}" for text in side) + "\n]" for side in sides]
    settings = ", ".join(map(shell_json, _settings(state).values()))
    return '\'{"data": [' + ", ".join([*lists, settings]) + "]}'"


def _settings(state: ScoredState) -> dict[str, Any]:
    """The arguments of `/score` behind the texts, in their order."""
    return {
        "model": state.model,
        "instruction": state.query_prompt.instruction,
        "use": state.use,
        "dtype": state.dtype,
        "backend": state.backend,
    }


def _page_script(state: ScoredState) -> str:
    passages = "[]" if state.is_self else 'page["column_texts"]'
    rest = python_text(json_text(list(_settings(state).values())))
    return _READ_PAGE.format(file=PAGE_FILE, passages=passages, rest=rest)
