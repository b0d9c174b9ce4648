"""The torch module of an E5 model: transformer and pooling in one graph, with token vectors beside.

Other backends convert this module, so pooling is written once. It loads weights and checks that
none is missing; devices and batches are the backend's affair.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from e5studio import cpu
from e5studio.checkpoint import pad_id, weight_files
from e5studio.errors import ModelFilesError
from e5studio.hub import check_blobs
from e5studio.memory import is_out_of_memory
from e5studio.models import ModelMeta
from e5studio.weights import as_float32, has_blocks, stored_arrays

_ENCODERS: dict[str, Any] = {"bert": transformers.BertModel, "xlm-roberta": transformers.XLMRobertaModel}
_transformers_logging: Any = transformers.utils.logging


def _compute_alone() -> None:
    """Let a forked process compute.

    The worker threads exist in the parent only: an operation that waits for them would wait for ever. One thread
    waits for none, and forked processes share the cores anyway.
    """
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_compute_alone)


class PooledModel(torch.nn.Module):
    """Token ids to one vector a text.

    Args:
        model: A transformers model that gives `last_hidden_state`.
        pooling: "mean" over the mask, or "last_token" of it, as the model cards do.
    """

    def __init__(self, model: Any, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, padded: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool one batch.

        Args:
            input_ids: Shape (rows, longest), padded on the right.
            attention_mask: Same shape; 1 for tokens, 0 for padding.
            padded: False promises that the mask is all ones, so that attention skips it.

        Returns:
            Pooled vectors (rows, embed_dim) and token vectors (rows, longest, embed_dim), both float32.
        """
        output = self.model(input_ids=input_ids, attention_mask=attention_mask if padded else None)
        tokens = output.last_hidden_state.float()
        if self.pooling == "last_token":
            last = attention_mask.sum(dim=1) - 1
            return tokens[torch.arange(tokens.shape[0], device=tokens.device), last], tokens
        weights = attention_mask.to(tokens.dtype)
        # A product rather than masked_fill and sum: no copy of the token vectors is made.
        summed = torch.bmm(weights.unsqueeze(1), tokens).squeeze(1)
        return summed / weights.sum(dim=1, keepdim=True), tokens


class PaddedModel(torch.nn.Module):
    """The model as it is traced for other backends: any batch may hold padding."""

    def __init__(self, module: PooledModel) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pooled vectors (rows, embed_dim) and token vectors (rows, longest, embed_dim), both float32."""
        pooled, tokens = self.module(input_ids, attention_mask, True)
        return pooled, tokens


@contextmanager
def usual_modes() -> Iterator[None]:
    """Torch as it begins, without the default device and precision of the program around; in `cpu.load_lock` only."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_default_dtype(dtype)


def load_module(folder: Path, meta: ModelMeta, dtype: torch.dtype) -> PooledModel:
    """Load weights from safetensors into the model's architecture.

    Raises:
        ModelFilesError: Weights are damaged, missing, misshapen, or belong to a model with a head.
    """
    check_blobs(folder, weight_files(folder))
    options: dict[str, Any] = {} if meta.model_type == "mistral" else {"add_pooling_layer": False}
    architecture: Any = transformers.AutoModel
    source: Path | None = folder
    if has_blocks(folder):  # of which transformers knows nothing
        architecture, source = _ENCODERS[meta.model_type], None
        arrays = stored_arrays(folder).items()
        options["state_dict"] = {name: torch.from_numpy(as_float32(array)) for name, array in arrays}
    # transformers sets the process-wide default dtype while it loads.
    with cpu.load_lock(), usual_modes(), QuietTransformers():
        options["config"] = _load_config(folder)
        try:
            model, info = architecture.from_pretrained(
                source,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation="sdpa",
                output_loading_info=True,
                **options,
            )
        except Exception as error:  # transformers, safetensors and their validators have a dozen kinds
            if is_out_of_memory(error):
                raise
            raise ModelFilesError(f"The weights in {folder} cannot be loaded: {_reason(error)}") from error
    _check_weights(folder, info)
    return PooledModel(model.eval(), meta.pooling)


def _load_config(folder: Path) -> Any:
    """The configuration, without what changes the form of the output or the order of the work, but no vector."""
    try:
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        config.pad_token_id = pad_id(folder)
        config.output_attentions = config.output_hidden_states = config.use_cache = False
        config.return_dict, config.chunk_size_feed_forward = True, 0
    except Exception as error:  # of its validators
        raise ModelFilesError(
            f"{folder / 'config.json'} is refused by transformers: {_reason(error).rstrip('.')}.",
            "Fetch or save the file again.",
        ) from error
    return config


def _reason(error: Exception) -> str:
    text = str(error).strip()
    if "ignore_mismatched_sizes" in text:  # its message points to a report that is not shown
        return "their shapes are not those that config.json gives. The files are not of one model: fetch it again."
    return " ".join(text.split())[:300] or type(error).__name__


def _check_weights(folder: Path, info: dict[str, Any]) -> None:
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelFilesError(
            f"The weights in {folder} lack {len(missing)} tensors, {missing[0]} first; random numbers would stand "
            "in their place. Fetch or save the model again."
        )
    # Old checkpoints hold an unused pooler and a buffer of position numbers.
    extra = sorted(key for key in info["unexpected_keys"] if "pooler." not in key and not key.endswith("position_ids"))
    if extra:
        raise ModelFilesError(
            f"The weights in {folder} hold {extra[0]}, which no E5 model has: this may be a classifier or a "
            "cross-encoder. Save the encoder alone."
        )


class QuietTransformers:
    """Hide transformers' bars and reports: what they report is checked here."""

    def __enter__(self) -> None:
        self._verbosity = _transformers_logging.get_verbosity()
        self._had_bar = _transformers_logging.is_progress_bar_enabled()
        _transformers_logging.set_verbosity(logging.CRITICAL)  # what it logs as an error, it raises as well
        _transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        _transformers_logging.set_verbosity(self._verbosity)
        if self._had_bar:
            _transformers_logging.enable_progress_bar()
