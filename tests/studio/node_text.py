"""The words of what `widgets.text_tree` shows."""

from __future__ import annotations


def text_of(nodes):
    """All texts of a list of nodes."""
    if isinstance(nodes, str):
        return nodes
    return "".join(text_of(child) for child in (nodes if not nodes or isinstance(nodes[0], list) else nodes[2:]))
