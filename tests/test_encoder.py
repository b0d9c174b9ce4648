"""What the encoder takes, gives, reports and refuses. (Equality with the cards: test_model_card.)"""

from __future__ import annotations

import copy
import pickle
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e5studio.encoder import E5Encoder
from e5studio.errors import (
    FingerprintMismatchError,
    PromptError,
    PromptWarning,
    TextError,
    TextTypeError,
    TruncationWarning,
)
from e5studio.prepared_texts import PreparedTexts
from e5studio.prompts import WEB_SEARCH_INSTRUCTION
from tests.checkpoints import Checkpoint, CheckpointName
from tests.reference import Reference

Encoders = Callable[[CheckpointName], E5Encoder]
_FACTS = ("truncated", "already_prompted", "empty", "n_texts", "replaced_surrogates")
PASSAGES = ["The summit is the top of a mountain.", "Women need 46 grams of protein.", "Two words."]


@pytest.fixture
def e5(encoders: Encoders) -> E5Encoder:
    return encoders("e5")


@pytest.fixture
def instruct(encoders: Encoders) -> E5Encoder:
    return encoders("multilingual-e5-instruct")


class TestRoles:
    def test_query_and_document_differ(self, e5: E5Encoder) -> None:
        assert abs(e5.encode_query("summit") - e5.encode_document("summit")).max() > 1e-3

    def test_symmetric_is_the_query_prompt(self, e5: E5Encoder) -> None:
        np.testing.assert_array_equal(e5.encode(PASSAGES, prompt_name="clustering"), e5.encode_query(PASSAGES))

    def test_encode_without_a_choice_names_the_choices(self, e5: E5Encoder) -> None:
        with pytest.raises(PromptError, match="prompt_name='query'"):
            e5.encode(PASSAGES)

    def test_titles(self, e5: E5Encoder) -> None:
        titled = e5.encode_document(["body", "alone"], titles=["Title", None])
        np.testing.assert_allclose(titled, e5.encode_document(["Title body", "alone"]), atol=2e-6)
        np.testing.assert_allclose(e5.encode_document("body", titles="Title"), titled[0], atol=2e-6)

    @pytest.mark.parametrize(
        ("titles", "message", "indices"),
        [
            ([None, None, float("nan")], "at 2 stands float", (2,)),
            ([1, None, "a"], "at 0 stands int", (0,)),
            ({"a": 1, "b": 2, "c": 3}, "Expected a list of titles, got dict", ()),
            ({"a", "b", "c"}, "Expected a list of titles, got a set", ()),
        ],
    )
    def test_titles_that_are_none_are_named(self, e5: E5Encoder, titles: Any, message: str, indices: Any) -> None:
        with pytest.raises(TextTypeError, match=message) as caught:
            e5.encode_document(PASSAGES, titles=titles)
        assert caught.value.indices == indices

    def test_titles_must_match(self, e5: E5Encoder) -> None:
        with pytest.raises(TextError, match="Got 1 titles for 3 texts"):
            e5.encode_document(PASSAGES, titles=["one"])

    def test_default_instruction_is_reported_and_warned_of(self, instruct: E5Encoder) -> None:
        with pytest.warns(PromptWarning, match="web-search task was used"):
            vector = instruct.encode_query("summit")
        report = instruct.prepare(["summit"], prompt_name="query").report
        assert report.prompt.is_default_instruction
        np.testing.assert_array_equal(vector, instruct.encode_query("summit", instruction=WEB_SEARCH_INSTRUCTION))


class TestShapes:
    def test_single_many_none(self, e5: E5Encoder) -> None:
        assert e5.encode_query("summit").shape == (48,)
        assert e5.encode_query(["summit"]).shape == (1, 48)
        assert e5.encode_query([]).shape == (0, 48)
        assert e5.encode_query([]).dtype == np.float32

    @pytest.mark.parametrize("wrap", [list, tuple, iter, np.array])
    def test_any_iterable(self, e5: E5Encoder, wrap: Callable[[list[str]], Iterator[str]]) -> None:
        np.testing.assert_array_equal(e5.encode_query(wrap(PASSAGES)), e5.encode_query(PASSAGES))

    def test_normalised_or_not(self, e5: E5Encoder) -> None:
        raw = e5.encode_query(PASSAGES, normalize=False)
        unit = e5.encode_query(PASSAGES)
        assert abs(np.linalg.norm(raw, axis=1) - 1).min() > 0.01
        np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, atol=1e-6)

    def test_truncate_dim_is_cut_before_normalising(self, e5: E5Encoder) -> None:
        short = e5.with_options(truncate_dim=16)
        raw = e5.encode_query(PASSAGES, normalize=False)[:, :16]
        expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(short.encode_query(PASSAGES), expected, atol=1e-6)
        assert short.spec.embed_dim == 16

    def test_scores_are_cosines_times_100(self, e5: E5Encoder) -> None:
        expected = 100 * e5.encode_query(["summit", "protein"]) @ e5.encode_document(PASSAGES).T
        np.testing.assert_allclose(e5.scores(["summit", "protein"], PASSAGES), expected, atol=1e-4)


