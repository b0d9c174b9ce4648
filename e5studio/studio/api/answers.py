"""A search and an explanation of one score as plain JSON values, for programs and assistants.

Few fields, short lists and two decimals: an assistant pays for every character that it reads.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from e5studio.analysis.attribution import WordShares, word_shares
from e5studio.encode_report import EncodeReport, ReportNotes, TextName
from e5studio.encoder import E5Encoder
from e5studio.errors import E5StudioError
from e5studio.similarity import Hit, cos_sim, semantic_search
from e5studio.studio.engine.engine import Engine
from e5studio.studio.engine.prompt_modes import PromptArguments
from e5studio.studio.engine.sides import with_prompts
from e5studio.studio.errors import LimitError
from e5studio.studio.formatting import shown
from e5studio.studio.why.explanation import PartEffect, TextReading, text_reading, word_effects

MAX_TOP_K = 100
MAX_SCORES_READ = 1_000
"""Most scores in an answer to an assistant."""

MAX_HITS_READ = 300
"""Most passages, over all queries, in an answer to an assistant."""

MAX_CHARACTERS_READ = 40_000
"""Most characters of an answer to an assistant: some 10,000 tokens of English."""

_MAX_TEXT = 400
_SHORTER_TEXTS = (200, 100, 50, 25)  # an assistant has the texts, and each passage's number
_MAX_WORD = 60
_MAX_UNKNOWN = 20
_STRONGEST_PAIRS = 12
_MOST_WORDS = 48  # left out of each text, which takes seconds on a CPU

_SUM_ONLY = (
    "word_pairs show how the score is composed, not why the model gives it: each token was read with the whole text in "
    "view. without_word shows cause and effect."
)
_NO_SUM = "This model reads a text into its last token, so its score is no sum over word pairs; see without_word."


@dataclass(frozen=True)
class _Pair:
    """A query and a passage as the model read them."""

    cosine: float
    sides: tuple[TextReading, TextReading]
    reports: tuple[EncodeReport, EncodeReport]
    shares: WordShares | None
    effects: Sequence[PartEffect]


class NumberError(E5StudioError, ValueError):
    """An argument of an endpoint is not a number, or out of range."""


def check_scores_readable(n_scores: int) -> None:
    """Refuse, before it is computed, a matrix that would fill an assistant's context.

    Raises:
        LimitError: It has more than `MAX_SCORES_READ` cells.
    """
    if n_scores > MAX_SCORES_READ:
        raise LimitError(
            f"{n_scores:,} scores are more than the {MAX_SCORES_READ:,} that an assistant is given at once. Take fewer "
            "texts, or ask search, with a small top_k, for the best passages of each query only."
        )


def check_hits_readable(n_hits: int) -> None:
    """Refuse, before it runs, a search that would fill an assistant's context.

    Raises:
        LimitError: It would find more than `MAX_HITS_READ` passages.
    """
    if n_hits > MAX_HITS_READ:
        raise LimitError(
            f"{n_hits:,} passages are more than the {MAX_HITS_READ:,} that an assistant is given at once. Take fewer "
            "queries or a smaller top_k."
        )


def shortened(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer of `Answers.search`; where it is too long for an assistant, with shorter texts and a note on that.

    It may still be too long; see `readable`.
    """
    short = answer
    for length in _SHORTER_TEXTS:
        if len(_json(short)) <= MAX_CHARACTERS_READ:
            break
        note = f"Of each text only the first {length} characters are shown, so that the answer is not too long."
        results = [_cut(result, length) for result in answer["results"]]
        short = {**answer, "results": results, "notes": [note, *answer["notes"]]}
    return short


def readable(answer: object) -> str:
    """An answer as JSON text for an assistant; numbers in lists have two decimals at most.

    Raises:
        LimitError: It has more than `MAX_CHARACTERS_READ` characters.
    """
    text = _json(rounded(answer))
    if len(text) > MAX_CHARACTERS_READ:
        raise LimitError(
            f"The answer has {len(text):,} characters; an assistant is given {MAX_CHARACTERS_READ:,} at once. Take "
            "fewer texts, a smaller top_k or a shorter instruction."
        )
    return text


def checked_top_k(top_k: object) -> int:
    """The number of passages as a whole number.

    Raises:
        NumberError: It is not one from 1 to 100.
    """
    if isinstance(top_k, int | float) and not isinstance(top_k, bool) and top_k in range(1, MAX_TOP_K + 1):
        return int(top_k)  # JSON does not tell 5.0 from 5
    raise NumberError(f"top_k is {str(top_k)[:_MAX_WORD]!r}. Give a whole number from 1 to {MAX_TOP_K}.")


def rounded(answer: Any) -> Any:
    """The same values; numbers in lists have two decimals at most."""
    if isinstance(answer, float):
        return round(answer, 2)
    if isinstance(answer, list):
        return [rounded(each) for each in answer]
    return answer


