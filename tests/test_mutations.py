"""Proof that the equality tests bite: each mistake in the recipe moves a vector by more than 1e-3.

The model card's script is made wrong in one place at a time and compared with the encoder.
A hundred times the bar of `test_model_card` must lie between them, so that no encoder with
that mistake could pass there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from e5studio.encoder import E5Encoder
from tests import corpus
from tests.checkpoint_names import CHECKPOINT_NAMES, CheckpointName
from tests.checkpoints import Checkpoint
from tests.exact_lengths import text_of_tokens
from tests.reference import Reference, average_pool, get_detailed_instruct, last_token_pool

# What the encoder says of long texts and default instructions has tests of its own.
pytestmark = pytest.mark.filterwarnings("ignore::e5studio.errors.E5StudioWarning")

BITES = 1e-3
TOLERANCE = 1e-5
MEAN_POOLED: list[CheckpointName] = [name for name in CHECKPOINT_NAMES if name != "e5-mistral-instruct"]
XLM_R: list[CheckpointName] = ["multilingual-e5", "multilingual-e5-instruct"]
PREFIXED: list[CheckpointName] = ["e5", "multilingual-e5", "multilingual-e5-small"]
INSTRUCT: list[CheckpointName] = ["multilingual-e5-instruct", "e5-mistral-instruct"]
TEXTS = [*corpus.ORDINARY_TEXTS[:3], corpus.SUMMIT_PASSAGE, *corpus.MULTILINGUAL_TEXTS]
TASK = "Retrieve parallel sentences."

Vectors = NDArray[np.float32]
Batch = dict[str, Tensor]


def only(names: list[CheckpointName]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("checkpoint", names, indirect=True)


@pytest.fixture(scope="module")
def ours(encoder: E5Encoder) -> Vectors:
    """The encoder's vectors of `TEXTS` as they are; prompts have tests of their own."""
    return encoder.encode(TEXTS, prompt="")


@pytest.fixture(scope="module")
def batch(checkpoint: Checkpoint, reference: Reference) -> Batch:
    """The right inputs, in one padded batch."""
    return right_batch(checkpoint, reference, TEXTS)


@pytest.fixture(scope="module")
def hidden(reference: Reference, batch: Batch) -> Tensor:
    """The right token vectors."""
    return reference.hidden_states(batch)


def right_batch(checkpoint: Checkpoint, reference: Reference, texts: list[str], max_length: int = 0) -> Batch:
    make = reference.batch_with_eos if checkpoint.meta.pooling == "last_token" else reference.batch
    return make(texts, max_length or checkpoint.meta.max_tokens)


def right_pool(checkpoint: Checkpoint) -> Callable[[Tensor, Tensor], Tensor]:
    return last_token_pool if checkpoint.meta.pooling == "last_token" else average_pool


def unit(vectors: Tensor) -> Vectors:
    return F.normalize(vectors.float(), p=2, dim=1).numpy()


def card(checkpoint: Checkpoint, reference: Reference, texts: list[str]) -> Vectors:
    batch = right_batch(checkpoint, reference, texts)
    return unit(right_pool(checkpoint)(reference.hidden_states(batch), batch["attention_mask"]))


def moved(ours: Vectors, theirs: Vectors) -> float:
    """How far the farthest component of any vector lies away."""
    return float(np.abs(ours - theirs).max())


def test_without_a_mistake_they_agree(checkpoint: Checkpoint, reference: Reference, ours: Vectors) -> None:
    assert moved(ours, card(checkpoint, reference, TEXTS)) < TOLERANCE


