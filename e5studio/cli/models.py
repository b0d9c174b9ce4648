"""`e5studio models`: lists the models, and the backends on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from e5studio.backends import BackendStatus, backend_statuses
from e5studio.cli.options import JsonOption
from e5studio.cli.terminal import print_json, print_line, print_table
from e5studio.hub import find_local
from e5studio.models import ModelMeta, PromptKind, list_models
from e5studio.prompts import describe_prompts

_PROMPT_WORDS: dict[PromptKind, str] = {
    "query_passage": "query: | passage:",
    "instruct": "Instruct: ... | none",
    "none": "none",
}


def models(
    backends: Annotated[
        bool,
        typer.Option("--backends", help="List the backends and precisions of this machine, and why not."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the models: size, length, prompts, and whether they are on this machine."""
    if backends:
        _list_backends(backend_statuses(), as_json)
        return
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
    unpinned = [row["name"] for row in rows if row["revision"] is None]
    if unpinned:
        print_line(
            f"Not pinned, since no public list names a commit: {', '.join(unpinned)}. The newest commit is taken "
            "unless --revision names one; files of vectors record it."
        )


def _list_backends(statuses: list[BackendStatus], as_json: bool) -> None:
    if as_json:
        print_json([asdict(status) for status in statuses])
        return
    dtypes = list(statuses[0].refused)
    headings = ["backend", "version", "device", *dtypes]
    print_table(
        [(heading, "left") for heading in headings],
        [
            [
                status.name + (" (auto)" if status.is_auto else ""),
                status.version or "not installed",
                status.device or "",
                *("no" if status.refused[dtype] else "yes" for dtype in dtypes),
            ]
            for status in statuses
        ],
    )
    for status in statuses:
        reasons = dict.fromkeys(filter(None, status.refused.values()))
        for reason in reasons:
            refused = [dtype for dtype in dtypes if status.refused[dtype] == reason]
            print_line(f"{status.name} {', '.join(refused)}: {reason}")


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
