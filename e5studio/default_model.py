"""Which model is taken where a person names none."""

from __future__ import annotations

from dataclasses import dataclass

from e5studio import model_packages
from e5studio.four_bit import model_folder
from e5studio.hub import find_local, hub_answers
from e5studio.models import FOUR_BIT_MODEL, FOUR_BIT_SHA256, OFFLINE_MODEL, PREFERRED_MODEL, get_model_meta


@dataclass(frozen=True)
class ModelChoice:
    """The model to start with.

    Attributes:
        name: Name in the table.
        reason: Why this one, as the end of a sentence.
    """

    name: str
    reason: str


def default_model() -> ModelChoice:
    """The preferred model where it is here or can be downloaded, else the 4-bit E5, else the one that is no E5."""
    preferred = get_model_meta(PREFERRED_MODEL)
    if find_local(preferred) is not None:
        return ModelChoice(preferred.name, "the usual choice, and on this machine already")
    if hub_answers():
        return ModelChoice(preferred.name, f"the usual choice; its {preferred.download_size} are downloaded once")
    why = f"because {preferred.short_name} is not on this machine and the Hugging Face Hub does not answer"
    fault = model_packages.fault(get_model_meta(FOUR_BIT_MODEL)) or model_folder.fault(FOUR_BIT_SHA256)
    if fault is None:
        return ModelChoice(FOUR_BIT_MODEL, f"4-bit weights from an installed package, {why}")
    return ModelChoice(OFFLINE_MODEL, f"no E5, {why}, and {fault}")
