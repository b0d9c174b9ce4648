"""Sentences of the Code tab."""

from __future__ import annotations

from e5studio.studio.code.state import MAX_INLINE_BYTES, ScoredState
from e5studio.studio.widgets.nodes import Node

INVITATION: list[Node] = [
    ["p", "e5-empty-title", "The same numbers from your own program"],
    ["p", "e5-hint", "Press Score: the code that computes the same scores elsewhere appears here."],
]


def status(state: ScoredState) -> list[Node]:
    """Which scores the code computes."""
    n = len(state.queries)
    size = f"{n} texts with each other" if state.is_self else f"{n} \N{MULTIPLICATION SIGN} {len(state.passages)}"
    short = state.model.rsplit("/", 1)[-1]
    return [["p", "e5-done", f"Code for the scores of {size} with {short}, {state.computing}."]]


def notes(state: ScoredState, *, has_v1: bool) -> list[Node]:
    """How close the numbers are to those of the page, and what the programs need."""
    sentences = [
        "Each program prints cosine \N{MULTIPLICATION SIGN} 100 to two decimals, curl as JSON. A comment at its top "
        "holds the first row to expect.",
        "In float32 every program agrees with the page to 0.01. Libraries add up in another order, so the last digit "
        "may be rounded the other way. Lower precisions round more; the program then states the measured difference.",
        "e5studio, LangChain and LlamaIndex are installed from E5 Studio's folder, as their first line says."
        + _others(state),
    ]
    if has_v1:
        sentences.append(
            f"OpenAI, curl and JavaScript call this Studio, at {state.address}v1, where clients made for OpenAI's "
            "embeddings work. The curl program needs a POSIX shell: on Windows Git Bash or WSL."
        )
    if state.is_folder:
        sentences.append(f"Where a program says {state.source}, put the path of your copy of the model's folder.")
    if not state.is_inline:
        sentences.append(
            f"The texts take more than {MAX_INLINE_BYTES:,} bytes, so the programs read them from e5-page.json: save "
            "it beside the program (Scores tab, Save, page, JSON)."
        )
    return [["ul", "", *(["li", "e5-hint", sentence] for sentence in sentences)]]


def _others(state: ScoredState) -> str:
    if state.is_folder:
        return ""
    if state.package:
        return (
            " The other Python programs cannot read the 4-bit weights, and load the folder that E5 Studio writes of "
            "them, in float32."
        )
    return " The other Python programs load the model's weights from the Hugging Face Hub or its cache."
