"""Text -> token ids, exactly as the published tokenizer.json gives them, and what was cut off or not read.

One `tokenizers.Tokenizer` with settings fixed once: a shared tokenizer whose truncation or
padding is set per call gives one thread another thread's length without an error. Truncation
and the special tokens at both ends are done here; padding is done by the backend.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from e5studio import tokenizer_settings
from e5studio.batching import IntArray, TokenBatch
from e5studio.dropped_characters import DroppedCharacters
from e5studio.errors import ModelFilesError
from e5studio.file_digest import sha256_of
from e5studio.lazy_tokenizer import LazyTokenizer
from e5studio.model_json import read_fields
from e5studio.models import Pooling
from e5studio.vocabulary_index import VocabularyIndex

_AnyTokenizer = tokenizers.Tokenizer | LazyTokenizer

_ENCODE_BLOCK = 2_000  # texts tokenised at a time: their Encoding objects are large
_HEAD_CHARS_PER_TOKEN = 8  # beginnings are cut generously: English has about 5 characters a token
_WHOLE_UNLESS = 4  # a text of up to so many beginnings is tokenised whole: then all counts are exact
_WINDOW = 64  # ends tried where no space helps; a Unigram piece has at most 16 characters
_MAX_SPACES = 16
_LARGE_FILE = 4_000_000  # bytes; smaller ones are parsed in 0.2 s
_NO_CHARACTER = "\U0010fffe"  # never assigned, so no vocabulary has it
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class TokenizedTexts:
    """Token ids of texts, and what was cut off or not read.

    Attributes:
        batch: Ids, special tokens included, cut to the model's length.
        n_dropped: Tokens cut off each text, (n,) int32.
        n_dropped_exact: Whether `n_dropped` is exact; if not, at least so many were cut off, (n,) bool.
        n_dropped_characters: Characters without a token in what was read of each text, (n,) int32; see
            `DroppedCharacters`.
        unknown_share: Share of unknown tokens and dropped characters in what was read, (n,) float32; special tokens,
            prompt and white space not counted.
        is_empty: Whether a text left no token but white space, so that its ids are those of the prompt, (n,) bool.
    """

    batch: TokenBatch
    n_dropped: IntArray
    n_dropped_exact: NDArray[np.bool_]
    n_dropped_characters: IntArray
    unknown_share: NDArray[np.float32]
    is_empty: NDArray[np.bool_]


@dataclass(frozen=True)
class TokenOffsets:
    """The tokens of one text as the model reads them.

    Attributes:
        ids: Token ids, special tokens included, (n,) int32.
        tokens: The tokens as text.
        offsets: First and one-past-last character of each token in prompt + text, (n, 2); (0, 0) for special tokens.
        special: Which tokens the tokenizer added, (n,) bool.
        unknown: Which tokens stand for text that is not in the vocabulary, (n,) bool.
    """

    ids: IntArray
    tokens: tuple[str, ...]
    offsets: IntArray
    special: NDArray[np.bool_]
    unknown: NDArray[np.bool_]


class Tokenizer:
    """Turns texts into ids of at most `max_tokens`; safe to share between threads.

    Args:
        tokenizer: With padding and truncation switched off.
        first: Ids that begin every text (BOS, [CLS]).
        last: Ids that end every text, also after truncation (EOS, [SEP]).
    """

    def __init__(self, tokenizer: _AnyTokenizer, *, first: Sequence[int], last: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._first = np.array(first, np.int32)
        self._last = np.array(last, np.int32)
        self._unknown_id = _unknown_id(tokenizer)
        self._is_space = np.zeros(self.n_ids, np.bool_)
        self._is_space[_space_ids(tokenizer)] = True
        self._dropped_characters = DroppedCharacters(self._leave_no_token)
        self._separated_by_spaces = _separated_by_spaces(tokenizer)
        self._ids_of_prompt = functools.lru_cache(maxsize=64)(self._read_prompt)

    @classmethod
    def from_folder(cls, folder: Path, *, pooling: Pooling) -> Tokenizer:
        """Read `tokenizer.json`.

        Raises:
            ModelFilesError: It is missing or damaged, or has no special tokens for the begin and end of a text.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelFilesError(
                f"No tokenizer.json in {folder}. Save the tokenizer there with "
                "AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
            )
        lazy = _lazy_tokenizer(path)
        tokenizer = lazy.template if lazy is not None else _whole_tokenizer(path)
        tokenizer_settings.check(tokenizer, folder)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        first, last = _template_ends(tokenizer)
        if pooling == "last_token" and not (first and last):
            first, last = _last_token_ends(lazy or tokenizer, folder)
        if not last or not first:
            raise ModelFilesError(
                f"{path} puts no special token before or after a text, but E5 models were trained with both. "
                "Save the tokenizer again with its post-processor."
            )
        return cls(lazy or tokenizer, first=first, last=last)

    @property
    def n_ids(self) -> int:
        """Size of the vocabulary, special tokens counted: ids are below it."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def n_special(self) -> int:
        """Special tokens around every text."""
        return len(self._first) + len(self._last)

    @functools.cached_property
    def reads_end_spaces(self) -> bool:
        """Whether white space at the end of a text changes its ids: to SentencePiece it is a token, not to BERT."""
        plain, *others = self._encode_batch(["a", "a ", "a\n"])
        return any(other != plain for other in others)

    def count(self, texts: Sequence[str]) -> IntArray:
        """Tokens of each whole text, special tokens not counted, shape (n,)."""
        counts = np.empty(len(texts), np.int32)
        for start in range(0, len(texts), _ENCODE_BLOCK):
            block = self._encode_batch(texts[start : start + _ENCODE_BLOCK])
            counts[start : start + len(block)] = [len(ids) for ids in block]
        return counts

    def spans(self, text: str) -> IntArray:
        """First and one-past-last character of each token of a whole text, special tokens left out, (n, 2)."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return np.array(offsets, np.int32).reshape(-1, 2)

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """The text of token ids; ids that are none are left out."""
        whole = self._tokenizer.whole() if isinstance(self._tokenizer, LazyTokenizer) else self._tokenizer
        return whole.decode([each for each in ids if 0 <= each < self.n_ids], skip_special_tokens=skip_special)

    def spell(self, ids: Sequence[int]) -> str | None:
        """The text that has these ids; None if no text has them, as ids of another vocabulary."""
        n_first, n_last = len(self._first), len(self._last)
        if len(ids) >= self.n_special and list(ids[:n_first]) == self._first.tolist():
            ids = ids[n_first : len(ids) - n_last] if list(ids[-n_last:]) == self._last.tolist() else ids[n_first:]
        text = self.decode(ids, skip_special=False)
        return text if self._encode_batch([text])[0] == list(ids) else None

    def count_prompt(self, prompt: str) -> int:
        """Tokens of a prompt; a space at its end belongs to the first token of the text behind it."""
        return len(self._ids_of_prompt(prompt.removesuffix(" "))) if prompt else 0

    def encode(self, texts: Sequence[str], *, prompt: str, max_tokens: int) -> TokenizedTexts:
        """Tokenise `prompt + text` for each text.

        Of a text of many times the model's length only a beginning is tokenised that determines its first
        `max_tokens` ids. With the WordPiece of all-MiniLM-L6-v2 this takes 2.5 ms instead of 82 ms for a text of
        100 kB, and 4 ms instead of 910 ms for 1 MB (2 cores of an AMD EPYC).

        Args:
            texts: Well-formed strings.
            prompt: Text in front of each.
            max_tokens: Ids read of a text, prompt and special tokens counted.
        """
        room = max_tokens - self.n_special
        parts: list[IntArray] = []
        lengths, n_dropped, n_dropped_characters = np.zeros((3, len(texts)), np.int32)
        exact = np.ones(len(texts), np.bool_)
        longest_read = self._head_length(room) * _WHOLE_UNLESS
        for start in range(0, len(texts), _ENCODE_BLOCK):
            block = texts[start : start + _ENCODE_BLOCK]
            ids_of_beginnings = self._ids_of_beginnings([prompt + text for text in block], room)
            for row, (ids, is_whole) in enumerate(ids_of_beginnings, start):
                read = np.array(ids[:room], np.int32)
                parts += (self._first, read, self._last)
                lengths[row], n_dropped[row], exact[row] = len(read) + self.n_special, len(ids) - len(read), is_whole
            n_in_block = self._dropped_characters.count([text[:longest_read] for text in block])
            n_dropped_characters[start : start + len(block)] = n_in_block
        batch = TokenBatch(np.concatenate(parts) if parts else np.empty(0, np.int32), lengths)
        is_empty, unknown_share = self._what_was_read(batch, prompt, n_dropped_characters)
        is_empty &= n_dropped == 0  # of a text that was cut there is more than its ids say
        return TokenizedTexts(batch, n_dropped, exact, n_dropped_characters, unknown_share, is_empty)

    def _what_was_read(
        self, batch: TokenBatch, prompt: str, n_dropped_characters: IntArray
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which texts left no token, and what share of each is unknown."""
        if not len(batch):
            return np.empty(0, np.bool_), np.empty(0, np.float32)
        starts = batch.lengths.cumsum(dtype=np.int64) - batch.lengths
        in_prompt = self._without_spaces(self._ids_of_prompt(prompt))
        n_spaces = np.add.reduceat(self._is_space[batch.ids], starts, dtype=np.int32)
        n_own = batch.lengths - self.n_special - n_spaces - len(in_prompt)
        n_unknown = np.add.reduceat(batch.ids == self._unknown_id, starts, dtype=np.int32)
        n_unknown = np.maximum(n_unknown - np.count_nonzero(in_prompt == self._unknown_id), 0) + n_dropped_characters
        share = np.minimum(n_unknown / np.maximum(n_own + n_dropped_characters, 1), 1).astype(np.float32)
        is_empty = n_own <= 0
        for row in is_empty.nonzero()[0]:  # few; a text may also have grown together with its prompt
            first = starts[row] + len(self._first)
            ids = batch.ids[first : first + batch.lengths[row] - self.n_special]
            is_empty[row] = np.array_equal(self._without_spaces(ids), in_prompt)
        return is_empty, share

    def _read_prompt(self, prompt: str) -> IntArray:
        return np.array(self._encode_batch([prompt])[0], np.int32)

    def _without_spaces(self, ids: IntArray) -> IntArray:
        return ids[~self._is_space[ids]]

    def _leave_no_token(self, characters: list[str]) -> list[bool]:
        return [not len(self._without_spaces(np.array(ids, np.int32))) for ids in self._encode_batch(characters)]

    def offsets(self, text: str, *, prompt: str, max_tokens: int) -> TokenOffsets:
        """The tokens of `prompt + text`, truncated as by `encode`, with their offsets."""
        room = max_tokens - self.n_special
        whole = prompt + text
        settled = self._settled_beginning(whole, room)
        encoding = self._tokenizer.encode(whole if settled is None else whole[: settled[1]], add_special_tokens=False)
        ids = np.concatenate([self._first, np.array(encoding.ids[:room], np.int32), self._last])
        n_first, n_last = len(self._first), len(self._last)
        spans = [(0, 0)] * n_first + encoding.offsets[:room] + [(0, 0)] * n_last
        special = np.ones(len(ids), np.bool_)
        special[n_first : len(ids) - n_last] = False
        names = [self._tokenizer.id_to_token(int(token)) or "" for token in ids]
        return TokenOffsets(ids, tuple(names), np.array(spans, np.int32), special, ids == self._unknown_id)

    def _ids_of_beginnings(self, texts: list[str], room: int) -> list[tuple[list[int], bool]]:
        """For each text the ids of the whole text (True) or of a sufficient beginning (False)."""
        limit = self._head_length(room) * _WHOLE_UNLESS
        beginnings = {
            row: settled
            for row, text in enumerate(texts)
            if len(text) > limit and (settled := self._settled_beginning(text, room)) is not None
        }
        rest = iter(self._encode_batch([text for row, text in enumerate(texts) if row not in beginnings]))
        return [(beginnings[row][0], False) if row in beginnings else (next(rest), True) for row in range(len(texts))]

    def _settled_beginning(self, text: str, room: int) -> tuple[list[int], int] | None:
        """Ids of a beginning whose first `room` ids are those of the whole text, and its length.

        None if the whole text is as cheap or must be read.
        """
        length = self._head_length(room)
        while len(text) > _WHOLE_UNLESS * length:
            cut = _last_space(text, length) if self._separated_by_spaces else 0
            if cut:
                [ids] = self._encode_batch([text[:cut]])
                if len(ids) > room:
                    return ids, cut
            elif len(text) > 2 * _WINDOW * length and (ids_at_cut := self._settled_without_space(text, length, room)):
                return ids_at_cut, length
            length *= _WHOLE_UNLESS
        return None

    def _settled_without_space(self, text: str, length: int, room: int) -> list[int] | None:
        if isinstance(self._tokenizer, tokenizers.Tokenizer) and isinstance(
            self._tokenizer.model, tokenizers.models.WordPiece
        ):
            return self._settled_before_last_word(self._tokenizer, text[:length], room)
        # Viterbi's best path to an index depends only on the text before it, and the best path of
        # the whole text has a border within one piece's length of any index. So if all ends in a
        # window agree on the first ids, the whole text has them too.
        [ids, *others] = self._encode_batch([text[: length - back] for back in range(_WINDOW)])
        agreed = len(ids) > room and all(len(other) > room and other[:room] == ids[:room] for other in others)
        return ids if agreed else None

    @staticmethod
    def _settled_before_last_word(tokenizer: tokenizers.Tokenizer, beginning: str, room: int) -> list[int] | None:
        # WordPiece gives one [UNK] for a word of over 100 characters, so a word is only certain at
        # its end; a special token such as [MASK] that was cut may look like several words.
        encoding = tokenizer.encode(beginning, add_special_tokens=False)
        n_settled = encoding.word_ids.index(encoding.word_ids[-1]) if encoding.word_ids else 0
        added = tokenizer.get_added_tokens_decoder().values()
        n_settled -= max((len(token.content) for token in added), default=0)
        return encoding.ids[: n_settled + 1] if n_settled >= room else None

    @staticmethod
    def _head_length(room: int) -> int:
        return max(room, 16) * _HEAD_CHARS_PER_TOKEN

    def _encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _lazy_tokenizer(path: Path) -> LazyTokenizer | None:
    """One that starts at once, where that makes a difference and gives the same ids."""
    if path.stat().st_size < _LARGE_FILE:
        return None
    digest = sha256_of(path)
    index = VocabularyIndex.from_file(path, digest)
    try:
        lazy = LazyTokenizer(index, path, digest) if index is not None else None
    except Exception:  # the library raises bare Exception, and says why when it reads the file itself
        return None
    # Without words each text would be one, and a long one too long for this.
    return lazy if lazy is not None and _splits_at_spaces(lazy.template) else None


def _whole_tokenizer(path: Path) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ModelFilesError(f"{path} is damaged ({error}). Delete the file and fetch it again.") from error


def replace_surrogates(text: str) -> str:
    """The text with each lone surrogate as U+FFFD: tokenizers refuse them, and JSON may contain them."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _template_ends(tokenizer: tokenizers.Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer's own template puts around a text."""
    encoding = tokenizer.encode("a", add_special_tokens=True)
    content = [index for index, is_special in enumerate(encoding.special_tokens_mask) if not is_special]
    if not content:
        return [], []
    return encoding.ids[: content[0]], encoding.ids[content[-1] + 1 :]


def _last_token_ends(tokenizer: _AnyTokenizer, folder: Path) -> tuple[list[int], list[int]]:
    """BOS and EOS as tokenizer_config.json names them, not as in the template.

    e5-mistral's template has no EOS (and transformers 5 adds none), but its card appends one.
    """
    config = read_fields(folder / "tokenizer_config.json")
    ends = [_token_text(config.get("bos_token"), "<s>"), _token_text(config.get("eos_token"), "</s>")]
    first, last = (tokenizer.token_to_id(token) for token in ends)
    if first is None or last is None:
        raise ModelFilesError(
            f"The tokenizer in {folder} lacks {ends[0]!r} or {ends[1]!r}, which begin and end a text."
        )
    return [first], [last]


def _token_text(entry: object, default: str) -> str:
    if isinstance(entry, dict):
        entry = entry.get("content")
    return entry if isinstance(entry, str) else default


def _unknown_id(tokenizer: _AnyTokenizer) -> int:
    """Id of the unknown token, or -1 if there is none."""
    if isinstance(tokenizer, LazyTokenizer):
        return tokenizer.unknown_id
    if isinstance(tokenizer.model, tokenizers.models.Unigram):  # which tells it by what it does alone
        return next((token.id for token in tokenizer.model.tokenize(_NO_CHARACTER)), -1)
    token = getattr(tokenizer.model, "unk_token", None)
    unknown_id = tokenizer.token_to_id(token) if token else None
    return -1 if unknown_id is None else int(unknown_id)


def _space_ids(tokenizer: _AnyTokenizer) -> IntArray:
    """Ids of the tokens that stand for white space alone; the marks of SentencePiece and of byte-level BPE."""
    names = [mark * size for mark in (" ", "▁", "Ġ") for size in range(1, _MAX_SPACES + 1)]
    return np.array([token_id for name in names if (token_id := tokenizer.token_to_id(name)) is not None], np.int32)


def _separated_by_spaces(tokenizer: _AnyTokenizer) -> bool:
    """Whether a space between two letters always separates tokens, so that a text may be cut there."""
    if any(" " in token.content.strip() for token in tokenizer.get_added_tokens_decoder().values()):
        return False
    if isinstance(tokenizer, LazyTokenizer) or _splits_at_spaces(tokenizer):
        return True
    # Without a pre-tokenizer (Mistral) merges see the whole text; but then no piece of the
    # vocabulary may contain a space after another character.
    return not any(re.search("[^▁ ][▁ ]", token) for token in tokenizer.get_vocab(with_added_tokens=False))


def _splits_at_spaces(tokenizer: tokenizers.Tokenizer) -> bool:
    pre_tokenizer = tokenizer.pre_tokenizer
    return pre_tokenizer is not None and len(pre_tokenizer.pre_tokenize_str("a b")) > 1


def _last_space(text: str, end: int) -> int:
    """Index of the last space between two letters or digits before `end`, or 0."""
    index = text.rfind(" ", 0, end)
    while index > end // 2:
        if text[index - 1].isalnum() and text[index + 1].isalnum():
            return index
        index = text.rfind(" ", 0, index)
    return 0
