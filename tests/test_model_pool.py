"""Models are loaded once, freed when there is no room, and survive another's failure."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from e5studio import hub, memory, model_pool
from e5studio.encoder import E5Encoder
from e5studio.errors import BackendError, ModelUnavailableError, OutOfMemoryError
from e5studio.load import FetchedModel, LoadedModel, load_fetched
from e5studio.model_pool import LoadStep, ModelPool, get_model_pool
from e5studio.models import get_model_meta
from tests.checkpoints import Checkpoint, CheckpointName

Checkpoints = Callable[[CheckpointName], Checkpoint]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models loaded, in order."""
    names: list[str] = []

    def counted(fetched: FetchedModel) -> LoadedModel:
        loaded = load_fetched(fetched)
        names.append(fetched.meta.name)
        return loaded

    monkeypatch.setattr(model_pool, "load_fetched", counted)
    return names


def test_eight_threads_load_once(checkpoints: Checkpoints, loads: list[str]) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    barrier = threading.Barrier(8)

    def ask(_: int) -> np.ndarray:
        barrier.wait()
        with pool.lease(made.meta, path=made.folder) as encoder:
            return encoder.encode_query("summit")

    with ThreadPoolExecutor(8) as threads:
        vectors = list(threads.map(ask, range(8)))
    assert loads == ["tiny/e5"]
    assert all(np.array_equal(vector, vectors[0]) for vector in vectors)


