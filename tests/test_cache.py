"""Cached vectors equal computed ones, and never come from another model, role or text."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from e5studio.batching import TokenBatch
from e5studio.cache import CachedEncoder, VectorCache, vector_key
from e5studio.encoder import E5Encoder
from e5studio.errors import CacheError, CacheWarning, NonFiniteError, PromptWarning, TruncationWarning
from e5studio.prepared_texts import PreparedTexts
from tests.checkpoints import Checkpoint, CheckpointName
from tests.fakes import FakeBackend

Encoders = Callable[[CheckpointName], E5Encoder]
Checkpoints = Callable[[CheckpointName], Checkpoint]
TEXTS = ["summit", "protein", "summit", "mountain"]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts the model ran over, call by call."""
    seen: list[int] = []
    original = E5Encoder.embed_rows

    def counting(self: E5Encoder, prepared: PreparedTexts, rows: np.ndarray, /, **options: object) -> np.ndarray:
        seen.append(len(rows))
        return original(self, prepared, rows, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(E5Encoder, "embed_rows", counting)
    return seen


def test_second_time_nothing_is_computed(encoders: Encoders, computed: list[int]) -> None:
    cached = CachedEncoder(encoders("e5"), VectorCache())
    first = cached.encode_query(TEXTS)
    assert computed == [3]
    np.testing.assert_array_equal(cached.encode_query(TEXTS), first)
    assert cached.encode_query("summit").shape == (48,)
    assert computed == [3]
    np.testing.assert_allclose(first, encoders("e5").encode_query(TEXTS), atol=2e-6)


def test_roles_instructions_models_and_dimensions_are_kept_apart(encoders: Encoders) -> None:
    cache = VectorCache()
    e5, instruct = encoders("e5"), encoders("multilingual-e5-instruct")
    vectors = [
        CachedEncoder(e5, cache).encode_query("summit"),
        CachedEncoder(e5, cache).encode_document("summit"),
        CachedEncoder(e5, cache).encode("summit", prompt=""),
        CachedEncoder(instruct, cache).encode_document("summit"),
        CachedEncoder(instruct, cache).encode_query("summit", instruction="One."),
        CachedEncoder(instruct, cache).encode_query("summit", instruction="Two."),
    ]
    for index, vector in enumerate(vectors):
        assert all(abs(vector - other).max() > 1e-3 for other in vectors[:index])
    assert CachedEncoder(e5.with_options(truncate_dim=8), cache).encode_query("summit").shape == (8,)


def test_title_and_text(encoders: Encoders) -> None:
    cached = CachedEncoder(encoders("e5"), VectorCache())
    np.testing.assert_array_equal(
        cached.encode_document(["body"], titles=["Title"]), cached.encode_document(["Title body"])
    )


def test_the_default_instruction_is_still_warned_of(encoders: Encoders) -> None:
    with pytest.warns(PromptWarning, match="web-search"):
        CachedEncoder(encoders("multilingual-e5-instruct"), VectorCache()).encode_query("summit")


def test_only_what_is_new_is_computed(encoders: Encoders, computed: list[int]) -> None:
    cached = CachedEncoder(encoders("e5"), VectorCache())
    cached.encode_query(["summit", "protein"])
    mixed = cached.encode_query(["mountain", "protein", "mountain", "summit", "valley"])
    assert computed == [2, 2]
    expected = encoders("e5").encode_query(["mountain", "protein", "mountain", "summit", "valley"])
    np.testing.assert_allclose(mixed, expected, atol=2e-6)


def test_what_was_cut_is_told_of_cached_texts_too(encoders: Encoders) -> None:
    cached = CachedEncoder(encoders("e5"), VectorCache())
    for _ in range(2):
        with pytest.warns(TruncationWarning, match=r"1 of 2 texts .*text 1:") as caught:
            cached.encode_document(["short", "long " * 600])
        assert caught[0].filename == __file__


def test_a_failing_text_is_named_by_its_place_and_not_kept(checkpoints: Checkpoints) -> None:
    made = checkpoints("e5")
    encoder = E5Encoder(made.meta, path=made.folder, device="cpu")
    cached = CachedEncoder(encoder, VectorCache())
    cached.encode_query(["summit", "protein"])

    def spoil(vectors: np.ndarray, batch: TokenBatch) -> np.ndarray:
        return np.full_like(vectors, np.nan)

    fake = FakeBackend(48, spoil=spoil)
    fake.name = "torch"  # the fingerprint stays
    encoder._backend = fake
    with pytest.raises(NonFiniteError) as caught:
        cached.encode_query(["summit", "new", "protein", "new"])
    assert caught.value.indices == (1, 3)
    np.testing.assert_array_equal(cached.encode_query("summit"), cached.encode_query(["protein", "summit"])[1])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(CacheError, match="delete it: it only saves work"):
        VectorCache(tmp_path)
    with pytest.raises(CacheError, match=r"File exists|already exists"):
        VectorCache(tmp_path / "vectors.sqlite3")


def test_a_file_that_fails_later_costs_a_warning_and_no_vector(encoders: Encoders, tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, max_bytes=0)
    cached = CachedEncoder(encoders("e5"), cache)
    first = cached.encode_query(TEXTS)
    with sqlite3.connect(tmp_path / "vectors.sqlite3") as database:
        database.execute("DROP TABLE vectors")
    database.close()
    with pytest.warns(CacheWarning) as caught:
        np.testing.assert_allclose(cached.encode_query(TEXTS), first, atol=2e-6)
    assert [str(warning.message).split(":")[0].replace(str(tmp_path), "F") for warning in caught] == [
        "Vectors in F can't be read",
        "Vectors can't be stored in F",
    ]
    cache.close()


def test_a_folder_that_cannot_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = VectorCache(tmp_path)
    kept.put_many({b"a": np.ones(4, np.float32)})
    kept.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    cache = VectorCache(tmp_path)
    assert cache.get_many([b"a", b"b"], 4).keys() == {b"a"}
    with pytest.warns(CacheWarning, match="readonly"):
        cache.put_many({b"b": np.zeros(4, np.float32)})
    assert cache.get_many([b"b"], 4).keys() == {b"b"}
    cache.close()


def test_a_row_of_another_length_is_computed_again(tmp_path: Path) -> None:
    kept = VectorCache(tmp_path)
    kept.put_many({b"a": np.ones(3, np.float32), b"b": np.ones(4, np.float32)})
    kept.close()
    cache = VectorCache(tmp_path)
    asked = cache.get_or_compute([b"b", b"a", b"b"], 4, lambda places: np.full((len(places), 4), 2, np.float32))
    np.testing.assert_array_equal(asked[:, 0], [1, 2, 1])
    cache.close()


NAN = np.array([np.nan, np.inf, 0, 0], np.float32).tobytes()


@pytest.mark.parametrize("value", [None, 5, 0.5, "text", b"", b"abc", NAN, b"\0" * 8 + NAN])
def test_a_damaged_row_is_warned_of_and_computed_again(tmp_path: Path, value: object) -> None:
    kept = VectorCache(tmp_path)
    kept.put_many({b"a": np.ones(4, np.float32), b"b": np.ones(4, np.float32)})
    kept.close()
    rewrite(tmp_path, value)
    cache = VectorCache(tmp_path)
    with pytest.warns(CacheWarning, match="1 of 2 vectors in .* are damaged"):
        vectors = cache.get_or_compute([b"a", b"b"], 4, lambda rows: np.full((len(rows), 4), 2, np.float32))
    np.testing.assert_array_equal(vectors[:, 0], [2, 1])
    cache.close()
    again = VectorCache(tmp_path)
    assert again.get_many([b"a"], 4)[b"a"].tolist() == [2, 2, 2, 2]
    again.close()


@pytest.mark.parametrize("byte", [0, 8, 15, -1])
def test_a_flipped_bit_gives_no_vector(tmp_path: Path, byte: int) -> None:
    kept = VectorCache(tmp_path)
    kept.put_many({b"a": np.ones(4, np.float32)})
    kept.close()
    with closing(sqlite3.connect(tmp_path / "vectors.sqlite3")) as database:
        content = bytearray(database.execute("SELECT vector FROM vectors").fetchone()[0])
    content[byte] ^= 1
    rewrite(tmp_path, bytes(content))
    cache = VectorCache(tmp_path)
    with pytest.warns(CacheWarning, match="damaged"):
        assert cache.get_many([b"a"], 4) == {}
    cache.close()


def rewrite(folder: Path, value: object) -> None:
    """Put a value into the row of the key "a", as a damaged disk or another program may."""
    with closing(sqlite3.connect(folder / "vectors.sqlite3")) as database, database:
        database.execute("UPDATE vectors SET vector = ? WHERE key = ?", (value, b"a"))


def test_prepared_texts_share_the_cache(encoders: Encoders, computed: list[int]) -> None:
    encoder = encoders("e5")
    cached = CachedEncoder(encoder, VectorCache())
    kept = cached.encode_document(["a", "b"])
    texts = ["b", "", "a", ""]
    prepared = encoder.prepare(texts, prompt_name="document", allow_empty=True)
    before = sum(computed)
    vectors = cached.embed_prepared(prepared, texts)
    assert sum(computed) - before == 1  # the empty one
    np.testing.assert_array_equal(vectors[[2, 0]], kept)
    np.testing.assert_array_equal(vectors[1], vectors[3])


def test_no_texts(encoders: Encoders) -> None:
    assert CachedEncoder(encoders("e5"), VectorCache()).encode_query([]).shape == (0, 48)


def test_disk_outlives_the_process(encoders: Encoders, tmp_path: Path, computed: list[int]) -> None:
    first_cache = VectorCache(tmp_path)
    first = CachedEncoder(encoders("e5"), first_cache).encode_query(TEXTS)
    first_cache.close()
    again = VectorCache(tmp_path)
    np.testing.assert_array_equal(CachedEncoder(encoders("e5"), again).encode_query(TEXTS), first)
    assert computed == [3]
    again.close()


def test_two_caches_share_a_folder(tmp_path: Path) -> None:
    one, two = VectorCache(tmp_path), VectorCache(tmp_path)
    one.put_many({b"a": np.ones(4, np.float32)})
    assert two.get_many([b"a", b"b"], 4).keys() == {b"a"}
    one.close()
    two.close()


def test_all_of_a_write_or_none(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    with closing(sqlite3.connect(tmp_path / "vectors.sqlite3")) as database, database:
        fails = (
            "CREATE TRIGGER fails BEFORE INSERT ON vectors WHEN NEW.key = x'62' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        database.execute(fails)
    with pytest.warns(CacheWarning, match="can't be stored"):
        cache.put_many({b"a": np.ones(4, np.float32), b"b": np.ones(4, np.float32)})
    cache.close()
    fresh = VectorCache(tmp_path)
    assert fresh.get_many([b"a"], 4) == {}
    fresh.close()


def test_memory_is_bounded_and_the_oldest_leave() -> None:
    cache = VectorCache(max_bytes=3 * 16)
    for name in (b"a", b"b", b"c"):
        cache.put_many({name: np.ones(4, np.float32)})
    cache.get_many([b"a"], 4)
    cache.put_many({b"d": np.ones(4, np.float32)})
    assert cache.get_many([b"a", b"b", b"c", b"d"], 4).keys() == {b"a", b"c", b"d"}


def test_vectors_cannot_be_changed_in_the_cache() -> None:
    cache = VectorCache()
    mine = np.ones(4, np.float32)
    cache.put_many({b"a": mine})
    mine[:] = 7
    kept = cache.get_many([b"a"], 4)[b"a"]
    assert kept.tolist() == [1, 1, 1, 1]
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 2


def test_many_threads_and_keys(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, max_bytes=64)

    def work(number: int) -> bool:
        keys = [f"{number}-{i}".encode() for i in range(1500)]
        cache.put_many({key: np.full(4, number, np.float32) for key in keys})
        found = cache.get_many(keys, 4)
        return len(found) == 1500 and all(vector[0] == number for vector in found.values())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    cache.close()


def test_no_border_can_be_moved() -> None:
    keys = {vector_key("f", "query: ", "a"), vector_key("f", "query:", " a"), vector_key("fq", "uery: ", "a")}
    assert len(keys) == 3