class TestEmptyTexts:
    def test_are_refused_unless_asked_for(self, e5: E5Encoder) -> None:
        with pytest.raises(TextError):
            e5.prepare(["a", ""], prompt_name="document")

    def test_asked_for_they_are_the_prompt_alone(self, encoder: E5Encoder, reference: Reference) -> None:
        prompt = encoder.resolve_prompt("query")
        prepared = encoder.prepare(["", "a summit"], prompt=prompt, allow_empty=True)
        is_mean = encoder.meta.pooling == "mean"
        expected = (reference.embed if is_mean else reference.embed_last_token)([prompt.text])
        np.testing.assert_allclose(encoder.embed_prepared(prepared)[:1], expected, rtol=0, atol=1e-5)

    def test_without_a_prompt_they_are_the_special_tokens(self, e5: E5Encoder) -> None:
        prepared = e5.prepare([""], prompt="", allow_empty=True)
        assert prepared.batch.lengths.tolist() == [2]
        assert np.isfinite(e5.embed_prepared(prepared)).all()


class TestBlocks:
    def test_a_stream_in_blocks_equals_the_whole(self, e5: E5Encoder) -> None:
        texts = [f"text number {number}" for number in range(25)]
        blocks = list(e5.encode_blocks(iter(texts), prompt_name="document", block_size=10))
        assert [len(block) for block in blocks] == [10, 10, 5]
        np.testing.assert_allclose(np.concatenate(blocks), e5.encode_document(texts), atol=2e-6)

    def test_the_stream_is_read_as_it_is_needed(self, e5: E5Encoder) -> None:
        read: list[int] = []

        def endless() -> Iterator[str]:
            while True:
                read.append(1)
                yield "text"

        next(e5.encode_blocks(endless(), prompt_name="query", block_size=4))
        assert len(read) == 4

    def test_what_is_left_out_is_told_once_a_stream(self, e5: E5Encoder) -> None:
        texts = ["short", *["long " * 600] * 3]
        with pytest.warns(TruncationWarning) as caught:
            list(e5.encode_blocks(texts, prompt_name="document", block_size=1))
        assert [(len(caught), caught[0].filename)] == [(1, __file__)]

    def test_a_wrong_choice_is_told_at_once(self, e5: E5Encoder) -> None:
        with pytest.raises(PromptError):
            e5.encode_blocks(["text"])


class TestReport:
    def test_truncation_is_warned_of_and_listed(self, e5: E5Encoder) -> None:
        texts = ["short", "long " * 600]
        with pytest.warns(TruncationWarning, match=r"1 of 2 texts are longer than the 512 tokens") as caught:
            e5.encode_document(texts)
        assert caught[0].filename == __file__
        report = e5.prepare(texts, prompt_name="document").report
        [cut] = report.truncated
        assert (cut.index, cut.n_read, cut.exact) == (1, 512, True)
        assert cut.n_dropped == e5.count_tokens(texts)[1] - e5.max_text_tokens("document")

    def test_a_text_of_max_text_tokens_just_fits(self, encoder: E5Encoder) -> None:
        room = encoder.max_text_tokens("document")
        word = next(w for w in ("a", "e", "summit") if encoder.count_tokens([f"{w} {w}"])[0] == 2)
        view_for, over = " ".join([word] * room), " ".join([word] * (room + 1))
        assert encoder.count_tokens([view_for])[0] == room
        assert encoder.prepare([view_for], prompt_name="document").report.truncated == ()
        assert encoder.prepare([over], prompt_name="document").report.truncated[0].n_dropped == 1

    def test_instruction_takes_its_room(self, instruct: E5Encoder) -> None:
        tasks = ("Find it.", "Retrieve every passage that answers the question at hand.")
        short, long = (instruct.resolve_prompt("query", instruction=task) for task in tasks)
        assert instruct.max_text_tokens(prompt=long) < instruct.max_text_tokens(prompt=short)
        assert instruct.max_text_tokens("document") == 510

    def test_repeated_prompt_draws_one_warning(self, e5: E5Encoder) -> None:
        with pytest.warns(
            PromptWarning, match=r"2 of 3 texts already begin with a prompt \(text 0, text 1\)"
        ) as caught:
            e5.encode_query(["query: summit", "query: protein", "passage"])
        assert len(caught) == 1

    def test_own_prompts_in_the_text_are_fine_with_none_in_front(self, e5: E5Encoder) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            own = e5.encode("query: summit", prompt="")
        np.testing.assert_allclose(own, e5.encode_query("summit"), atol=2e-6)

    def test_what_was_unknown_and_what_computed(self, e5: E5Encoder) -> None:
        report = e5.prepare(["\U0001f600", "summit"], prompt_name="query").report
        assert report.unknown_share.tolist() == [1.0, 0.0]
        assert (report.backend, report.device, report.dtype) == ("torch", "cpu", "float32")


