"""`e5studio search`: queries against a file of vectors, with the encoder that made them."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from e5studio.cli.options import (
    DeviceOption,
    InstructionOption,
    JsonOption,
    LocalOption,
    TextOptions,
    grouped,
    not_blank,
)
from e5studio.cli.terminal import print_json, print_line, print_table
from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError, ModelUnavailableError, PromptError, UnknownModelError
from e5studio.files import VectorFile, VectorManifest, read_vectors
from e5studio.files.remote import located
from e5studio.jobs.search_index import index_of
from e5studio.jobs.vectors import ShardVectors
from e5studio.models import get_model_meta, is_in_table
from e5studio.prompts import Prompt
from e5studio.quantization import Precision, QuantizedSearch
from e5studio.similarity import TopK
from e5studio.spec import EncoderSpec

_LOCAL_REVISION = "sha256:"
_COMMIT = re.compile("[0-9a-f]{40}")
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class _Result(NamedTuple):
    """One result: cosine x 100, its row in the file, and the text if the file has it."""

    score: float
    row: int
    text: str | None


@grouped
def search(
    *,
    vectors: Annotated[
        Path,
        typer.Argument(
            parser=located, metavar="VECTORS", help="What `e5studio encode` wrote: .npy, .parquet or a folder."
        ),
    ],
    query: Annotated[list[str] | None, typer.Argument(help="Queries.")] = None,
    queries: Annotated[Path | None, typer.Option(help="File of queries.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Results for each query.")] = 10,
    instruction: InstructionOption = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text in front of the queries, in place of the query role; '' for none.")
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Quantise the vectors first, and search these: what that changes.")
    ] = "float32",
    as_json: JsonOption = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", callback=not_blank, help="Only for a model outside the table: its folder or Hub id."
        ),
    ] = None,
    files: TextOptions,
    device: DeviceOption = "auto",
    local_files_only: LocalOption = False,
) -> None:
    """Find the texts nearest to each query. The model is the one that made the vectors; others are refused."""
    texts = files.gather(query, queries, "queries")
    if not texts:
        raise typer.BadParameter("Give at least one query, or a file with --queries.", param_hint="QUERY")
    vector_file = ShardVectors(vectors) if vectors.is_dir() else read_vectors(vectors)
    _refuse_other_model(vector_file, model)
    with encoder_of(vector_file.manifest, model, device, local_files_only) as encoder:
        vector_file.check_made_by(encoder.spec)
        chosen = _query_prompt(encoder, vector_file.manifest, instruction, prompt)
        query_vectors = encoder.encode(texts, prompt=chosen)
    index = index_of(vector_file) if isinstance(vector_file, ShardVectors) and precision == "float32" else None
    if isinstance(vector_file, ShardVectors) and index is not None:
        results = _results_of(vector_file, index.search(query_vectors, top_k))
    else:
        results = _search(vector_file, QuantizedSearch(query_vectors, precision, top_k=top_k))
    if as_json:
        print_json({"precision": precision, **_as_json(vector_file, chosen, texts, results)})
    else:
        _print_tables(vector_file, texts, results)


def _refuse_other_model(vector_file: VectorFile | ShardVectors, model: str | None) -> None:
    """Refuse another model of the table before it is loaded or downloaded."""
    try:
        meta = get_model_meta(model) if model is not None else None
    except UnknownModelError:
        return
    if meta is not None and meta.name != vector_file.manifest.spec.model:
        vector_file.check_made_by(
            replace(
                vector_file.manifest.spec,
                model=meta.name,
                prompt_kind=meta.prompt_kind,
                pooling=meta.pooling,
                embed_dim=meta.embed_dim,
            )
        )


def encoder_of(manifest: VectorManifest, model: str | None, device: str, local_files_only: bool) -> E5Encoder:
    """The encoder that made the vectors.

    What the file names is not downloaded unless it is one of the table: whoever wrote the file chose it.
    """
    spec = manifest.spec
    is_local = spec.revision.startswith(_LOCAL_REVISION)
    if model is None and (is_local or not (is_in_table(spec.model) or _HUB_ID.fullmatch(spec.model))):
        raise FileFormatError(
            f"The vectors were made with a model of your own, {spec.model!r}. Say in which folder it lies: "
            "--model FOLDER."
        )
    may_download = model is not None or _is_of_the_table(spec)
    try:
        return E5Encoder(
            model or spec.model,
            prompt_kind=spec.prompt_kind,
            revision=None if is_local else spec.revision,
            backend=spec.backend,  # type: ignore[arg-type]
            device=device,
            dtype=spec.dtype,  # type: ignore[arg-type]
            max_tokens=spec.max_tokens,
            truncate_dim=spec.embed_dim,
            local_files_only=local_files_only or not may_download,
        )
    except ModelUnavailableError as error:
        if may_download:
            raise
        raise ModelUnavailableError(
            f"The vectors name {spec.model!r} at revision {spec.revision!r}, which is neither on this machine nor, at "
            "that revision, in `e5studio models`.",
            f"If you trust it, have it downloaded: --model {shlex.quote(spec.model)}",
        ) from error


def _is_of_the_table(spec: EncoderSpec) -> bool:
    """Whether a model is one of the table, at its commit; a branch may be anybody's proposal."""
    pinned = get_model_meta(spec.model).revision if is_in_table(spec.model) else ""
    return pinned == spec.revision or (pinned is None and _COMMIT.fullmatch(spec.revision) is not None)


