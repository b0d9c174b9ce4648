"""Turns the draws of a step into token ids: prompts by role, the tokens of the published tokenizer, each text once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from e5studio.batching import TokenBatch
from e5studio.tokenization import Tokenizer
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.loss import Targets
from e5studio.training.roles import RolePrompts
from e5studio.training.steps import Draw


@dataclass
class StepCollator:
    """The `data_collator` of the trainer.

    Attributes:
        training_set: Texts and known answers.
        draws: Of all steps, by their index in the trainer's data set.
        tokenizer: Of the model, as E5Encoder reads it.
        prompts: By role.
        max_tokens: Tokens read of a text in training, prompt and special tokens counted.
        pad_id: The id that pads shorter rows.
        n_tokens: Tokens of all steps so far, for the measured speed.
    """

    training_set: TrainingSet
    draws: Sequence[Draw]
    tokenizer: Tokenizer
    prompts: RolePrompts
    max_tokens: int
    pad_id: int
    n_tokens: int = 0
    valid_label_columns: list[str] = field(default_factory=list)

    def __call__(self, rows: Sequence[dict[str, int]]) -> dict[str, Any]:
        """The inputs of one step, under the names that the trainer's loss gets them by."""
        draws = [self.draws[row["draw"]] for row in rows]
        examples = [self.training_set.examples[draw.example] for draw in draws]
        documents = list(dict.fromkeys(index for draw in draws for index in (draw.positive, *draw.negatives)))
        queries = [(self.prompts.query(each.instruction).text, each.query) for each in examples]
        texts = [(self.prompts.document.text, self.training_set.documents[index]) for index in documents]
        return {
            **self._features("query", queries),
            **self._features("document", texts),
            "label": _targets(draws, examples, documents, [self.training_set.known_answers(each) for each in examples]),
        }

    def _features(self, name: str, texts: Sequence[tuple[str, str]]) -> dict[str, torch.Tensor]:
        batch = self._tokenized(texts)
        self.n_tokens += int(batch.lengths.sum())
        ids, mask = batch.padded(self.pad_id)
        return {f"{name}_input_ids": torch.from_numpy(ids), f"{name}_attention_mask": torch.from_numpy(mask)}

    def _tokenized(self, texts: Sequence[tuple[str, str]]) -> TokenBatch:
        """Token ids in the order of the texts, each under its own prompt."""
        by_prompt: dict[str, list[int]] = {}
        for row, (prompt, _) in enumerate(texts):
            by_prompt.setdefault(prompt, []).append(row)
        order, batches = [], []
        for prompt, rows in by_prompt.items():
            order += rows
            chosen = [texts[row][1] for row in rows]
            batches.append(self.tokenizer.encode(chosen, prompt=prompt, max_tokens=self.max_tokens).batch)
        return _joined(batches).select(sorted(range(len(order)), key=order.__getitem__))


def _joined(batches: Sequence[TokenBatch]) -> TokenBatch:
    return TokenBatch(
        np.concatenate([batch.ids for batch in batches]), np.concatenate([batch.lengths for batch in batches])
    )


def _targets(
    draws: Sequence[Draw],
    examples: Sequence[Example],
    documents: Sequence[int],
    known_answers: Sequence[Sequence[int]],
) -> Targets:
    """Which rows answer which queries; other known answers of a query are no negatives of it."""
    row_of = {index: row for row, index in enumerate(documents)}
    excluded = torch.zeros(len(draws), len(documents), dtype=torch.bool)
    for row, (draw, known) in enumerate(zip(draws, known_answers, strict=True)):
        answers = [row_of[index] for index in known if index in row_of and index != draw.positive]
        excluded[row, answers] = True
    longest = max(len(example.teacher_scores) for example in examples)
    candidates = torch.full((len(draws), longest), -1)
    scores = torch.zeros(len(draws), longest)
    for row, (draw, example) in enumerate(zip(draws, examples, strict=True)):
        if example.teacher_scores:
            rows = [row_of[index] for index in (draw.positive, *draw.negatives)]
            candidates[row, : len(rows)] = torch.tensor(rows)
            scores[row, : len(rows)] = torch.tensor(example.teacher_scores)
    return Targets(torch.tensor([row_of[draw.positive] for draw in draws]), excluded, candidates, scores)