@dataclass(frozen=True)
class Answers:
    """Answers from an engine.

    Attributes:
        engine: Computes them.
    """

    engine: Engine

    def search(
        self, model: str, queries: Sequence[str], passages: Sequence[str], instruction: str | None, top_k: int
    ) -> dict[str, Any]:
        """The `top_k` best passages of each query, best first.

        Raises:
            E5StudioError: As `Engine.embed`.
        """
        arguments: list[PromptArguments] = [_query_arguments(instruction), {"prompt_name": "document"}]
        lists = {"queries": queries, "passages": passages}
        embedded = self.engine.embed(model, lists, with_prompts(lists, arguments))
        hits_of_query = semantic_search(*embedded.vectors, top_k=top_k)
        return {
            "model": self.engine.catalog.offered(model).name,
            "results": [
                {"query": shown(query, _MAX_TEXT), "best": _hits(hits, passages)}
                for query, hits in zip(queries, hits_of_query, strict=True)
            ],
            "notes": [
                note
                for texts, report in zip(lists, embedded.reports, strict=True)
                for note in _notes(report, texts, lambda index: f"number {index + 1}")
            ],
        }

    def explain(self, model: str, query: str, passage: str, instruction: str | None) -> dict[str, Any]:
        """The parts of one pair's score, the effect of each word on it, and how the model read both texts.

        Raises:
            E5StudioError: As `Engine.embed`.
        """
        self.engine.check([query], "queries")
        self.engine.check([passage], "passages")
        meta = self.engine.catalog.offered(model)
        with self.engine.encoder_with_tokens(meta) as encoder:
            pair = _read_pair(encoder, query, passage, instruction, is_sum=meta.pooling == "mean")
        return {
            "model": meta.name,
            "score": _points(pair.cosine),
            "query": _as_read(pair, 0),
            "passage": _as_read(pair, 1),
            "word_pairs": None if pair.shares is None else _word_pairs(pair.shares),
            "notes": [
                _NO_SUM if pair.shares is None else _SUM_ONLY,
                *_notes(pair.reports[0], "queries", lambda index: "the query"),
                *_notes(pair.reports[1], "passages", lambda index: "the passage"),
            ],
        }


def _json(answer: object) -> str:
    return json.dumps(answer, ensure_ascii=False)


def _cut(result: dict[str, Any], length: int) -> dict[str, Any]:
    """One query's result, its texts cut to a length."""
    best = [{**hit, "text": shown(hit["text"], length)} for hit in result["best"]]
    return {**result, "query": shown(result["query"], length), "best": best}


def _read_pair(encoder: E5Encoder, query: str, passage: str, instruction: str | None, *, is_sum: bool) -> _Pair:
    left = encoder.prepare([query], **_query_arguments(instruction))
    right = encoder.prepare([passage], prompt_name="document")
    prompts = left.report.prompt, right.report.prompt
    tokens = encoder.token_embeddings(query, prompt=prompts[0]), encoder.token_embeddings(passage, prompt=prompts[1])
    sides = text_reading("query", query, tokens[0]), text_reading("passage", passage, tokens[1])
    effects: list[PartEffect] = []
    for effects in word_effects(encoder, sides, prompts, most_words=_MOST_WORDS):  # noqa: B007 - the last are all
        pass
    return _Pair(
        cosine=float(cos_sim(encoder.embed_prepared(left), encoder.embed_prepared(right))[0, 0]),
        sides=sides,
        reports=(left.report, right.report),
        shares=word_shares(tokens[0].vectors, tokens[1].vectors, sides[0].words, sides[1].words) if is_sum else None,
        effects=effects,
    )


def _as_read(pair: _Pair, index: int) -> dict[str, Any]:
    side, report = pair.sides[index], pair.reports[index]
    effects = [effect for effect in pair.effects if effect.side == index]
    unknown = [side.text[start:end] for start, end in side.unknown[:_MAX_UNKNOWN]]
    return {
        "prompt": report.prompt.text,
        "tokens_read": side.n_tokens,
        "characters_not_read": len(side.text) - side.read_to,
        "not_read": shown(side.text[side.read_to :], _MAX_TEXT),
        "unknown": [shown(piece, _MAX_WORD) for piece in unknown],
        "without_word": [
            {"word": shown(effect.name, _MAX_WORD), "change": round(effect.change, 2)} for effect in effects
        ],
        "words_not_left_out": side.words.parts.count("word") - len(effects),
    }


def _word_pairs(shares: WordShares) -> dict[str, Any]:
    """The pairs with the largest shares, in points; all three parts add up to the score."""
    points = 100 * shares.shares
    left, right = ([part == "word" for part in side.parts] for side in (shares.left, shares.right))
    of_words = np.outer(left, right)
    order = np.argsort(-np.abs(np.where(of_words, points, 0)), axis=None, kind="stable")
    rows, columns = np.unravel_index(order[: min(_STRONGEST_PAIRS, int(of_words.sum()))], points.shape)
    strongest = [
        {
            "query_word": shown(shares.left.names[row], _MAX_WORD),
            "passage_word": shown(shares.right.names[column], _MAX_WORD),
            "points": round(float(points[row, column]), 2),
        }
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]
    outside = 100 * shares.of("prompt", "special")
    others = 100 * shares.cosine - outside - float(points[rows, columns].sum())
    return {
        "strongest": strongest,
        "other_pairs": round(others, 2) + 0.0,  # not -0.0
        "prompt_and_special_tokens": round(outside, 2),
    }


def _hits(hits: Sequence[Hit], passages: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "score": _points(hit.score),
            "number": hit.corpus_id + 1,
            "text": shown(passages[hit.corpus_id], _MAX_TEXT),
        }
        for rank, hit in enumerate(hits, start=1)
    ]


def _notes(report: EncodeReport, texts: str, name: TextName) -> list[str]:
    sentences = ReportNotes(texts).add(report, name).sentences()
    return [sentence for kind, sentence in sentences.items() if kind != "unknown"]


def _query_arguments(instruction: str | None) -> PromptArguments:
    return {"prompt_name": "query", "instruction": instruction}


def _points(cosine: float) -> float:
    return round(100 * cosine, 2)
