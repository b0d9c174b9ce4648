"""The figure of placed texts."""

from __future__ import annotations

from collections.abc import Sequence

from e5studio.analysis.clusters import cluster_names
from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.point_groups import ColourScale, cluster_groups, role_groups, shaded_groups
from e5studio.studio.charts.points import scatter_map
from e5studio.studio.charts.topics import Topic, topics_on
from e5studio.studio.engine.doubts import doubts_of_points
from e5studio.studio.engine.prompt_modes import side_labels
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.map.placing import Colour, TextMap, best_scores, joined_texts, reason_against
from e5studio.studio.map.text import axis_names, picture_title


def draw_map(
    result: ScoreResult, text_map: TextMap, colour: Colour, picked: str | None = None, hits: Sequence[int] = ()
) -> Figure:
    """The figure of placed texts.

    Args:
        result: Whose texts they are.
        text_map: From `place_texts`.
        colour: "role", "cluster" (k-means, named by c-TF-IDF), "kept" (neighbours that the map keeps), "best" (highest
            score with the other side) or "tokens" (length).
        picked: Label of a text whose true neighbours are joined to it; each text's best match if None.
        hits: Texts that a search found, best first, which light up without lines between others.
    """
    labels, texts = result.points
    names = side_labels(result.prompt_mode)
    n_queries, sides, scale = len(result.queries), (names.left, names.right), None
    topics: list[Topic] = []
    if colour == "cluster":
        members = result.clusters.labels
        words = cluster_names(texts, members)
        groups = cluster_groups(n_queries, members.tolist(), words)
        topics = topics_on(text_map.coordinates, members, words)
    elif colour == "role":
        groups = role_groups(n_queries, len(texts), sides)
    else:
        values, scale = _shades(result, text_map, colour)
        groups = shaded_groups(n_queries, values, sides)
    figure = scatter_map(
        text_map.coordinates,
        groups,
        texts,
        labels,
        links=joined_texts(result, text_map, picked) if picked or not hits else [],
        hits=hits,
        picked=labels.index(picked) if picked in labels else None,
        axis_names=axis_names(text_map.projection, sides),
        scale=scale,
        topics=topics,
        doubts=doubts_of_points(result),
    )
    kept_share = float(text_map.neighbours_kept.mean())
    # The script says when it is looked at, and the method that takes seconds begins then.
    figure["is_stand_in"] = bool(text_map.instead_of and not reason_against(text_map.instead_of, result))
    figure["title"] = picture_title(result.meta, text_map.settings.method, kept_share, text_map.trust)
    return figure


def _shades(result: ScoreResult, text_map: TextMap, colour: Colour) -> tuple[Sequence[float], ColourScale]:
    """A value for each text, and what it is."""
    if colour == "tokens":
        n_tokens = [float(n) for report in result.reports for n in report.n_tokens]
        return n_tokens, ColourScale("tokens read", min(n_tokens), max(n_tokens), ".0f")
    if colour == "best":
        best = best_scores(result)
        return best, ColourScale("best score", min(best), max(best), ".1f")
    return text_map.neighbours_kept.tolist(), ColourScale("true neighbours kept", 0, 1, ".0%")
