"""What the map of a corpus shows -> its picture and the text that is picked. Knows no Gradio."""

from __future__ import annotations

from dataclasses import dataclass

from e5studio.errors import VectorError
from e5studio.studio.corpus import text as corpus_text
from e5studio.studio.corpus.corpus import EmbeddedCorpus
from e5studio.studio.corpus.map import CorpusGroups, CorpusMap, corpus_neighbours
from e5studio.studio.corpus.map_figure import colour_corpus, column_of, draw_corpus_map
from e5studio.studio.corpus.search import SearchResult
from e5studio.studio.corpus.selection import cells_of
from e5studio.studio.corpus.table_file import SourceTable
from e5studio.studio.map import text as map_text
from e5studio.studio.map.picture import MapPicture
from e5studio.studio.widgets.nodes import Node


@dataclass(frozen=True)
class MapView:
    """What the map of a corpus shows.

    Attributes:
        map: Where the texts lie; None before they are placed.
        colour: A value of `colour_choices`.
        groups: Its topics.
        search: The latest search, perhaps of another corpus.
        label: Name of the picked text; None for none.
    """

    map: CorpusMap | None
    colour: str
    groups: CorpusGroups | None
    search: SearchResult | None
    label: str | None


def draw_view(embedded: EmbeddedCorpus, table: SourceTable, view: MapView) -> MapPicture:
    """The map, its caption and its quality.

    Args:
        embedded: The texts.
        table: The file that they come from.
        view: What the map shows.

    Raises:
        VectorError: The texts are not placed yet, or something in the view belongs to another corpus.
    """
    if view.map is None:
        raise VectorError("The map is not there yet. Wait until it is drawn.")
    column, picked = column_of(view.colour), embedded.corpus.row_of(view.label)
    search = _search(embedded, view)
    hits = [] if search is None else [hit.row for hit in search.hits]
    colouring = colour_corpus(
        embedded,
        view.colour,
        groups=view.groups,
        scores=None if search is None else search.scores,
        cells=None if column is None else cells_of(embedded.corpus, table, column),
    )
    return MapPicture(
        draw_corpus_map(embedded, view.map, colouring, hits=hits, picked=picked),
        corpus_text.map_caption(embedded, view.map, colouring, len(hits), picked),
        corpus_text.map_quality(view.map, len(embedded.corpus)),
    )


def point_nodes(embedded: EmbeddedCorpus, view: MapView) -> list[Node]:
    """The picked text and its neighbours; before one is picked or searched, how to."""
    picked = embedded.corpus.row_of(view.label)
    if picked is not None:
        return corpus_text.point(embedded.corpus, picked, corpus_neighbours(embedded, picked))
    if view.map is None or _search(embedded, view) is not None:
        return []
    return map_text.point_help(view.map.projection.coordinates)


def _search(embedded: EmbeddedCorpus, view: MapView) -> SearchResult | None:
    """The latest search, if it is of this corpus."""
    return view.search if view.search is not None and view.search.of == embedded.key else None
