"""Corpora, searches and evaluations -> sentences on the page, as nodes for `widgets.text_tree`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from e5studio.encode_report import NOTEWORTHY_UNKNOWN_SHARE
from e5studio.studio.corpus.corpus import MAX_ROWS, Corpus, EmbeddedCorpus
from e5studio.studio.corpus.corpus_folder import CorpusFolder
from e5studio.studio.corpus.embedding import EmbeddingProgress
from e5studio.studio.corpus.map import CorpusMap, corpus_neighbours
from e5studio.studio.corpus.map_figure import MAX_MARKED, Colouring
from e5studio.studio.corpus.search import CarryingWords, SearchHit, SearchResult
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.corpus.vector_files import ImportedVectors
from e5studio.studio.formatting import count, duration, fixed, shown
from e5studio.studio.map import text as map_text
from e5studio.studio.why.text import marked_words
from e5studio.studio.widgets.nodes import Node, error, hint, prompt_code

_MAX_LISTED = 6
_MAX_PASSAGE = 420
_MAX_FIELD = 200
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


def pairs_came_along(pairs: SourceTable) -> list[Node]:
    """That a zip held queries with their answers, and where they are."""
    n_queries = len(set(pairs.column(pairs.columns[0])))
    return hint(f"{count(n_queries, 'query', 'queries')} with known answers came along: they are under Evaluate.")


def folder_title(folder: CorpusFolder) -> str:
    """The name of a folder of vectors, and its size."""
    return f"{shown(folder.name, 60)}: {count(folder.n_rows, 'row')}"


def in_a_line(table: SourceTable, embedded: EmbeddedCorpus | None) -> list[Node]:
    """The texts at a glance."""
    facts = [count(len(table), "row"), "not embedded yet"]
    if embedded is not None:
        n_all = embedded.corpus.n_source_rows
        of_all = "" if n_all is None else f" of {n_all:,}"
        facts = [count(len(embedded.corpus), "text") + of_all, embedded.meta.short_name]
    return [["p", "", ["b", "", shown(table.name, 80)], *(f" · {fact}" for fact in facts)]]


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


FORM_HINT = "Model, prompts and instruction are those of the form."
RESUMED = "Your texts from before are here. Press Embed: vectors computed so far are not computed again."
DELETED = "Deleted: the file, its texts and their vectors are no longer on the server."
CLOSED = "Closed. The folder itself stays on the server, where whoever runs this page keeps it."
EXPIRED = "The texts are no longer on the server. Choose the file again and press Embed."
OTHER_COLUMNS = "You chose other columns: the results below belong to the previous ones until you press Embed again."
REPLACED = "Stopped, because the texts were replaced or deleted meanwhile."
STOPPED = "Stopped. Vectors computed so far stay: Embed continues from there, also after a reload of the page."
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
    done: Node = ["span", "e5-done", f"{texts} embedded with {embedded.meta.short_name}{speed}.{known}"]
    nodes: list[Node] = [["p", "e5-hint", done, " ", *front]]
    if corpus.n_source_rows is not None:
        part = f"{len(corpus):,} of {count(corpus.n_source_rows, corpus.row_word)}, evenly spaced. All are searched by "
        nodes.append(["p", "e5-warning", part, prompt_code(f'e5studio search {shown(corpus.source, 80)} "..."')])
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


def hits(
    result: SearchResult, fields: Sequence[Sequence[tuple[str, str]]] = (), carrying: Sequence[CarryingWords] = ()
) -> dict[str, Any]:
    """The hits of a search for `corpus.hit_list`, best first.

    Args:
        result: The search.
        fields: Name and cell of the other columns, for each hit.
        carrying: What the words of the hits add to their scores, once it is known.
    """
    words = {each.row: each for each in carrying}
    n_hits = len(result.hits)
    cells = fields or [()] * n_hits
    cards = [
        _card(rank, hit, words.get(hit.row), own)
        for rank, (hit, own) in enumerate(zip(result.hits, cells, strict=True), 1)
    ]
    return {"head": _hits_head(result, carrying), "hits": cards, "more": result.n_matching > n_hits}


def no_hits(head: list[Node]) -> dict[str, Any]:
    """A sentence in place of hits."""
    return {"head": head, "hits": [], "more": False}


def _hits_head(result: SearchResult, carrying: Sequence[CarryingWords]) -> list[Node]:
    if not result.hits:
        return hint("No text is left to find. Choose another filter.")
    among = f"{len(result.hits):,} of {result.n_matching:,}"
    if result.like is not None:
        return hint(f"Most like {result.query}: {among}.")
    front = [" In front of the query: ", prompt_code(result.prompt.text), "."] if result.prompt.text else []
    summary = f"{among} in {duration(result.seconds)}."
    nodes: list[Node] = [["p", "e5-hint", summary, *front, _explained(carrying)]]
    if result.is_truncated:
        nodes.append(["p", "e5-warning", "The query is longer than the model reads: it ignores the end."])
    return nodes


def _card(
    rank: int, hit: SearchHit, carrying: CarryingWords | None, fields: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """One hit: shown, and plain for the clipboard."""
    if carrying is None:
        title: list[Node] = [["p", "e5-hit-title", shown(hit.title, 200)]] if hit.title else []
        body = [*title, ["p", "e5-marked", shown(hit.text, _MAX_PASSAGE)]]
    else:
        body = _marked_hit(hit, carrying)
    return {
        "rank": rank,
        "label": hit.label,
        "score": fixed(hit.score),
        "body": body,
        "fields": [[shown(name, 60), shown(cell, _MAX_FIELD)] for name, cell in fields if cell.strip()],
        "plain": [fixed(hit.score), hit.label, shown(hit.title), shown(hit.text)],
    }


def point(corpus: Corpus, row: int, neighbours: Sequence[tuple[int, float]]) -> list[Node]:
    """One text of the map in full, and its nearest neighbours in all dimensions."""
    near = [(corpus.label(other), corpus.document(other), score) for other, score in neighbours]
    return map_text.text_and_neighbours(corpus.label(row), corpus.document(row), near)


def map_caption(
    embedded: EmbeddedCorpus, corpus_map: CorpusMap, colouring: Colouring, n_hits: int = 0, picked: int | None = None
) -> str:
    """How a map was computed, and what its colours, lights and lines mean."""
    corpus, n_marked = embedded.corpus, min(n_hits, MAX_MARKED)
    sentences = [
        f"Vectors of {embedded.meta.short_name}.",
        map_text.method(corpus_map.projection, corpus_map.settings),
        map_text.few_texts(len(corpus), corpus_map.settings.method),
        *_colour_sentences(colouring),
    ]
    if n_hits:
        best = f"best {n_marked}" if n_marked < n_hits else f"{n_hits} hits"
        sentences.append(f"The {best} of the search light up, numbered by rank.")
    if picked is not None:
        n_joined = len(corpus_neighbours(embedded, picked))
        sentences.append(f"Lines join {corpus.label(picked)} to the {n_joined} texts nearest to it in all dimensions.")
    return " ".join(filter(None, sentences))


def map_quality(corpus_map: CorpusMap, n_texts: int) -> list[Node]:
    """What a map is worth."""
    n_sampled = None if corpus_map.n_sampled == n_texts else corpus_map.n_sampled
    return map_text.quality(corpus_map.kept_share, corpus_map.n_compared, corpus_map.trust, n_sampled)


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


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
