"""`e5studio studio`: starts the Studio."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from e5studio.cli.options import not_blank
from e5studio.errors import MissingDependencyError
from e5studio.studio.launch import run_studio
from e5studio.studio.options import CORPUS_HELP, MODEL_HELP, PROMPT_KIND_HELP, V1_HELP


def _none_blank(names: list[str] | None) -> list[str] | None:
    return names and [name for name in names if not_blank(name)]


def studio(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", callback=_none_blank, metavar="MODEL[=KIND]", help=MODEL_HELP),
    ] = None,
    prompt_kind: Annotated[list[str] | None, typer.Option(metavar="KIND", help=PROMPT_KIND_HELP)] = None,
    corpus: Annotated[list[str] | None, typer.Option(callback=_none_blank, metavar="FOLDER", help=CORPUS_HELP)] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on; 7860 if free.")] = None,
    v1: Annotated[bool | None, typer.Option("--v1/--no-v1", help=V1_HELP)] = None,
    mcp: Annotated[
        bool | None,
        typer.Option("--mcp/--no-mcp", help="Serve tools for assistants, too; not by default (also: E5STUDIO_MCP=1)."),
    ] = None,
) -> None:
    """Open the Studio: a page on which you see what the embeddings say."""
    missing = [name for name in ("gradio", "plotly", "umap") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"The Studio needs {', '.join(missing)}. Install what it needs with: pip install 'e5studio[studio]'"
        )
    run_studio(model, prompt_kind, corpora=corpus, host=host, port=port, v1=v1, mcp=mcp)
