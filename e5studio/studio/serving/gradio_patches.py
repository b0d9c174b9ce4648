"""A Gradio Blocks without work of which nobody sees anything; with forty visitors at once that is most of the work."""

from __future__ import annotations

import copy
import functools
from typing import Any

import gradio as gr
from gradio.blocks import Block

_SKIP = gr.skip()


class LeanBlocks(gr.Blocks):
    """Leaves alone what an event leaves as it is.

    Gradio makes a component anew, and describes it twice, for each output that an event skips: a sentence about the
    wait would cost as much as all that stands below it.
    """

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        """As Gradio's, for the outputs that change."""
        n_outputs = len(block_fn.outputs)
        if isinstance(predictions, dict) and all(isinstance(key, Block) for key in predictions):
            predictions = [predictions.get(block, _SKIP) for block in block_fn.outputs]
            predictions = predictions[0] if n_outputs == 1 else predictions
        if n_outputs < 2 or block_fn.batch or not isinstance(predictions, list | tuple):
            return await super().postprocess_data(block_fn, predictions, state)
        self.validate_outputs(block_fn, predictions)
        changed = [place for place in range(n_outputs) if not _is_skip(predictions[place])]
        sent: list[Any] = [None if block.stateful else gr.skip() for block in block_fn.outputs]
        if not changed:
            return sent
        part = copy.copy(block_fn)
        part.outputs = [block_fn.outputs[place] for place in changed]
        values = [predictions[place] for place in changed]
        # Gradio takes what comes for a single output for its value.
        found = await super().postprocess_data(part, values if len(values) > 1 else values[0], state)
        for place, value in zip(changed, found, strict=True):
            sent[place] = value
        return sent


def describe_once(demo: gr.Blocks) -> None:
    """Have the components of a Blocks describe themselves once, and not anew for every visitor.

    Gradio asks each of them whenever a session begins, between two requests of the others, and looks through their
    scripts for that: 40 people who come at once would wait for seconds. What it changes for a visitor it changes in
    what it was given, so each gets a copy.
    """
    for block in demo.blocks.values():
        block.get_config = functools.partial(dict, block.get_config())  # type: ignore[method-assign]


def _is_skip(value: Any) -> bool:
    return isinstance(value, dict) and value == _SKIP
