"""Texts to tokens the way a request wants its long texts cut: at the end, at the start, or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from e5studio.encode_report import Truncation
from e5studio.encoder import E5Encoder
from e5studio.prepared_texts import PreparedTexts, TokenEmbeddings
from e5studio.prompts import Prompt
from e5studio.server.request_errors import RequestError, as_request_error
from e5studio.text_checks import listed_indices

Cut = Literal["end", "start", "refuse"]
"""What happens to a text that is longer than the model reads: its end or its start is left out, or it is refused."""

_CHARACTERS_PER_TOKEN = 3  # few, so that the estimate is rather too high
_TOKENS_OF_A_PROMPT = 12


@dataclass(frozen=True)
class TextPart:
    """Texts of a request that have one prompt.

    Attributes:
        texts: At least one.
        prompt: The text in front of each.
        param: The field of the request that holds them.
        cut: What happens to long ones.
        max_tokens: Tokens read of each, if fewer than the model's own.
    """

    texts: Sequence[str]
    prompt: Prompt
    param: str = "input"
    cut: Cut = "end"
    max_tokens: int | None = None


def estimated_tokens(longest: int, parts: Sequence[TextPart]) -> int:
    """About how many tokens texts have, rather too many, without a tokenizer: that takes time, too.

    Args:
        longest: Tokens that the model reads of a text.
        parts: The texts.
    """
    return sum(
        min(longest, len(text) // _CHARACTERS_PER_TOKEN + _TOKENS_OF_A_PROMPT) for part in parts for text in part.texts
    )


def prepared(encoder: E5Encoder, part: TextPart) -> PreparedTexts:
    """The token ids of a part, and the report of what was cut.

    Raises:
        RequestError: A text is empty, or too long where that is refused.
    """
    if part.max_tokens is not None:
        encoder = encoder.with_options(max_tokens=part.max_tokens)
    try:
        ready = encoder.prepare(part.texts, prompt=part.prompt)
    except Exception as error:
        raise as_request_error(error, part.param) from error
    cut = ready.report.truncated
    if not cut or part.cut == "end":
        return ready
    if part.cut == "refuse":
        first = cut[0]
        raise RequestError(
            "invalid",
            f"{len(cut)} of {len(part.texts)} texts have more than the {first.n_read:,} tokens that "
            f"{encoder.meta.name} reads, prompt counted (at {listed_indices([each.index for each in cut])}; the first "
            f"has {'' if first.exact else 'at least '}{first.n_read + first.n_dropped:,}), and the request asks not "
            "to cut them. Shorten them, or let them be cut.",
            param=f"{part.param}.{first.index}",
        )
    return _without_starts(encoder, part, ready)


def prepared_together(parts: Sequence[tuple[E5Encoder, TextPart]]) -> list[PreparedTexts | RequestError]:
    """What `prepared` makes of each part, or its error; parts of like encoder, prompt and cut in one call."""
    groups: dict[object, list[int]] = defaultdict(list)
    for index, (encoder, part) in enumerate(parts):
        is_plain = part.cut == "end" and part.max_tokens is None
        groups[(id(encoder), part.prompt) if is_plain else index].append(index)
    results: dict[int, PreparedTexts | RequestError] = {}
    for indices in groups.values():
        encoder = parts[indices[0]][0]
        results.update(
            zip(indices, _prepared_in_one_call(encoder, [parts[index][1] for index in indices]), strict=True)
        )
    return [results[index] for index in range(len(parts))]


def token_embeddings(encoder: E5Encoder, part: TextPart) -> list[TokenEmbeddings]:
    """The vectors of the tokens of each text of a part.

    Raises:
        RequestError: The backend gives none, or as `prepared`.
    """
    if not encoder.has_token_embeddings:
        raise RequestError("unsupported", f"{encoder.meta.name} gives no vectors of tokens here.")
    try:
        encoder.check_prompt_fits(part.prompt)
        return [encoder.token_embeddings(text, prompt=part.prompt) for text in part.texts]
    except Exception as error:
        raise as_request_error(error, part.param) from error


def _prepared_in_one_call(encoder: E5Encoder, parts: Sequence[TextPart]) -> Sequence[PreparedTexts | RequestError]:
    if len(parts) > 1:
        texts = [text for part in parts for text in part.texts]
        with suppress(Exception):  # then at least one part is bad, and each says so itself
            return encoder.prepare(texts, prompt=parts[0].prompt).split([len(part.texts) for part in parts])
    return [_prepared_or_error(encoder, part) for part in parts]


def _prepared_or_error(encoder: E5Encoder, part: TextPart) -> PreparedTexts | RequestError:
    try:
        return prepared(encoder, part)
    except Exception as error:
        return as_request_error(error, part.param)


def _without_starts(encoder: E5Encoder, part: TextPart, ready: PreparedTexts) -> PreparedTexts:
    """The same texts, of the long ones their ends."""
    texts = list(part.texts)
    room = encoder.max_text_tokens(prompt=part.prompt)
    n_dropped = {}
    for each in ready.report.truncated:
        spans = encoder.token_spans(texts[each.index])
        n_dropped[each.index] = max(len(spans) - room, 0)
        texts[each.index] = texts[each.index][int(spans[n_dropped[each.index]][0]) :].lstrip()
    shorter = encoder.prepare(texts, prompt=part.prompt)
    again = {each.index: each.n_dropped for each in shorter.report.truncated}  # an end alone may have a token more
    n_read = shorter.report.n_tokens
    cuts = tuple(Truncation(index, int(n_read[index]), n + again.get(index, 0), True) for index, n in n_dropped.items())
    return replace(shorter, report=replace(shorter.report, truncated=cuts))
