"""`e5studio models`: the table of models."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from e5studio.cli.options import JsonOption
from e5studio.cli.terminal import print_json, print_table
from e5studio.hub import find_local
from e5studio.models import ModelMeta, PromptKind, list_models
from e5studio.prompts import describe_prompts

_PROMPT_WORDS: dict[PromptKind, str] = {
    "query_passage": "query: | passage:",
    "instruct": "Instruct: ... | none",
    "none": "none",
}


def models(as_json: JsonOption = False) -> None:
    """List the models: size, length, prompts, and whether they are on this machine."""
    rows = [_record(meta) for meta in list_models()]
    if as_json:
        print_json(rows)
        return
    print_table(
        [
            ("group", "left"),
            ("name", "left"),
            ("layers", "right"),
            ("dims", "right"),
            ("tokens", "right"),
            ("size", "right"),
            ("here", "left"),
            ("prompts", "left"),
        ],
        [_cells(row) for row in rows],
    )


def _record(meta: ModelMeta) -> dict[str, Any]:
    local = find_local(meta)
    return {
        **asdict(meta),
        "prompts": describe_prompts(meta.prompt_kind),
        "download_bytes": meta.download_bytes,
        "here": None if local is None else local.source,
    }


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["group"],
        row["name"],
        str(row["n_layers"]),
        str(row["embed_dim"]),
        str(row["max_tokens"]),
        f"{row['download_bytes'] / 1e6:,.0f} MB",
        row["here"] or "no",
        _PROMPT_WORDS[row["prompt_kind"]],
    ]
