"""A Unigram tokenizer that knows the pieces of the texts at hand, until so much text came that all of them pay.

Exact: of a text's words, the best path through a vocabulary depends on the pieces that occur in them alone. So
`tokenizers` does all of the work, with a small vocabulary in place of the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers

from e5studio.batching import IntArray
from e5studio.errors import ModelFilesError
from e5studio.vocabulary_index import VocabularyIndex

# Characters, after which the selections have taken as long as to read the whole vocabulary takes; and those that a call
# counts for, which takes 2 ms whatever its texts.
_FEW = 1_000_000
_CALL = 2_000


@dataclass(frozen=True)
class Encoded:
    """One text.

    Attributes:
        ids: Of its tokens.
        offsets: First and one-past-last character of each.
    """

    ids: list[int]
    offsets: list[tuple[int, int]]


class LazyTokenizer:
    """What `e5studio.tokenization` uses of a `tokenizers.Tokenizer`; safe to share between threads.

    Args:
        index: The vocabulary.
        path: The tokenizer.json that it was made of.
        digest: SHA-256 of that file: if it is replaced meanwhile, the selections go on.
    """

    def __init__(self, index: VocabularyIndex, path: Path, digest: str) -> None:
        self._index, self._path, self._digest = index, path, digest
        self._whole: tokenizers.Tokenizer | None = None
        self._is_whole_tried = False
        self._n_characters = 0
        self.template = tokenizers.Tokenizer.from_str(index.rest.tobytes().decode())
        """The tokenizer with its settings and hardly a piece."""
        self.unknown_id = int(index.unknown_id)

    def encode_batch_fast(self, texts: Sequence[str], *, add_special_tokens: Literal[False]) -> Sequence[Any]:
        """The ids of each text."""
        texts = list(texts)
        whole = self._whole_for(texts)
        if whole is not None:
            return whole.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        small, ids = self._with_pieces_of(texts)
        encodings = small.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        return [Encoded(ids[each.ids].tolist(), []) for each in encodings]

    def encode(self, text: str, *, add_special_tokens: Literal[False]) -> Any:
        """The ids of a text, and their offsets."""
        whole = self._whole_for([text])
        if whole is not None:
            return whole.encode(text, add_special_tokens=add_special_tokens)
        small, ids = self._with_pieces_of([text])
        encoding = small.encode(text, add_special_tokens=add_special_tokens)
        return Encoded(ids[encoding.ids].tolist(), encoding.offsets)

    def token_to_id(self, token: str) -> int | None:
        """The id of a token."""
        piece_id = self._index.id_of(token)
        return self._added_ids().get(token) if piece_id is None else piece_id

    def id_to_token(self, token_id: int) -> str | None:
        """The text of a token."""
        if token_id < len(self._index):
            return self._index.pieces(np.array([token_id], np.int32))[0][0]
        return next((token for token, each in self._added_ids().items() if each == token_id), None)

    def get_vocab_size(self, *, with_added_tokens: Literal[True]) -> int:
        """The number of ids."""
        return len(self._index) + int(self._index.n_added)

    def get_added_tokens_decoder(self) -> dict[int, tokenizers.AddedToken]:
        """The added tokens by ids that mean nothing."""
        return self.template.get_added_tokens_decoder()

    def whole(self) -> tokenizers.Tokenizer:
        """The tokenizer that reads the whole vocabulary.

        Raises:
            ModelFilesError: Its file was removed or replaced.
        """
        if self._whole is None:
            self._whole = self._read_whole()
        if self._whole is None:
            raise ModelFilesError(f"{self._path} was removed or changed since it was read. Load the model again.")
        return self._whole

    def _added_ids(self) -> dict[str, int]:
        """Ids of the added tokens that are no pieces."""
        n_needed, n_pieces = len(self._index.needed), len(self._index)
        added = self.get_added_tokens_decoder().items()
        return {token.content: n_pieces + each - n_needed for each, token in added if each >= n_needed}

    def _whole_for(self, texts: list[str]) -> tokenizers.Tokenizer | None:
        self._n_characters += sum(map(len, texts)) + _CALL
        if self._n_characters > _FEW and not self._is_whole_tried:
            self._is_whole_tried = True  # other threads go on with selections meanwhile
            self._whole = self._read_whole()
        return self._whole

    def _read_whole(self) -> tokenizers.Tokenizer | None:
        try:
            content = self._path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content).hexdigest() != self._digest:
            return None
        whole = tokenizers.Tokenizer.from_buffer(content)
        whole.no_truncation()
        whole.no_padding()
        return whole

    def _with_pieces_of(self, texts: list[str]) -> tuple[tokenizers.Tokenizer, IntArray]:
        """A tokenizer for these texts, and the id for each of its ids."""
        ids = self._index.select(self._words(texts))
        unknown = int(np.searchsorted(ids, self.unknown_id))
        small = tokenizers.Tokenizer(tokenizers.models.Unigram(self._index.pieces(ids), unknown, False))
        small.normalizer, small.pre_tokenizer = self.template.normalizer, self.template.pre_tokenizer
        for _, token in sorted(self.get_added_tokens_decoder().items()):
            add = small.add_special_tokens if token.special else small.add_tokens
            add([token])
        return small, np.append(ids, np.arange(len(self._index), self.get_vocab_size(with_added_tokens=True)))

    def _words(self, texts: list[str]) -> set[str]:
        """What the model sees of the texts: normalised, split, and unknown to the template as a whole."""
        words: set[str] = set()
        for encoding in self.template.encode_batch(texts, add_special_tokens=False):
            # A piece of the template may cut a word, so its parts are joined. One that spans two words does no harm.
            tokens = encoding.tokens
            words.update(tokens if len({*encoding.ids}) < 2 else ["".join(tokens)])
        return words
