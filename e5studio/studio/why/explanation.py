"""Why this score: its parts, what the model read of both texts, and what happens without a word or a sentence."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from e5studio.analysis.attribution import Words, WordShares, gather_words, without_each_word, word_shares
from e5studio.analysis.ranking import softmax
from e5studio.analysis.score_context import Place, place_among
from e5studio.encoder import E5Encoder
from e5studio.prepared_texts import TokenEmbeddings
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray, cos_sim
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.why.sentences import parts_at, sentences_of

_PARTS_AT_ONCE = 8
_LONG, _SENTENCES_OF_LONG = 40, 3  # words and sentences from which a text is explained by sentences
_QUICK = 3e9  # tokens x layers x dimensions squared that a small CPU reads while somebody waits
_STEPS = (0.25, 0.5, 0.75)  # shares of the strongest part from which a part counts as weak, clear, strong


@dataclass(frozen=True)
class TextReading:
    """One text of a pair, as the model read it.

    Attributes:
        label: "Q1" and the like.
        text: The text.
        words: Its words.
        n_tokens: Tokens read, prompt and special tokens counted.
        read_to: Characters read; all of them where nothing was cut.
        unknown: First and one-past-last character of what the vocabulary lacks.
    """

    label: str
    text: str
    words: Words
    n_tokens: int
    read_to: int
    unknown: tuple[tuple[int, int], ...]

    @functools.cached_property
    def is_long(self) -> bool:
        """Whether it is explained sentence by sentence."""
        n_words = sum(part == "word" for part in self.words.parts)
        return n_words > _LONG and len(self._sentences.names) >= _SENTENCES_OF_LONG

    @functools.cached_property
    def parts(self) -> Words:
        """What is marked and left out at first: the sentences of a long text, the words of another."""
        return self._sentences if self.is_long else self.words

    def words_in(self, part: int) -> Words:
        """The words of one of its parts."""
        start, end = self.parts.spans[part].tolist()
        spans = self.words.spans.tolist()
        inside = [index for index in range(len(spans)) if start <= spans[index][0] < min(end, self.read_to)]
        return parts_at(self.text, [tuple(spans[i]) for i in inside if self.words.parts[i] == "word"])

    @functools.cached_property
    def _sentences(self) -> Words:
        return sentences_of(self.text[: self.read_to])


@dataclass(frozen=True)
class Explanation:
    """A pair of texts and its score.

    Attributes:
        row: Of the score matrix.
        column: Of it.
        score: Cosine x 100, as on the screen.
        sides: Both texts.
        shares: How word pairs make up the score; None for models that pool the last token, which no sum explains.
        centred: The same with what all texts of the page share taken out.
        on_page: Where it stands among all pairs of the page.
        softmax: Share of the row at the temperature of training, per cent.
        backend: Computed the token vectors.
        effects: What leaving out each part does; None where that takes long.
    """

    row: int
    column: int
    score: float
    sides: tuple[TextReading, TextReading]
    shares: WordShares | None
    centred: WordShares | None
    on_page: Place | None
    softmax: float
    backend: str
    effects: tuple[PartEffect, ...] | None = None

    def carrying(self, side: int) -> NDArray[np.float64] | None:
        """What each part of a side adds to the score beyond what its tokens add on average; None without shares.

        In points, without what all texts share. Against the average, because whole texts are nearer to or farther from
        the other text than those of the page are on average: of such a text all parts would have one sign.
        """
        if self.centred is None:
            return None
        words, parts = self.sides[side].words, self.sides[side].parts
        is_word = np.array([part == "word" for part in words.parts])
        n_tokens = np.where(is_word, np.bincount(words.word_of_token, minlength=len(is_word)), 0)
        points = np.where(is_word, 100 * self.centred.shares.sum(axis=1 - side), 0.0)
        points -= points.sum() / max(n_tokens.sum(), 1) * n_tokens
        if parts is words:
            return points
        index = np.searchsorted(parts.spans[:, 0], words.spans[:, 0], side="right") - 1
        of_parts = np.zeros(len(parts.names))
        np.add.at(of_parts, np.maximum(index, 0), points)
        return of_parts

    @property
    def difference(self) -> float:
        """The explained score minus the one on the screen, in points; other backends round otherwise."""
        return 0.0 if self.shares is None else 100 * self.shares.cosine - self.score


@dataclass(frozen=True)
class PartEffect:
    """What leaving a word or a sentence out does.

    Attributes:
        side: 0 for the row's text, 1 for the column's.
        part: Its index among the parts that are left out.
        name: Its text.
        change: New score minus the score, in points.
    """

    side: int
    part: int
    name: str
    change: float


def explain_pair(encoder: E5Encoder, result: ScoreResult, row: int, column: int) -> Explanation:
    """Explain one cell of a result.

    Args:
        encoder: Of the result's model, with token vectors.
        result: Of `Engine.score`.
        row: Of the matrix.
        column: Of it.

    Raises:
        BackendError: The encoder's backend has no token vectors.
    """
    prompts = result.reports[0].prompt, result.reports[-1].prompt
    boxes = result.queries, result.passages
    texts = [(box.labels[index], box.texts[index]) for box, index in zip(boxes, (row, column), strict=True)]
    tokens = [encoder.token_embeddings(text, prompt=prompt) for (_, text), prompt in zip(texts, prompts, strict=True)]
    left, right = (text_reading(*text, read) for text, read in zip(texts, tokens, strict=True))
    shares = centred = None
    if result.meta.pooling == "mean":
        vectors = tokens[0].vectors, tokens[1].vectors
        shares = word_shares(*vectors, left.words, right.words)
        centred = word_shares(*vectors, left.words, right.words, centre=common_part(result.vectors, vectors))
    score = float(result.scores[row, column])
    others = result.counted
    explained = Explanation(
        row=row,
        column=column,
        score=score,
        sides=(left, right),
        shares=shares,
        centred=centred,
        on_page=place_among(score, np.delete(others.ravel(), row * others.shape[1] + column)),
        softmax=float(softmax(others, result.meta.temperature)[row, column]),
        backend=encoder.spec.backend,
    )
    n_tokens = sum(side.n_tokens * side.parts.parts.count("word") for side in explained.sides)
    if n_tokens * result.meta.n_layers * result.meta.embed_dim**2 > _QUICK:
        return explained
    shortened = [_shortened(side.text, side.parts) for side in explained.sides]
    whole = [read.vectors.mean(axis=0, keepdims=True) for read in tokens] if shares is not None else None
    at_once = max(1, *map(len, shortened))  # nobody sees some before the others
    *_, effects = [[], *_part_effects(encoder, explained.sides, prompts, shortened, whole=whole, at_once=at_once)]
    return replace(explained, effects=tuple(effects))


def leave_out(
    encoder: E5Encoder, result: ScoreResult, parts: Sequence[Words], explained: Explanation
) -> Iterator[list[PartEffect]]:
    """What each part of both texts does to the score: the text is embedded again without it, a few at a time.

    Args:
        encoder: Of the result's model.
        result: Of `Engine.score`.
        parts: Of the row's text and of the column's.
        explained: The pair.

    Yields:
        All effects known so far, first those of the row's text.
    """
    prompts = result.reports[0].prompt, result.reports[-1].prompt
    shortened = [_shortened(side.text, each) for side, each in zip(explained.sides, parts, strict=True)]
    yield from _part_effects(encoder, explained.sides, prompts, shortened)


def word_effects(
    encoder: E5Encoder,
    sides: tuple[TextReading, TextReading],
    prompts: tuple[Prompt, Prompt],
    *,
    most_words: int,
) -> Iterator[list[PartEffect]]:
    """As `leave_out`, for two texts with these prompts and at most the first `most_words` words of each."""
    shortened = [_shortened(side.text, side.words)[:most_words] for side in sides]
    yield from _part_effects(encoder, sides, prompts, shortened)


def strengths(points: NDArray[np.float64]) -> dict[int, int]:
    """Index of a part -> 1, 2 or 3 as it carries the score weakly to strongly, negative where it lowers it."""
    strongest = float(np.abs(points).max(initial=0)) or 1.0
    steps = np.sign(points) * np.searchsorted(_STEPS, np.abs(points) / strongest, side="right")
    return {index: int(steps[index]) for index in np.flatnonzero(steps).tolist()}


def text_reading(label: str, text: str, tokens: TokenEmbeddings) -> TextReading:
    """What the model read of a text, of which `tokens` are the tokens."""
    own = ~tokens.special & ~tokens.in_prompt
    spans = tokens.offsets[own]
    unknown = tokens.offsets[own & tokens.unknown]
    read_to = int(spans[:, 1].max(initial=0))
    return TextReading(
        label=label,
        text=text,
        words=gather_words(text, tokens.offsets, tokens.in_prompt, tokens.special),
        n_tokens=len(tokens.tokens),
        read_to=len(text) if not text[read_to:].strip() else read_to,
        unknown=tuple((int(start), int(end)) for start, end in unknown),
    )


def common_part(vectors: FloatArray, tokens: tuple[FloatArray, FloatArray]) -> FloatArray:
    """What texts share, by the mean of their vectors (n, dim), as long as the means of two texts' tokens are."""
    length = np.mean([np.linalg.norm(rows.mean(axis=0)) for rows in tokens])
    common: FloatArray = vectors.mean(axis=0) * np.float32(length)
    return common


