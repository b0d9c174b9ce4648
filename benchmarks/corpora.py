"""Texts to measure speed with: docstrings of Python's standard library, so they are on every machine.

Read from the source files, not imported. Each corpus takes the docstrings whose lengths come nearest
to those wanted, in a fixed order. No text occurs twice, and none comes from an evaluation set.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import itertools
import re
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CorpusName = Literal["queries", "passages", "mixed"]
_LEFT_OUT = {"test", "tests", "idle_test", "site-packages", "idlelib", "lib2to3"}
_WORD = re.compile(r"\w+|[^\w\s]")
_TOKENS_PER_WORD = 1.2  # of WordPiece on these texts; words and single marks both count as words
_AROUND = 5  # special tokens and a prompt
_SET_ASIDE = 300  # never measured with


@dataclass(frozen=True)
class Corpus:
    """Texts of one kind.

    Attributes:
        name: Its name.
        role: What they are to the model, "query" or "document".
        texts: In an order that has nothing to do with their lengths.
    """

    name: CorpusName
    role: Literal["query", "document"]
    texts: tuple[str, ...]


def make_corpus(name: CorpusName, n_texts: int) -> Corpus:
    """One of the three corpora.

    Args:
        name: "queries" (3 to 12 words), "passages" (about 75 tokens), "mixed" (mean about 126, a long tail to 512).
        n_texts: How many; the lengths are spread alike whatever the number.
    """
    if name == "queries":
        lengths = np.linspace(3, 12, n_texts)
        return Corpus(name, "query", _nearest(_openings(), lengths))
    median, spread = (70.5, 0.45) if name == "passages" else (87.5, 1.0)
    tokens = median * np.exp(spread * _normal_quantiles(n_texts))
    words = (np.clip(tokens, 8, 560) - _AROUND) / _TOKENS_PER_WORD
    return Corpus(name, "document", _nearest(docstrings()[:-_SET_ASIDE], words))


def docstrings() -> tuple[str, ...]:
    """All different docstrings of over 20 characters, in a fixed shuffled order: prose of very mixed lengths."""
    texts = [text for text in _read_docstrings() if len(text) > 20]
    return tuple(sorted(texts, key=_digest))


def calibration_texts() -> tuple[str, ...]:
    """Texts for a peer's static quantisation; no corpus has any of them."""
    return docstrings()[-_SET_ASIDE:]


def endless_short_texts() -> Iterator[str]:
    """Short texts without end, no two alike, none of them kept."""
    openings = _openings()
    for number in itertools.count():
        yield f"{openings[number % len(openings)]} {number}"


def _openings() -> tuple[str, ...]:
    """The first words of docstrings, as long as a query."""
    starts = dict.fromkeys(" ".join(text.split()[: 3 + place % 10]) for place, text in enumerate(docstrings()))
    return tuple(starts)


def _nearest(texts: tuple[str, ...], lengths: NDArray[np.float64]) -> tuple[str, ...]:
    """For each length the first unused text that is as long, or the nearest after it."""
    by_length = sorted(texts, key=lambda text: (_n_words(text), _digest(text)))
    sizes = np.array([_n_words(text) for text in by_length])
    chosen, place = [], -1
    for left, length in zip(range(len(lengths), 0, -1), np.sort(lengths), strict=True):
        place = max(place + 1, int(np.searchsorted(sizes, length)))
        place = min(place, len(sizes) - left)
        chosen.append(by_length[place])
    return tuple(sorted(chosen, key=_digest))


def _normal_quantiles(count: int) -> NDArray[np.float64]:
    return np.array([NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)])


def _n_words(text: str) -> int:
    return len(_WORD.findall(text))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def _read_docstrings() -> frozenset[str]:
    root = Path(sysconfig.get_paths()["stdlib"])
    texts: set[str] = set()
    for path in root.rglob("*.py"):
        if _LEFT_OUT.isdisjoint(path.relative_to(root).parts):
            texts.update(_docstrings_of(path))
    return frozenset(texts)


def _docstrings_of(path: Path) -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
