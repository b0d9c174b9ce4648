"""Corpora, searches and measurements -> sentences on the page, as nodes for `widgets.text_tree`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.errors import BackendError, MissingDependencyError
from e5studio.studio.corpus.corpus import MAX_ROWS, Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingProgress
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, FailedSetting, SettingResult
from e5studio.studio.corpus.search import CarryingWords, SearchHit, SearchResult
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.vector_files import ImportedVectors
from e5studio.studio.engine.catalog import offered
from e5studio.studio.engine.error_messages import for_menus, message_for_visitor
from e5studio.studio.formatting import count, duration, fixed, listed, shown, signed
from e5studio.studio.why.text import marked_words
from e5studio.studio.widgets.nodes import Node, error, hint, prompt_code

_MAX_LISTED = 6
_MAX_PASSAGE = 420
_STEPS = (0.25, 0.5, 0.75)  # shares of the strongest word from which one is marked weak, clear, strong
_FEW_COMPARED = 3


def file_read(table: SourceTable) -> list[Node]:
    """What was found in a file, and what could not be read of it."""
    columns = f", {len(table.columns)} columns" if len(table.columns) > 1 else ""
    nodes: list[Node] = [["p", "", ["b", "", shown(table.name, 120)], f": {count(len(table), 'row')}{columns}."]]
    if table.other_delimiter:
        hint = f"Only one column was found. Its cells are probably separated by {table.other_delimiter!r}: choose that."
        nodes.append(["p", "e5-warning", hint])
    return nodes + _left_out(table.bad_rows)


def not_read(message: str, table: SourceTable | None) -> list[Node]:
    """Why a file could not be read, and that the table before it stays."""
    left = f" {table.name} stays in use." if table is not None else ""
    return error(message + left)


def chosen(corpus: Corpus) -> list[Node]:
    """What will be embedded, and what is left out of it."""
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


def embedded(found: EmbeddedCorpus) -> list[Node]:
    """What was embedded, how fast, and what the model read."""
    n, short = len(found.corpus), found.meta.name.rsplit("/", 1)[-1]
    speed = f" in {duration(found.seconds)}" if found.n_embedded else ""
    if found.n_embedded and found.seconds > 1:
        speed += f" ({_rate(found.n_embedded / found.seconds)} texts per second)"
    n_kept = n - found.n_embedded
    kept = f" {n_kept:,} vectors were there already." if n_kept and found.n_tokens is not None else ""
    done = f"{count(n, 'text')} of {shown(found.corpus.source, 80)} embedded with {short}{speed}.{kept}"
    front: list[Any] = ["In front of each: ", prompt_code(found.prompt)] if found.prompt else ["Nothing in front."]
    nodes: list[Node] = [["p", "e5-done", done], ["p", "e5-hint", *front]]
    if found.n_truncated:
        longer = f"{count(found.n_truncated, 'text')} longer than the model reads: the rest of each was never read."
        nodes.append(["p", "e5-warning", longer])
    return nodes


def imported(imported: ImportedVectors) -> list[Node]:
    """Which vectors came out of a file, and what the file does not tell."""
    return embedded(imported.embedded) + (hint(imported.note) if imported.note else [])


def hits(found: SearchResult, carrying: Sequence[CarryingWords] = (), row_word: str = "line") -> list[Node]:
    """What a search found, best first; the words that carry each score marked, once they are known."""
    words = {each.row: each for each in carrying}
    head = f"The {len(found.hits)} nearest of the corpus, in {duration(found.seconds)}."
    front = [" In front of the query: ", prompt_code(found.prompt.text)] if found.prompt.text else []
    nodes: list[Node] = [["p", "e5-hint", head, *front, _explained(carrying)]]
    if found.is_truncated:
        nodes.append(["p", "e5-warning", "The query is longer than the model reads: its end was never read."])
    return nodes + [_hit(rank, hit, words.get(hit.row), row_word) for rank, hit in enumerate(found.hits, 1)]


def point(corpus: Corpus, row: int, neighbours: Sequence[tuple[int, float]]) -> list[Node]:
    """One text of the map in full, and the texts nearest to it in truth."""
    own: Node = ["dl", "e5-pair", ["dt", "", f"{corpus.lines[row]}"], ["dd", "", shown(corpus.document(row))]]
    entries: list[Node] = []
    for other, score in neighbours:
        entries += [["dt", "", f"{corpus.lines[other]} {fixed(score)}"], ["dd", "", shown(corpus.document(other), 200)]]
    title = "Nearest in all dimensions, with cosine \N{MULTIPLICATION SIGN} 100, joined by lines"
    return [own, ["h3", "", title], ["dl", "e5-pair e5-near", *entries]] if entries else [own]


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
            nodes.append(["p", "e5-error", f"{setting_name(row.setting)}: {_reason(row)}"])
    results = [row for row in evaluation.rows if isinstance(row, SettingResult)]
    if evaluation.baseline is not None and len(results) > 1:
        base = setting_name(evaluation.rows[evaluation.baseline].setting)
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


def setting_name(setting: CorpusSetting) -> str:
    """A setting in a few words."""
    from_model = setting.model.rsplit("/", 1)[-1]
    parts = [from_model]
    if setting.prompt_mode != "retrieval" and offered(setting.model).prompt_kind != "none":
        parts.append("no prompt" if setting.prompt_mode == "none" else "symmetric")
    if setting.instruction:
        parts.append(f"“{shown(setting.instruction, 60)}”")
    if setting.dtype != "auto":
        parts.append(setting.dtype)
    return ", ".join(parts)


def _left_out(bad_rows: Sequence[str]) -> list[Node]:
    if not bad_rows:
        return []
    listed = [["li", "e5-warning", shown(problem, 300)] for problem in bad_rows[:_MAX_LISTED]]
    more = len(bad_rows) - _MAX_LISTED
    if more > 0:
        listed.append(["li", "e5-warning", f"and {more:,} more"])
    return [["p", "e5-warning", f"{count(len(bad_rows), 'row')} could not be read:"], ["ul", "", *listed]]


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
    """The title and the text, which were read as one."""
    marks, start, passage = _marks(carrying), _excerpt(carrying), carrying.passage
    if not hit.title.strip():
        return [["p", "e5-marked", *marked_words(passage, marks, _MAX_PASSAGE, start)]]
    end = len(hit.title.lstrip()) + 1  # and the space that joins the two
    title: Node = ["p", "e5-marked e5-hit-title", *marked_words(passage, marks, end_at=end)]
    if start > end:
        return [title, ["p", "e5-marked", *marked_words(passage, marks, _MAX_PASSAGE, start)]]
    _, *text = marked_words(passage, marks, _MAX_PASSAGE, end)  # nothing of the text is left out before it
    return [title, ["p", "e5-marked", *text]]


def _marks(carrying: CarryingWords) -> dict[int, str]:
    values = carrying.beyond_common
    if values is None or not len(values):
        return {}
    is_word = np.array([part == "word" for part in carrying.passage.words.parts])
    return _steps(np.where(is_word, values, 0.0))


def _excerpt(carrying: CarryingWords) -> int:
    """Where in a long passage to begin, so that the words that carry most of the score are seen."""
    words, values = carrying.passage.words, carrying.beyond_common
    if values is None or len(carrying.passage.text) <= _MAX_PASSAGE:
        return 0
    is_word = np.array([part == "word" for part in words.parts])
    starts, gains = words.spans[is_word, 0], np.maximum(values[is_word], 0)
    if not len(starts):
        return 0
    so_far = np.concatenate([[0.0], np.cumsum(gains)])
    ends = np.searchsorted(starts, starts + _MAX_PASSAGE)
    held = so_far[ends] - so_far[:-1]
    best = int(held.argmax())
    # The beginning tells what a text is about: it gives way only where another part is clearly better.
    return int(starts[best]) if held[best] > 1.25 * held[0] else 0


def _steps(values: NDArray[np.float64]) -> dict[int, str]:
    """A class for each word, by its share of the strongest."""
    strongest = float(np.abs(values).max())
    if strongest == 0:
        return {}
    marks = {}
    for place, value in enumerate((values / strongest).tolist()):
        step = sum(abs(value) >= border for border in _STEPS)
        if step:
            marks[place] = f"e5-holds-{'up' if value > 0 else 'down'}-{step}"
    return marks


def _difference(row: SettingResult, base: str) -> str:
    difference = row.difference
    assert difference is not None  # as the caller checks
    change = f"{setting_name(row.setting)}: nDCG@10 {signed(difference.difference, 4)} from {base}"
    if difference.interval is None:
        return f"{change}; too few queries to say whether that is chance."
    low, high = difference.interval.low, difference.interval.high
    certainty = "hardly chance" if low > 0 or high < 0 else "may well be chance"
    ends = f"{signed(low, 4)} to {signed(high, 4)}"
    return f"{change} (95 % interval {ends}, p {difference.p_value:.3f}): {certainty}."


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
