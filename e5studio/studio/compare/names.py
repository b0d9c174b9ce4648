"""What two settings are called: each by what it does not share with the other, "without prompts" or "in int8". Pure."""

from __future__ import annotations

from e5studio.studio.compare.comparison import Comparison
from e5studio.studio.engine.prompt_modes import prompt_modes_of, side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.widgets.nodes import Node, prompt_code

_MODES = {"retrieval": "as queries and passages", "symmetric": "as symmetric texts"}


def names(comparison: Comparison) -> tuple[str, str]:
    """Both settings as ends of a sentence: "with prompts", "without prompts"."""
    first, second = comparison.first, comparison.second
    differences = [
        (f"with {first.meta.short_name}", f"with {second.meta.short_name}"),
        _prompt_names(first, second),
        (f"in {first.spec.dtype}", f"in {second.spec.dtype}"),
        (f"on {first.spec.backend}", f"on {second.spec.backend}"),
    ]
    if first.meta.name != second.meta.name or first.spec.dtype != second.spec.dtype:
        differences.pop()  # then each takes the backend that it can
    parts = [(one, other) for one, other in differences if one != other]
    if not parts:
        return "under A", "under B"
    one, other = (", ".join(side) for side in zip(*parts, strict=True))
    return one, other


def side_nouns(result: ScoreResult) -> tuple[str, str]:
    """What the rows are called, and what one of the columns is."""
    labels = side_labels(result.prompt_mode)
    return labels.left.lower(), "text" if result.is_self or labels.right != "Passages" else "passage"


def in_words(result: ScoreResult) -> list[Node | str]:
    """A setting: its model, prompt mode, precision and backend, and what stands in front of the texts."""
    choices = prompt_modes_of(result.meta.prompt_kind)
    mode = next(choice.label for choice in choices if choice.prompt_mode == result.prompt_mode)
    how = ", ".join([result.meta.short_name, mode, result.spec.dtype, result.spec.backend])
    if not any(report.prompt.text for report in result.reports):
        return [f"{how}, nothing in front of the texts"]
    labels = side_labels(result.prompt_mode)
    fronts: list[Node | str] = []
    for name, report in zip((labels.left, labels.right), result.reports, strict=False):
        fronts += [f", {name.lower()} ", prompt_code(report.prompt.text)]
    return [how, *fronts]


def _prompt_names(first: ScoreResult, second: ScoreResult) -> tuple[str, str]:
    """How the prompts differ; the same word twice where they do not, or where a model knows none."""
    kinds, modes = ({side.meta.prompt_kind for side in (first, second)}, (first.prompt_mode, second.prompt_mode))
    if "none" in kinds:
        return "", ""
    if modes[0] != modes[1]:
        one, other = ("without prompts" if mode == "none" else "with prompts" for mode in modes)
        return (_MODES[modes[0]], _MODES[modes[1]]) if one == other else (one, other)
    texts = [[report.prompt.text for report in side.reports] for side in (first, second)]
    is_other = len(kinds) == 1 and texts[0] != texts[1]
    return ("with the first instruction", "with the other instruction") if is_other else ("", "")
