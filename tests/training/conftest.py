"""Small pairs, and runs over the small checkpoints that take a second."""

from __future__ import annotations

import json
import random

import pytest

from e5studio.options import ModelOptions
from e5studio.training import TrainOptions, train

WORDS = (
    "summit valley river stone protein pumpkin oil salt snow forest desert sea mountain grams day female point "
    "average passage text query define highest requirement"
).split()
RECIPE = {"batch_size": 8, "n_epochs": 1, "learning_rate": 1e-3, "max_tokens": 32}


def make_pairs(n, *, seed=0, shuffled=False):
    """Queries of three words, answered by a text of the same words and others."""
    chance = random.Random(seed)
    queries = [" ".join(chance.sample(WORDS, 3)) + f" {number}" for number in range(n)]
    answers = [" ".join([*chance.sample(WORDS, 5), *query.split()[:3]]) + f" of {query[-2:]}" for query in queries]
    if shuffled:
        chance.shuffle(answers)
    return [{"query": query, "positive": answer} for query, answer in zip(queries, answers, strict=True)]


def write_pairs(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl", make_pairs(40))


@pytest.fixture
def parent(checkpoints):
    """The small English E5 as the model to start from."""
    made = checkpoints("e5")
    return ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")


@pytest.fixture
def run_training(parent, tmp_path):
    """Trains and gives the result."""

    def run(pairs, *, output="my-e5", model=None, on_stage=None, recipe=None, **options):
        chosen = TrainOptions(recipe={**RECIPE, **(recipe or {})}, **options)
        return train(pairs, model or parent, tmp_path / output, chosen, on_stage=on_stage)

    return run
