"""The loss and its gradient against the formula written out; the same in chunks, and with a teacher."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from e5studio.tokenization import Tokenizer
from e5studio.training.collator import StepCollator
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.loss import CONTRASTIVE_SHARE, Targets, contrastive_loss
from e5studio.training.roles import RolePrompts
from e5studio.training.step_loss import StepLimits, StepLoss
from e5studio.training.steps import Draw


def vectors(n, seed, dim=12):
    generator = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1)


def targets(n_queries, n_documents, *, excluded=(), candidates=None, scores=None):
    mask = torch.zeros(n_queries, n_documents, dtype=torch.bool)
    for row, column in excluded:
        mask[row, column] = True
    empty = torch.zeros(n_queries, 0)
    return Targets(
        torch.arange(n_queries),
        mask,
        torch.tensor(candidates) if candidates else empty.long(),
        torch.tensor(scores, dtype=torch.float64) if scores else empty,
    )


def written_out(queries, documents, n_queries, temperature, excluded=()):
    """InfoNCE, query by query, document by document."""
    total = 0.0
    for row in range(n_queries):
        exponentials = [
            np.exp(float(queries[row] @ documents[column]) / temperature)
            for column in range(len(documents))
            if (row, column) not in excluded
        ]
        total -= np.log(np.exp(float(queries[row] @ documents[row]) / temperature) / sum(exponentials))
    return total / n_queries


@pytest.mark.parametrize("excluded", [(), ((0, 1), (2, 4))])
def test_info_nce_is_the_formula(excluded):
    queries, documents = vectors(4, 0), vectors(7, 1)
    loss = contrastive_loss(queries, documents, targets(4, 7, excluded=excluded), temperature=0.05)
    assert float(loss) == pytest.approx(written_out(queries, documents, 4, 0.05, excluded), abs=1e-10)


def test_the_gradient_is_that_of_the_formula():
    queries, documents = vectors(4, 0), vectors(7, 1)
    leaf = documents.clone().requires_grad_()
    contrastive_loss(queries, leaf, targets(4, 7), temperature=0.05).backward()
    step = 1e-6
    for row, column in ((0, 0), (3, 5), (6, 11)):
        ends = []
        for sign in (-1, 1):
            moved = documents.clone()
            moved[row, column] += sign * step
            ends.append(written_out(queries, moved, 4, 0.05))
        assert float(leaf.grad[row, column]) == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=1e-6)


def test_a_teacher_adds_its_divergence():
    queries, documents = vectors(2, 0), vectors(5, 1)
    candidates, scores = [[0, 2, 3], [1, 4, -1]], [[3.0, 1.0, 0.5], [2.0, -1.0, 0.0]]
    given = targets(2, 5, candidates=candidates, scores=scores)
    loss = contrastive_loss(queries, documents, given, temperature=0.1)
    expected = 0.0
    for row, (columns, of_teacher) in enumerate(zip(candidates, scores, strict=True)):
        columns = [column for column in columns if column >= 0]
        logits = np.array([float(queries[row] @ documents[column]) / 0.1 for column in columns])
        student = np.exp(logits) / np.exp(logits).sum()
        teacher = np.exp(of_teacher[: len(columns)]) / np.exp(of_teacher[: len(columns)]).sum()
        expected += float((teacher * np.log(teacher / student)).sum())
    expected = expected / 2 + CONTRASTIVE_SHARE * written_out(queries, documents, 2, 0.1)
    assert float(loss) == pytest.approx(expected, abs=1e-9)


def test_shorter_vectors_are_trained_too():
    queries, documents = vectors(4, 0), vectors(7, 1)
    whole, both = (
        contrastive_loss(queries, documents, targets(4, 7), temperature=0.05, dims=dims) for dims in ((), (5,))
    )
    short = written_out(normalize(queries[:, :5]), normalize(documents[:, :5]), 4, 0.05)
    assert float(both) == pytest.approx((float(whole) + short) / 2, abs=1e-9)


def test_known_answers_and_copies_of_a_query_are_left_out(encoders):
    """Of the first query: text 1 is another answer, and text 0 the query itself; the second query's own ones stay."""
    documents = ("a", "b", "c", "d", "e")
    examples = (Example("a", (2, 1), (1.0, 1.0), (4,)), Example("q", (1, 0), (1.0, 1.0), (3,)))
    draws = [Draw(0, 2, (4,)), Draw(1, 0, (1, 3))]
    tokenizer = Tokenizer.from_folder(encoders("e5").files.folder, pooling="mean")
    prompts = RolePrompts.of("query_passage")
    collator = StepCollator(TrainingSet(documents, examples), draws, tokenizer, prompts, 16, 0)
    made = collator([{"draw": 0}, {"draw": 1}])["label"]
    assert made.positives.tolist() == [0, 2]
    assert made.excluded.tolist() == [[False, False, True, True, False], [False, False, False, True, False]]


class Encoder(torch.nn.Module):
    """A model of the interface that the trainer's models have: tokens in, a vector out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(50, 12)
        self.layer = torch.nn.Sequential(torch.nn.Linear(12, 24), torch.nn.GELU(), torch.nn.Linear(24, 12))
        self.dropout = torch.nn.Dropout(0.0)

    def forward(self, features):
        tokens = self.layer(self.dropout(self.words(features["input_ids"])))
        weights = features["attention_mask"][..., None].float()
        return {"sentence_embedding": (tokens * weights).sum(1) / weights.sum(1)}


def padded(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 50, (len(lengths), max(lengths)), generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.mark.parametrize(
    "limits",
    [StepLimits(8, 0), StepLimits(20, 30), StepLimits(10_000, 0)],
    ids=["all again", "some again", "one chunk"],
)
def test_chunks_change_neither_loss_nor_gradient(limits):
    features = [padded([3, 9, 4, 2], 1), padded([17, 2, 8, 30, 5, 11, 7], 2)]
    losses, gradients = [], []
    for each in (limits, StepLimits(10_000, 10_000)):
        model = Encoder()
        loss = StepLoss(model, temperature=0.05, limits=each)(features, targets(4, 7))
        loss.backward()
        losses.append(float(loss.detach()))
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)


def test_a_chunk_embedded_again_has_the_same_dropout():
    model = Encoder()
    model.dropout.p = 0.5
    plain, again = copy.deepcopy(model), model
    features, given = [padded([5, 5], 1), padded([5, 5, 5], 2)], targets(2, 3)
    for each, stored in ((plain, 10_000), (again, 0)):
        torch.manual_seed(3)
        StepLoss(each, temperature=0.05, limits=StepLimits(10_000, stored))(features, given).backward()
    for ours, expected in zip(again.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, expected.grad, atol=1e-6, rtol=1e-5)


def test_rows_come_back_in_their_order():
    model, features = Encoder(), padded([3, 9, 4, 2], 1)
    loss = StepLoss(model, temperature=0.05, limits=StepLimits(9, 0))
    vectors = loss.embed(**{"ids": features["input_ids"], "mask": features["attention_mask"]})
    torch.testing.assert_close(vectors, normalize(model(features)["sentence_embedding"], dim=1))
