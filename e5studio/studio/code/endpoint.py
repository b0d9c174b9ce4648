"""Programs that call this Studio: curl in a shell, and gradio_client. See `e5studio.studio.api.endpoints`."""

from __future__ import annotations

import shlex
from typing import Any

from e5studio.studio.code.literals import json_text, python_text, shell_json
from e5studio.studio.code.program import about, python_program
from e5studio.studio.code.state import PAGE_FILE, ScoredState

_READ_PAGE = (
    'import json; page = json.load(open("{file}", encoding="utf-8"))["result"]; '
    'print(json.dumps({{"data": [page["row_texts"], {passages}, *json.loads({rest})]}}))'
)
_CURL = "curl --silent --show-error --fail"
_RUNNING = "Calls the Studio from which this was copied; it must be running."
_NEEDS = "Needs a POSIX shell (on Windows Git Bash or WSL) with curl{python}. There is nothing to install."

# Pasted into zsh, the shell of macOS, a line with "#" is no comment. This is a comment in all shells.
_COMMENT = ": <<'E5STUDIO'\n{lines}\nE5STUDIO\n"

# The answer has lines "event: NAME", each followed by a line "data: JSON". The script holds no exclamation mark, which
# would start a history expansion when pasted into old shells.
_READ_ANSWER = r"""LC_ALL=C awk '
  /^event: / { event = $2 }
  /^data: / && event == "complete" {
    rows = split(substr($0, 7), row, "]")
    for (i = 1; i <= rows; i++) {
      gsub(/[][,]/, " ", row[i])
      columns = split(row[i], score, " ")
      for (j = 1; j <= columns; j++) printf "%.2f%s", score[j], j < columns ? " " : "\n"
    }
    answered = 1
  }
  /^data: / && event == "error" {
    sub(/^data: ([{]"error": )?"?/, "")
    sub(/"(, "[a-z]*": .*)?$/, "")
    gsub(/\\n/, " "); gsub(/\\"/, "\""); gsub(/&lt;/, "<"); gsub(/&gt;/, ">"); gsub(/&amp;/, "\\&")
    print | "cat 1>&2"
  }
  END { exit 1 - answered }
'
"""


def curl_program(state: ScoredState) -> str:
    """For any POSIX shell: post the call, then read its answer; awk prints the matrix or the error."""
    source, body = "", _quoted_body(state)
    if not state.is_inline:
        source, body = f"python3 -c {shlex.quote(_page_script(state))} | ", "@-"
    needs = _NEEDS.format(python="" if state.is_inline else " and Python")
    return (
        f"{_COMMENT.format(lines=chr(10).join(about(state, needs, 'e5studio', _RUNNING)))}\n"
        f"STUDIO={shlex.quote(state.address.rstrip('/'))}\n"
        f'EVENT=$({source}{_CURL} "$STUDIO/gradio_api/call/score" \\\n'
        f"  --header 'Content-Type: application/json' \\\n"
        f"  --data-binary {body}) &&\n"
        'EVENT=$(printf %s "$EVENT" | cut -d \'"\' -f 4) &&\n'
        f'{_CURL} --no-buffer "$STUDIO/gradio_api/call/score/$EVENT" | {_READ_ANSWER}'
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
    """The request as one word of the shell, in single quotes, between which no character has a meaning."""
    sides = [state.queries, () if state.is_self else state.passages]
    lists = ["[\n" + ",\n".join(f"  {shell_json(text)}" for text in side) + "\n]" for side in sides]
    settings = ", ".join(map(shell_json, _settings(state).values()))
    return '\'{"data": [' + ", ".join([*lists, settings]) + "]}'"


def _settings(state: ScoredState) -> dict[str, Any]:
    """The arguments of `/score` after the texts, in their order."""
    return {
        "model": state.model,
        "instruction": state.query_prompt.instruction,
        "prompt_mode": state.prompt_mode,
        "dtype": state.dtype,
        "backend": state.backend,
    }


def _page_script(state: ScoredState) -> str:
    passages = "[]" if state.is_self else 'page["column_texts"]'
    rest = python_text(json_text(list(_settings(state).values())))
    return _READ_PAGE.format(file=PAGE_FILE, passages=passages, rest=rest)
