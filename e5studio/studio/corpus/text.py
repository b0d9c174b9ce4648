"""Corpora, searches and measurements -> sentences on the page, as nodes for `widgets.text_tree`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.studio.corpus.corpus import Corpus, CorpusSetting, EmbeddedCorpus
from e5studio.studio.corpus.embedding import EmbeddingNews
from e5studio.studio.corpus.evaluation import MAIN_METRIC, CorpusEvaluation, FailedSetting, SettingResult
from e5studio.studio.corpus.search import CarryingWords, SearchHit, SearchResult
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.engine.catalog import offered
from e5studio.studio.formatting import shown
from e5studio.studio.why.text import marked_words
from e5studio.studio.widgets.nodes import Node, prompt_code

_MAX_LISTED = 6
_MAX_PASSAGE = 420
_STEPS = (0.25, 0.5, 0.75)  # shares of the strongest word from which one is marked weak, clear, strong
_MINUS = "\N{MINUS SIGN}"
_FEW_COMPARED = 3
_MINUTE, _HOUR = 60, 3600


def file_read(table: SourceTable) -> list[Node]:
    """What was found in a file, and what could not be read of it."""
    columns = f", {len(table.columns)} columns" if len(table.columns) > 1 else ""
    nodes: list[Node] = [["p", "", ["b", "", shown(table.name, 120)], f": {_count(len(table), 'row')}{columns}."]]
    if table.other_delimiter:
        hint = f"Only one column was found. Its cells are probably separated by {table.other_delimiter!r}: choose that."
        nodes.append(["p", "e5-warning", hint])
    return nodes + _left_out(table.bad_rows)


def chosen(corpus: Corpus) -> list[Node]:
    """What will be embedded, and what is left out of it."""
    counts = {
        "without a value": corpus.n_missing,
        "with an empty text": corpus.n_empty,
        "that could not be read": len(corpus.bad_rows),
    }
    said = ", ".join(f"{_count(count, 'row')} {kind}" for kind, count in counts.items() if count)
    left_out = f" Left out: {said}." if said else " No row is left out."
    front = "" if corpus.titles is None else " Each title is embedded in front of its text."
    return [["p", "e5-hint", f"{_count(len(corpus), 'text')} to embed.{left_out}{front}"]]


def news(told: EmbeddingNews) -> str:
    """How far the work is, how fast it goes, and how long it will take."""
    facts = [told.doing]
    if told.n_done:
        facts.append(f"{told.n_done:,} of {told.n_texts:,} texts")
    if told.texts_per_second is not None:
        facts.append(f"{_rate(told.texts_per_second)} a second")
    if told.seconds_left is not None:
        facts.append(f"{duration(told.seconds_left)} left")
    return ", ".join(facts)


GO_ON = "Found again what you brought before. Press Embed: what was embedded is kept and is not embedded twice."
FORGOTTEN = "Forgotten: the file, its texts and their vectors are no longer on the server."
OTHER_COLUMNS = "Other columns were chosen since: what is below is of those before, until Embed is pressed again."
REPLACED = "Stopped, for other texts have come meanwhile, or all was forgotten."
STOPPED = "Stopped. What was embedded is kept: Embed goes on from there, also after the page is loaded again."


def embedded(found: EmbeddedCorpus) -> list[Node]:
    """What was embedded, how fast, and what the model read."""
    n, short = len(found.corpus), found.meta.name.rsplit("/", 1)[-1]
    speed = f" in {duration(found.seconds)}" if found.n_embedded else ""
    if found.n_embedded and found.seconds > 1:
        speed += f" ({_rate(found.n_embedded / found.seconds)} texts per second)"
    n_kept = n - found.n_embedded
    kept = f" {n_kept:,} vectors were there already." if n_kept and found.n_tokens is not None else ""
    done = f"{_count(n, 'text')} of {shown(found.corpus.source, 80)} embedded with {short}{speed}.{kept}"
    front: list[Any] = ["In front of each: ", prompt_code(found.prompt)] if found.prompt else ["Nothing in front."]
    nodes: list[Node] = [["p", "e5-done", done], ["p", "e5-hint", *front]]
    if found.n_truncated:
        longer = f"{_count(found.n_truncated, 'text')} longer than the model reads: the rest of each was never read."
        nodes.append(["p", "e5-warning", longer])
    return nodes


def hits(found: SearchResult, carrying: Sequence[CarryingWords] = (), row_word: str = "line") -> list[Node]:
    """What a search found, best first; the words that carry each score marked, once they are known."""
    words = {each.row: each for each in carrying}
    head = f"The {len(found.hits)} nearest of the corpus, in {_milliseconds(found.seconds)}."
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
        number = f"{score:.1f}".replace("-", _MINUS)
        entries += [["dt", "", f"{corpus.lines[other]} {number}"], ["dd", "", shown(corpus.document(other), 200)]]
    title = "Nearest in all dimensions, with cosine \N{MULTIPLICATION SIGN} 100, joined by lines"
    return [own, ["h3", "", title], ["dl", "e5-pair e5-near", *entries]] if entries else [own]


def measured(found: CorpusEvaluation) -> list[Node]:
    """What the settings are worth on these pairs, and how sure that is."""
    n = len(found.pairs)
    nodes: list[Node] = [["p", "", f"Measured on {_count(n, 'query', 'queries')} with known answers."]]
    if found.pairs.left_out:
        lines = _some(f"{line:,}" for line in found.pairs.left_out)
        nodes.append(["p", "e5-warning", f"Left out, without a query or an answer in the corpus: lines {lines}."])
    for row in found.rows:
        if isinstance(row, FailedSetting):
            nodes.append(["p", "e5-error", f"{setting_name(row.setting)}: {row.reason}"])
    results = [row for row in found.rows if isinstance(row, SettingResult)]
    if found.against is not None and len(results) > 1:
        base = found.rows[found.against]
        nodes += [["p", "", _verdict(row, setting_name(base.setting))] for row in results if row.difference]
    if len(results) > _FEW_COMPARED:
        nodes.append(["p", "e5-hint", "Among so many comparisons one may look sure by chance alone."])
    if any(row.seconds_per_thousand is None for row in results):
        nodes.append(["p", "e5-hint", "No seconds stand where the vectors were there already."])
    if results and results[0].means[MAIN_METRIC].interval is None:
        nodes.append(["p", "e5-hint", "There are too few queries for intervals: what was found may be chance."])
    return nodes


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


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"


def _left_out(bad_rows: Sequence[str]) -> list[Node]:
    if not bad_rows:
        return []
    listed = [["li", "e5-warning", shown(problem, 300)] for problem in bad_rows[:_MAX_LISTED]]
    more = len(bad_rows) - _MAX_LISTED
    if more > 0:
        listed.append(["li", "e5-warning", f"and {more:,} more"])
    return [["p", "e5-warning", f"{_count(len(bad_rows), 'row')} could not be read:"], ["ul", "", *listed]]


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
        ["strong", "", f"{hit.score:.1f}".replace("-", _MINUS)],
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


def _verdict(row: SettingResult, base: str) -> str:
    difference = row.difference
    assert difference is not None  # as whoever asks has seen
    value = f"{difference.difference:+.4f}".replace("-", _MINUS)
    said = f"{setting_name(row.setting)}: nDCG@10 {value} from {base}"
    if difference.interval is None:
        return f"{said}; too few queries to say whether that is chance."
    low, high = difference.interval.low, difference.interval.high
    ends = f"{low:+.4f} to {high:+.4f}".replace("-", _MINUS)
    is_real = low > 0 or high < 0
    sure = "hardly chance" if is_real else "may well be chance"
    return f"{said} (95 % interval {ends}, p {difference.p_value:.3f}): {sure}."


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 0.95 else f"{seconds:.1f} s"


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = len(listed) - _MAX_LISTED
    return ", ".join(listed[:_MAX_LISTED]) + (f" and {more:,} more" if more > 0 else "")
