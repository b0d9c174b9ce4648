"""The form of two settings: all of B, and the precision and backend of A."""

from __future__ import annotations

from typing import Any

import gradio as gr

from e5studio.backends import BackendName, DType
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from e5studio.studio.engine.catalog import Catalog
from e5studio.studio.engine.prompt_modes import prompt_modes_of, takes_instruction
from e5studio.studio.engine.result import ScoreRequest
from e5studio.studio.form.form import mode_changes, mode_for_other_model, picker_models, prompt_mode_choices
from e5studio.studio.jobs.events import UNQUEUED, Changes
from e5studio.studio.widgets.headings import heading
from e5studio.studio.widgets.model_picker import model_picker

_DTYPES: list[tuple[str, DType]] = [("float32", "auto"), ("bfloat16", "bfloat16"), ("float16", "float16")]
_INT8: tuple[str, DType] = ("int8", "int8")
_BACKENDS: list[tuple[str, BackendName]] = [
    ("Fastest here", "auto"),
    ("PyTorch", "torch"),
    ("OpenVINO", "openvino"),
    ("ONNX Runtime", "onnx"),
]


class SettingForm:
    """All of B, and the precision and backend of A.

    Args:
        model: B's model at first.
        catalog: The models to choose from.
    """

    def __init__(self, model: str, catalog: Catalog) -> None:
        self._catalog = catalog
        kind = catalog.offered(model).prompt_kind
        # The question most asked: what would these texts score without prompts?
        prompt_mode = prompt_modes_of(kind)[-1].prompt_mode
        heading("The setting of the form is A; the same texts under B:")
        with gr.Row(elem_id="e5-settings"):
            with gr.Column(min_width=0):
                self.picker = model_picker(model, picker_models(catalog), elem_id="e5-other-model")
            with gr.Column(min_width=0):
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
        with (
            gr.Accordion("Precision and backend", open=False, elem_id="e5-other-precision"),
            gr.Row(elem_classes="e5-computing"),
        ):
            self.first_dtype, self.first_backend = _computing("A")
            self.dtype, self.backend = _computing("B")

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

    def fill(self, other: ScoreRequest) -> Changes:
        """Make this setting B; A is in the usual precision."""
        changes = self.adapt(other.model, other.prompt_mode)
        changes[self.instruction] |= {"value": other.instruction}
        usual = dict.fromkeys((self.first_dtype, self.first_backend), "auto")
        return {**changes, **usual, self.picker: other.model, self.dtype: other.dtype, self.backend: other.backend}

    def offer_int8(self) -> Changes:
        """Let int8 be chosen."""
        return dict.fromkeys((self.first_dtype, self.dtype), gr.update(choices=[*_DTYPES, _INT8]))


def _computing(name: str) -> tuple[gr.Dropdown, gr.Dropdown]:
    label = name.lower()
    dtype = gr.Dropdown(_DTYPES, value="auto", label=f"Precision of {name}", min_width=0, elem_id=f"e5-dtype-{label}")
    backend = gr.Dropdown(
        _BACKENDS, value="auto", label=f"Backend of {name}", min_width=0, elem_id=f"e5-backend-{label}"
    )
    return dtype, backend
