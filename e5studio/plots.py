"""The Studio's figures from Python, for notebooks: the matrix of scores, the map, and what a score is made of.

Each function returns a `plotly.graph_objects.Figure`, with the data and the colours that the page draws. plotly is
loaded at the first call; Gradio is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from e5studio.analysis.attribution import gather_words, word_shares
from e5studio.encode_report import warn
from e5studio.encoder import E5Encoder
from e5studio.errors import TextError, VectorError
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import Prompt
from e5studio.similarity import scores as score_matrix
from e5studio.studio.charts.matrix import word_grid
from e5studio.studio.charts.palette import PALETTES, Theme
from e5studio.studio.charts.plotly_figure import plotly_figure
from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.map import CORPUS_METHODS, group_corpus, place_corpus
from e5studio.studio.corpus.map_figure import COLUMN, colour_corpus, draw_corpus_map
from e5studio.studio.engine.prompt_modes import Side, prompt_arguments, valid_prompt_mode
from e5studio.studio.engine.result import ScoreRequest, ScoreResult, best_passages
from e5studio.studio.engine.text_box import TextList
from e5studio.studio.formatting import fixed
from e5studio.studio.map.placing import MapSettings
from e5studio.studio.scores.charts import ordered_heat_map
from e5studio.studio.scores.order import ORDERS, Order, valid_shading
from e5studio.studio.why.explanation import common_part
from e5studio.text_checks import checked_container, checked_types

if TYPE_CHECKING:
    import plotly.graph_objects


def plot_scores(
    encoder: E5Encoder,
    queries: Iterable[str],
    documents: Iterable[str],
    *,
    instruction: str | None = None,
    order: Order = "written",
    theme: Theme = "light",
) -> plotly.graph_objects.Figure:
    """Every query against every document, cosine x 100, as colours and numbers; the best of each row is outlined.

    E5's scores lie close together, so that the colours of its models compare the scores of a row only.

    Args:
        encoder: The model.
        queries: Rows.
        documents: Columns.
        instruction: The task, for instruct models.
        order: "written"; "score" puts the best matches along the diagonal; "group" puts alike texts together.
        theme: "light" or "dark".

    Raises:
        TextError: A list is empty or holds an empty text.
        VectorError: There is no such order or theme.
        MissingDependencyError: plotly is not installed, or for groups scikit-learn.
    """
    _check("order", order, ORDERS)
    _check("theme", theme, PALETTES)
    result = _scored(encoder, queries, documents, instruction)
    return plotly_figure(ordered_heat_map(result, order, valid_shading(None, result)), theme)


def plot_map(
    encoder: E5Encoder,
    texts: Iterable[str],
    labels: Iterable[object] | None = None,
    *,
    prompt_name: str | None = None,
    prompt: str | Prompt | None = None,
    instruction: str | None = None,
    method: Literal["pca", "umap", "tsne"] = "pca",
    n_dims: Literal[2, 3] = 2,
    seed: int = 0,
    theme: Theme = "light",
) -> plotly.graph_objects.Figure:
    """Texts as points; its title says how much of their neighbourhoods the map keeps.

    Args:
        encoder: The model.
        texts: One for each point.
        labels: A category or a number for each text, which colours its point. None for topics by k-means.
        prompt_name: As `E5Encoder.encode` takes it: "symmetric" for alike texts, "document" for passages.
        prompt: Another prompt in its place; "" for none.
        instruction: The task, for instruct models.
        method: Of projection.
        n_dims: 2 or 3.
        seed: Of UMAP and t-SNE.
        theme: "light" or "dark".

    Raises:
        TextError: There are no texts, or an empty one.
        PromptError: The model has prompts, and none was chosen.
        VectorError: Too few texts for the method, another number of labels, or no such method, theme or `n_dims`.
        MissingDependencyError: plotly, umap-learn or scikit-learn is not installed.
    """
    _check("method", method, CORPUS_METHODS)
    _check("n_dims", n_dims, (2, 3))
    _check("theme", theme, PALETTES)
    texts = _checked(texts, "texts")
    cells = None if labels is None else _cells(labels, len(texts))
    prepared = encoder.prepare(texts, prompt_name=prompt_name, prompt=prompt, instruction=instruction)
    warn(prepared.report, stacklevel=2)
    embedded = _embedded(encoder, texts, prepared)
    corpus_map = place_corpus(embedded, MapSettings(method, n_dims, seed=seed))
    if cells is None:
        colouring = colour_corpus(embedded, "group", groups=group_corpus(embedded))
    else:
        colouring = colour_corpus(embedded, f"{COLUMN}label", cells=cells)
    return plotly_figure(draw_corpus_map(embedded, corpus_map, colouring), theme)


def plot_why(
    encoder: E5Encoder,
    query: str,
    document: str,
    *,
    others: Iterable[str] = (),
    instruction: str | None = None,
    theme: Theme = "light",
) -> plotly.graph_objects.Figure:
    """What pairs of words make of a score, in points of cosine x 100; they add up to it.

    It shows how the number is composed, not why the model gives it: every token was read with the whole text in view.

    Args:
        encoder: The model, one that takes the mean of its tokens.
        query: One text.
        document: The other.
        others: More documents. What all these texts share is taken out, which is most of a score of E5: the grid then
            shows what these two have beyond it.
        instruction: The task, for instruct models.
        theme: "light" or "dark".

    Raises:
        TextError: A text is empty.
        VectorError: The model reads a text into its last token; or there is no such theme.
        BackendError: The encoder's backend has no token vectors.
        MissingDependencyError: plotly is not installed.
    """
    _check("theme", theme, PALETTES)
    if encoder.meta.pooling != "mean":
        raise VectorError(
            f"{encoder.meta.short_name} reads a text into its last token, so its score is no sum over words.",
            "Take a model that takes the mean of its tokens, or score the texts again without a word.",
        )
    further = list(others)
    result = _scored(encoder, [query], [document, *further], instruction)
    prompts = result.reports[0].prompt, result.reports[1].prompt
    left, right = (
        encoder.token_embeddings(text, prompt=prompt) for text, prompt in zip((query, document), prompts, strict=True)
    )
    vectors = left.vectors, right.vectors
    words = [
        gather_words(text, tokens.offsets, tokens.in_prompt, tokens.special)
        for text, tokens in ((query, left), (document, right))
    ]
    centre = common_part(result.vectors, vectors) if further else None
    shares = word_shares(*vectors, *words, centre=centre)
    points = (100 * shares.shares).astype(np.float32)
    figure = word_grid(points, shares.left.names, shares.right.names, is_centred=bool(further))
    beyond = f"; {fixed(float(points.sum()))} beyond what all {len(further) + 2} texts share" if further else ""
    figure["title"] = f"{fixed(100 * shares.cosine)} with {encoder.meta.short_name}, as pairs of words{beyond}"
    return plotly_figure(figure, theme)


def _scored(
    encoder: E5Encoder, queries: Iterable[str], documents: Iterable[str], instruction: str | None
) -> ScoreResult:
    """A result as the page has it."""
    meta = encoder.meta
    mode = valid_prompt_mode(meta.prompt_kind, None)
    boxes = [
        TextList(tuple(texts), tuple(f"{letter}{number}" for number in range(1, len(texts) + 1)))
        for letter, texts in (("Q", _checked(queries, "queries")), ("P", _checked(documents, "documents")))
    ]
    sides: tuple[Side, Side] = ("query", "passage")
    prepared = [
        encoder.prepare(box.texts, **prompt_arguments(meta.prompt_kind, mode, side, instruction))
        for box, side in zip(boxes, sides, strict=True)
    ]
    for side_read in prepared:
        warn(side_read.report, stacklevel=3)
    vectors = [encoder.embed_prepared(each) for each in prepared]
    scores = score_matrix(*vectors)
    return ScoreResult(
        request=ScoreRequest(meta.name, mode, "", "", instruction or ""),
        meta=meta,
        prompt_mode=mode,
        queries=boxes[0],
        passages=boxes[1],
        is_self=False,
        scores=scores,
        best=best_passages(scores, is_self=False),
        vectors=np.concatenate(vectors),
        reports=tuple(each.report for each in prepared),
        spec=encoder.spec,
        n_embedded=sum(map(len, boxes)),
        seconds=0.0,
    )


def _embedded(encoder: E5Encoder, texts: Sequence[str], prepared: PreparedTexts) -> EmbeddedCorpus:
    report = prepared.report
    return EmbeddedCorpus(
        corpus=Corpus("the list", tuple(texts), tuple(range(1, len(texts) + 1))),
        setting=CorpusSetting(encoder.meta.name, "none"),
        meta=encoder.meta,
        spec=encoder.spec,
        prompt=report.prompt.text,
        vectors=encoder.embed_prepared(prepared),
        n_tokens=report.n_tokens,
        n_truncated=len(report.truncated),
        n_embedded=len(texts),
        seconds=0.0,
    )


def _cells(labels: Iterable[object], n_texts: int) -> list[str]:
    """Labels as the cells of a column; those that are missing are empty."""
    cells = ["" if label is None or label != label else str(label) for label in checked_container(labels, "label")]
    if len(cells) != n_texts:
        raise VectorError(f"There are {len(cells)} labels for {n_texts} texts.", "Give one for each text.")
    return cells


def _checked(texts: Iterable[str], what: str) -> list[str]:
    checked = checked_types(texts)
    if not checked:
        raise TextError(f"There are no {what}: the list is empty. Give at least one text.")
    return checked


def _check(name: str, value: object, choices: Iterable[object]) -> None:
    if value not in choices:
        raise VectorError(f"{name}={value!r} is none of {', '.join(map(repr, choices))}.")
