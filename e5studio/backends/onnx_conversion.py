"""From the torch module to an ONNX graph. Imported for conversions only, since it needs torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers
from transformers.masking_utils import AttentionMaskInterface

from e5studio.backends.modules import PaddedModel, QuietTransformers, load_module, usual_modes
from e5studio.models import ModelMeta

_OPSET = 17  # the first with layer normalisation as one operation
_FUSED = "e5studio_onnx"


class _Attention(torch.autograd.Function):
    """ONNX Runtime's own attention, which it would not recognise in the dozen operations that torch writes for it.

    Arguments are queries, keys and values (rows, longest, width), a bias of zeros, which may not be left out, the
    mask (rows, longest), the number of heads and the scale.
    """

    @staticmethod
    def forward(_: Any, query: torch.Tensor, *rest: Any) -> torch.Tensor:
        return torch.zeros_like(query)  # the exporter needs the shape only

    @staticmethod
    def symbolic(graph: Any, query: Any, key: Any, value: Any, bias: Any, mask: Any, n_heads: int, scale: float) -> Any:
        inputs = (query, key, value, bias, mask)
        output = graph.op("com.microsoft::MultiHeadAttention", *inputs, num_heads_i=n_heads, scale_f=scale)
        output.setType(query.type())
        return output


def _attend(
    layer: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: heads apart, (rows, heads, longest, width of a head)."""
    n_heads, width = layer.num_attention_heads, layer.attention_head_size
    flat = [each.transpose(1, 2).reshape(each.shape[0], -1, n_heads * width) for each in (query, key, value)]
    bias = torch.zeros(3 * n_heads * width, dtype=query.dtype)
    run: Any = _Attention.apply
    output = run(*flat, bias, attention_mask.to(torch.int32), n_heads, scaling)
    return output.reshape(output.shape[0], -1, n_heads, width), None


def _keep_mask(*, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
    """The mask unchanged, one number a token; transformers would make one number a pair of tokens."""
    return attention_mask


transformers.AttentionInterface.register(_FUSED, _attend)
AttentionMaskInterface.register(_FUSED, _keep_mask)


@usual_modes()
def export(folder: Path, meta: ModelMeta, path: Path) -> None:
    """Write the module in float32, pooling included.

    Args:
        folder: Holds the weights.
        meta: What the model is.
        path: The file to write: `input_ids` and `attention_mask` (rows, longest) in, `pooled` and `tokens` out.
            Weights of more than 2 GB are put beside it.
    """
    module = load_module(folder, meta, torch.float32)
    is_fused = meta.model_type != "mistral"  # whose attention is causal
    if is_fused:
        module.model.set_attn_implementation(_FUSED)
    ids = torch.ones((2, 8), dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    batch = {0: "rows", 1: "longest"}
    with warnings.catch_warnings(), QuietTransformers(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer warns of branches that lead to the same
        torch.onnx.export(
            PaddedModel(module).eval(),
            (ids, mask),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["pooled", "tokens"],
            dynamic_axes={"input_ids": batch, "attention_mask": batch, "pooled": {0: "rows"}, "tokens": batch},
            opset_version=_OPSET,
            custom_opsets={"com.microsoft": 1} if is_fused else {},
            dynamo=False,  # the newer exporter needs another package
        )
    if len(list(path.parent.iterdir())) > 1:
        _gather(path)


def _gather(path: Path) -> None:
    """Put the weights of a graph over 2 GB, which torch writes into a file each, into one."""
    scattered = [other for other in path.parent.iterdir() if other != path]
    graph = onnx.load(path)
    for other in scattered:
        other.unlink()
    onnx.save_model(graph, path, save_as_external_data=True, location=f"{path.name}_data")
