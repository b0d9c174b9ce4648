"""Options of `python app.py`, and those that only the environment sets."""

from __future__ import annotations

import argparse
import importlib
import os

from e5studio.errors import E5StudioError, MissingDependencyError

MODEL_HELP = (
    "Model to start with, such as e5-base-v2, or a model of your own: a folder or another Hub id, followed by "
    "=query_passage, =instruct or =none where it does not say how it was trained to be used. Give it again for each "
    "further model of your own (also: E5STUDIO_MODEL, and E5STUDIO_MODELS with commas)."
)
CORPUS_HELP = (
    "Folder of vectors that `e5studio encode TEXTS -o FOLDER` made, which visitors of the Corpus tab can open. Give it "
    "again for each further folder (also: E5STUDIO_CORPORA with commas)."
)
V1_HELP = "Whether programs find OpenAI's routes at /v1/; yes by default (also: E5STUDIO_V1=0)."
PROMPT_KIND_HELP = "The same as =KIND, for the only model of your own: query_passage, instruct or none."

_LAST_PORT = 65_535
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}


class SettingError(E5StudioError, ValueError):
    """An environment variable has a value without a meaning."""


def option_parser() -> argparse.ArgumentParser:
    """The options of `python app.py`: models and their prompt kind, corpora, host, port, v1, mcp."""
    parser = argparse.ArgumentParser(description="E5 Studio: see what E5 embeddings say about your texts.")
    parser.add_argument("--model", action="append", metavar="MODEL[=KIND]", help=MODEL_HELP, type=_name)
    parser.add_argument("--prompt-kind", action="append", metavar="KIND", help=PROMPT_KIND_HELP)
    parser.add_argument("--corpus", action="append", metavar="FOLDER", help=CORPUS_HELP, type=_name)
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for all (also: GRADIO_SERVER_NAME)")
    parser.add_argument("--port", type=_port, help="port to listen on; 7860 if free (also: GRADIO_SERVER_PORT)")
    parser.add_argument("--v1", action=argparse.BooleanOptionalAction, help=V1_HELP)
    parser.add_argument(
        "--mcp",
        action=argparse.BooleanOptionalAction,
        help="whether assistants find its tools at /gradio_api/mcp/; no by default (also: E5STUDIO_MCP=1)",
    )
    return parser


def models_of_environment() -> list[str]:
    """The models that the environment names: that of E5STUDIO_MODEL, then those of E5STUDIO_MODELS."""
    return list(dict.fromkeys([*_names("E5STUDIO_MODEL"), *_names("E5STUDIO_MODELS")]))


def corpora_of_environment() -> list[str]:
    """The folders of vectors that E5STUDIO_CORPORA names."""
    return _names("E5STUDIO_CORPORA")


def is_mcp_on(option: bool | None) -> bool:
    """Whether to serve tools to assistants: the option, else the value of E5STUDIO_MCP, else not.

    Raises:
        SettingError: E5STUDIO_MCP is neither yes nor no.
        MissingDependencyError: The mcp package is not installed or fails.
    """
    is_on = _setting("E5STUDIO_MCP", default="no") if option is None else option
    if is_on:
        _check_mcp()
    return is_on


def is_v1_on(option: bool | None) -> bool:
    """Whether to serve routes under /v1: the option, else the value of E5STUDIO_V1, else yes.

    Raises:
        SettingError: E5STUDIO_V1 is neither yes nor no.
    """
    return _setting("E5STUDIO_V1", default="yes") if option is None else option


def _setting(variable: str, default: str) -> bool:
    value = os.environ.get(variable, "").strip().lower() or default
    if value not in _YES | _NO:
        raise SettingError(f"{variable}={value!r} is neither yes nor no. Set it to 1 or 0, or unset it.")
    return value in _YES


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _check_mcp() -> None:
    """Gradio would serve the page without its tools and print the reason among other lines."""
    try:
        importlib.import_module("mcp.server")
    except ImportError as error:
        raise MissingDependencyError(
            f"An MCP server needs the mcp package ({error}). Install it with: pip install 'mcp>=1.22,<2'"
        ) from error


def _name(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("it is empty; name something, or leave the option out")
    return value


def _port(value: str) -> int:
    if not (value.isdecimal() and 1 <= int(value) <= _LAST_PORT):
        raise argparse.ArgumentTypeError(f"{value!r} is no port; give a number from 1 to {_LAST_PORT}")
    return int(value)
