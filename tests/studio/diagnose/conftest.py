"""Sets of texts whose vectors are made up, so that what is wrong with them is known."""

from __future__ import annotations

import numpy as np

from e5studio.models import get_model_meta
from e5studio.studio.corpus.vector_store import TokenStats
from e5studio.studio.diagnose.subject import Subject, TextSide
from tests.studio.conftest import ENGLISH

DIM = 48


def random_rows(n, dim=DIM, seed=0, shared=0.0):
    rows = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    rows[:, 0] += shared
    return rows


def make_side(texts, rows, name="texts", letter="", read="all", is_exact=True):
    rows = np.asarray(rows, np.float32)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    known = TokenStats.nothing(len(texts)) if read == "all" else read
    return TextSide(name, [f"{letter}{n + 1}" for n in range(len(texts))], texts, rows, known, is_exact)


def make_subject(texts, rows=None, read="all", queries=None, model=ENGLISH):
    rows = random_rows(len(texts)) if rows is None else rows
    side = make_side(texts, rows, "passages" if queries else "texts", "P", read)
    return Subject("key", "scores", get_model_meta(model), side, queries)
