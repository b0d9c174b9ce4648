"""`e5studio encode`: embeds a file of texts into a file of vectors, block by block, in constant memory."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated

import numpy as np
import typer

from e5studio.cli.options import (
    InstructionOption,
    ModelArguments,
    TextOptions,
    grouped,
    known_prompt_kind,
    load_encoder,
)
from e5studio.cli.terminal import progress_bar, say
from e5studio.encode_report import ReportNotes
from e5studio.encoder import E5Encoder
from e5studio.errors import FileFormatError, NonFiniteError, TextError
from e5studio.files import (
    Row,
    RowStatus,
    TextFile,
    VectorBlock,
    VectorManifest,
    check_vector_ending,
    files_of,
    refuse_existing,
    write_vectors,
)
from e5studio.models import PromptKind
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray
from e5studio.text_checks import find_bad_texts

SOME_ROWS_WITHOUT_VECTOR = 3
_ENDING_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_BLOCK_ROWS = 4096
_DETAILS_SHOWN = 5
_WORDS = {"empty": "is empty", "failed": "has a vector that is not finite"}
_KINDS: dict[RowStatus, str] = {
    "empty": "empty",
    "missing": "without a value",
    "bad_type": "not text",
    "bad_row": "unreadable",
    "failed": "with a vector that is not finite",
}


@dataclass
class _Tally:
    """Counts of the rows, for the closing lines."""

    statuses: Counter[RowStatus] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)
    notes: ReportNotes = field(default_factory=ReportNotes)
    n_tokens: int = 0
    n_padding: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    def count(self, rows: Sequence[Row], statuses: Sequence[RowStatus]) -> None:
        self.statuses.update(statuses)
        for row, status in zip(rows, statuses, strict=True):
            if status != "ok" and len(self.details) < _DETAILS_SHOWN:
                self.details.append(row.detail or f"line {row.line} {_WORDS[status]}")

    def note_cost(self, n_tokens: int, padding_share: float) -> None:
        self.n_tokens += n_tokens
        self.n_padding += n_tokens * padding_share / (1 - padding_share)

    @property
    def n_rows(self) -> int:
        return self.statuses.total()

    @property
    def n_without_vector(self) -> int:
        return self.n_rows - self.statuses["ok"]


@grouped
def encode(
    *,
    texts: Annotated[Path, typer.Argument(help="File of texts: .txt, .csv, .tsv, .jsonl or .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File of vectors: .npy or .parquet.")],
    arguments: ModelArguments,
    role: Annotated[
        str | None, typer.Option("--role", "-r", help="query, document or symmetric; needed where a model has prompts.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to put in front, in place of a role; '' for none.")] = None,
    instruction: InstructionOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file.")] = False,
    files: TextOptions,
) -> None:
    """Embed a file of texts; rows without a usable text keep their place and get no vector (exit code 3)."""
    if arguments.model is None:
        raise typer.BadParameter("Name the model: vectors of different models cannot be mixed.", param_hint="--model")
    options = arguments.checked()
    _check_role(known_prompt_kind(options), role, prompt)
    _check_output(texts, output, overwrite)
    source = files.open(texts)
    with _signals_as_exit(), load_encoder(options, arguments.max_tokens) as encoder:
        resolved = encoder.resolve_prompt(role, prompt=prompt, instruction=instruction)
        tally = _encode_file(encoder, source, output, resolved, overwrite=overwrite)
    _report(tally, encoder, output, resolved)
    if tally.n_without_vector:
        raise typer.Exit(SOME_ROWS_WITHOUT_VECTOR)


@contextmanager
def _signals_as_exit() -> Iterator[None]:
    """Turn SIGTERM, and SIGHUP of a terminal that closes, into SystemExit, so that no half-written file stays."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # nohup lets a run outlive its terminal
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_role(kind: PromptKind | None, role: str | None, prompt: str | None) -> None:
    if prompt is not None and role is not None:
        raise typer.BadParameter("Give either --prompt or --role.", param_hint="--prompt")
    if kind in ("query_passage", "instruct") and role is None and prompt is None:
        raise typer.BadParameter(
            "This model was trained with prompts, so give the kind of texts: query, document, or symmetric "
            "(similarity, clustering, classification). --prompt '' puts nothing in front.",
            param_hint="--role",
        )


