"""The form of two settings: the precision and backend of A, and all of B."""

from __future__ import annotations

from typing import Any

import gradio as gr

from e5studio.backends import BackendName, DType
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.compare import text as compare_text
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import prompt_modes_of, takes_instruction
from e5studio.studio.form.form import mode_changes, mode_for_other_model, picker_models, prompt_mode_choices
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.widgets import nodes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker
from e5studio.studio.widgets.text_tree import text_tree

_DTYPES: list[tuple[str, DType]] = [
    ("float32", "auto"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("int8", "int8"),
]
_BACKENDS: list[tuple[str, BackendName]] = [
    ("Fastest here", "auto"),
    ("PyTorch", "torch"),
    ("OpenVINO", "openvino"),
    ("ONNX Runtime", "onnx"),
]


class SettingForm:
    """Precision and backend of A, and all of B.

    Args:
        model: B's model at first.
        catalog: The models to choose from.
    """

    def __init__(self, model: str, catalog: Catalog) -> None:
        self._catalog = catalog
        kind = catalog.offered(model).prompt_kind
        # The question most asked: what would these texts score without prompts?
        prompt_mode = prompt_modes_of(kind)[-1].prompt_mode
        with gr.Row(elem_id="e5-settings"):
            with gr.Column(min_width=0, elem_classes="e5-setting"):
                heading("A: as in the form")
                text_tree(nodes.hint(compare_text.SETTING_A), elem_id="e5-setting-a")
                self.first_dtype, self.first_backend = _computing("a")
            with gr.Column(min_width=0, elem_classes="e5-setting"):
                heading("B: the same texts with")
                self.picker = model_picker(model, picker_models(catalog), elem_id="e5-other-model")
                self.prompt_mode = gr.Radio(
                    prompt_mode_choices(kind),
                    value=prompt_mode,
                    label="How the texts are used",
                    elem_id="e5-other-use",
                )
                self.instruction = gr.Textbox(
                    WEB_SEARCH_INSTRUCTION,
                    label="Instruction",
                    lines=2,
                    max_lines=4,
                    visible=takes_instruction(kind, prompt_mode),
                    elem_id="e5-other-instruction",
                )
                self.dtype, self.backend = _computing("b")

    @property
    def chosen(self) -> list[Any]:
        """The inputs of a callback that takes the last arguments of `_requests`."""
        other = [self.picker, self.prompt_mode, self.instruction, self.dtype, self.backend]
        return [*other, self.first_dtype, self.first_backend]

    def connect(self) -> None:
        """Offer what B's model knows."""
        inputs, outputs = [self.picker, self.prompt_mode], [self.prompt_mode, self.instruction]
        self.picker.choose(self.on_model, inputs, outputs, **UNQUEUED)
        self.prompt_mode.input(self.adapt, inputs, outputs, **UNQUEUED)

    def on_model(self, model: str, prompt_mode: str) -> Changes:
        """Another model was chosen."""
        return self.adapt(model, mode_for_other_model(prompt_mode))

    def adapt(self, model: str, prompt_mode: str) -> Changes:
        """Offer the prompt modes of a model, and its instruction where it takes one."""
        return mode_changes(self._catalog, self.prompt_mode, self.instruction, model, prompt_mode)

    def fill(self, model: str, prompt_mode: str, instruction: str, dtype: DType) -> Changes:
        """B as the form, with an instruction and a precision; A in float32."""
        changes = self.adapt(model, prompt_mode)
        changes[self.instruction] |= {"value": instruction}
        usual = dict.fromkeys((self.backend, self.first_dtype, self.first_backend), "auto")
        return {**changes, **usual, self.picker: model, self.dtype: dtype}


def _computing(name: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    with gr.Row(elem_classes="e5-computing"):
        dtype = gr.Dropdown(_DTYPES, value="auto", label="Precision", min_width=0, elem_id=f"e5-dtype-{name}")
        backend = gr.Dropdown(_BACKENDS, value="auto", label="Backend", min_width=0, elem_id=f"e5-backend-{name}")
    return dtype, backend
