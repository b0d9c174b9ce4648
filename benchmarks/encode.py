"""Tokens per second on this machine: E5Encoder, the model card's script, sentence-transformers where installed.

All encode the same texts with the offline all-MiniLM-L6-v2 in float32, in turn, several rounds;
figures are ratios to the card's script of the same round. Not a test: run it by hand.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import describe_machine, is_quiet, load_of_others, wait_for_quiet
from transformers import AutoModel, AutoTokenizer

from e5studio import E5Encoder

N_TEXTS = 600
ROUNDS = 5
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def docstrings() -> list[str]:
    """Docstrings of the standard library, in a fixed shuffled order: prose of very mixed lengths."""
    texts = set()
    for name in sorted(sys.stdlib_module_names):
        module = sys.modules.get(name)
        for _, member in inspect.getmembers(module) if module else []:
            text = inspect.getdoc(member)
            if text and len(text) > 20:
                texts.add(text)
    chosen = sorted(texts)
    np.random.default_rng(0).shuffle(chosen)
    return chosen[:N_TEXTS]


def card_script(folder: Path) -> Callable[[list[str]], object]:
    """The model card's recipe in batches of 32, in the order of the texts."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)

    def encode(texts: list[str]) -> object:
        rows = []
        for start in range(0, len(texts), 32):
            part = texts[start : start + 32]
            batch = tokenizer(part, max_length=256, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"]
            pooled = hidden.masked_fill(~mask[..., None].bool(), 0.0).sum(dim=1) / mask.sum(dim=1)[..., None]
            rows.append(torch.nn.functional.normalize(pooled, p=2, dim=1))
        return torch.cat(rows)

    return encode


def measure(systems: dict[str, Callable[[list[str]], object]], texts: list[str]) -> dict[str, list[float]]:
    """Seconds of each system in each round; rounds that other processes disturbed are repeated."""
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    is_warm = False
    while min(map(len, seconds.values())) < ROUNDS:
        wait_for_quiet()
        before = load_of_others()
        times = {}
        for name, encode in systems.items():
            started = time.perf_counter()
            encode(texts)
            times[name] = time.perf_counter() - started
        if is_warm and is_quiet(before, load_of_others()):
            for name, taken in times.items():
                seconds[name].append(taken)
        is_warm = True
    return seconds


def main() -> None:
    """Measure, print a table and write results/encode.json."""
    encoder = E5Encoder(MODEL, device="cpu")
    texts = docstrings()
    n_tokens = int(encoder.prepare(texts).report.n_tokens.sum())
    systems: dict[str, Callable[[list[str]], object]] = {
        "model card's script": card_script(encoder.files.folder),
        "e5studio": lambda batch: encoder.embed_prepared(encoder.prepare(batch)),
    }
    if importlib.util.find_spec("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        peer = SentenceTransformer(str(encoder.files.folder), device="cpu")
        systems["sentence-transformers"] = lambda batch: peer.encode(batch, normalize_embeddings=True)
    seconds = measure(systems, texts)
    base = seconds["model card's script"]
    rows = {}
    for name, times in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(base, times, strict=True)]
        rows[name] = {
            "tokens_per_second": round(n_tokens / statistics.median(times)),
            "ratio_median": round(statistics.median(ratios), 2),
            "ratio_min": round(min(ratios), 2),
            "ratio_max": round(max(ratios), 2),
        }
        print(f"{name:24} {rows[name]}")
    machine = describe_machine("torch", "transformers", "sentence-transformers")
    result = {
        "machine": machine,
        "model": MODEL,
        "texts": len(texts),
        "tokens": n_tokens,
        "rounds": ROUNDS,
        "systems": rows,
    }
    Path(__file__).with_name("results").joinpath("encode.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
