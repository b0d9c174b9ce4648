"""What the page stores of a visitor, and for how long."""

from __future__ import annotations

from e5studio.studio.widgets.nodes import Node

PRIVACY_NOTICE: list[Node] = [
    [
        "details",
        "e5-kept",
        ["summary", "", "What this page keeps of you"],
        [
            "ul",
            "",
            ["li", "", "Texts are embedded on the machine that serves this page, and go nowhere else."],
            [
                "li",
                "",
                "What you type and score, a corpus, files that you bring and files made for you to save stay on that "
                "machine while the page is open. 10 minutes after it is closed they are gone.",
            ],
            [
                "li",
                "",
                "Some go earlier: a corpus and its file when you have not used them for an hour, large plots, tables "
                'and saved files an hour after they were made. "Delete my data" on the Corpus tab removes a corpus, '
                "its vectors and its file at once.",
            ],
            ["li", "", "What you type is kept in your own browser, too, until the tab is closed, for a reload."],
            [
                "li",
                "",
                "A link that you copy holds your texts itself, after its #, which browsers send to no server. "
                "Whoever has the link can read them.",
            ],
        ],
    ]
]
"""How long a visitor's texts are kept, and where."""
