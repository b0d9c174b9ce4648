"""A result as one HTML file that opens from disk: the figure with plotly.js inside, and all its texts.

It needs no server, and its policy forbids the browser any request. It shows what was scored; JSON opens the page again.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from e5studio.studio.charts.figure import Figure
from e5studio.studio.charts.palette import PALETTES
from e5studio.studio.charts.plotly_figure import plotly_figure
from e5studio.studio.engine.result import ScoreResult
from e5studio.studio.formatting import shown
from e5studio.tokenization import replace_surrogates

_MAX_TEXT = 20_000
# plotly.js draws thousands of points by code that it writes itself, and saves its picture from data.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_CONFIG = {
    "displaylogo": False,
    "plotlyServerURL": "",
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}
_INK, _SURFACE, _GREY = (PALETTES["light"][name] for name in ("ink", "surface", "grey"))
_STYLE = f"""
body {{ color: {_INK}; background: {_SURFACE}; font: 15px/1.5 system-ui, sans-serif; margin: 24px auto; }}
body {{ max-width: 1100px; padding: 0 16px; }}
h1 {{ font-size: 20px; margin: 0; }}
p {{ color: {_GREY}; margin: 4px 0 16px; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 4px 12px; }}
dt {{ font-weight: 700; }}
dd {{ margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }}
"""


def standalone_page(figure: Figure, result: ScoreResult, how_to_read: str) -> str:
    """The HTML of a figure of a result.

    Args:
        figure: As `charts.figure` describes it; its title heads the page.
        result: What it shows.
        how_to_read: What its colours mean.

    Raises:
        MissingDependencyError: plotly is not installed.
    """
    title = html.escape(figure["title"])
    drawn = plotly_figure({**figure, "title": None})
    plot = drawn.to_html(full_html=False, include_plotlyjs=True, config=_CONFIG, div_id="plot")
    labels, texts = result.points
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1><p>{html.escape(how_to_read)}</p>\n"
        f"{plot}\n{_listed(labels, texts)}<p>{html.escape(_made_by(result))}</p></body></html>\n"
    )


def _made_by(result: ScoreResult) -> str:
    prompts = dict.fromkeys(report.prompt.text for report in result.reports)
    in_front = " and ".join(f"\u201c{prompt}\u201d" for prompt in prompts if prompt) or "nothing"
    spec = result.spec
    return (
        f"Computed by E5 Studio with {result.meta.name} ({spec.dtype}, {spec.backend}), {in_front} in front of the "
        f"texts. Fingerprint {result.fingerprint}."
    )


def _listed(labels: Sequence[str], texts: Iterable[str]) -> str:
    rows = (
        f'<dt>{html.escape(label)}</dt><dd dir="auto">{html.escape(shown(replace_surrogates(text), _MAX_TEXT))}</dd>'
        for label, text in zip(labels, texts, strict=True)
    )
    return f"<dl>{''.join(rows)}</dl>"
