"""Options that other embedding classes have: what takes their place here. For the plug-ins' refusals."""

from __future__ import annotations

import difflib
from collections.abc import Collection

_PROMPTS = (
    "the model's own prompts are put in front of queries and documents by themselves; instruction= takes the task of "
    "an instruct model, symmetric=True puts the query prompt on documents, too"
)
_UNIT_LENGTH = "vectors always have length 1"
_BATCHES = "batches are made by length; token_budget= limits their tokens"
_LENGTH = "max_tokens= says how much of a text is read"
_TOKEN = "the environment variable HF_TOKEN holds the Hub's token"
_ONE_PROCESS = "one process uses all cores"

_INSTEAD: dict[str, str] = {
    "model_kwargs": "device=, dtype=, revision=, backend= and local_files_only= are options of their own",
    "encode_kwargs": f"prompts are the model's own, {_UNIT_LENGTH}, and token_budget= limits a batch",
    "query_encode_kwargs": f"prompts are the model's own, {_UNIT_LENGTH}, and token_budget= limits a batch",
    "tokenizer_kwargs": _LENGTH,
    "config_kwargs": "the model's own configuration is used; max_tokens= and truncate_dim= change what they say",
    "batch_size": _BATCHES,
    "embed_batch_size": _BATCHES,
    "chunk_size": _BATCHES,
    "normalize": _UNIT_LENGTH,
    "normalize_embeddings": _UNIT_LENGTH,
    "query_instruction": _PROMPTS,
    "text_instruction": _PROMPTS,
    "embed_instruction": _PROMPTS,
    "query_prompt": _PROMPTS,
    "prompt": _PROMPTS,
    "prompts": _PROMPTS,
    "prompt_name": _PROMPTS,
    "default_prompt_name": _PROMPTS,
    "max_length": _LENGTH,
    "max_seq_length": _LENGTH,
    "max_seq_len": _LENGTH,
    "model_max_length": _LENGTH,
    "pooling": "the model is pooled as it was trained",
    "pooling_mode": "the model is pooled as it was trained",
    "device_map": "device= takes one device, 'auto' the best that is here",
    "torch_dtype": "dtype= is the precision",
    "precision": "dtype= is the precision",
    "load_in_8bit": "dtype='int8' is that precision",
    "cache_dir": "the environment variable HF_HOME names the folder of models; cache_folder= keeps vectors",
    "model_cache_folder": "the environment variable HF_HOME names the folder of models; cache_folder= keeps vectors",
    "trust_remote_code": "code of a repository is never run",
    "dimensions": "truncate_dim= keeps the first dimensions",
    "output_dimension": "truncate_dim= keeps the first dimensions",
    "show_progress_bar": "show_progress= shows a bar",
    "multi_process": _ONE_PROCESS,
    "parallel": _ONE_PROCESS,
    "parallel_process": _ONE_PROCESS,
    "target_devices": _ONE_PROCESS,
    "threads": "the environment variable E5STUDIO_THREADS limits the threads",
    "model_revision": "revision= is a commit, tag or branch",
    "token": _TOKEN,
    "use_auth_token": _TOKEN,
    "hf_token": _TOKEN,
    "api_key": "models run on this machine; the environment variable HF_TOKEN holds the Hub's token",
    "repo_id": "the model's name is the first option",
    "tokenizer": "the tokenizer is the model's own",
    "tokenizer_name": "the tokenizer is the model's own",
}


def what_instead(option: str, own: Collection[str]) -> str:
    """A sentence on an option that is none: what takes its place, else the nearest one, else all.

    Args:
        option: Its name.
        own: Names of the options that there are.
    """
    if option in _INSTEAD:
        return f"{option} is no option here: {_INSTEAD[option]}. Leave it out."
    nearest = difflib.get_close_matches(option, own, n=1, cutoff=0.6)
    advice = f"Did you mean {nearest[0]}?" if nearest else f"The options: {', '.join(sorted(own))}."
    return f"{option} is no option here. {advice}"
