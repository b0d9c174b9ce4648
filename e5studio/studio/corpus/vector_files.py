"""Exports the vectors of an embedded corpus to files, and imports them in place of embedding."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from e5studio.errors import FileFormatError, FingerprintMismatchError, NonFiniteError, VectorError
from e5studio.files.foreign_vectors import ForeignVectors, read_foreign_vectors
from e5studio.files.parquet_copy import rewritten
from e5studio.files.vector_block import VectorBlock
from e5studio.files.vector_manifest import VectorManifest
from e5studio.files.vectors import VECTOR_ENDINGS, VectorFile, files_of, write_vectors
from e5studio.models import PromptKind
from e5studio.prompts import Prompt, join_title, resolve_prompt
from e5studio.similarity import FloatArray, require_finite, unit_rows
from e5studio.spec import EncoderSpec
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.table_file import MAX_CHARACTERS, with_shown_name
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.progress import OnStage, ignore_progress
from e5studio.studio.engine.prompt_modes import prompt_arguments, valid_prompt_mode
from e5studio.studio.formatting import shown
from e5studio.studio.serving.downloads import Downloads, FileDownload
from e5studio.tokenization import replace_surrogates

VectorEnding = Literal[".npy", ".parquet"]

_ROWS_AT_ONCE = 1024
_MEDIA_TYPES = {
    ".npy": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
}


@dataclass(frozen=True)
class ImportedVectors:
    """Vectors out of a file, for a corpus.

    Attributes:
        embedded: The corpus with them.
        note: A warning where the file does not name its model, else "".
    """

    embedded: EmbeddedCorpus
    note: str


def export_vectors(embedded: EmbeddedCorpus, ending: VectorEnding, downloads: Downloads) -> tuple[FileDownload, ...]:
    """Write files of the vectors, which the command line can read, too; give each to `downloads.add_file`.

    Args:
        embedded: The vectors; the files store the encoder's fingerprint.
        ending: ".npy" gives an array and a manifest; ".parquet" one file with text, title and line beside each vector.
        downloads: Has the folder of the files.

    Raises:
        VectorError: There is no room on the disk.
        MissingDependencyError: Parquet without pyarrow.
    """
    prompt = _prompt(embedded.meta.prompt_kind, embedded.setting)
    source = embedded.corpus.source
    manifest = VectorManifest(embedded.spec, prompt.text, prompt.name, prompt.instruction, source)
    path = downloads.new_path(ending)
    try:
        _write(path, manifest, embedded)
    except OSError as error:
        raise VectorError("There is no room for this file on the server's disk now. Try again later.") from error
    return tuple(
        FileDownload(file, _MEDIA_TYPES[file.suffix], f"e5-vectors{ending}{file.suffix if file != path else ''}")
        for file in files_of(path)
    )


def import_vectors(
    engine: Engine,
    corpus: Corpus,
    setting: CorpusSetting,
    path: Path,
    *,
    name: str,
    manifest: Path | None = None,
    on_stage: OnStage = ignore_progress,
) -> ImportedVectors:
    """Read the vectors of a corpus from a file.

    Args:
        engine: Gives the encoder.
        corpus: The texts; the file has a row for each, in the same order.
        setting: The model that made the vectors, and how the texts were used.
        path: The file on the server.
        name: The visitor's name for it; ends in .npy or .parquet.
        manifest: The .npy.json of an .npy, if it was uploaded as well.
        on_stage: Called while the model loads; may stop that.

    Raises:
        FileFormatError: It is no file of vectors, has another number of rows or dimensions, or holds other texts.
        NonFiniteError: Some row holds NaN, infinity or only zeros.
        FingerprintMismatchError: It was made by another encoder or with another prompt.
    """
    ending = PurePath(name).suffix.lower()
    if ending not in VECTOR_ENDINGS:
        raise FileFormatError(f"{name} ends in {ending or 'nothing'!r}. Vectors are taken from .npy or .parquet files.")
    meta = engine.catalog.offered(setting.model)
    setting = replace(setting, prompt_mode=valid_prompt_mode(meta.prompt_kind, setting.prompt_mode))
    prompt = _prompt(meta.prompt_kind, setting)
    manifest = manifest if ending == ".npy" else None
    with engine.corpus_encoder(meta, on_stage, setting.dtype, setting.backend) as encoder:
        spec, started = encoder.spec, time.perf_counter()
        imported = _read(path, name, manifest, corpus, spec.embed_dim)
    if imported.manifest is not None:
        _check_origin(imported.manifest, spec, prompt, name)
    _check_texts(imported, corpus, name)
    vectors = unit_vectors(imported.vectors, name)
    note = "" if imported.manifest else f"Nothing in {name} tells which model made it: it counts as {meta.name}."
    seconds = time.perf_counter() - started
    embedded = EmbeddedCorpus(corpus, setting, meta, spec, prompt.text, vectors, None, 0, n_embedded=0, seconds=seconds)
    return ImportedVectors(embedded, note)


def _read(path: Path, name: str, manifest: Path | None, corpus: Corpus, embed_dim: int) -> ForeignVectors:
    ending = PurePath(name).suffix.lower()
    source = rewritten(path, None) if ending == ".parquet" else nullcontext(path)
    try:
        with source as file:
            return read_foreign_vectors(
                file,
                ending,
                n_rows=len(corpus),
                embed_dim=embed_dim,
                manifest=manifest,
                max_chars=MAX_CHARACTERS + len(corpus),  # with a space between each title and its text
            )
    except FileFormatError as error:
        if manifest is not None:  # first, because the other path may be a prefix of this one
            error = with_shown_name(error, manifest, f"{name}.json")
        raise with_shown_name(error, path, name) from error


def _prompt(kind: PromptKind, setting: CorpusSetting) -> Prompt:
    return resolve_prompt(kind, **prompt_arguments(kind, setting.prompt_mode, "passage", setting.instruction))


def _write(path: Path, manifest: VectorManifest, embedded: EmbeddedCorpus) -> None:
    corpus = embedded.corpus
    titles = corpus.titles or ("",) * len(corpus)
    with write_vectors(path, manifest, len(corpus), more={"title": str, "line": int}) as write:
        for start in range(0, len(corpus), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            texts = corpus.texts[part]
            more: dict[str, Sequence[str] | Sequence[int]] = {"title": titles[part], "line": corpus.lines[part]}
            write(VectorBlock(texts, ["ok"] * len(texts), embedded.vectors[part], more))


def _check_origin(manifest: VectorManifest, spec: EncoderSpec, prompt: Prompt, name: str) -> None:
    try:
        VectorFile(Path(name), manifest, np.empty((0, spec.embed_dim), np.float32)).check_made_by(spec)
    except FingerprintMismatchError as error:
        raise FingerprintMismatchError(
            error.fact, "Take the model, back end and precision that made it, or embed the texts here."
        ) from error
    if manifest.prompt != prompt.text:
        raise FingerprintMismatchError(
            f"{name} was made with the prompt {manifest.prompt!r}, and the prompt here is {prompt.text!r}.",
            "Choose the use and the instruction that it was made with.",
        )


def _check_texts(imported: ForeignVectors, corpus: Corpus, name: str) -> None:
    """Refuse vectors of other texts, in another order or with other titles, where the file has them.

    Surrounding white space may differ: another program may strip it before embedding.
    """
    for row, text in enumerate(imported.texts or ()):
        stored = (text or "").strip()
        title = imported.titles[row] if imported.titles else None
        joined = join_title(title, text or "").strip()
        # Another program's titles may stand beside vectors of the texts alone; our own are always part of them.
        embedded = {joined} if imported.manifest else {joined, stored}
        if replace_surrogates(corpus.document(row)).strip() in embedded:
            continue
        if replace_surrogates(corpus.texts[row]).strip() == stored:
            raise FileFormatError(_other_title(name, row, title, corpus))
        raise FileFormatError(
            f"{name} holds vectors of other texts, or in another order: in row {row + 1} stands "
            f"“{shown(text or '', 80)}”, and on line {corpus.lines[row]} of {corpus.source} "
            f"“{shown(corpus.texts[row], 80)}”. Take the file that was made of these texts."
        )


def _other_title(name: str, row: int, title: str | None, corpus: Corpus) -> str:
    """The message for a row with the right text and another title, or with a title on one side only."""
    own = corpus.titles[row] if corpus.titles else ""
    theirs, ours = (f"the title “{shown(each, 80)}”" if each else "no title" for each in (title, own))
    if corpus.titles is None:
        advice = "Choose the column of titles, or a file that was made without them."
    elif title:
        advice = "Choose the column of titles that it was made with, or embed the texts here."
    else:
        advice = "Choose no column of titles, or a file that was made with them."
    return (
        f"{name} holds vectors of these texts with other titles: in row {row + 1} {theirs} is in front of the text, "
        f"and on line {corpus.lines[row]} of {corpus.source} {ours}. {advice}"
    )


def unit_vectors(rows: FloatArray, name: str) -> FloatArray:
    """Vectors of a file as a corpus has them: of unit length, and read-only.

    Raises:
        NonFiniteError: Some row holds NaN, infinity or only zeros.
    """
    require_finite(rows, name, np.arange(1, len(rows) + 1))
    vectors = unit_rows(rows, name)
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise NonFiniteError(
            f"{name} holds only zeros in row {zero[0] + 1} ({len(zero):,} in all), which is similar to nothing. "
            "Embed these texts again, or leave them out.",
            zero.tolist(),
        )
    vectors.flags.writeable = False
    return vectors
