"""Why this score: its parts, its rank among others, and what the model read of both texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from e5studio.analysis.attribution import Words, WordShares, gather_words, without_each_word, word_shares
from e5studio.analysis.ranking import ranks, softmax
from e5studio.analysis.score_context import Place, place_among
from e5studio.encoder import E5Encoder, TokenEmbeddings
from e5studio.prompts import Prompt
from e5studio.similarity import FloatArray, cos_sim
from e5studio.studio.engine.result import ScoreResult

_WORDS_AT_ONCE = 8


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
        rank: Among the row.
        n_columns: Length of the row, the text itself not counted.
        in_row: Where the score stands among the others of its row.
        on_page: Where it stands among all pairs of the page.
        softmax: Share of the row at the temperature of training, per cent.
        backend: Computed the token vectors.
    """

    row: int
    column: int
    score: float
    sides: tuple[TextReading, TextReading]
    shares: WordShares | None
    centred: WordShares | None
    rank: int
    n_columns: int
    in_row: Place | None
    on_page: Place | None
    softmax: float
    backend: str

    @property
    def difference(self) -> float:
        """The explained score minus the one on the screen, in points; other backends round otherwise."""
        return 0.0 if self.shares is None else 100 * self.shares.cosine - self.score


@dataclass(frozen=True)
class WordEffect:
    """What leaving one word out does.

    Attributes:
        side: 0 for the row's text, 1 for the column's.
        word: Its index among the text's words.
        name: The word.
        change: New score minus the score, in points.
    """

    side: int
    word: int
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
    return Explanation(
        row=row,
        column=column,
        score=score,
        sides=(left, right),
        shares=shares,
        centred=centred,
        rank=int(ranks(others)[row, column]) if np.isfinite(others[row, column]) else 0,
        n_columns=int(np.isfinite(others[row]).sum()),
        in_row=place_among(score, np.delete(others[row], column)),
        on_page=place_among(score, np.delete(others.ravel(), row * others.shape[1] + column)),
        softmax=float(softmax(others, result.meta.temperature)[row, column]),
        backend=encoder.spec.backend,
    )


def leave_words_out(encoder: E5Encoder, result: ScoreResult, explained: Explanation) -> Iterator[list[WordEffect]]:
    """What each word of both texts does to the score: the text is embedded again without it, a few words at a time.

    Yields:
        All effects known so far, first those of the row's text.
    """
    yield from word_effects(encoder, explained.sides, (result.reports[0].prompt, result.reports[-1].prompt))


def word_effects(
    encoder: E5Encoder,
    sides: tuple[TextReading, TextReading],
    prompts: tuple[Prompt, Prompt],
    *,
    most_words: int | None = None,
) -> Iterator[list[WordEffect]]:
    """As `leave_words_out`, for two texts with these prompts, at most the first `most_words` words of each."""
    whole = [_embed(encoder, [side.text], prompt) for side, prompt in zip(sides, prompts, strict=True)]
    before = float(cos_sim(*whole)[0, 0]) * 100
    effects: list[WordEffect] = []
    for number, (side, prompt) in enumerate(zip(sides, prompts, strict=True)):
        for words, texts in _shortened(side, most_words):
            vectors = _embed(encoder, texts, prompt)
            scores = cos_sim(vectors, whole[1 - number])[:, 0] * 100
            effects += [
                WordEffect(number, word, side.words.names[word], float(score) - before)
                for word, score in zip(words, scores, strict=True)
            ]
            yield list(effects)


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


def _shortened(side: TextReading, most_words: int | None) -> Iterator[tuple[list[int], list[str]]]:
    """Indices of words that were read and the text without each, a few at a time."""
    indices = [index for index, part in enumerate(side.words.parts) if part == "word"]
    pairs = list(zip(indices, without_each_word(side.text, side.words), strict=True))[:most_words]
    for start in range(0, len(pairs), _WORDS_AT_ONCE):
        part = pairs[start : start + _WORDS_AT_ONCE]
        yield [index for index, _ in part], [text for _, text in part]


def _embed(encoder: E5Encoder, texts: Sequence[str], prompt: Prompt) -> FloatArray:
    return encoder.embed_prepared(encoder.prepare(texts, prompt=prompt, allow_empty=True))
