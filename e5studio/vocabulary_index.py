"""A Unigram vocabulary as arrays: which of its pieces can occur in given words, without a trie of all of them.

`tokenizers` builds that trie from tokenizer.json at each start. For the 250,002 pieces of the multilingual models it
takes a second and 280 MB, and a query needs a few hundred of them. The arrays are made once and kept among the files
that can be made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from e5studio.cache_folder import cache_folder

IdArray = NDArray[np.int32]
Hashes = NDArray[np.uint64]

_FORMAT = 1  # increase when other arrays are made of the same file
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost
_BORDER = "\n"  # between words; a piece that holds one is looked for in vain, so such a vocabulary is refused


@dataclass(frozen=True)
class VocabularyIndex:
    """The arrays.

    Attributes:
        rest: tokenizer.json with the pieces in `needed` alone, as UTF-8.
        needed: Ids that every selection has: the unknown piece, added tokens, and the least likely piece, by whose
            score unknown characters are judged.
        n_added: Added tokens that are no pieces; their ids follow those of the pieces.
        unknown_id: Of the unknown piece.
        scores: (n,) log probability of each piece, at its id.
        text: All pieces, one after the other, as UTF-8.
        ends: (n,) where each piece ends in `text`.
        lengths: (n_lengths,) lengths of pieces in characters, ascending.
        borders: (n_lengths + 1,) where the hashes of each length begin and end.
        hashes: (n,) of the pieces, sorted within each length.
        ids: (n,) the piece of each hash.
    """

    rest: NDArray[np.uint8]
    needed: IdArray
    n_added: NDArray[np.int32]
    unknown_id: NDArray[np.int32]
    scores: NDArray[np.float64]
    text: NDArray[np.uint8]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]
    borders: NDArray[np.int64]
    hashes: Hashes
    ids: IdArray

    @classmethod
    def from_file(cls, path: Path, digest: str) -> VocabularyIndex | None:
        """The index of a tokenizer.json, from disk or made now.

        Args:
            path: The file.
            digest: Its SHA-256.

        Returns:
            None for a file that is damaged or no plain Unigram model: `tokenizers` knows what to do with it.
        """
        stored = cache_folder() / "vocabularies" / f"{digest[:32]}-{_FORMAT}.bin"
        index = _read(stored)
        if index is None:
            index = _made_from(path.read_bytes())
            if index is not None:
                _write(index, stored)
        return index

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, words: Collection[str]) -> IdArray:
        """Ids of all pieces that occur in the words, of those that are always needed, and perhaps of a few more."""
        letters = np.frombuffer(_BORDER.join([*words, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
        room = _letters_to_border(letters)
        hashes = np.zeros(len(letters), np.uint64)
        starts, n_hashed, selections = np.arange(len(letters)), 0, [self.needed]
        for group, length in enumerate(self.lengths.tolist()):
            starts = starts[room[starts] >= length]
            for column in range(n_hashed, length):
                hashes[starts] = _extended(hashes[starts], letters[starts + column])
            n_hashed = length
            selections.append(self._with_hashes(np.unique(hashes[starts]), group))
        return np.unique(np.concatenate(selections))

    def pieces(self, ids: IdArray) -> list[tuple[str, float]]:
        """The pieces and their scores."""
        content = self._content
        ends = self.ends[ids].tolist()
        starts = np.where(ids > 0, self.ends[ids - 1], 0).tolist()
        texts = [content[start:end].decode() for start, end in zip(starts, ends, strict=True)]
        return list(zip(texts, self.scores[ids].tolist(), strict=True))

    def id_of(self, piece: str) -> int | None:
        """The id of a piece."""
        groups = np.flatnonzero(self.lengths == len(piece)).tolist()
        if not groups:
            return None
        ids = self._with_hashes(_hashes_of([piece]), groups[0])
        return int(ids[0]) if [text for text, _ in self.pieces(ids)] == [piece] else None

    @cached_property
    def _content(self) -> bytes:
        return self.text.tobytes()

    def _with_hashes(self, hashes: Hashes, group: int) -> IdArray:
        known = slice(*self.borders[group : group + 2])
        positions = np.searchsorted(self.hashes[known], hashes)
        positions[positions == known.stop - known.start] = 0
        ids: IdArray = self.ids[known][positions[self.hashes[known][positions] == hashes]]
        return ids


def _made_from(content: bytes) -> VocabularyIndex | None:
    try:
        parts = json.loads(content)
        model = parts["model"]
        pieces, scores = [piece for piece, _ in model["vocab"]], [float(score) for _, score in model["vocab"]]
        is_plain = model.get("type") == "Unigram" and not model.get("byte_fallback") and len({*pieces}) == len(pieces)
        if not is_plain or not np.isfinite(scores).all() or any(_BORDER in piece or not piece for piece in pieces):
            return None
        ids = {piece: index for index, piece in enumerate(pieces)}
        added = dict.fromkeys(token["content"] for token in parts["added_tokens"])
        needed = sorted({model["unk_id"], int(np.argmin(scores)), *(ids[each] for each in added if each in ids)})
        new_ids = {pieces[index]: row for row, index in enumerate(needed)}
        new_ids |= {each: row for row, each in enumerate((each for each in added if each not in ids), len(needed))}
        for token in parts["added_tokens"]:
            token["id"] = new_ids[token["content"]]
        model |= {"vocab": [model["vocab"][index] for index in needed], "unk_id": needed.index(model["unk_id"])}
        encoded = [piece.encode() for piece in pieces]
        rest = json.dumps(parts, ensure_ascii=False).encode()
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    lengths, borders, hashes, ids_of_hashes = _hashed(pieces)
    return VocabularyIndex(
        rest=np.frombuffer(rest, np.uint8),
        needed=np.array(needed, np.int32),
        n_added=np.array(len(new_ids) - len(needed), np.int32),
        unknown_id=np.array(needed[model["unk_id"]], np.int32),
        scores=np.array(scores),
        text=np.frombuffer(b"".join(encoded), np.uint8),
        ends=np.cumsum([len(piece) for piece in encoded], dtype=np.int64),
        lengths=lengths,
        borders=borders,
        hashes=hashes,
        ids=ids_of_hashes,
    )


def _hashed(pieces: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], Hashes, IdArray]:
    """Lengths, borders, hashes and ids."""
    sizes = np.array([len(piece) for piece in pieces])
    lengths, counts = np.unique(sizes, return_counts=True)
    all_hashes, all_ids = [], []
    for length in lengths:
        ids = np.flatnonzero(sizes == length)
        hashes = _hashes_of([pieces[index] for index in ids.tolist()])
        order = np.argsort(hashes)
        all_hashes.append(hashes[order])
        all_ids.append(ids[order].astype(np.int32))
    borders = np.append(0, np.cumsum(counts))
    return lengths, borders, np.concatenate(all_hashes), np.concatenate(all_ids)


def _hashes_of(pieces: Sequence[str]) -> Hashes:
    """Of pieces of one length."""
    letters = np.frombuffer("".join(pieces).encode("utf-32-le"), "<u4")
    hashes = np.zeros(len(pieces), np.uint64)
    for column in letters.reshape(len(pieces), -1).T:
        hashes = _extended(hashes, column)
    return hashes


def _extended(hashes: Hashes, letters: NDArray[np.uint32]) -> Hashes:
    """Of words with one letter more. Different words may have the same: then a piece is selected in vain."""
    return hashes * _FACTOR + letters + np.uint64(1)


def _letters_to_border(letters: NDArray[np.uint32]) -> NDArray[np.int64]:
    """For each letter the number of letters from it to the end of its word; 0 for a border."""
    borders = np.flatnonzero(letters == ord(_BORDER))
    following = borders[np.searchsorted(borders, np.arange(len(letters)))] if len(borders) else borders
    return following - np.arange(len(letters))


def _read(path: Path) -> VocabularyIndex | None:
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        with np.load(io.BytesIO(content[32:]), allow_pickle=False) as arrays:
            return VocabularyIndex(**{field.name: arrays[field.name] for field in fields(VocabularyIndex)})
    except OSError:
        return None


def _write(index: VocabularyIndex, path: Path) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {field.name: getattr(index, field.name) for field in fields(index)}
    np.savez(buffer, **arrays)
    content = buffer.getvalue()
    with contextlib.suppress(OSError):  # a full or read-only disk only makes the next start slower
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
        temporary.replace(path)