class TestTokenEmbeddings:
    def test_pooled_they_are_the_vector(self, encoder: E5Encoder) -> None:
        tokens = encoder.token_embeddings("The summit.", prompt=encoder.resolve_prompt("document"))
        pooled = tokens.vectors[-1] if encoder.meta.pooling == "last_token" else tokens.vectors.mean(axis=0)
        raw = encoder.encode_document("The summit.", normalize=False)
        np.testing.assert_allclose(pooled, raw, atol=1e-5)

    def test_offsets_lead_back_to_the_text(self, e5: E5Encoder) -> None:
        text = "The summit 😀."
        tokens = e5.token_embeddings(text, prompt="query: ")
        own = ~tokens.special & ~tokens.in_prompt
        assert [text[a:b] for a, b in tokens.offsets[own]][-1] == "."
        assert "".join(text[a:b] for a, b in tokens.offsets[own]) == text.replace(" ", "")
        assert [text for text, inside in zip(tokens.tokens, tokens.in_prompt, strict=True) if inside] == ["query", ":"]
        assert tokens.unknown.sum() == 1


class TestProgress:
    def test_is_told_of_every_text_and_can_stop_the_work(self, e5: E5Encoder) -> None:
        seen: list[tuple[int, int]] = []
        e5.with_options(token_budget=16).encode_query(PASSAGES, on_progress=lambda done, n: seen.append((done, n)))
        assert [total for _, total in seen] == [3] * len(seen)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
        assert seen[-1] == (3, 3)

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            e5.encode_query(PASSAGES, on_progress=stop)


class TestOptions:
    def test_with_options_leaves_the_original_alone(self, e5: E5Encoder) -> None:
        short = e5.with_options(max_tokens=8)
        assert short.prepare(["long " * 20], prompt_name="query").report.truncated
        assert not e5.prepare(["long " * 20], prompt_name="query").report.truncated
        assert short.spec.fingerprint != e5.spec.fingerprint

    @pytest.mark.parametrize(
        "options", [{"truncate_dim": 0}, {"truncate_dim": 49}, {"token_budget": 0}, {"max_tokens": 2}]
    )
    def test_impossible_options(self, e5: E5Encoder, options: dict[str, int]) -> None:
        with pytest.raises(ValueError, match=f"{next(iter(options))}={next(iter(options.values()))}"):
            e5.with_options(**options)

    @pytest.mark.parametrize("value", [2.5, "8", True])
    @pytest.mark.parametrize("option", ["max_tokens", "truncate_dim", "token_budget"])
    def test_options_that_are_no_whole_numbers(self, e5: E5Encoder, option: str, value: object) -> None:
        with pytest.raises(TypeError, match=f"{option}=.* it must be a whole number"):
            e5.with_options(**{option: value})  # type: ignore[arg-type]

    def test_a_prompt_that_leaves_no_room(self, e5: E5Encoder) -> None:
        with pytest.raises(PromptError, match="leaves no room for a text"):
            e5.encode("text", prompt="word " * 600)

    def test_unknown_arguments_are_refused(self, e5: E5Encoder) -> None:
        with pytest.raises(TypeError):
            e5.encode_query("text", batch_size=32)  # type: ignore[call-arg]

    def test_padding_is_told(self, e5: E5Encoder) -> None:
        prepared = e5.prepare(["a", "a b c d e f g h", "a"], prompt_name="query")
        n_tokens = int(prepared.batch.lengths.sum())
        assert e5.with_options(token_budget=1).padding_share(prepared) == 0
        assert e5.padding_share(prepared) == pytest.approx(1 - n_tokens / (2 * int(prepared.batch.lengths.max())))

    def test_count_tokens_wants_a_list(self, e5: E5Encoder) -> None:
        with pytest.raises(TextTypeError, match="Wrap a single text in a list"):
            e5.count_tokens("text")


