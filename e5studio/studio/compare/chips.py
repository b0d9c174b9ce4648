"""The comparisons at one click: those that can work with the form's model on this machine, and no others."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

from e5studio.backends import resolve_choices
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.compare.comparison import may_be_base
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import prompt_modes_of, takes_instruction, valid_prompt_mode
from e5studio.studio.engine.result import ScoreRequest

_PROMPTS, _INSTRUCTION, _INT8, _MODEL = "prompts", "instruction", "int8", "model:"
_INSTRUCTIONS = (
    "Given a question, retrieve Wikipedia passages that answer the question",
    "Retrieve semantically similar text.",
)


@dataclass(frozen=True)
class Chip:
    """A comparison at one click."""

    key: str
    title: str


def chips(catalog: Catalog, model: str, prompt_mode: str, *, has_int8: bool) -> list[Chip]:
    """The comparisons that can work with what the form holds."""
    meta = catalog.offered(model)
    kind = meta.prompt_kind
    offers = []
    if kind != "none":
        offers.append(Chip(_PROMPTS, "With and without prompts"))
    if takes_instruction(kind, valid_prompt_mode(kind, prompt_mode)):
        offers.append(Chip(_INSTRUCTION, "Another instruction"))
    for each in catalog.models:
        is_base, is_tuned = may_be_base(catalog, each, meta), may_be_base(catalog, meta, each)
        if (is_base or is_tuned) and catalog.is_here(each):
            title = f"Fine-tuned against {each.short_name}" if is_base else f"Against {each.short_name}, fine-tuned"
            offers.append(Chip(_MODEL + each.name, title))
    if has_int8:
        offers.append(Chip(_INT8, "float32 and int8"))
    return offers


def other_setting(chip: Chip, form: ScoreRequest, catalog: Catalog, instruction: str) -> ScoreRequest:
    """The setting that a chip compares the form's with.

    Args:
        chip: One of `chips`.
        form: What the form holds.
        catalog: Has the form's model.
        instruction: Of B so far; taken where it is another than the form's and the usual one.
    """
    kind = catalog.offered(form.model).prompt_kind
    if chip.key == _PROMPTS:
        retrieval, symmetric, none = (choice.prompt_mode for choice in prompt_modes_of(kind))
        with_prompts = retrieval if form.passages.strip() else symmetric
        return replace(form, prompt_mode=with_prompts if valid_prompt_mode(kind, form.prompt_mode) == none else none)
    if chip.key == _INSTRUCTION:
        if instruction.strip() in ("", WEB_SEARCH_INSTRUCTION, form.instruction.strip()):
            instruction = next(each for each in _INSTRUCTIONS if each != form.instruction.strip())
        return replace(form, instruction=instruction)
    if chip.key == _INT8:
        return replace(form, dtype="int8")
    return replace(form, model=chip.key.removeprefix(_MODEL))


@functools.cache
def has_int8() -> bool:
    """Whether this machine computes in int8."""
    try:
        resolve_choices("auto", device="auto", dtype="int8")
    except (BackendError, MissingDependencyError):
        return False
    return True
