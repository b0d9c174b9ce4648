"""The guide as HTML: a dialog behind "?", and the card that a word of its glossary opens."""

from __future__ import annotations

from html import escape
from pathlib import Path

from e5studio.studio.guide import text as guide_text

BUTTON = (
    '<button type="button" class="e5-round e5-guide-open" aria-haspopup="dialog" aria-label="Guide" title="Guide">?'
    "</button>"
)
SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def guide_html() -> str:
    """The dialog and the empty card."""
    steps = "".join(f"<li><b>{escape(name)}.</b> {escape(words)}</li>" for name, words in guide_text.TOUR)
    terms = "".join(
        f'<dt data-words="{escape("|".join(term.words))}">{escape(term.name)}</dt><dd>{escape(term.meaning)}</dd>'
        for term in guide_text.GLOSSARY
    )
    return (
        '<dialog class="e5-guide" aria-labelledby="e5-guide-title">'
        f'<h2 id="e5-guide-title">{escape(guide_text.TOUR_TITLE)}</h2><ol>{steps}</ol>'
        f"<h2>{escape(guide_text.GLOSSARY_TITLE)}</h2><dl>{terms}</dl>"
        f'<form method="dialog"><button class="e5-guide-close">{escape(guide_text.CLOSE)}</button></form></dialog>'
        '<div class="e5-card" popover tabindex="-1" role="note"></div>'
    )