def _shortened(text: str, parts: Words) -> list[tuple[int, str, str]]:
    """The index and the name of each part, and the text without it."""
    named = [(index, parts.names[index]) for index, part in enumerate(parts.parts) if part == "word"]
    return [(*each, rest) for each, rest in zip(named, without_each_word(text, parts), strict=True)]


def _part_effects(
    encoder: E5Encoder,
    sides: tuple[TextReading, TextReading],
    prompts: tuple[Prompt, Prompt],
    shortened: Sequence[Sequence[tuple[int, str, str]]],
    *,
    whole: Sequence[FloatArray] | None = None,
    at_once: int = _PARTS_AT_ONCE,
) -> Iterator[list[PartEffect]]:
    if whole is None:
        whole = [_embed(encoder, [side.text], prompt) for side, prompt in zip(sides, prompts, strict=True)]
    before = float(cos_sim(*whole)[0, 0]) * 100
    effects: list[PartEffect] = []
    for number, prompt in enumerate(prompts):
        for start in range(0, len(shortened[number]), at_once):
            parts = shortened[number][start : start + at_once]
            vectors = _embed(encoder, [rest for _, _, rest in parts], prompt)
            scores = cos_sim(vectors, whole[1 - number])[:, 0] * 100
            effects += [
                PartEffect(number, index, name, float(score) - before)
                for (index, name, _), score in zip(parts, scores, strict=True)
            ]
            yield list(effects)


def _embed(encoder: E5Encoder, texts: Sequence[str], prompt: Prompt) -> FloatArray:
    return encoder.embed_prepared(encoder.prepare(texts, prompt=prompt, allow_empty=True))
