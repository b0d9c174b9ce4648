"""The loss of E5's second stage, as plain functions of vectors: InfoNCE, and a teacher's scores by KL divergence.

Sources: Wang et al., Text Embeddings by Weakly-Supervised Contrastive Pre-training (2212.03533); microsoft/unilm, simlm
(its reranker's scores are distilled with 0.2 of the contrastive loss beside).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softmax

CONTRASTIVE_SHARE = 0.2
"""Weight of InfoNCE beside a teacher's divergence."""


@dataclass(frozen=True)
class Targets:
    """What the vectors of a step should say.

    Attributes:
        positives: Row of each query's answer among the documents, (n_queries,).
        excluded: Documents that answer the query, too, and are no negatives, (n_queries, n_documents) bool.
        candidates: Rows of the documents that a teacher scored, -1 beyond the last, (n_queries, most); empty without.
        teacher_scores: Its scores, (n_queries, most).
    """

    positives: torch.Tensor
    excluded: torch.Tensor
    candidates: torch.Tensor
    teacher_scores: torch.Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(
            self.positives.to(device),
            self.excluded.to(device),
            self.candidates.to(device),
            self.teacher_scores.to(device),
        )


def contrastive_loss(
    queries: torch.Tensor,
    documents: torch.Tensor,
    targets: Targets,
    *,
    temperature: float,
    dims: tuple[int, ...] = (),
) -> torch.Tensor:
    """The loss of a step.

    Args:
        queries: Vectors of length 1, (n_queries, dim).
        documents: Vectors of length 1, (n_documents, dim): answers and negatives of all queries, each once.
        targets: Which documents answer which queries.
        temperature: Divides the cosines; 0.01 for E5.
        dims: Shorter vectors that shall be useful, too (Matryoshka): the mean over all these lengths and the whole.
    """
    losses = [_loss(queries, documents, targets, temperature)]
    for dim in dims:
        short_queries, short_documents = normalize(queries[:, :dim], dim=-1), normalize(documents[:, :dim], dim=-1)
        losses.append(_loss(short_queries, short_documents, targets, temperature))
    return torch.stack(losses).mean()


def _loss(queries: torch.Tensor, documents: torch.Tensor, targets: Targets, temperature: float) -> torch.Tensor:
    logits = queries @ documents.T / temperature
    contrastive = cross_entropy(logits.masked_fill(targets.excluded, -torch.inf), targets.positives)
    if not targets.candidates.numel():
        return contrastive
    is_missing = targets.candidates < 0
    student = logits.gather(1, targets.candidates.clamp(min=0)).masked_fill(is_missing, -1e9)
    teacher = softmax(targets.teacher_scores.masked_fill(is_missing, -torch.inf), dim=1)
    return kl_div(log_softmax(student, dim=1), teacher, reduction="batchmean") + CONTRASTIVE_SHARE * contrastive
