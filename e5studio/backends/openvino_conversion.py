"""From the torch module to an OpenVINO graph. Imported for conversions only, since it needs torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

from e5studio.backends.modules import PaddedModel, QuietTransformers, load_module, usual_modes
from e5studio.models import ModelMeta


@usual_modes()
def convert(folder: Path, meta: ModelMeta) -> Any:
    """Trace the module in float32, pooling included.

    Returns:
        An `openvino.Model`: (rows, longest) ids and mask in; pooled vectors and token vectors out.
    """
    module = load_module(folder, meta, torch.float32)
    ids = torch.ones((2, 8), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with warnings.catch_warnings(), QuietTransformers(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of branches that lead to the same
        decoder = TorchScriptPythonDecoder(
            PaddedModel(module), example_input={"input_ids": ids, "attention_mask": mask}
        )
    # The front end itself: `openvino.convert_model` around it sends telemetry.
    frontend = FrontEndManager().load_by_framework("pytorch")
    graph = frontend.convert(frontend.load(decoder))
    for name, output in zip(("pooled", "tokens"), graph.outputs, strict=True):
        output.get_tensor().set_names({name})
    graph.set_rt_info(str(int(module.model.config.pad_token_id or 0)), "pad_id")
    return graph
