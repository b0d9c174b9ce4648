"""Equality with the model cards' own recipe, 1e-5 in every component, in every architecture.

`test_mutations` shows that each way of getting the recipe wrong is far outside that bar.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from e5studio.encode_report import Truncation
from e5studio.encoder import E5Encoder
from tests import corpus
from tests.checkpoints import Checkpoint, CheckpointName
from tests.exact_lengths import text_of_tokens
from tests.reference import WEB_SEARCH, Reference, get_detailed_instruct

# Several texts are too long or already prompted on purpose; what is said of that has tests of its own.
pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")

TOLERANCE = 1e-5
TASK = "Retrieve semantically similar text."
BATCH = 8  # the reference runs in file order, so small batches mix lengths and pad


def card_vectors(checkpoint: Checkpoint, reference: Reference, texts: list[str]) -> NDArray[np.float32]:
    embed = reference.embed_last_token if checkpoint.meta.pooling == "last_token" else reference.embed
    return np.concatenate([embed(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])


def card_query(checkpoint: Checkpoint, text: str, task: str = WEB_SEARCH) -> str:
    """A query as the card of this kind of model writes it."""
    return get_detailed_instruct(task, text) if checkpoint.meta.prompt_kind == "instruct" else f"query: {text}"


def card_document(checkpoint: Checkpoint, text: str) -> str:
    return text if checkpoint.meta.prompt_kind == "instruct" else f"passage: {text}"


def assert_same(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> None:
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)


def test_queries(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    texts = list(corpus.ALL_TEXTS)
    expected = card_vectors(checkpoint, reference, [card_query(checkpoint, text) for text in texts])
    assert_same(encoder.encode_query(texts), expected)
    assert_same(encoder.encode(texts, prompt_name="query"), expected)


def test_documents(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    texts = list(corpus.ALL_TEXTS)
    expected = card_vectors(checkpoint, reference, [card_document(checkpoint, text) for text in texts])
    assert_same(encoder.encode_document(texts), expected)
    assert_same(encoder.encode(texts, prompt_name="document"), expected)


def test_documents_with_titles(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    texts = list(corpus.ORDINARY_TEXTS[:3])
    joined = ["Summit " + texts[0], texts[1], texts[2]]
    expected = card_vectors(checkpoint, reference, [card_document(checkpoint, text) for text in joined])
    assert_same(encoder.encode_document(texts, titles=["Summit", None, ""]), expected)


def test_symmetric_use_puts_the_query_prompt_on_every_text(
    checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference
) -> None:
    texts = list(corpus.ORDINARY_TEXTS + corpus.MULTILINGUAL_TEXTS)
    expected = card_vectors(checkpoint, reference, [card_query(checkpoint, text) for text in texts])
    assert_same(encoder.encode(texts, prompt_name="symmetric"), expected)


def test_own_prompt_and_none(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    texts = list(corpus.ORDINARY_TEXTS[:4] + corpus.MULTILINGUAL_TEXTS)
    expected = card_vectors(checkpoint, reference, ["search: " + text for text in texts])
    assert_same(encoder.encode(texts, prompt="search: "), expected)
    texts = list(corpus.ORDINARY_TEXTS[:4] + corpus.AWKWARD_TEXTS)
    assert_same(encoder.encode(texts, prompt=""), card_vectors(checkpoint, reference, texts))


@pytest.mark.parametrize("name", ["multilingual-e5-instruct", "e5-mistral-instruct"])
def test_own_instruction(
    name: CheckpointName,
    checkpoints: Callable[[CheckpointName], Checkpoint],
    encoders: Callable[[CheckpointName], E5Encoder],
    references: Callable[[CheckpointName], Reference],
) -> None:
    made, texts = checkpoints(name), list(corpus.ALL_TEXTS)
    expected = card_vectors(made, references(name), [card_query(made, text, TASK) for text in texts])
    assert_same(encoders(name).encode_query(texts, instruction=TASK), expected)
    assert_same(encoders(name).encode(texts, prompt_name="symmetric", instruction=TASK), expected)


@pytest.mark.parametrize("n_tokens", [510, 511, 512, 513, 514, 515, 2000])
def test_at_512_tokens(n_tokens: int, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    prompt = card_document(checkpoint, "")
    texts = [text_of_tokens(checkpoint, n_tokens, prompt=prompt, seed=0), "short"]
    embed = reference.embed_last_token if checkpoint.meta.pooling == "last_token" else reference.embed
    limited = encoder.with_options(max_tokens=512)
    assert_same(limited.encode_document(texts), embed([prompt + text for text in texts], 512))
    report = limited.prepare(texts, prompt_name="document").report
    assert report.n_tokens.tolist() == [min(n_tokens, 512), len(ids_of(checkpoint, prompt + "short"))]
    cut = Truncation(0, n_read=512, n_dropped=n_tokens - 512, exact=True)
    assert report.truncated == ((cut,) if n_tokens > 512 else ())


@pytest.mark.parametrize("n_tokens", [4096, 4097])
def test_mistral_at_4096_tokens(
    n_tokens: int,
    checkpoints: Callable[[CheckpointName], Checkpoint],
    encoders: Callable[[CheckpointName], E5Encoder],
    references: Callable[[CheckpointName], Reference],
) -> None:
    text = text_of_tokens(checkpoints("e5-mistral-instruct"), n_tokens, prompt="", seed=3)
    expected = references("e5-mistral-instruct").embed_last_token([text], 4096)
    assert_same(encoders("e5-mistral-instruct").encode_document([text]), expected)


def ids_of(checkpoint: Checkpoint, text: str) -> list[int]:
    """All ids that the model should read of a text that is not too long."""
    ids = checkpoint.raw_tokenizer().encode(text).ids
    return [*ids, 2] if checkpoint.meta.pooling == "last_token" else ids


class TestMistralIds:
    """Written out by hand, because transformers 5 loses EOS and cannot be asked.

    <unk>, <s> and </s> are 0, 1 and 2; the byte b is 3 + b; no piece contains a snowman (E2 98 83).
    """

    SNOWMAN = (3 + 0xE2, 3 + 0x98, 3 + 0x83)

    @pytest.fixture
    def space(self, checkpoints: Callable[[CheckpointName], Checkpoint]) -> int:
        """The piece that begins every text."""
        return checkpoints("e5-mistral-instruct").raw_tokenizer().token_to_id("▁")

    @pytest.fixture
    def mistral(self, encoders: Callable[[CheckpointName], E5Encoder]) -> E5Encoder:
        return encoders("e5-mistral-instruct")

    def test_bos_and_eos_stand_around_a_text(self, mistral: E5Encoder, space: int) -> None:
        ids = mistral.prepare(["☃☃"], prompt_name="document").batch.ids
        assert ids.tolist() == [1, space, *self.SNOWMAN, *self.SNOWMAN, 2]

    @pytest.mark.parametrize(("max_tokens", "kept"), [(9, 7), (8, 6), (7, 5), (6, 4), (5, 3), (4, 2), (3, 1)])
    def test_both_survive_a_cut(self, mistral: E5Encoder, space: int, max_tokens: int, kept: int) -> None:
        whole = [space, *self.SNOWMAN, *self.SNOWMAN]
        ids = mistral.with_options(max_tokens=max_tokens).prepare(["☃☃"], prompt_name="document").batch.ids
        assert ids.tolist() == [1, *whole[:kept], 2]

    def test_instruction_and_query_are_one_sequence(self, mistral: E5Encoder, space: int) -> None:
        prepared = mistral.prepare(["☃"], prompt_name="query", instruction="☃")
        tokens = prepared.batch.ids.tolist()
        assert tokens[0] == 1
        assert tokens[-5:] == [space, *self.SNOWMAN, 2]  # exactly one space after "Query:"
        assert tokens.count(1) == tokens.count(2) == 1
        assert tokens.count(3 + ord("\n")) == 1


def test_texts_lie_far_apart(checkpoint: Checkpoint, reference: Reference) -> None:
    """Otherwise equality would prove little: with default random weights every cosine is 0.97."""
    vectors = card_vectors(checkpoint, reference, list(corpus.ORDINARY_TEXTS))
    cosines = (vectors @ vectors.T)[~np.eye(len(vectors), dtype=bool)]
    assert cosines.mean() < 0.5
    assert cosines.max() < 0.7


def test_float16_weights_are_computed_in_float32(
    checkpoints: Callable[[CheckpointName], Checkpoint], encoders: Callable[[CheckpointName], E5Encoder]
) -> None:
    for name in ("multilingual-e5-instruct", "e5-mistral-instruct"):
        assert stored_dtypes(checkpoints(name).folder) == {torch.float16}
        report = encoders(name).prepare(["a"], prompt="").report
        assert (report.dtype, encoders(name).spec.dtype) == ("float32", "float32")


def stored_dtypes(folder: Path) -> set[torch.dtype]:
    from safetensors.torch import load_file

    return {tensor.dtype for path in folder.glob("*.safetensors") for tensor in load_file(path).values()}


@pytest.fixture(scope="module")
def card(offline_folder: Path) -> Reference:
    """The card's script over the offline model."""
    loaded = Reference.load(offline_folder)
    loaded.tokenizer.backend_tokenizer.no_padding()  # it pads to 128 by itself
    return loaded


