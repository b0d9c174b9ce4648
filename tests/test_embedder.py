"""Behind the plug-ins: options are resolved, names find their prompts, models are shared, copies are light."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest

from e5studio.embedder import Embedder, EmbedderOptions
from e5studio.encoder import E5Encoder
from e5studio.errors import (
    CacheError,
    E5StudioError,
    FingerprintMismatchError,
    NonFiniteError,
    PromptError,
    PromptWarning,
    TextError,
    TruncationWarning,
    UnknownModelError,
)
from e5studio.long_documents import encode_long_documents
from e5studio.model_pool import get_model_pool
from e5studio.options import EncodeArguments, EncodeOptions, EncoderArguments
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from tests.checkpoints import Checkpoint
from tests.corpus import ORDINARY_TEXTS, PROTEIN_PASSAGE

TEXTS = list(ORDINARY_TEXTS)
TASK = "Given a recipe, retrieve its ingredients"
LONG_TEXT = PROTEIN_PASSAGE * 12


@pytest.fixture(autouse=True)
def _free_models() -> Iterator[None]:
    yield
    get_model_pool().clear()


def options_for(checkpoint: Checkpoint, **changed: object) -> EmbedderOptions:
    kind = checkpoint.meta.prompt_kind
    task = TASK if kind == "instruct" else None
    options = EmbedderOptions(model=str(checkpoint.folder), prompt_kind=kind, device="cpu", instruction=task)
    return replace(options, **changed)


def core_of(checkpoint: Checkpoint) -> E5Encoder:
    return E5Encoder(checkpoint.folder, prompt_kind=checkpoint.meta.prompt_kind, device="cpu")


def test_roles_get_their_prompts(checkpoint):
    embedder = Embedder(options_for(checkpoint))
    core = core_of(checkpoint)
    task = embedder.options.instruction
    assert np.array_equal(embedder.embed(TEXTS, "query"), core.encode_query(TEXTS, instruction=task))
    assert np.array_equal(embedder.embed(TEXTS, "document"), core.encode_document(TEXTS))
    assert not np.allclose(embedder.embed(TEXTS, "query"), embedder.embed(TEXTS, "document"), atol=1e-3)


def test_symmetric_puts_the_query_prompt_on_documents(checkpoint):
    embedder = Embedder(options_for(checkpoint, symmetric=True))
    assert np.array_equal(embedder.embed(TEXTS, "document"), embedder.embed(TEXTS, "query"))
    assert embedder.prompt("document") == embedder.prompt("query")


def test_titles_stand_in_front(checkpoints):
    checkpoint = checkpoints("e5")
    titles = ["Title", None, "", "Another", None, "Last"]
    embedder = Embedder(options_for(checkpoint))
    expected = core_of(checkpoint).encode_document(TEXTS, titles=titles)
    assert np.array_equal(embedder.embed(TEXTS, "document", titles=titles), expected)


def test_options_are_resolved(checkpoints):
    embedder = Embedder(options_for(checkpoints("e5")))
    resolved = embedder.options
    assert (resolved.backend, resolved.dtype, resolved.max_tokens) == ("torch", "float32", 512)
    assert Embedder(resolved, fingerprint=embedder.fingerprint) == embedder
    assert all(value is None or isinstance(value, str | int | bool) for value in vars(resolved).values())
    json.dumps(vars(resolved))


def test_an_instruction_left_out_is_named_once_and_resolved(checkpoints):
    with pytest.warns(PromptWarning, match="web-search") as caught:
        embedder = Embedder(options_for(checkpoints("multilingual-e5-instruct"), instruction=None))
    assert len(caught) == 1
    assert embedder.options.instruction == WEB_SEARCH_INSTRUCTION
    embedder.embed(["a"], "query")  # warnings are errors
    pickle.loads(pickle.dumps(embedder)).embed(["a"], "query")


@pytest.mark.parametrize(
    ("name", "changed", "error"),
    [
        ("e5", {"instruction": TASK}, PromptError),
        ("e5", {"prompt_kind": None}, PromptError),
        ("e5", {"model": "nonsense"}, UnknownModelError),
        ("e5", {"max_tokens": 4096}, E5StudioError),
        ("multilingual-e5-instruct", {"instruction": " "}, PromptError),
        ("multilingual-e5-instruct", {"instruction": "word " * 600}, PromptError),
        ("e5", {"fingerprint": "0" * 32}, FingerprintMismatchError),
    ],
)
def test_what_cannot_be_is_refused_before_any_text(checkpoints, name, changed, error):
    fingerprint = changed.pop("fingerprint", None)
    with pytest.raises(error):
        Embedder(options_for(checkpoints(name), **changed), fingerprint=fingerprint)


def test_long_documents_is_one_of_two():
    with pytest.raises(ValueError, match="chunk-and-pool"):
        EmbedderOptions(model="e5-small-v2", long_documents="chunk")


def test_truncation_is_said_with_a_way_out(checkpoints):
    embedder = Embedder(options_for(checkpoints("e5")))
    with pytest.warns(TruncationWarning, match=r"1 of 2 texts .*report\(texts\) lists them; long_documents=") as caught:
        embedder.embed(["a", LONG_TEXT], "document")
    assert len(caught) == 1
    [cut] = embedder.report(["a", LONG_TEXT]).truncated
    assert cut.index == 1


def test_chunk_and_pool_reads_all_of_a_document(checkpoints):
    checkpoint = checkpoints("e5")
    embedder = Embedder(options_for(checkpoint, long_documents="chunk-and-pool"))
    expected = encode_long_documents(core_of(checkpoint), ["a", LONG_TEXT], prompt="passage: ")
    assert np.array_equal(embedder.embed(["a", LONG_TEXT], "document"), expected)
    with pytest.warns(TruncationWarning, match="Shorten"):
        embedder.embed([LONG_TEXT], "query")


def test_bad_texts_are_named(checkpoints):
    embedder = Embedder(options_for(checkpoints("e5")))
    with pytest.raises(TextError) as caught:
        embedder.embed(["a", "", "b", " "], "document")
    assert caught.value.indices == (1, 3)
    with pytest.raises(TextError) as caught:
        embedder.embed(["a", None], "query")
    assert caught.value.indices == (1,)


def test_tokens_and_room(checkpoint):
    embedder = Embedder(options_for(checkpoint))
    for text in TEXTS:
        assert embedder.count_tokens(text) == len(embedder.tokenize(text))
    text = "summit " * embedder.max_text_tokens()
    lengths = range(0, len(text), 7)
    n_fitting = bisect_right(lengths, embedder.max_text_tokens(), key=lambda n: embedder.count_tokens(text[:n]))
    longest = text[: lengths[n_fitting - 1]].strip()
    assert not embedder.report([longest]).truncated
    assert embedder.max_text_tokens("query") == core_of(checkpoint).max_text_tokens(
        prompt=embedder.prompt("query"),
    )


def test_roles_have_the_names_of_other_apis_too(checkpoints):
    embedder = Embedder(options_for(checkpoints("multilingual-e5-instruct")))
    assert embedder.max_text_tokens("passage") == embedder.max_text_tokens("document")
    assert embedder.max_text_tokens("passage") > embedder.max_text_tokens("query")
    with pytest.raises(PromptError, match="Unknown prompt name"):
        embedder.report(["a"], "documnet")


def test_one_model_serves_all(checkpoints):
    options = options_for(checkpoints("e5"))
    embedders = [Embedder(replace(options, max_tokens=n)) for n in (None, 64, 128)]
    assert len({id(embedder.encoder._backend) for embedder in embedders}) == 1
    assert len(get_model_pool().loaded()) == 1


def test_copies_are_light_and_equal(checkpoints):
    embedder = Embedder(options_for(checkpoints("e5")))
    pickled = pickle.dumps(embedder)
    assert len(pickled) < 5_000
    for twin in (pickle.loads(pickled), copy.deepcopy(embedder), copy.copy(embedder)):
        assert twin == embedder
        assert hash(twin) == hash(embedder)
        assert np.array_equal(twin.embed(TEXTS, "query"), embedder.embed(TEXTS, "query"))
        assert twin.encoder._backend is embedder.encoder._backend
    assert embedder != Embedder(replace(embedder.options, symmetric=True))


def test_a_pickle_refuses_a_model_that_changed_since(checkpoints, tmp_path):
    checkpoint = checkpoints("e5")
    folder = tmp_path / "model"
    folder.mkdir()
    for file in checkpoint.folder.iterdir():
        (folder / file.name).symlink_to(file)
    pickled = pickle.dumps(Embedder(options_for(checkpoint, model=str(folder))))
    get_model_pool().clear()
    other = folder / "sentence_bert_config.json"
    other.unlink()
    other.write_text(json.dumps({"max_seq_length": 512, "do_lower_case": True}))
    with pytest.raises(FingerprintMismatchError, match="bring back the model"):
        pickle.loads(pickled).embed(["a"], "query")


def test_every_option_that_changes_a_vector_changes_its_key(checkpoints):
    options = options_for(checkpoints("multilingual-e5-instruct"))
    others = [
        {"instruction": "Another task"},
        {"symmetric": True},
        {"long_documents": "chunk-and-pool"},
        {"dtype": "bfloat16"},
        {"max_tokens": 64},
        {"truncate_dim": 8},
        {"model": str(checkpoints("multilingual-e5").folder), "prompt_kind": "none", "instruction": None},
    ]
    embedders = [Embedder(replace(options, **other)) for other in [{}, *others]]
    keys = [
        embedder.vector_keys(["text"], "query") + embedder.vector_keys(["text"], "document") for embedder in embedders
    ]
    assert keys[0][0] != keys[0][1]
    assert all(key != keys[0] for key in keys[1:])
    same = Embedder(replace(options, token_budget=64, show_progress=False))
    assert same.vector_keys(["text"], "query") == keys[0][:1]


def test_a_cache_computes_each_text_once_and_mixes_nothing(checkpoints, tmp_path, monkeypatch):
    computed = []
    compute = Embedder._compute

    def counted(self, texts, prompt_name, on_progress, **options):
        if self.options.cache_folder is not None:
            computed.extend(texts)
        return compute(self, texts, prompt_name, on_progress, **options)

    monkeypatch.setattr(Embedder, "_compute", counted)
    folder = str(tmp_path / "vectors")
    options = options_for(checkpoints("multilingual-e5-instruct"), cache_folder=folder)
    others = [options, replace(options, instruction="Another task"), replace(options, max_tokens=64)]
    others += [replace(options, model=str(checkpoints("e5").folder), prompt_kind="query_passage", instruction=None)]
    for _ in range(2):
        for other in others:
            cached, plain = Embedder(other), Embedder(replace(other, cache_folder=None))
            for name in ("query", "document"):
                texts = ["one", "two", "one"]
                np.testing.assert_allclose(cached.embed(texts, name), plain.embed(texts, name), atol=1e-6)
    assert sorted(computed) == ["one"] * 7 + ["two"] * 7  # the documents of the two tasks are the same
    assert cached.embed([], "query").shape == (0, cached.encoder.spec.embed_dim)


def test_a_faulty_vector_is_named_by_its_place_beside_cached_ones(checkpoints, tmp_path, monkeypatch):
    embedder = Embedder(options_for(checkpoints("e5"), cache_folder=str(tmp_path)))
    embedder.embed(["good"], "document")

    def spoil(*_, **__):
        raise NonFiniteError("NaN", [0])

    monkeypatch.setattr(embedder, "_compute", spoil)
    with pytest.raises(NonFiniteError) as caught:
        embedder.embed(["good", "bad", "good", "bad"], "document")
    assert caught.value.indices == (1, 3)


def test_options_are_those_of_the_encoder():
    own = {"model", "instruction", "symmetric", "long_documents", "on_empty", "cache_folder"}
    arguments = set(get_type_hints(EncoderArguments))
    assert {field.name for field in fields(EmbedderOptions)} - own == arguments
    assert set(get_type_hints(EncodeArguments)) == {field.name for field in fields(EncodeOptions)}
    with pytest.raises(TypeError, match="unexpected keyword argument 'dype'"):
        E5Encoder("e5-small-v2", dype="float16")


async def test_async_gives_the_same(checkpoints):
    embedder = Embedder(options_for(checkpoints("e5")))
    vectors = await asyncio.gather(embedder.aembed(TEXTS, "query"), embedder.aembed(TEXTS, "document"))
    assert np.array_equal(vectors[0], embedder.embed(TEXTS, "query"))
    assert np.array_equal(vectors[1], embedder.embed(TEXTS, "document"))


async def test_queries_do_not_queue_behind_documents(checkpoints, monkeypatch):
    embedder = Embedder(options_for(checkpoints("e5")))
    may_go_on = threading.Event()
    embed = embedder.embed

    def held_up(texts, prompt_name, **arguments):
        if prompt_name == "document":
            assert may_go_on.wait(60)
        return embed(texts, prompt_name, **arguments)

    monkeypatch.setattr(embedder, "embed", held_up)
    jobs = [asyncio.ensure_future(embedder.aembed(TEXTS, "document")) for _ in range(20)]
    query = await embedder.aembed(["a"], "query")
    assert not any(job.done() for job in jobs)
    may_go_on.set()
    await asyncio.gather(*jobs)
    assert np.array_equal(query, embed(["a"], "query"))


async def test_a_cancelled_task_stops_the_work(checkpoints, monkeypatch):
    embedder = Embedder(options_for(checkpoints("e5"), token_budget=32))
    backend = embedder.encoder._backend
    has_begun, may_go_on, n_batches = asyncio.Event(), threading.Event(), 0
    loop, forward = asyncio.get_running_loop(), backend._run

    def counted(batch, token_vectors):
        nonlocal n_batches
        n_batches += 1
        loop.call_soon_threadsafe(has_begun.set)
        assert may_go_on.wait(60)
        return forward(batch, token_vectors)

    monkeypatch.setattr(backend, "_run", counted)
    job = asyncio.ensure_future(embedder.aembed([f"text {i}" for i in range(200)], "document"))
    await has_begun.wait()
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    may_go_on.set()
    monkeypatch.undo()
    embedder.embed(["waits for the backend to be free"], "query")
    assert n_batches <= 2


def plugin(embedder: Embedder, texts: list[str]) -> None:
    exec(compile("embedder.embed(texts, 'document')", "plugin.py", "exec"))


@pytest.mark.parametrize("is_cached", [False, True])
def test_warnings_point_at_the_caller_of_the_plugin(checkpoints, tmp_path, is_cached):
    folder = str(tmp_path) if is_cached else None
    embedder = Embedder(options_for(checkpoints("e5"), cache_folder=folder))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plugin(embedder, [LONG_TEXT])
    assert caught[0].filename == __file__


def test_a_warning_names_no_place_where_a_cache_leaves_out_texts(checkpoints, tmp_path):
    embedder = Embedder(options_for(checkpoints("e5"), cache_folder=str(tmp_path)))
    embedder.embed(["a", "b"], "document")
    with pytest.warns(TruncationWarning, match=r"left out \(the first: \d+ tokens\)"):
        embedder.embed(["a", "b", LONG_TEXT], "document")


@pytest.mark.parametrize("name", ["passage", "document", "corpus"])
def test_roles_are_called_as_elsewhere(checkpoints, name):
    embedder = Embedder(options_for(checkpoints("e5"), long_documents="chunk-and-pool"))
    texts = ["a", LONG_TEXT]
    assert np.array_equal(embedder.embed(texts, name), embedder.embed(texts, "document"))
    assert np.array_equal(asyncio.run(embedder.aembed(texts, name)), embedder.embed(texts, "document"))
    assert embedder.vector_keys(texts, name) == embedder.vector_keys(texts, "document")


def test_a_fingerprint_stands_for_what_documents_get(checkpoints):
    options = options_for(checkpoints("multilingual-e5-instruct"))
    usual = Embedder(options).fingerprint
    assert Embedder(replace(options, instruction="Another task")).fingerprint == usual
    others = [
        replace(options, symmetric=True),
        replace(options, symmetric=True, instruction="Another task"),
        replace(options, long_documents="chunk-and-pool"),
        replace(options, max_tokens=64),
    ]
    prints = [Embedder(other).fingerprint for other in others]
    assert len({usual, *prints}) == 5
    for other, fingerprint in zip(others, prints, strict=True):
        assert Embedder(other, fingerprint=fingerprint).fingerprint == fingerprint
        with pytest.raises(FingerprintMismatchError, match="symmetric="):
            Embedder(other, fingerprint=usual)


def test_a_cache_folder_is_opened_early(checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    embedder = Embedder(options_for(checkpoints("e5"), cache_folder="~/vectors"))
    embedder.embed(["a"], "document")
    assert (tmp_path / "vectors" / "vectors.sqlite3").exists()
    (tmp_path / "file").write_text("x")
    with pytest.raises(CacheError, match="file"):
        Embedder(options_for(checkpoints("e5"), cache_folder=str(tmp_path / "file")))
    with pytest.raises(ValueError, match="cache_folder is empty"):
        options_for(checkpoints("e5"), cache_folder="")