class TestPickle:
    @pytest.fixture
    def folder(self, checkpoints: Callable[[CheckpointName], Checkpoint], tmp_path: Path) -> Path:
        """A model under a name of the table, whose row does not describe it."""
        return Path(shutil.copytree(checkpoints("e5").folder, tmp_path / "e5-small-v2"))

    def test_what_travels_is_how_to_make_it_again(self, folder: Path) -> None:
        encoder = E5Encoder(folder, prompt_kind="query_passage", max_tokens=20, truncate_dim=16, token_budget=99)
        pickled = pickle.dumps(encoder)
        assert len(pickled) < 10_000, "no weights"
        again = pickle.loads(pickled)
        assert (again.spec, repr(again)) == (encoder.spec, repr(encoder))
        np.testing.assert_array_equal(again.encode_query(PASSAGES), encoder.encode_query(PASSAGES))

    def test_a_process_loads_it_once_and_again_after_it_was_closed(self, folder: Path) -> None:
        pickled = pickle.dumps(E5Encoder(folder, prompt_kind="query_passage"))
        first, second = pickle.loads(pickled), pickle.loads(pickled)
        assert first._backend is second._backend
        first.close()
        assert pickle.loads(pickled).encode_query("summit").shape == (48,)

    def test_other_files_are_another_encoder(self, folder: Path) -> None:
        pickled = pickle.dumps(E5Encoder(folder, prompt_kind="query_passage"))
        (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 513}')
        with pytest.raises(FingerprintMismatchError, match="the model's files, or E5 Studio, are others here"):
            pickle.loads(pickled)

    def test_a_copy_shares_the_weights(self, e5: E5Encoder) -> None:
        twin = copy.deepcopy({"encoder": e5})["encoder"]
        assert twin._backend is e5._backend
        np.testing.assert_array_equal(twin.encode_query("summit"), e5.encode_query("summit"))


class TestInBatches:
    def test_vectors_come_as_they_are_computed_and_are_the_same(self, e5: E5Encoder) -> None:
        prepared = e5.prepare(PASSAGES, prompt_name="document")
        vectors = np.empty((3, e5.spec.embed_dim), np.float32)
        for rows, batch_vectors in e5.with_options(token_budget=1).embed_batches(prepared, np.arange(3)):
            assert len(rows) == 1
            vectors[rows] = batch_vectors
        np.testing.assert_allclose(vectors, e5.encode_document(PASSAGES), atol=2e-6)

    def test_texts_prepared_in_several_calls_are_as_of_one(self, e5: E5Encoder) -> None:
        texts = ["query: one", "two \ud800", "three " * 2_000, "four", "passage: five"]
        whole = e5.prepare(texts, prompt_name="document")
        joined = PreparedTexts.joined([e5.prepare(part, prompt_name="document") for part in (texts[:3], texts[3:])])
        np.testing.assert_array_equal(joined.batch.ids, whole.batch.ids)
        np.testing.assert_array_equal(joined.rows, whole.rows)
        np.testing.assert_array_equal(joined.report.n_tokens, whole.report.n_tokens)
        for name in _FACTS:
            assert getattr(joined.report, name) == getattr(whole.report, name)

    def test_texts_prepared_in_one_call_are_as_of_several(self, e5: E5Encoder) -> None:
        texts = ["query: one", "two \ud800", "three " * 2_000, "four", "two \ud800", "query: one", "\ufffd", "five"]
        parts = (texts[:3], texts[3:4], texts[4:])
        whole = e5.prepare(texts, prompt_name="document", allow_empty=True)
        for texts, part in zip(parts, whole.split([len(texts) for texts in parts]), strict=True):
            alone = e5.prepare(texts, prompt_name="document", allow_empty=True)
            ids = [part.batch.select([row]).ids.tolist() for row in part.rows]
            assert ids == [alone.batch.select([row]).ids.tolist() for row in alone.rows]
            assert len(part.batch) == len(alone.batch)
            for name in ("n_tokens", "unknown_share", "n_dropped_characters"):
                np.testing.assert_array_equal(getattr(part.report, name), getattr(alone.report, name))
            for name in _FACTS:
                assert getattr(part.report, name) == getattr(alone.report, name)
