"""A back end that goes wrong: what it must not return never leaves the encoder, and the rest is unharmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from e5studio.batching import Limits, TokenBatch
from e5studio.cache import CachedEncoder, VectorCache
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError, NonFiniteError
from tests import corpus
from tests.checkpoints import Checkpoint, CheckpointName
from tests.fakes import FakeBackend, Spoil, encoder_over, token_rows

Checkpoints = Callable[[CheckpointName], Checkpoint]
Vectors = NDArray[np.float32]


class TestFaultyBackend:
    """What a back end must not return never leaves the encoder."""

    TEXTS = ("a", "bad", "b", "c", "bad", "d")

    def load(self, checkpoints: Checkpoints, spoil: Spoil) -> E5Encoder:
        return encoder_over(checkpoints("e5"), FakeBackend(48, spoil=spoil, limits=Limits(2048, max_rows=2)))

    @staticmethod
    def on_bad(checkpoints: Checkpoints, value: float) -> Spoil:
        """Spoil the vector of the text "bad" alone."""
        bad = checkpoints("e5").raw_tokenizer().encode("query: bad").ids

        def spoil(vectors: Vectors, batch: TokenBatch) -> Vectors:
            for row, ids in enumerate(token_rows(batch)):
                if ids == bad:
                    vectors[row] = np.where(np.arange(48) == 7, value, vectors[row]) if value else 0
            return vectors

        return spoil

    @pytest.mark.parametrize("normalize", [True, False])
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0.0])
    def test_one_bad_vector(self, value: float, normalize: bool, checkpoints: Checkpoints) -> None:
        encoder = self.load(checkpoints, self.on_bad(checkpoints, value))
        with pytest.raises(NonFiniteError, match="fake backend") as caught:
            encoder.encode_query(self.TEXTS, normalize=normalize)
        assert caught.value.indices == (1, 4)
        kept = [text for index, text in enumerate(self.TEXTS) if index not in caught.value.indices]
        clean = encoder_over(checkpoints("e5"), FakeBackend(48))
        assert encoder.encode_query(kept).tobytes() == clean.encode_query(kept).tobytes()

    def test_nothing_of_the_call_is_cached(self, checkpoints: Checkpoints, tmp_path: Path) -> None:
        encoder = self.load(checkpoints, self.on_bad(checkpoints, float("nan")))
        cached = CachedEncoder(encoder, VectorCache(tmp_path))
        for _ in range(2):
            with pytest.raises(NonFiniteError):
                cached.encode_query(self.TEXTS)
        good = CachedEncoder(encoder_over(checkpoints("e5"), FakeBackend(48)), cached.cache)
        assert np.isfinite(good.encode_query(self.TEXTS)).all()
        cached.cache.close()

    def test_in_a_stream(self, checkpoints: Checkpoints) -> None:
        encoder = self.load(checkpoints, self.on_bad(checkpoints, float("nan")))
        blocks = encoder.encode_blocks(["a", "b", "c", "bad"], prompt_name="query", block_size=2)
        assert next(blocks).shape == (2, 48)
        with pytest.raises(NonFiniteError) as caught:
            next(blocks)
        assert caught.value.indices == (3,)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda vectors, _: vectors[:, :47],
            lambda vectors, _: np.pad(vectors, ((0, 0), (0, 1))),
            lambda vectors, _: vectors[:-1],
            lambda vectors, _: np.concatenate([vectors, vectors]),
            lambda vectors, _: vectors[0],
            lambda vectors, _: vectors[None],
        ],
        ids=["47 dimensions", "49 dimensions", "a row less", "rows twice", "one vector", "three axes"],
    )
    def test_wrong_shape(self, spoil: Spoil, checkpoints: Checkpoints) -> None:
        with pytest.raises(BackendError, match="returned vectors of shape"):
            self.load(checkpoints, spoil).encode_query(self.TEXTS)

    def test_too_few_batches(self, checkpoints: Checkpoints) -> None:
        class Quitter(FakeBackend):
            def embed(self, batches: Iterable[TokenBatch]) -> Any:
                return iter([next(super().embed(batches))])

        with pytest.raises(ValueError, match="shorter"):
            encoder_over(checkpoints("e5"), Quitter(48, limits=Limits(10))).encode_query(list(corpus.ORDINARY_TEXTS))

    def test_error_of_the_back_end_reaches_the_caller(self, checkpoints: Checkpoints) -> None:
        def explode(vectors: Vectors, batch: TokenBatch) -> Vectors:
            raise OSError("device lost")

        with pytest.raises(OSError, match="device lost"):
            self.load(checkpoints, explode).encode_query(self.TEXTS)
