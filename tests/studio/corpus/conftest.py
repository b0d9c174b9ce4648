"""A small corpus, and what is known of it."""

from __future__ import annotations

import pytest

from e5studio.studio.corpus.corpus import Corpus, CorpusSetting
from e5studio.studio.corpus.embedding import embed_corpus
from e5studio.studio.corpus.vector_store import VectorStore
from tests.studio.conftest import ENGLISH

TEXTS = (
    "The summit is the top of a mountain.",
    "Women need 46 grams of protein a day.",
    "Rivers run through valleys.",
    "The summit is the top of a mountain.",  # again
    "A meeting between the leaders of two governments is a summit as well, and takes place where they like it. " * 3,
    "Bread.",
)
LINES = (2, 3, 5, 6, 7, 9)


def make_corpus(texts=TEXTS, lines=None, **more):
    return Corpus("faq.csv", tuple(texts), tuple(lines or range(2, 2 + len(texts))), **more)


def ignore(progress):
    return None


@pytest.fixture
def corpus():
    return make_corpus(lines=LINES)


@pytest.fixture
def setting():
    return CorpusSetting(ENGLISH, "retrieval")


@pytest.fixture
def embed(engine, corpus, setting):
    def embed_with(of=None, under=None, store=None):
        return embed_corpus(engine, of or corpus, under or setting, store or VectorStore(), ignore)

    return embed_with
