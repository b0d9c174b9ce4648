"""What the programs share: the comment at the top, and in Python the texts and the print at the end."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.studio.code.literals import python_list, python_text
from e5studio.studio.code.precision import Family, expectation
from e5studio.studio.code.state import PAGE_FILE, ScoredState

_MAX_NUMBERS = 8

PRINT = """for row in scores:
    print(*(f"{score:.2f}" for score in row))
"""

PRODUCT = "scores = 100 * rows @ columns.T\n"
HERE = "In E5 Studio's folder: pip install"
_FOLDER = "{source} stands for your copy of the model's folder: put its path there."
NO_INSTRUCTION = "# No instruction was given, so the model card's web search was taken.\n"


def about(state: ScoredState, install: str, family: Family, note: str = "", prints: str = "cosine x 100") -> list[str]:
    """The lines of the comment at the top: what to install, what is printed, how close it is to the page.

    Args:
        state: What was scored.
        install: How to install what the program needs.
        family: Of the library that computes.
        note: Anything else to know first.
        prints: What the program prints.
    """
    numbers = " ".join(f"{score:.2f}" for score in state.first_row[:_MAX_NUMBERS])
    more = f" ... ({len(state.first_row)} numbers)" if len(state.first_row) > _MAX_NUMBERS else ""
    lines = [
        install,
        "",
        *([note] if note else []),
        f"Prints {prints} ({_shape(state)}). The first row on the page:",
        f"    {numbers}{more}",
        _prompts(state),
        f"Computed there in {state.computing}. {expectation(state, family)[0]}",
        *expectation(state, family)[1:],
    ]
    if not state.is_inline:
        lines.append(f"The texts are read from {PAGE_FILE}. Save it in the Scores tab: Save, page, JSON.")
    return lines


def distribution(state: ScoredState) -> str:
    """What pip takes for the library with what this backend, precision and model need."""
    extras = {"torch": "", "openvino": "[openvino]", "onnx": "[onnx]"}[state.backend]
    library = f'".{extras}"' if extras else "."
    return f"{library} {state.package}" if state.package else library


def folder_of_weights(state: ScoredState) -> str:
    """A statement that defines `folder`, with the model's files for other libraries.

    The 4-bit weights are a file that no other library reads; E5 Studio writes them as usual ones.
    """
    model, revision = python_text(state.source), python_text(state.revision or "")
    if state.package:
        return f"folder = str(E5Encoder({model}).save_pretrained(tempfile.mkdtemp()))\n"
    return (
        f"folder = snapshot_download(\n    {model},\n    revision={revision},\n"
        '    allow_patterns=["*.json", "model*.safetensors"],\n)\n'
    )


def folder_modules(state: ScoredState) -> tuple[str, ...]:
    """The modules of Python that `folder_of_weights` needs."""
    return ("tempfile",) if state.package else ()


def folder_import(state: ScoredState) -> str:
    """The import that `folder_of_weights` needs."""
    return "from e5studio import E5Encoder\n" if state.package else "from huggingface_hub import snapshot_download\n"


def texts(state: ScoredState) -> str:
    """Statements that define `queries` and `passages`."""
    if not state.is_inline:
        rest = "queries" if state.is_self else 'page["column_texts"]'
        return (
            f'with open("{PAGE_FILE}", encoding="utf-8") as file:\n'
            '    page = json.load(file)["result"]\n'
            f'queries = page["row_texts"]\npassages = {rest}\n'
        )
    passages = "queries" if state.is_self else python_list(state.passages)
    return f"queries = {python_list(state.queries)}\npassages = {passages}\n"


def python_program(
    state: ScoredState,
    *,
    install: str,
    family: Family,
    imports: Sequence[str],
    blocks: Sequence[str],
    note: str = "",
    standard: Sequence[str] = (),
) -> str:
    """A whole program.

    Args:
        state: What was scored.
        install: How to install what the program needs.
        family: Of the library that computes.
        imports: Groups of import statements of third parties.
        blocks: Code between the texts and the print, which defines `scores`.
        note: Anything else to know first.
        standard: Modules of Python that the code uses.
    """
    standard = sorted({*standard, *([] if state.is_inline else ["json"])})
    note = note or (_FOLDER.format(source=state.source) if state.is_folder else "")
    comment = "".join(f"# {line}".rstrip() + "\n" for line in about(state, install, family, note))
    of_python = "".join(f"import {name}\n" for name in standard)
    head = "\n".join(filter(None, [comment, of_python, *imports]))
    return "\n".join([head, texts(state), *blocks, PRINT])


def _prompts(state: ScoredState) -> str:
    row, column = (python_text(prompt.text) for prompt in (state.query_prompt, state.passage_prompt))
    if row == column:
        return f"In front of every text: {row if state.query_prompt.text else 'nothing'}."
    return f"In front of queries: {row}; of passages: {column if state.passage_prompt.text else 'nothing'}."


def _shape(state: ScoredState) -> str:
    if state.is_self:
        return f"{len(state.queries)} texts with each other, 100 with itself"
    return f"queries down, passages across, {len(state.queries)} x {len(state.passages)}"
