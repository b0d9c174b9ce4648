"""Programs for E5 Studio itself: the library, LangChain and LlamaIndex, which share their options."""

from __future__ import annotations

from dataclasses import replace

from e5studio.models import PromptKind
from e5studio.studio.code.literals import python_text
from e5studio.studio.code.program import (
    HERE,
    NO_INSTRUCTION,
    PRODUCT,
    distribution,
    folder_import,
    folder_modules,
    folder_of_weights,
    python_program,
)
from e5studio.studio.code.state import ScoredState

_PRODUCT_OF_LISTS = "scores = 100 * np.array(rows) @ np.array(columns).T\n"
# A model of the table is always used as its card says; a folder is used as one says oneself.
_NO_PROMPTS = (
    "# The class always puts the model's own prompts in front, so it is told that this folder's model has none.\n"
)
# A folder that states its prompts is believed; those of the table state none.
_COPY = """folder = shutil.copytree(
    {source},
    tempfile.mkdtemp(),
    ignore=shutil.ignore_patterns("config_sentence_transformers.json"),
    dirs_exist_ok=True,
)
"""


def e5studio_program(state: ScoredState) -> str:
    """With `E5Encoder`."""
    calls = {
        "retrieval": (f"encode_query(queries{_instruction(state)})", "encode_document(passages)"),
        "symmetric": tuple(
            f'encode({side}, prompt_name="symmetric"{_instruction(state)})' for side in ("queries", "passages")
        ),
        "none": ('encode(queries, prompt="")', 'encode(passages, prompt="")'),
    }
    row_call, column_call = calls[state.prompt_mode]
    columns = "rows" if state.is_self else f"encoder.{column_call}"
    return python_program(
        state,
        install=f"{HERE} {distribution(state)}",
        family="e5studio",
        imports=["from e5studio import E5Encoder\n"],
        blocks=[
            f"encoder = E5Encoder(\n{_options(state, python_text(state.source), state.stated_kind)})",
            f"{_task(state)}rows = encoder.{row_call}\ncolumns = {columns}\n{PRODUCT}",
        ],
    )


def langchain_program(state: ScoredState) -> str:
    """With LangChain's `Embeddings`."""
    documents = "embeddings.embed_documents"
    queries = "[embeddings.embed_query(query) for query in queries]"
    return _plugin_program(
        state,
        package="langchain-e5studio",
        imports="from langchain_e5studio import E5Embeddings\n",
        constructor="embeddings = E5Embeddings(",
        name="model",
        rows=queries if state.prompt_mode == "retrieval" else f"{documents}(queries)",
        columns=f"{documents}(passages)",
    )


def llama_index_program(state: ScoredState) -> str:
    """With LlamaIndex's `BaseEmbedding`."""
    documents = "embed_model.get_text_embedding_batch"
    queries = "[embed_model.get_query_embedding(query) for query in queries]"
    return _plugin_program(
        state,
        package="llama-index-embeddings-e5studio",
        imports="from llama_index.embeddings.e5studio import E5Embedding\n",
        constructor="embed_model = E5Embedding(",
        name="model_name",
        rows=queries if state.prompt_mode == "retrieval" else f"{documents}(queries)",
        columns=f"{documents}(passages)",
    )


def _plugin_program(
    state: ScoredState, *, package: str, imports: str, constructor: str, name: str, rows: str, columns: str
) -> str:
    needs_folder = state.prompt_mode == "none" and state.prompt_kind != "none"
    if needs_folder:
        own = _options(replace(state, revision=None), f"{name}=folder", "none")
    else:
        own = _options(state, f"{name}={python_text(state.source)}", state.stated_kind)
    extra = "    symmetric=True,\n" if state.prompt_mode == "symmetric" else ""
    extra += "    instruction=instruction,\n" if _takes_instruction(state) else ""
    is_download, is_copy = needs_folder and not state.is_folder, needs_folder and state.stated_kind is not None
    before = folder_import(state) if is_download else ""
    folder = _folder(state, is_download=is_download, is_copy=is_copy) if needs_folder else ""
    return python_program(
        state,
        install=f"{HERE} {distribution(state)} ./integrations/{package}",
        family="e5studio",
        standard=("shutil", "tempfile") if is_copy else folder_modules(state) if is_download else (),
        imports=[f"import numpy as np\n{before}{imports}"],
        blocks=[
            f"{_task(state)}{folder}{constructor}\n{own}{extra})",
            f"rows = {rows}\ncolumns = {'rows' if state.is_self else columns}\n{_PRODUCT_OF_LISTS}",
        ],
    )


def _folder(state: ScoredState, *, is_download: bool, is_copy: bool) -> str:
    """Statements that make `folder`, from which the class takes the model without its prompts."""
    copy = _COPY.format(source="folder" if is_download else python_text(state.source))
    return _NO_PROMPTS + (folder_of_weights(state) if is_download else "") + (copy if is_copy else "")


def _options(state: ScoredState, model: str, kind: PromptKind | None) -> str:
    revision = f"    revision={python_text(state.revision)},\n" if state.revision else ""
    prompt_kind = f"    prompt_kind={python_text(kind)},\n" if kind else ""
    return (
        f"    {model},\n{revision}{prompt_kind}"
        f"    max_tokens={state.max_tokens},\n"
        f"    dtype={python_text(state.dtype)},\n"
        f"    backend={python_text(state.backend)},\n"
    )


def _takes_instruction(state: ScoredState) -> bool:
    return state.query_prompt.instruction is not None


def _task(state: ScoredState) -> str:
    if not _takes_instruction(state):
        return ""
    note = NO_INSTRUCTION if state.query_prompt.is_default_instruction else ""
    return f"{note}instruction = {python_text(state.query_prompt.instruction or '')}\n"


def _instruction(state: ScoredState) -> str:
    return ", instruction=instruction" if _takes_instruction(state) else ""