class TestOfflineModel:
    """The real all-MiniLM-L6-v2: 256 tokens, no prompts, and a tokenizer.json that pads to 128."""

    @staticmethod
    def embed(card: Reference, texts: list[str]) -> NDArray[np.float32]:
        return np.concatenate([card.embed(texts[start : start + BATCH], 256) for start in range(0, len(texts), BATCH)])

    def test_every_kind_of_text(self, offline_encoder: E5Encoder, card: Reference) -> None:
        texts = list(corpus.ALL_TEXTS)
        assert_same(offline_encoder.encode(texts), self.embed(card, texts))

    @pytest.mark.parametrize("n_tokens", [127, 128, 129, 255, 256, 257, 600])
    def test_lengths(self, n_tokens: int, offline_encoder: E5Encoder, card: Reference) -> None:
        text = "summit " * (n_tokens - 3) + "mountain"
        assert_same(offline_encoder.encode([text, "short"]), self.embed(card, [text, "short"]))
        assert offline_encoder.count_tokens([text]).tolist() == [n_tokens - 2]
        assert offline_encoder.prepare([text]).report.n_tokens.tolist() == [min(n_tokens, 256)]

    @pytest.mark.parametrize("card_name", corpus.CARD_MATRICES)
    def test_the_cards_examples(self, card_name: str, offline_encoder: E5Encoder) -> None:
        queries, passages = corpus.CARD_MATRICES[card_name]
        scores = offline_encoder.scores(queries, passages)
        for row, query in enumerate(queries):
            if query.isascii():  # the model knows English only
                assert scores[row].argmax() == row, f"{query!r}: {scores[row]}"
