"""Mined negatives against brute force over all documents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e5studio.errors import UnsupportedError, VectorError
from e5studio.training import MiningOptions, mine_negatives
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.roles import RolePrompts
from tests.training.conftest import make_pairs


@pytest.fixture(scope="module")
def training_set():
    rows = make_pairs(30)
    examples = [Example(row["query"], (index, (index + 1) % 30), (1.0, 1.0)) for index, row in enumerate(rows)]
    return TrainingSet(tuple(row["positive"] for row in rows), tuple(examples), "pairs")


def ranked(encoder, training_set):
    """Of each query the documents that are no known answer, best first, and the cosine of its best answer."""
    cosines = (
        encoder.encode_query([each.query for each in training_set.examples])
        @ encoder.encode_document(training_set.documents).T
    )
    for row, example in zip(cosines, training_set.examples, strict=True):
        others = [int(index) for index in np.argsort(-row, kind="stable") if index not in example.positives]
        yield row, others, max(row[index] for index in example.positives)


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_the_top_ones_are_those_of_brute_force(margin, encoders, training_set):
    encoder = encoders("e5")
    options = MiningOptions(n_negatives=4, depth=12, margin=margin, sampling="top")
    mined = mine_negatives(encoder, training_set, options)
    n_left_out = 0
    expected = []
    for row, others, best in ranked(encoder, training_set):
        usable = [index for index in others[:12] if row[index] <= best - margin]
        n_left_out += 12 - len(usable)
        expected.append(tuple(usable[:4]))
    assert [example.negatives for example in mined.training_set.examples] == expected
    assert mined.report.n_left_out == n_left_out
    assert mined.report.n_mined == sum(map(len, expected))
    assert mined.report.n_without == expected.count(())


def test_random_ones_stay_within_the_depth_and_follow_from_the_seed(encoders, training_set):
    encoder = encoders("e5")
    runs = [
        mine_negatives(encoder, training_set, MiningOptions(n_negatives=5, depth=15, seed=seed)) for seed in (1, 1, 2)
    ]
    chosen = [[example.negatives for example in run.training_set.examples] for run in runs]
    assert chosen[0] == chosen[1] != chosen[2]
    for (_, others, _), negatives in zip(ranked(encoder, training_set), chosen[0], strict=True):
        assert set(negatives) <= set(others[:15])


def test_given_negatives_stay(encoders, training_set):
    given = TrainingSet(training_set.documents, (Example("summit", (0,), (1.0,), (7,)), training_set.examples[1]))
    mined = mine_negatives(encoders("e5"), given, MiningOptions(n_negatives=2))
    assert mined.training_set.examples[0].negatives[0] == 7


def test_a_teacher_forbids_mining(encoders, training_set):
    scored = [replace(each, positives=(0,), grades=(1.0,), negatives=(1,), teacher_scores=(2.0, 1.0))
              for each in training_set.examples]  # fmt: skip
    with pytest.raises(UnsupportedError, match="a teacher's scores, which mined negatives lack"):
        mine_negatives(encoders("e5"), training_set.with_examples(scored))


def test_a_copy_of_the_query_is_never_mined(encoders):
    """In pairs of paraphrases each text is a query and a document."""
    texts = [row["query"] for row in make_pairs(12)]
    examples = [Example(text, ((row + 1) % 12,), (1.0,)) for row, text in enumerate(texts)]
    options = MiningOptions(n_negatives=12, depth=12, margin=0.0, sampling="top")
    mined = mine_negatives(
        encoders("e5"),
        TrainingSet(tuple(texts), tuple(examples)),
        options,
        prompts=RolePrompts.of("query_passage", is_symmetric=True),
    )
    assert not [row for row, example in enumerate(mined.training_set.examples) if row in example.negatives]
    for example in mined.training_set.examples:  # the margin counts from the answer, not from the copy
        vectors = encoders("e5").encode_query([example.query, *(texts[row] for row in example.positives)])
        others = encoders("e5").encode_query([texts[row] for row in example.negatives] or ["none"])
        assert not example.negatives or (others @ vectors[0]).max() <= vectors[0] @ vectors[1] + 1e-5


@pytest.mark.parametrize("wrong", [{"n_negatives": 0}, {"depth": 3}, {"margin": -0.1}, {"sampling": "best"}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(VectorError):
        MiningOptions(**wrong)
