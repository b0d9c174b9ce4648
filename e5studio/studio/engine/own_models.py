"""The models that whoever starts the Studio names, checked before the page is served: the table's, and their own.

An own model is a folder, or a model of the Hub that the table lacks. Visitors see its short name, and no folder.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from e5studio import checkpoint, folder_recipe, hub
from e5studio.errors import PromptError, UnknownModelError
from e5studio.load import local_folder
from e5studio.models import (
    PROMPT_KINDS,
    ModelMeta,
    PromptKind,
    did_you_mean,
    get_model_meta,
    hub_id,
    is_in_table,
    list_models,
)
from e5studio.options import ModelOptions
from e5studio.tokenization import Tokenizer

_MAX_NAME = 80
_KINDS = "query_passage (query: / passage:), instruct or none"


@dataclass(frozen=True)
class OwnModel:
    """A model outside the table.

    Attributes:
        meta: What it is, under the name that pages, links and programs use.
        source: The same under the name that the library gives it, which its vectors are known by.
        folder: Where its files are; None for a model of the Hub.
        revision: Of the files at the start; the model is not loaded from others.
    """

    meta: ModelMeta
    source: ModelMeta
    folder: Path | None
    revision: str


@dataclass(frozen=True)
class NamedModel:
    """A model as it was named.

    Attributes:
        name: Of the table or the Hub, or a path.
        prompt_kind: How it was trained to be used; None where that was not said.
    """

    name: str
    prompt_kind: PromptKind | None = None


def read_names(names: Sequence[str], prompt_kinds: Sequence[str] = ()) -> list[NamedModel]:
    """What was named, with the prompt kind of each where that was said.

    Args:
        names: Each a name, or NAME=KIND.
        prompt_kinds: One at most, of the only model outside the table.

    Raises:
        PromptError: A prompt kind is unknown, or it is not clear of which model it was said.
    """
    named = [_read_name(name) for name in names]
    if not prompt_kinds:
        return named
    own = [index for index, each in enumerate(named) if not is_in_table(each.name)]
    advice = f"Say it of each model of your own: --model {_example(named, own)}=query_passage, =instruct or =none."
    if len(prompt_kinds) > 1 or len(own) > 1:
        raise PromptError("--prompt-kind can be said of one model only.", advice)
    if not own:
        raise PromptError("--prompt-kind is for a model of your own, and none is named.", "Leave it out.")
    [index], [kind] = own, prompt_kinds
    if named[index].prompt_kind not in (None, kind):
        raise PromptError(f"{named[index].name} is said to be both {named[index].prompt_kind} and {kind}.", advice)
    named[index] = replace(named[index], prompt_kind=_checked_kind(kind))
    return named


def checked_models(named: Sequence[NamedModel]) -> list[ModelMeta | OwnModel]:
    """The models that were named: rows of the table as they are, others checked and under distinct short names.

    Raises:
        UnknownModelError: There is no such model; or one is named twice.
        PromptError: Nothing tells how a model was trained to be used.
        ModelFilesError: Files are missing, damaged, or not those of an E5 model.
        ModelUnavailableError: A model of the Hub cannot be downloaded.
    """
    models = [_checked_row(each) if is_in_table(each.name) else _checked_own(each) for each in named]
    keys = [each.name if isinstance(each, ModelMeta) else each.folder or each.source.name for each in models]
    twice = next((each.name for each, key in zip(named, keys, strict=True) if keys.count(key) > 1), None)
    if twice is not None:
        raise UnknownModelError(f"{twice} is named twice.", "Name each model once.")
    return _with_distinct_names(models)


def _read_name(text: str) -> NamedModel:
    name, equals, kind = text.rpartition("=")
    if not equals or _is_folder(text):
        return NamedModel(text)
    is_path = not _is_folder(name) and kind not in PROMPT_KINDS and ("/" in kind or local_folder(ModelOptions(text)))
    return NamedModel(text) if is_path else NamedModel(name, _checked_kind(kind))


def _is_folder(name: str) -> bool:
    folder = local_folder(ModelOptions(name)) if name.strip() else None
    return folder is not None and os.path.isdir(folder)


def _checked_kind(kind: str) -> PromptKind:
    if kind not in PROMPT_KINDS:
        raise PromptError(f"The prompt kind {kind!r} is unknown.", f"It is {_KINDS}.")
    return kind


def _example(named: Sequence[NamedModel], own: Sequence[int]) -> str:
    return named[own[0]].name if own else "FOLDER"


def _checked_row(named: NamedModel) -> ModelMeta:
    meta = get_model_meta(named.name)
    if named.prompt_kind not in (None, meta.prompt_kind):
        raise PromptError(
            f"{meta.name} was trained as {meta.prompt_kind}, not as {named.prompt_kind}.", "Leave the prompt kind out."
        )
    return meta


def _checked_own(named: NamedModel) -> OwnModel:
    name = named.name if os.path.isdir(named.name) else hub_id(named.name)
    folder = local_folder(ModelOptions(name))
    name = folder.name if folder else name
    files = hub.from_folder(folder) if folder else _hub_files(name, named.prompt_kind)
    kind = named.prompt_kind or folder_recipe.stated_prompt_kind(files.folder)
    if kind is None:
        raise PromptError(
            f"{named.name} does not say how it was trained to be used.",
            f"Name it as --model {named.name}=KIND, where KIND is {_KINDS}.",
        )
    meta = checkpoint.describe(files.folder, name=name, prompt_kind=kind)
    checkpoint.check(files.folder, meta, is_published=False)
    checkpoint.check_vocabulary(files.folder, Tokenizer.from_folder(files.folder, pooling=meta.pooling).n_ids)
    source = meta if folder else replace(meta, revision=files.revision)
    return OwnModel(meta, source, folder, files.revision)


def _hub_files(name: str, kind: PromptKind | None) -> hub.ModelFiles:
    if "/" not in name:
        raise _unknown(name)
    files = hub.find_local(name)
    if files is None and kind is None:
        raise PromptError(
            f"{name} is no folder here and not in the Hub's cache: nothing says how it was trained to be used.",
            f"Name it as --model {name}=KIND, where KIND is {_KINDS}.",
        )
    return hub.fetch(name, files)


def _unknown(name: str) -> UnknownModelError:
    return UnknownModelError(
        f"Unknown model {name!r}. {did_you_mean(name)}".rstrip(),
        "`e5studio models` lists the known ones. Name a model of your own by its folder, such as ./my-model, or by its "
        "Hub id, owner/name.",
    )


def _with_distinct_names(models: Sequence[ModelMeta | OwnModel]) -> list[ModelMeta | OwnModel]:
    """Give each folder the name of its last part, with its parent's where that name stands for several models."""
    folders = [each.folder for each in models if isinstance(each, OwnModel) and each.folder]
    count = Counter(folder.name.casefold() for folder in folders)
    taken = {meta.short_name.casefold() for meta in list_models()}
    taken |= {each.meta.short_name.casefold() for each in models if isinstance(each, OwnModel) and not each.folder}
    distinct: list[ModelMeta | OwnModel] = []
    for each in models:
        if isinstance(each, OwnModel) and each.folder:
            name = _printable(each.folder.name)
            if count[each.folder.name.casefold()] > 1 or name.casefold() in taken:
                name = f"{name} ({_printable(each.folder.parent.name) or 'folder'})"
            numbered = [name, *(f"{name} {number}" for number in range(2, len(models) + 2))]
            name = next(each for each in numbered if each.casefold() not in taken)
            taken.add(name.casefold())
            each = replace(each, meta=replace(each.meta, name=name))
        distinct.append(each)
    return distinct


def _printable(name: str) -> str:
    """The name of a folder as a visitor may see it: without a path, an end of a line or what is no text."""
    clean = "".join(character if character.isprintable() and character not in "\\/" else "_" for character in name)
    return clean.strip()[:_MAX_NAME] or "folder"
