"""What is said of a pipeline's nodes of which the model reads nothing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from llama_index.core.schema import BaseNode

from e5studio.errors import TextError, UnreadTextWarning

_MAX_NAMED = 5
_MAX_METADATA = 120


def refusal(nodes: Sequence[BaseNode], error: TextError) -> TextError:
    """The error of some texts as one of the nodes that hold them."""
    names = _names([nodes[index] for index in error.indices])
    return TextError(
        f"{len(error.indices):,} of {len(nodes):,} nodes are empty: {names}. on_empty='skip' leaves such nodes out of "
        "what the pipeline returns, on_empty='zero' gives them a vector of zeros.",
        error.indices,
    )


def warned_of(nodes: Sequence[BaseNode], left: list[BaseNode]) -> list[BaseNode]:
    """The nodes that are left, after a warning of those that are not."""
    if len(left) < len(nodes):
        ids = {id(node) for node in left}
        names = _names([node for node in nodes if id(node) not in ids])
        warnings.warn(
            f"{len(nodes) - len(left):,} of {len(nodes):,} nodes are empty and were left out: {names}.",
            UnreadTextWarning,
            stacklevel=3,
        )
    return left


def _names(nodes: Sequence[BaseNode]) -> str:
    names = [f"node {node.node_id}{_metadata(node)}" for node in nodes[:_MAX_NAMED]]
    return ", ".join(names) + (f" and {len(nodes) - _MAX_NAMED:,} more" if len(nodes) > _MAX_NAMED else "")


def _metadata(node: BaseNode) -> str:
    if not node.metadata:
        return ""
    shown = ", ".join(f"{name}: {value}" for name, value in node.metadata.items())
    return f" ({shown if len(shown) <= _MAX_METADATA else shown[:_MAX_METADATA] + '…'})"
