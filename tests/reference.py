"""The model cards' own script: what every vector of ours is compared with.

Kept as the cards have it and apart from `e5studio`, of which nothing is imported here. One change:
the cards' AutoTokenizer read tokenizer.json as published up to transformers 4; transformers 5
builds XLM-R's anew, with other tokens, and PreTrainedTokenizerFast reads the file still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModel, PreTrainedTokenizerFast

WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"


def average_pool(last_hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    last_hidden = last_hidden_states.masked_fill(~attention_mask[..., None].bool(), 0.0)
    return last_hidden.sum(dim=1) / attention_mask.sum(dim=1)[..., None]


def last_token_pool(last_hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    left_padding = attention_mask[:, -1].sum() == attention_mask.shape[0]
    if left_padding:
        return last_hidden_states[:, -1]
    sequence_lengths = attention_mask.sum(dim=1) - 1
    batch_size = last_hidden_states.shape[0]
    return last_hidden_states[torch.arange(batch_size, device=last_hidden_states.device), sequence_lengths]


def get_detailed_instruct(task_description: str, query: str) -> str:
    return f"Instruct: {task_description}\nQuery: {query}"


@dataclass(frozen=True)
class Reference:
    """A checkpoint loaded as its card loads it, in float32."""

    tokenizer: Any
    model: Any

    @classmethod
    def load(cls, folder: Path) -> Reference:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        # The cards name no dtype, and meant float32 when they were written; today's default is the stored one.
        model = AutoModel.from_pretrained(folder, dtype=torch.float32)
        return cls(tokenizer, model.eval())

    def batch(self, input_texts: Sequence[str], max_length: int = 512) -> dict[str, Tensor]:
        """The inputs of the encoder models."""
        return dict(
            self.tokenizer(list(input_texts), max_length=max_length, padding=True, truncation=True, return_tensors="pt")
        )

    def batch_with_eos(self, input_texts: Sequence[str], max_length: int = 4096) -> dict[str, Tensor]:
        """The inputs of e5-mistral, with the EOS that its card's first version appended by hand.

        transformers 5 leaves it out whatever tokenizer_config.json says, so the ids come from
        tokenizer.json itself: BOS, the text cut to make room for both, EOS; padded on the right.
        """
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rows = [[bos, *ids[: max_length - 2], eos] for ids in self._plain_ids(input_texts)]
        longest = max(map(len, rows))
        return {
            "input_ids": torch.tensor([row + [eos] * (longest - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        }

    def _plain_ids(self, input_texts: Sequence[str]) -> list[list[int]]:
        from tokenizers import Tokenizer

        raw = Tokenizer.from_file(f"{self.tokenizer.name_or_path}/tokenizer.json")
        return [raw.encode(text, add_special_tokens=False).ids for text in input_texts]

    @torch.no_grad()
    def hidden_states(self, batch_dict: dict[str, Tensor]) -> Tensor:
        return self.model(**batch_dict).last_hidden_state

    def embed(self, input_texts: Sequence[str], max_length: int = 512) -> NDArray[np.float32]:
        """The encoder models' vectors."""
        batch_dict = self.batch(input_texts, max_length)
        embeddings = average_pool(self.hidden_states(batch_dict), batch_dict["attention_mask"])
        return F.normalize(embeddings, p=2, dim=1).numpy()

    def embed_last_token(self, input_texts: Sequence[str], max_length: int = 4096) -> NDArray[np.float32]:
        """e5-mistral's vectors."""
        batch_dict = self.batch_with_eos(input_texts, max_length)
        embeddings = last_token_pool(self.hidden_states(batch_dict), batch_dict["attention_mask"])
        return F.normalize(embeddings, p=2, dim=1).numpy()
