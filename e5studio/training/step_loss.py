"""The loss of a step as a module of the sentence-transformers trainer, for batches of any size in bounded memory.

The texts of a step are embedded in chunks of similar length. As many chunks as memory holds keep their activations; the
others are embedded again when their gradient is due. That is GradCache (Gao et al. 2021, 2101.06983): the loss sees the
whole batch, and its gradient is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.checkpoint import checkpoint

from e5studio.batching import Limits, plan_batches
from e5studio.training.loss import Targets, contrastive_loss

MIN_CHUNK_TOKENS = 256
_CHUNK_OVERHEAD = 60  # what starting a chunk costs, in tokens


@dataclass(frozen=True)
class StepLimits:
    """What a step may hold in memory.

    Attributes:
        chunk_tokens: Tokens embedded at a time, padding counted.
        stored_tokens: Tokens whose activations stay until their gradient is due.
    """

    chunk_tokens: int = 2_048
    stored_tokens: int = 8_192

    def halved(self) -> StepLimits:
        """Half as much at a time, and a quarter stored."""
        return StepLimits(self.chunk_tokens // 2, self.stored_tokens // 4)


class StepLoss(torch.nn.Module):
    """Computes the loss of one step from token ids.

    Args:
        model: A SentenceTransformer, which pools and normalises.
        temperature: Divides the cosines.
        dims: Shorter lengths of vectors to train, too.
        limits: What a step may hold in memory.
        is_bfloat16: Whether matrices are multiplied in bfloat16; weights and loss stay in float32.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        temperature: float,
        dims: tuple[int, ...] = (),
        limits: StepLimits | None = None,
        is_bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.dims = dims
        self.limits = limits or StepLimits()
        self.is_bfloat16 = is_bfloat16

    def forward(self, features: Sequence[dict[str, torch.Tensor]], labels: Targets) -> torch.Tensor:
        """The loss.

        Args:
            features: Token ids and masks of the queries, and of the documents.
            labels: Which documents answer which queries.
        """
        queries, documents = (each["input_ids"] for each in features)
        masks = [each["attention_mask"] for each in features]
        vectors = self.embed(_stacked([queries, documents]), _stacked(masks))
        return contrastive_loss(
            vectors[: len(queries)],
            vectors[len(queries) :],
            labels.to(vectors.device),
            temperature=self.temperature,
            dims=self.dims,
        )

    def embed(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Vectors of length 1 of texts padded on the right, (rows, dim)."""
        lengths = mask.sum(1).cpu().numpy().astype(np.int32)
        chunks = plan_batches(lengths, Limits(self.limits.chunk_tokens, overhead=_CHUNK_OVERHEAD))
        vectors, n_stored = [], 0
        for rows in chunks:
            index, longest = torch.from_numpy(rows).to(ids.device), int(lengths[rows].max())
            chunk = ids[index, :longest], mask[index, :longest]
            n_stored += chunk[0].numel()
            if n_stored <= self.limits.stored_tokens or not torch.is_grad_enabled():
                vectors.append(self._embed_chunk(*chunk))
            else:
                vectors.append(checkpoint(self._embed_chunk, *chunk, use_reentrant=False))
        order = np.argsort(np.concatenate(chunks), kind="stable")
        return torch.cat(vectors)[torch.from_numpy(order).to(ids.device)]

    def _embed_chunk(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.is_bfloat16):
            output: torch.Tensor = self.model({"input_ids": ids, "attention_mask": mask})["sentence_embedding"]
        return torch.nn.functional.normalize(output.float(), dim=-1)


def _stacked(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    longest = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, longest - part.shape[1])) for part in parts])