def _check_output(texts: Path, output: Path, overwrite: bool) -> None:
    check_vector_ending(output)
    if output.exists() and texts.exists() and output.samefile(texts):
        raise FileFormatError(f"{output} is the file of texts. Give the vectors another name.")
    if not output.parent.is_dir():
        raise FileFormatError(f"There is no folder {output.parent}. Make it first, or choose another --output.")
    if not overwrite:
        refuse_existing(*files_of(output))


def _encode_file(encoder: E5Encoder, source: TextFile, output: Path, prompt: Prompt, *, overwrite: bool) -> _Tally:
    manifest = VectorManifest(encoder.spec, prompt.text, prompt.name, prompt.instruction, source.path.name)
    quiet = encoder.with_options(show_progress=False)
    tally = _Tally()
    with (
        progress_bar(source.n_rows) as show,
        write_vectors(output, manifest, source.n_rows, overwrite=overwrite) as write,
    ):
        stream = source.rows()
        while rows := list(islice(stream, _BLOCK_ROWS)):
            statuses, vectors = _embed_rows(quiet, rows, prompt, tally, show)
            tally.count(rows, statuses)
            show(tally.n_rows)
            write(VectorBlock([row.text for row in rows], statuses, vectors))
        if not tally.statuses["ok"]:
            raise TextError(f"No row of {source.path} could be embedded: {'; '.join(tally.details)}.")
    return tally


def _embed_rows(
    encoder: E5Encoder, rows: list[Row], prompt: Prompt, tally: _Tally, show: Callable[[float], None]
) -> tuple[list[RowStatus], FloatArray]:
    """Statuses and vectors of the rows; a row that cannot be embedded does not affect the others."""
    texts = [row.text or "" for row in rows]
    empty = find_bad_texts(texts)
    statuses: list[RowStatus] = [row.problem or ("empty" if index in empty else "ok") for index, row in enumerate(rows)]
    vectors = np.zeros((len(rows), encoder.spec.embed_dim), np.float32)
    while good := [index for index, status in enumerate(statuses) if status == "ok"]:
        try:
            prepared = encoder.prepare([texts[index] for index in good], prompt=prompt)
            vectors[good] = encoder.embed_prepared(
                prepared, on_progress=lambda done, total: show(tally.n_rows + len(rows) * done / total)
            )
        except (TextError, NonFiniteError) as error:
            if not error.indices:
                raise
            for index in (good[bad] for bad in error.indices):
                if isinstance(error, TextError):
                    statuses[index] = "empty"
                    rows[index] = replace(rows[index], detail=f"line {rows[index].line} leaves the model no token")
                else:
                    statuses[index] = "failed"
        else:
            tally.notes.add(prepared.report, lambda index: f"line {rows[good[index]].line}")
            tally.note_cost(int(prepared.batch.lengths.sum()), encoder.padding_share(prepared))
            break
    return statuses, vectors


def _report(tally: _Tally, encoder: E5Encoder, output: Path, prompt: Prompt) -> None:
    spec = encoder.spec
    say(
        f"Wrote {tally.statuses['ok']:,} vectors of {spec.embed_dim} dimensions to {output} "
        f"({spec.model}, prompt {prompt.text!r}, fingerprint {spec.fingerprint})."
    )
    seconds = time.perf_counter() - tally.started
    say(
        f"{tally.n_tokens:,} tokens in {seconds:.1f} s ({tally.n_tokens / seconds:,.0f} a second) by {spec.backend} in "
        f"{spec.dtype}; padding was {tally.n_padding / (tally.n_tokens + tally.n_padding):.1%} of what was computed."
    )
    for sentence in tally.notes.sentences().values():
        say(f"Warning: {sentence}", style="yellow")
    if tally.n_without_vector:
        counts = ", ".join(
            f"{tally.statuses[status]:,} {kind}" for status, kind in _KINDS.items() if tally.statuses[status]
        )
        more = "; ..." if tally.n_without_vector > len(tally.details) else ""
        say(
            f"Warning: {tally.n_without_vector:,} of {tally.n_rows:,} rows have no vector ({counts}): "
            f"{'; '.join(tally.details)}{more}.",
            style="yellow",
        )
