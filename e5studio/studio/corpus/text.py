"""Corpora, searches and evaluations -> sentences on the page, as nodes for `widgets.text_tree`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE
from e5studio.errors import BackendError, MissingDependencyError
from e5studio.studio.corpus.corpus import MAX_ROWS, Corpus, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingProgress
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, FailedSetting, SettingResult
from e5studio.studio.corpus.map import CorpusMap, corpus_neighbours
from e5studio.studio.corpus.map_figure import MAX_MARKED, Colouring
from e5studio.studio.corpus.search import CarryingWords, SearchHit, SearchResult
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.vector_files import ImportedVectors
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.formatting import count, duration, fixed, listed, shown, signed
from e5studio.studio.map import text as map_text
from e5studio.studio.why.text import marked_words
from e5studio.studio.widgets.nodes import Node, error, hint, prompt_code

_MAX_LISTED = 6
_MAX_PASSAGE = 420
_FEW_COMPARED = 3


def file_read(table: SourceTable) -> list[Node]:
    """The content of a file, and its rows that could not be read."""
    columns = f", {len(table.columns)} columns" if len(table.columns) > 1 else ""
    nodes: list[Node] = [["p", "", ["b", "", shown(table.name, 120)], f": {count(len(table), 'row')}{columns}."]]
    notes = [shown(note, 300) for note in table.notes[:_MAX_LISTED]]
    if len(table.notes) > _MAX_LISTED:
        notes.append(f"and {len(table.notes) - _MAX_LISTED:,} more")
    nodes += [["p", "e5-warning", note] for note in notes]
    return nodes + _left_out(table.bad_rows)


def not_read(message: str, table: SourceTable | None) -> list[Node]:
    """Why a file could not be read, and that the table before it stays."""
    left = f" {table.name} stays in use." if table is not None else ""
    return error(message + left)


def chosen(corpus: Corpus) -> list[Node]:
    """How many texts there are to embed, and how many rows are left out."""
    numbers = {
        "without a value": corpus.n_missing,
        "with an empty text": corpus.n_empty,
        "that could not be read": len(corpus.bad_rows),
    }
    parts = ", ".join(f"{count(number, 'row')} {kind}" for kind, number in numbers.items() if number)
    left_out = f" Left out: {parts}." if parts else " No row is left out."
    front = "" if corpus.titles is None else " Each title is embedded in front of its text."
    return [["p", "e5-hint", f"{count(len(corpus), 'text')} to embed.{left_out}{front}"]]


def embedding_progress(progress: EmbeddingProgress) -> str:
    """How far the run is, its speed, and the time left."""
    facts = [progress.doing]
    if progress.n_done:
        facts.append(f"{progress.n_done:,} of {progress.n_texts:,} texts")
    if progress.texts_per_second is not None:
        facts.append(f"{_rate(progress.texts_per_second)} a second")
    if progress.seconds_left is not None:
        facts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(facts)


FORM_HINT = "The form that ends with the Score button sets model, use and instruction."
RESUMED = "Your texts from before are here. Press Embed: vectors computed so far are not computed again."
DELETED = "Deleted: the file, its texts and their vectors are no longer on the server."
EXPIRED = "The texts are no longer on the server. Choose the file again and press Embed."
OTHER_COLUMNS = "You chose other columns: the results below belong to the previous ones until you press Embed again."
REPLACED = "Stopped, because the texts were replaced or deleted meanwhile."
STOPPED = "Stopped. Vectors computed so far stay: Embed continues from there, also after a reload of the page."
POINT_HELP = "Click a point to read its text and to see its true nearest neighbours."
INVITATION: list[Node] = [
    ["p", "e5-empty-title", "Search, map and measure your own texts"],
    ["p", "e5-hint", f"Up to {MAX_ROWS:,} rows. They stay on this server while this page is open."],
]


def embedded(embedded: EmbeddedCorpus) -> list[Node]:
    """What was embedded, how fast, and what the model reads of it."""
    corpus, n_embedded, seconds = embedded.corpus, embedded.n_embedded, embedded.seconds
    speed = f" in {duration(seconds)}" if n_embedded else ""
    if n_embedded and seconds > 1:
        speed += f" ({_rate(n_embedded / seconds)} texts per second)"
    n_known = len(corpus) - n_embedded
    known = f" {n_known:,} vectors were known already." if n_known and embedded.n_tokens is not None else ""
    texts = f"{count(len(corpus), 'text')} of {shown(corpus.source, 80)}"
    front: list[Any] = ["In front of each: ", prompt_code(embedded.prompt)] if embedded.prompt else ["No prompt."]
    nodes: list[Node] = [
        ["p", "e5-done", f"{texts} embedded with {embedded.meta.short_name}{speed}.{known}"],
        ["p", "e5-hint", *front],
    ]
    if embedded.n_truncated:
        longer = f"{count(embedded.n_truncated, 'text')} longer than the model reads: it ignores the rest of each."
        nodes.append(["p", "e5-warning", longer])
    if embedded.unknown_share is not None:
        n_unknown = int((embedded.unknown_share >= NOTEWORTHY_UNKNOWN_SHARE).sum())
        unknown = f"{count(n_unknown, 'text')} with words or characters that the model does not know: see Diagnose."
        nodes += [["p", "e5-warning", unknown]] if n_unknown else []
    return nodes


def imported(imported: ImportedVectors) -> list[Node]:
    """Which vectors came out of a file, and what the file does not tell."""
    return embedded(imported.embedded) + (hint(imported.note) if imported.note else [])


def hits(result: SearchResult, carrying: Sequence[CarryingWords] = (), row_word: str = "line") -> list[Node]:
    """The hits of a search, best first; with marked words once it is known what they add to each score."""
    words = {each.row: each for each in carrying}
    head = f"The {len(result.hits)} nearest of the corpus, in {duration(result.seconds)}."
    front = [" In front of the query: ", prompt_code(result.prompt.text)] if result.prompt.text else []
    nodes: list[Node] = [["p", "e5-hint", head, *front, _explained(carrying)]]
    if result.is_truncated:
        nodes.append(["p", "e5-warning", "The query is longer than the model reads: it ignores the end."])
    return nodes + [_hit(rank, hit, words.get(hit.row), row_word) for rank, hit in enumerate(result.hits, 1)]


def point(corpus: Corpus, row: int, neighbours: Sequence[tuple[int, float]]) -> list[Node]:
    """One text of the map in full, and its nearest neighbours in all dimensions."""
    near = [(str(corpus.lines[other]), corpus.document(other), score) for other, score in neighbours]
    return map_text.text_and_neighbours(str(corpus.lines[row]), corpus.document(row), near)


def map_caption(
    embedded: EmbeddedCorpus, corpus_map: CorpusMap, colouring: Colouring, n_hits: int = 0, picked: int | None = None
) -> str:
    """How a map was computed, what it is worth, and what its colours, rings and lines mean."""
    corpus, n_marked = embedded.corpus, min(n_hits, MAX_MARKED)
    sentences = [
        f"Vectors of {embedded.meta.short_name}.",
        map_text.method(corpus_map.projection, corpus_map.settings),
        _map_quality(corpus_map, len(corpus)),
        map_text.few_texts(len(corpus), corpus_map.settings.method),
        *_colour_sentences(colouring),
    ]
    if n_hits:
        best = f"best {n_marked}" if n_marked < n_hits else f"{n_hits} hits"
        sentences.append(f"Rings mark the {best} of the search, numbered by rank.")
    if picked is not None:
        n_joined = len(corpus_neighbours(embedded, picked))
        sentences.append(
            f"Lines join text {corpus.lines[picked]} to the {n_joined} texts nearest to it in all dimensions."
        )
    return " ".join(filter(None, sentences))


def _map_quality(corpus_map: CorpusMap, n_texts: int) -> str:
    if corpus_map.trust is None:
        return ""
    share, n_compared = corpus_map.kept_share, corpus_map.n_compared
    nearest = f"Of the {n_compared} texts nearest to each, {share:.0%} are nearest to it on the map too."
    quality = f"{map_text.trust(corpus_map.trust)} {nearest}"
    if corpus_map.n_sampled == n_texts:
        return quality
    return f"{quality} Both are estimated on {corpus_map.n_sampled:,} of the {n_texts:,} texts."


def _colour_sentences(colouring: Colouring) -> list[str]:
    clusters, column = colouring.clusters, colouring.column
    if clusters is not None:
        is_whole = clusters.n_fitted == len(clusters.labels)
        sample = f"Found in {clusters.n_fitted:,} texts drawn at random; the others went to the nearest group."
        return [map_text.groups(len(clusters.names), clusters.silhouette), "" if is_whole else sample]
    if column is None:
        return []
    if colouring.n_named < colouring.n_values:
        frequent = f"its {colouring.n_named} most frequent values of {colouring.n_values:,}; the others are grey."
        return [f"Coloured by {column}: {frequent}"]
    grey = f"Grey: {colouring.n_without_number:,} texts without a number." if colouring.n_without_number else ""
    clipped = "The last hundredth at either end shares a colour." if colouring.is_clipped else ""
    return [f"Coloured by {column}.", grey, clipped]


def measured(evaluation: CorpusEvaluation) -> list[Node]:
    """How much was measured."""
    n_queries = count(len(evaluation.pairs), "query", "queries")
    return [["p", "e5-done", f"Measured {count(len(evaluation.rows), 'setting')} on {n_queries}."]]


def verdict(evaluation: CorpusEvaluation) -> list[Node]:
    """How the settings compare on these pairs, and how certain that is."""
    n_queries = count(len(evaluation.pairs), "query", "queries")
    nodes: list[Node] = [["p", "", f"Measured on {n_queries} with known answers."]]
    if evaluation.pairs.left_out:
        lines = listed((f"{line:,}" for line in evaluation.pairs.left_out), _MAX_LISTED)
        nodes.append(["p", "e5-warning", f"Left out, without a query or an answer in the corpus: lines {lines}."])
    for row in evaluation.rows:
        if isinstance(row, FailedSetting):
            nodes.append(["p", "e5-error", f"{setting_name(row)}: {_reason(row)}"])
    results = [row for row in evaluation.rows if isinstance(row, SettingResult)]
    if evaluation.baseline is not None and len(results) > 1:
        base = setting_name(evaluation.rows[evaluation.baseline])
        nodes += [["p", "", _difference(row, base)] for row in results if row.difference]
    if len(results) > _FEW_COMPARED:
        nodes.append(["p", "e5-hint", "With so many comparisons, one may look certain by chance alone."])
    if any(row.seconds_per_thousand is None for row in results):
        nodes.append(["p", "e5-hint", "There are no seconds where most vectors were known already."])
    if results and results[0].means[MAIN_METRIC].interval is None:
        nodes.append(["p", "e5-hint", "There are too few queries for intervals: differences may be chance."])
    return nodes


def _reason(row: FailedSetting) -> str:
    """Why a setting failed, with what a visitor can do."""
    if isinstance(row.error, BackendError | MissingDependencyError):
        return message_for_visitor(for_menus(row.error, row.setting.dtype))
    return message_for_visitor(row.error)


def setting_name(row: SettingResult | FailedSetting) -> str:
    """The setting of a row in a few words."""
    setting, meta = row.setting, row.meta
    parts = [meta.short_name if meta else shown(setting.model, 60)]
    if setting.prompt_mode != "retrieval" and meta and meta.prompt_kind != "none":
        parts.append("no prompt" if setting.prompt_mode == "none" else "symmetric")
    if setting.instruction:
        parts.append(f"“{shown(setting.instruction, 60)}”")
    if setting.dtype != "auto":
        parts.append(setting.dtype)
    return ", ".join(parts)


def _left_out(bad_rows: Sequence[str]) -> list[Node]:
    if not bad_rows:
        return []
    problems = [shown(problem, 300) for problem in bad_rows[:_MAX_LISTED]]
    if len(bad_rows) > _MAX_LISTED:
        problems.append(f"and {len(bad_rows) - _MAX_LISTED:,} more")
    items = [["li", "e5-warning", problem] for problem in problems]
    return [["p", "e5-warning", f"{count(len(bad_rows), 'row')} could not be read:"], ["ul", "", *items]]


def _explained(carrying: Sequence[CarryingWords]) -> str:
    if not carrying:
        return ""
    if carrying[0].shares is None:
        return " This model reads a text into its last token, so no words can be marked as carrying the score."
    return " Orange words carry the score beyond what all texts share, blue ones take away from it."


def _hit(rank: int, hit: SearchHit, carrying: CarryingWords | None, row_word: str) -> Node:
    head: Node = [
        "div",
        "e5-hit-head",
        ["strong", "", fixed(hit.score)],
        ["span", "", f"{rank} · {row_word} {hit.label}"],
    ]
    if carrying is None:
        title: list[Node] = [["p", "e5-hit-title", shown(hit.title, 200)]] if hit.title else []
        return ["div", "e5-hit", head, *title, ["p", "e5-marked", shown(hit.text, _MAX_PASSAGE)]]
    return ["div", "e5-hit", head, *_marked_hit(hit, carrying)]


def _marked_hit(hit: SearchHit, carrying: CarryingWords) -> list[Node]:
    """The title and the text, which the model reads as one."""
    marks = {
        index: f"e5-holds-{'up' if strength > 0 else 'down'}-{abs(strength)}"
        for index, strength in carrying.strengths.items()
    }
    start, passage = carrying.excerpt_start(_MAX_PASSAGE), carrying.passage
    if not hit.title.strip():
        return [["p", "e5-marked", *marked_words(passage, marks, _MAX_PASSAGE, start)]]
    end = len(hit.title.lstrip()) + 1  # and the space that joins the two
    title: Node = ["p", "e5-marked e5-hit-title", *marked_words(passage, marks, end_at=end)]
    if start > end:
        return [title, ["p", "e5-marked", *marked_words(passage, marks, _MAX_PASSAGE, start)]]
    _, *text = marked_words(passage, marks, _MAX_PASSAGE, end)  # nothing of the text is left out before it
    return [title, ["p", "e5-marked", *text]]


def _difference(row: SettingResult, base: str) -> str:
    difference = row.difference
    assert difference is not None  # as the caller checks
    change = f"{setting_name(row)}: nDCG@10 {signed(difference.difference, 4)} from {base}"
    if difference.interval is None:
        return f"{change}; too few queries to say whether that is chance."
    low, high = difference.interval.low, difference.interval.high
    certainty = "hardly chance" if low > 0 or high < 0 else "may well be chance"
    ends = f"{signed(low, 4)} to {signed(high, 4)}"
    return f"{change} (95 % interval {ends}, p {difference.p_value:.3f}): {certainty}."


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