def _query_prompt(encoder: E5Encoder, manifest: VectorManifest, instruction: str | None, prompt: str | None) -> Prompt:
    if prompt is not None:
        return encoder.resolve_prompt(prompt=prompt, instruction=instruction)
    if manifest.role is None and manifest.spec.prompt_kind != "none":
        raise PromptError(
            f"The vectors were made with the explicit prompt {manifest.prompt!r}, not in a role. "
            "Say what goes in front of the queries: --prompt TEXT ('' for nothing)."
        )
    # Texts that were encoded like queries (symmetric use) have an instruction, and queries need the same.
    return encoder.resolve_prompt("query", instruction=instruction or manifest.instruction)


def _search(vector_file: VectorFile | ShardVectors, search: QuantizedSearch) -> list[list[_Result]]:
    """The nearest rows to each query; rows without a vector are ignored."""
    if isinstance(vector_file, ShardVectors):
        return _search_shards(vector_file, search)
    present = np.flatnonzero(~np.isnan(vector_file.vectors[:, 0]))
    is_whole = len(present) == len(vector_file.vectors)
    search.add(vector_file.vectors if is_whole else vector_file.vectors[present])
    best = search.best
    rows = present[best.ids]
    texts = iter(vector_file.texts(rows.ravel().tolist()))
    return [
        [_Result(score * 100, row, next(texts)) for score, row in zip(*of_query, strict=True)]
        for of_query in zip(best.scores.tolist(), rows.tolist(), strict=True)
    ]


def _search_shards(shards: ShardVectors, search: QuantizedSearch) -> list[list[_Result]]:
    for block in shards.blocks():
        search.add(block)
    return _results_of(shards, search.best)


def _results_of(shards: ShardVectors, best: TopK) -> list[list[_Result]]:
    rows = iter(shards.rows(best.ids.ravel().tolist()))
    return [[_Result(score * 100, *next(rows)) for score in scores] for scores in best.scores.tolist()]


def _as_json(
    vector_file: VectorFile | ShardVectors, prompt: Prompt, queries: list[str], results: list[list[_Result]]
) -> dict[str, Any]:
    return {
        "vectors": str(vector_file.path),
        "source": vector_file.manifest.source,
        "encoder": asdict(vector_file.manifest.spec),
        "fingerprint": vector_file.manifest.spec.fingerprint,
        "prompt": prompt.text,
        "results": [
            {
                "query": query,
                "hits": [{"row": hit.row, "score": round(hit.score, 4), "text": hit.text} for hit in of_query],
            }
            for query, of_query in zip(queries, results, strict=True)
        ],
    }


def _print_tables(vector_file: VectorFile | ShardVectors, queries: list[str], results: list[list[_Result]]) -> None:
    for query, of_query in zip(queries, results, strict=True):
        rows = [
            [str(rank), f"{hit.score:.2f}", str(hit.row), hit.text or f"row {hit.row} of {vector_file.manifest.source}"]
            for rank, hit in enumerate(of_query, 1)
        ]
        print_line(query, style="bold")
        print_table([("rank", "right"), ("score", "right"), ("row", "right"), ("text", "left")], rows)
        print_line("")