@only(PREFIXED)
@pytest.mark.parametrize("wrong", ["", "passage: ", "query: query: ", "query "])
def test_wrong_prompt(wrong: str, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    theirs = card(checkpoint, reference, [wrong + text for text in TEXTS])
    assert moved(encoder.encode_query(TEXTS), theirs) > BITES


@only(["multilingual-e5", "multilingual-e5-small"])
@pytest.mark.parametrize("wrong", ["query:", "query : ", "Query: "])
def test_almost_the_prompt(wrong: str, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    """XLM-R's tokenizer minds spaces and case; to BERT's these are the same prompt."""
    theirs = card(checkpoint, reference, [wrong + text for text in TEXTS])
    assert moved(encoder.encode_query(TEXTS), theirs) > BITES


@only(PREFIXED)
@pytest.mark.parametrize("wrong", ["", "query: "])
def test_wrong_prompt_on_documents(
    wrong: str, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference
) -> None:
    theirs = card(checkpoint, reference, [wrong + text for text in TEXTS])
    assert moved(encoder.encode_document(TEXTS), theirs) > BITES


@only(INSTRUCT)
@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "query: ",
        get_detailed_instruct("Retrieve semantically similar text.", ""),
        f"Instruct: {TASK}\nQuery:",
        f"Instruct: {TASK}Query: ",
        get_detailed_instruct(TASK, "") * 2,
    ],
)
def test_wrong_instruction(wrong: str, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    theirs = card(checkpoint, reference, [wrong + text for text in TEXTS])
    assert moved(encoder.encode_query(TEXTS, instruction=TASK), theirs) > BITES


@only(INSTRUCT)
def test_instruction_on_documents(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    theirs = card(checkpoint, reference, [get_detailed_instruct(TASK, text) for text in TEXTS])
    assert moved(encoder.encode_document(TEXTS), theirs) > BITES


@pytest.mark.parametrize("lost", ["first", "last"])
def test_special_token_lost(lost: str, checkpoint: Checkpoint, reference: Reference, encoder: E5Encoder) -> None:
    """No BOS and no EOS; the latter is what transformers 5 does to e5-mistral."""
    theirs = []
    for text in TEXTS:
        inputs = right_batch(checkpoint, reference, [text])
        cut = {name: tensor[:, 1:] if lost == "first" else tensor[:, :-1] for name, tensor in inputs.items()}
        theirs.append(unit(right_pool(checkpoint)(reference.hidden_states(cut), cut["attention_mask"])))
    assert moved(encoder.encode(TEXTS, prompt=""), np.concatenate(theirs)) > BITES


@only(["e5-mistral-instruct"])
def test_eos_as_transformers_5_leaves_it_out(reference: Reference, ours: Vectors) -> None:
    rows = [reference.batch([text]) for text in TEXTS]
    assert any(row["input_ids"][0, -1] != 2 for row in rows), "transformers adds EOS again: this test may go"
    theirs = [last_token_pool(reference.hidden_states(row), row["attention_mask"]) for row in rows]
    assert moved(ours, unit(torch.cat(theirs))) > BITES


@only(["e5-mistral-instruct"])
def test_eos_appended_before_the_cut(checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference) -> None:
    text = text_of_tokens(checkpoint, 600, prompt="", seed=1)
    inputs = {name: tensor[:, :512] for name, tensor in reference.batch_with_eos([text]).items()}
    theirs = unit(last_token_pool(reference.hidden_states(inputs), inputs["attention_mask"]))
    assert moved(encoder.with_options(max_tokens=512).encode([text], prompt=""), theirs) > BITES


@only(MEAN_POOLED)
def test_cls_pooling(hidden: Tensor, ours: Vectors) -> None:
    assert moved(ours, unit(hidden[:, 0])) > BITES


@only(["e5-mistral-instruct"])
def test_mean_pooling_of_a_last_token_model(hidden: Tensor, batch: Batch, ours: Vectors) -> None:
    assert moved(ours, unit(average_pool(hidden, batch["attention_mask"]))) > BITES


def test_mask_ignored_in_pooling(checkpoint: Checkpoint, hidden: Tensor, batch: Batch, ours: Vectors) -> None:
    everything = torch.ones_like(batch["attention_mask"])
    assert moved(ours, unit(right_pool(checkpoint)(hidden, everything))) > BITES


@only(MEAN_POOLED)
def test_mask_ignored_in_attention(reference: Reference, batch: Batch, ours: Vectors) -> None:
    unmasked = {**batch, "attention_mask": torch.ones_like(batch["attention_mask"])}
    assert moved(ours, unit(average_pool(reference.hidden_states(unmasked), batch["attention_mask"]))) > BITES


def test_mean_without_special_tokens(checkpoint: Checkpoint, hidden: Tensor, batch: Batch, ours: Vectors) -> None:
    """A mean over the text's own tokens; on e5-mistral, the last of them in place of EOS."""
    mask = batch["attention_mask"].clone()
    rows = torch.arange(len(mask))
    mask[rows, mask.sum(dim=1) - 1] = 0
    mask[:, 0] = 0 if checkpoint.meta.pooling == "mean" else 1
    assert moved(ours, unit(right_pool(checkpoint)(hidden, mask))) > BITES


@only(XLM_R)
def test_xlm_r_positions_off_by_one(reference: Reference, batch: Batch, ours: Vectors) -> None:
    ids = batch["input_ids"]
    positions = torch.cumsum(ids != 1, dim=1) * (ids != 1) + 1
    right = {**batch, "position_ids": positions}
    assert moved(ours, unit(average_pool(reference.hidden_states(right), batch["attention_mask"]))) < TOLERANCE
    for wrong in (positions - 1, torch.arange(ids.shape[1]).expand_as(ids)):
        shifted = {**batch, "position_ids": wrong}
        assert moved(ours, unit(average_pool(reference.hidden_states(shifted), batch["attention_mask"]))) > BITES


@only(["e5", "multilingual-e5-small"])
def test_token_type_of_a_second_segment(reference: Reference, batch: Batch, ours: Vectors) -> None:
    wrong = {**batch, "token_type_ids": torch.ones_like(batch["input_ids"])}
    assert moved(ours, unit(average_pool(reference.hidden_states(wrong), batch["attention_mask"]))) > BITES


@pytest.mark.parametrize("max_length", [511, 513])
def test_one_token_too_few_or_too_many(
    max_length: int, checkpoint: Checkpoint, encoder: E5Encoder, reference: Reference
) -> None:
    texts = [text_of_tokens(checkpoint, 600, prompt="", seed=seed) for seed in range(2)]
    longer = Reference(reference.tokenizer, with_more_positions(reference.model))
    inputs = right_batch(checkpoint, longer, texts, max_length)
    assert inputs["input_ids"].shape == (2, max_length)
    theirs = unit(right_pool(checkpoint)(longer.hidden_states(inputs), inputs["attention_mask"]))
    assert moved(encoder.with_options(max_tokens=512).encode(texts, prompt=""), theirs) > BITES


def with_more_positions(model: torch.nn.Module) -> torch.nn.Module:
    """The model with room for a 513th token, which BERT and XLM-R have no position for."""
    if not hasattr(model, "embeddings"):
        return model
    longer = copy.deepcopy(model)
    table = longer.embeddings.position_embeddings
    rows = torch.cat([table.weight.data, table.weight.data[:2].flip(0)])
    longer.embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(rows, padding_idx=table.padding_idx)
    for name in ("position_ids", "token_type_ids"):
        buffer = getattr(longer.embeddings, name)
        fill = torch.arange(buffer.shape[1], buffer.shape[1] + 2) if name == "position_ids" else torch.zeros(2)
        setattr(longer.embeddings, name, torch.cat([buffer, fill[None].to(buffer.dtype)], dim=1))
    return longer.eval()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(
    dtype: torch.dtype, checkpoint: Checkpoint, reference: Reference, batch: Batch, ours: Vectors
) -> None:
    narrow = Reference(reference.tokenizer, copy.deepcopy(reference.model).to(dtype))
    rounded = narrow.hidden_states(batch).float()
    assert moved(ours, unit(right_pool(checkpoint)(rounded, batch["attention_mask"]))) > BITES


def test_no_normalisation(checkpoint: Checkpoint, hidden: Tensor, batch: Batch, ours: Vectors) -> None:
    raw = right_pool(checkpoint)(hidden, batch["attention_mask"]).numpy()
    assert moved(ours, raw) > BITES


def test_normalize_false_is_the_same_without_the_last_step(
    checkpoint: Checkpoint, encoder: E5Encoder, hidden: Tensor, batch: Batch
) -> None:
    raw = right_pool(checkpoint)(hidden, batch["attention_mask"]).numpy()
    np.testing.assert_allclose(encoder.encode(TEXTS, prompt="", normalize=False), raw, rtol=1e-5, atol=TOLERANCE)
