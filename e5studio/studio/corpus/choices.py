"""What was chosen for a search and its map, as the browser notes it for a reload of its tab."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from e5studio.studio.map.placing import MapSettings, valid_settings

_PLACING = tuple(each.name for each in fields(MapSettings))
CHOICES: tuple[str, ...] = ("query", "among", "colour", *_PLACING)
"""The names under which they are noted."""
SEARCH_AGAIN = """(query) => {
  if (query) document.querySelector("button#e5-corpus-search").click();
}"""
"""The script of an event whose input is the query: it presses Search."""


@dataclass(frozen=True)
class SearchChoices:
    """What was chosen.

    Attributes:
        query: What was searched for.
        among: Which texts were searched; whatever the browser sent.
        colour: Of the map; whatever the browser sent.
        placing: Of the map.
    """

    query: str = ""
    among: object = None
    colour: object = None
    placing: MapSettings = field(default_factory=MapSettings)


def read_choices(noted: object) -> SearchChoices:
    """What a browser noted under `CHOICES`; what is missing or invalid in it becomes the default."""
    if not isinstance(noted, dict):
        return SearchChoices()
    query = noted.get("query")
    placing = valid_settings(**{name: noted.get(name) for name in _PLACING})
    return SearchChoices(query if isinstance(query, str) else "", noted.get("among"), noted.get("colour"), placing)
