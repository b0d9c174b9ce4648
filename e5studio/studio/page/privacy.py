"""What the page stores of a visitor, and for how long."""

from __future__ import annotations

from e5studio.studio.widgets.nodes import Node, items

_FACTS = (
    "Texts are embedded on the machine that serves this page, and go nowhere else.",
    "What you type and score, a corpus, files that you bring and files made for you to save stay on that machine while "
    "the page is open. 10 minutes after it is closed they are gone.",
    "Some go earlier: a corpus and its file when you have not used them for an hour, large plots, tables and saved "
    'files an hour after they were made. "Delete my data" on the Corpus tab removes a corpus, its vectors and its file '
    "at once.",
    "What you type is kept in your own browser, too, until the tab is closed, for a reload.",
    "A link that you copy holds your texts itself, after its #, which browsers send to no server. Whoever has the link "
    "can read them.",
)

PRIVACY_NOTICE: list[Node] = [["details", "e5-kept", ["summary", "", "Your data"], items(_FACTS)]]