def test_who_waits_for_anothers_load_can_leave(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    is_loading, go_on = threading.Event(), threading.Event()

    def slow(fetched: FetchedModel) -> LoadedModel:
        is_loading.set()
        assert go_on.wait(20)
        return load_fetched(fetched)

    def leave(step: LoadStep) -> None:
        raise InterruptedError

    monkeypatch.setattr(model_pool, "load_fetched", slow)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(pool.lease, made.meta, path=made.folder)
        assert is_loading.wait(20)
        with pytest.raises(InterruptedError):
            pool.lease(made.meta, path=made.folder, on_wait=leave)
        go_on.set()
        assert first.result().encoder.encode_query("summit").shape == (48,)
    assert len(pool.loaded()) == 1


def test_models_that_do_not_fit_together_take_turns(checkpoints: Checkpoints) -> None:
    most_loaded: list[int] = []
    names: tuple[CheckpointName, ...] = ("e5", "multilingual-e5", "multilingual-e5-small")
    made = [checkpoints(name) for name in names]
    pool = ModelPool(memory_budget=1)

    def ask(number: int) -> tuple[int, ...]:
        mine = made[number % 3]
        with pool.lease(mine.meta, path=mine.folder, on_wait=lambda step: None) as encoder:
            most_loaded.append(len(pool.loaded()))
            return encoder.encode_query("summit").shape

    with ThreadPoolExecutor(12) as threads:
        assert len(list(threads.map(ask, range(24)))) == 24
    assert set(most_loaded) == {1}


def test_nobody_waits_for_ever_for_memory(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_pool, "_SECONDS_FOR_MEMORY", 0.3)
    used, other = checkpoints("e5"), checkpoints("multilingual-e5")
    pool = ModelPool(memory_budget=1)
    leased = pool.lease(used.meta, path=used.folder)
    with pytest.raises(OutOfMemoryError, match="models that others use now take all memory"):
        pool.lease(other.meta, path=other.folder, on_wait=lambda step: None)
    assert leased.encoder.encode_query("summit").shape == (48,)
    leased.release()
    assert pool.lease(other.meta, path=other.folder, on_wait=lambda step: None).encoder.encode_query("a").shape


def test_nobody_leaves_for_a_model_that_never_comes(offline_encoder: E5Encoder, loads: list[str]) -> None:
    pool = ModelPool(memory_budget=200_000_000)
    pool.lease("all-minilm-l6-v2").release()
    with pytest.raises(ModelUnavailableError):
        pool.lease("e5-large-v2", local_files_only=True)
    pool.lease("all-minilm-l6-v2").release()
    assert len(loads) == 1


def test_options_share_one_load(checkpoints: Checkpoints, loads: list[str]) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    whole = pool.lease(made.meta, path=made.folder).encoder
    short = pool.lease(made.meta, path=made.folder, truncate_dim=8, max_tokens=64).encoder
    assert (whole.encode_query("a").shape, short.encode_query("a").shape) == ((48,), (8,))
    assert loads == ["tiny/e5"]


def test_names_in_any_form_are_one_model(offline_encoder: E5Encoder, loads: list[str]) -> None:
    pool = ModelPool()
    meta = get_model_meta("all-minilm-l6-v2")
    pool.lease("all-minilm-l6-v2")
    pool.lease(meta.name)
    pool.lease(meta)
    pool.lease(meta.name, revision=meta.revision)
    pool.lease(meta.name, device="cpu", dtype="float32", backend="torch")
    assert len(loads) == 1
    pool.clear()


def test_the_idle_model_makes_room_and_the_leased_one_stays(checkpoints: Checkpoints, loads: list[str]) -> None:
    small, other, third = (checkpoints(name) for name in ("e5", "multilingual-e5", "multilingual-e5-small"))
    pool = ModelPool(memory_budget=1)
    leased = pool.lease(small.meta, path=small.folder)
    idle = pool.lease(other.meta, path=other.folder)
    freed = idle.encoder
    idle.release()
    pool.lease(third.meta, path=third.folder)
    assert leased.encoder.encode_query("summit").shape == (48,)
    with pytest.raises(BackendError, match="was closed"):
        freed.encode_query("summit")
    pool.lease(other.meta, path=other.folder)
    assert loads.count("tiny/multilingual-e5") == 2


def test_idle_models_are_kept_while_there_is_room(checkpoints: Checkpoints, loads: list[str]) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    for _ in range(3):
        with pool.lease(made.meta, path=made.folder):
            pass
    assert loads == ["tiny/e5"]


def test_a_forgotten_lease_is_released(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool(memory_budget=1)
    lease = pool.lease(made.meta, path=made.folder)
    assert len(pool.loaded()) == 1
    del lease
    gc.collect()
    assert pool.loaded() == []


def test_releasing_twice_counts_once(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool(memory_budget=1)
    first, second = pool.lease(made.meta, path=made.folder), pool.lease(made.meta, path=made.folder)
    first.release()
    first.release()
    assert second.encoder.encode_query("summit").shape == (48,)


def test_a_failing_load_leaves_the_others_serving(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool(memory_budget=1)
    lease = pool.lease(made.meta, path=made.folder)
    for _ in range(2):
        with pytest.raises(ModelUnavailableError):
            pool.lease("intfloat/e5-large-v2")
    assert lease.encoder.encode_query("summit").shape == (48,)
    assert len(pool.loaded()) == 1


def test_those_who_wait_for_a_load_share_its_failure(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    tries: list[int] = []
    all_wait = threading.Event()

    def failing(fetched: FetchedModel) -> LoadedModel:
        tries.append(1)
        assert all_wait.wait(20)
        raise ModelUnavailableError("The Hub does not answer.")

    monkeypatch.setattr(model_pool, "load_fetched", failing)

    def ask(_: int) -> str:
        with pytest.raises(ModelUnavailableError) as refused:
            pool.lease(made.meta, path=made.folder)
        return str(refused.value)

    with ThreadPoolExecutor(6) as threads:
        callers = [threads.submit(ask, number) for number in range(6)]
        while sum(entry.n_leases for entry in pool._entries.values()) < 6:
            threading.Event().wait(0.005)
        all_wait.set()
        assert {each.result(20) for each in callers} == {"The Hub does not answer."}
    assert len(tries) == 1
    ask(7)
    assert len(tries) == 2, "whoever comes later tries again"


def test_only_a_load_enters_the_context_for_loading(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    entered: list[int] = []

    @contextmanager
    def slot() -> Iterator[None]:
        entered.append(len(pool.loaded()))
        yield

    for dtype in ("auto", "float32", "bfloat16"):
        pool.lease(made.meta, path=made.folder, dtype=dtype, backend="torch", while_loading=slot)
    assert entered == [0, 1]


def test_whoever_is_refused_a_load_leaves_nothing_behind(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool()

    def full() -> nullcontext[None]:
        raise BlockingIOError

    with pytest.raises(BlockingIOError):
        pool.lease(made.meta, path=made.folder, while_loading=full)
    assert not pool._entries


def test_a_caller_is_told_what_it_waits_for(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[LoadStep] = []
    ModelPool().lease(checkpoints("e5").meta, path=checkpoints("e5").folder, on_wait=steps.append)
    assert steps == ["load"]
    with pytest.raises(ModelUnavailableError):
        ModelPool().lease("intfloat/e5-large-v2", on_wait=steps.append)
    assert steps == ["load", "download"]


def test_what_could_never_fit_is_not_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 2_000_000_000)
    monkeypatch.setattr(hub, "fetch", lambda *_, **__: pytest.fail("a download began"))
    pool = ModelPool(memory_budget=10**12)
    with pytest.raises(OutOfMemoryError, match="e5-mistral-7b-instruct needs"):
        pool.lease("intfloat/e5-mistral-7b-instruct", device="cpu", backend="torch")
    assert not pool._entries


def test_a_model_that_finds_no_memory_gets_that_of_the_idle_ones(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, other = checkpoints("e5"), checkpoints("multilingual-e5")
    pool = ModelPool()
    pool.lease(small.meta, path=small.folder).release()
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**12 if not pool._models() else 0)
    lease = pool.lease(other.meta, path=other.folder)
    with pytest.raises(OutOfMemoryError):
        pool.lease(small.meta, path=small.folder)
    assert lease.encoder.encode_query("summit").shape == (48,)
    assert [encoder.meta.name for encoder in pool.loaded()] == ["tiny/multilingual-e5"]


def test_bad_options_do_not_hold_the_model(checkpoints: Checkpoints) -> None:
    made, pool = checkpoints("e5"), ModelPool()
    with pytest.raises(ValueError, match="truncate_dim=0"):
        pool.lease(made.meta, path=made.folder, truncate_dim=0)
    pool.clear()
    assert pool.loaded() == []


def test_the_process_has_one_pool() -> None:
    assert get_model_pool() is get_model_pool()
