"""Small tokenizers of the three kinds that E5 checkpoints use, learnt from `corpus.TRAINING_TEXT`.

Each is built as the published tokenizer.json is (for XLM-R that of multilingual-e5-small): same
normaliser, pre-tokenizer, template, special tokens and their ids. Only the vocabulary is smaller.
transformers 5 builds the XLM-R one otherwise: it splits at white space first, so that the space
at the end of a text gets no token.
"""

from __future__ import annotations

import io
import json
import string
from collections import Counter
from collections.abc import Sequence

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.corpus import TRAINING_TEXT

_LINES = [line for line in TRAINING_TEXT.splitlines() if line]
_BERT_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_XLMR_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
_BERT_NORMALIZER = normalizers.BertNormalizer(lowercase=True)
_BERT_PRE_TOKENIZER = pre_tokenizers.BertPreTokenizer()


def wordpiece() -> Tokenizer:
    """The lower-casing WordPiece of BERT, as in the English models."""
    tokenizer = Tokenizer(models.WordPiece(_wordpiece_vocabulary(), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = _BERT_NORMALIZER
    tokenizer.pre_tokenizer = _BERT_PRE_TOKENIZER
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in _BERT_SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def _wordpiece_vocabulary() -> dict[str, int]:
    """Characters, the words of the text, and endings that occur twice.

    Not learnt: the library's trainer breaks ties differently from run to run.
    """
    words: Counter[str] = Counter()
    for line in _LINES:
        normal = _BERT_NORMALIZER.normalize_str(line)
        words.update(word for word, _ in _BERT_PRE_TOKENIZER.pre_tokenize_str(normal))
    characters = sorted({character for word in words for character in word} | set(string.ascii_lowercase + "<>{}$"))
    endings = Counter(word[-size:] for word in words for size in (2, 3, 4) if len(word) > size)
    pieces = [
        *_BERT_SPECIALS,
        *characters,
        *(f"##{character}" for character in characters),
        *sorted(word for word in words if len(word) > 1),
        *sorted(f"##{ending}" for ending, count in endings.items() if count > 1),
    ]
    return {piece: index for index, piece in enumerate(pieces)}


def unigram(lines: Sequence[str] = _LINES, vocab_size: int = 1600) -> Tokenizer:
    """The Unigram of XLM-RoBERTa, learnt by SentencePiece, with its nmt_nfkc map of characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="nmt_nfkc",
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    # SentencePiece begins <unk> <s> </s>; XLM-R begins <s> <pad> </s> <unk> and ends with <mask>.
    learnt = [(processor.id_to_piece(i), processor.get_score(i)) for i in range(3, processor.get_piece_size())]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *learnt, ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(_character_map(model.getvalue())), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    metaspace = {"replacement": "▁", "prepend_scheme": "always"}
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(**metaspace)
    tokenizer.decoder = decoders.Metaspace(**metaspace)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in _XLMR_SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def byte_fallback_bpe() -> Tokenizer:
    """The Llama kind of BPE that e5-mistral has: bytes for unknown characters, and a template without EOS."""
    specials = ["<unk>", "<s>", "</s>"]
    head = specials + [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    # Trained on a few scripts only, so that the others need the bytes.
    lines = [line for line in _LINES if all(ord(character) < 0x500 for character in line)]
    learner.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=1100, special_tokens=head, show_progress=False))
    learnt = json.loads(learner.to_str())["model"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=learnt["vocab"],
            merges=[tuple(merge) for merge in learnt["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def _character_map(model: bytes) -> bytes:
    """ModelProto.normalizer_spec (field 3) .precompiled_charsmap (field 2), read without protobuf."""
    return _length_delimited(_length_delimited(model, 3), 2)


def _length_delimited(message: bytes, wanted: int) -> bytes:
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, place = _varint(message, place)
        elif wire_type == 2:
            length, place = _varint(message, place)
            if field == wanted:
                return message[place : place + length]
            place += length
        else:
            place += {1: 8, 5: 4}[wire_type]
    raise AssertionError(f"no field {wanted} in the SentencePiece model")


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
