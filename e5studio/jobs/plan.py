"""What a job is to do: which rows are which shard, and all that changes a byte of the result.

A plan is written once, as `job.json`. Whoever comes later with other files or another encoder is refused.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from e5studio.errors import FileFormatError
from e5studio.files.compression import ending_of
from e5studio.jobs.corpus import Corpus, InputFile
from e5studio.jobs.corpus_reader import BLOCK_ROWS
from e5studio.prompts import Prompt
from e5studio.spec import EncoderSpec

ShardPrecision = Literal["float32", "float16", "int8", "uint8", "binary", "ubinary"]
LongTexts = Literal["truncate", "chunk", "pool"]
Layout = Literal["parquet", "parts"]
"""A folder of Parquet shards, or the parts of a single file, which are joined at the end."""

SHARD_ROWS: dict[Layout, int] = {"parquet": 4 * BLOCK_ROWS, "parts": BLOCK_ROWS}
"""Rows of a shard, where nothing else is said."""

_FORMAT = 1  # increase when the same plan makes other shards


@dataclass(frozen=True)
class Plan:
    """One job.

    Attributes:
        corpus: The texts.
        encoder: Identity of the encoder.
        prompt: The prompt in front of every text.
        long: What becomes of a text that is longer than the model reads: it is cut, becomes several rows, or one
            vector averaged over its parts.
        precision: Of the vectors.
        shard_rows: Rows of the corpus in a shard.
        layout: What is written.
    """

    corpus: Corpus
    encoder: EncoderSpec
    prompt: Prompt
    long: LongTexts = "truncate"
    precision: ShardPrecision = "float32"
    shard_rows: int = SHARD_ROWS["parquet"]
    layout: Layout = "parquet"

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return math.ceil(self.corpus.n_rows / self.shard_rows)

    def rows_of(self, shard: int) -> range:
        """The rows of the corpus that a shard holds."""
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, self.corpus.n_rows))

    def name_of(self, shard: int) -> str:
        """The name of a shard's files, without an ending."""
        return f"part-{shard:05}-of-{self.n_shards:05}"

    @functools.cached_property
    def digest(self) -> str:
        """Of all that decides the shards, so that each can tell which plan made it; files may be elsewhere."""
        content = asdict(self)
        for file in content["corpus"]["files"]:
            file["path"] = ending_of(Path(file["path"]))
            del file["version"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def differences(self, other: Plan) -> list[str]:
        """In what another plan would make other vectors or other files: "precision 'int8' and not 'float32'"."""
        pairs: dict[str, tuple[Any, Any]] = {
            name: (value, asdict(other.encoder)[name]) for name, value in asdict(self.encoder).items()
        }
        pairs["prompt"] = (self.prompt.text, other.prompt.text)
        pairs["role"] = (self.prompt.name, other.prompt.name)
        for name, value in {**self.corpus.reading, "keep": self.corpus.keep}.items():
            pairs[name] = (value, {**other.corpus.reading, "keep": other.corpus.keep}.get(name))
        for name in ("long", "precision", "shard_rows", "layout"):
            pairs[name] = (getattr(self, name), getattr(other, name))
        said = [f"{name} {theirs!r} and not {ours!r}" for name, (theirs, ours) in pairs.items() if theirs != ours]
        return [*file_differences(self.corpus.files, other.corpus.files), *said]

    def to_json(self) -> dict[str, Any]:
        """The plan as `job.json` holds it."""
        head = {"format": _FORMAT, "fingerprint": self.encoder.fingerprint, "digest": self.digest}
        return {**head, **asdict(self)}

    @classmethod
    def from_json(cls, path: Path, content: str | bytes) -> Plan:
        """Read a plan.

        Args:
            path: Where it stands, for messages.
            content: What `to_json` gave, as JSON.

        Raises:
            FileFormatError: It is none, or of another version.
        """
        try:
            record = json.loads(content)
            if record.pop("format") != _FORMAT:
                raise FileFormatError(f"{path} was written by another version of E5 Studio. Begin anew elsewhere.")
            fingerprint, digest = record.pop("fingerprint"), record.pop("digest")
            corpus = record.pop("corpus")
            keep = corpus["keep"]
            plan = cls(
                Corpus(
                    **{
                        **corpus,
                        "files": tuple(InputFile(**file) for file in corpus["files"]),
                        "keep": None if keep is None else tuple(keep),
                    }
                ),
                EncoderSpec(**record.pop("encoder")),
                Prompt(**record.pop("prompt")),
                **record,
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"{path} is not the plan of a job, or is damaged. Begin anew elsewhere.") from error
        if (plan.encoder.fingerprint, plan.digest) != (fingerprint, digest):
            raise FileFormatError(f"{path} was changed after it was written. Bring it back, or begin anew elsewhere.")
        return plan


def file_differences(theirs: tuple[InputFile, ...], ours: tuple[InputFile, ...]) -> list[str]:
    """In what the files of texts differ; a file that only moved does not."""
    if list(map(_content_of, theirs)) == list(map(_content_of, ours)):
        return []
    names = [[Path(file.path).name for file in files] for files in (theirs, ours)]
    if names[0] == names[1]:
        changed = [name for name, old, new in zip(names[0], theirs, ours, strict=True) if old.sha256 != new.sha256]
        return [f"another content of {', '.join(changed[:3])}{' and others' if len(changed) > 3 else ''}"]
    shown = [", ".join(each[:3]) + (f" and {len(each) - 3:,} more" if len(each) > 3 else "") for each in names]
    return [f"the texts of {shown[0]} and not {shown[1]}"]


def _content_of(file: InputFile) -> tuple[str, str]:
    """What decides its rows: its bytes, and the ending by which they are read."""
    return file.sha256, ending_of(Path(file.path))


@dataclass(frozen=True)
class Share:
    """The shards of one worker among several: every `n_workers`th.

    Attributes:
        rank: Number of the worker, from 0.
        n_workers: How many there are.
    """

    rank: int = 0
    n_workers: int = 1

    def __post_init__(self) -> None:
        if self.n_workers < 1:
            raise ValueError(f"{self.rank}/{self.n_workers} is no share: there must be a worker.")
        if not 0 <= self.rank < self.n_workers:
            raise ValueError(
                f"{self.rank}/{self.n_workers} is no share: workers count from 0, so the last of {self.n_workers} is "
                f"{self.n_workers - 1}/{self.n_workers}."
            )

    @classmethod
    def parse(cls, text: str) -> Share:
        """A share as "3/16"."""
        rank, slash, n_workers = text.partition("/")
        if not (slash and rank.strip().isdecimal() and n_workers.strip().isdecimal()):
            raise ValueError(f"{text!r} is no share. Write it as 3/16, or auto.")
        return cls(int(rank), int(n_workers))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> Share:
        """The share that Slurm, Kubernetes or torchrun gives this process.

        Raises:
            ValueError: None of them does, or two do not agree.
        """
        shares = set(_shares(environment))
        if len(shares) != 1:
            fact = "Variables of the environment give different shares" if shares else "The environment gives no share"
            raise ValueError(
                f"{fact}: SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, JOB_COMPLETION_INDEX and JOB_COMPLETIONS "
                "(which you set to the number of pods), or RANK and WORLD_SIZE. Write it as 3/16."
            )
        return shares.pop()

    def of(self, n_shards: int) -> range:
        """The shards of this worker."""
        return range(self.rank, n_shards, self.n_workers)


def _shares(environment: Mapping[str, str]) -> Iterator[Share]:
    for rank, size in (
        ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
        ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
        ("RANK", "WORLD_SIZE"),
    ):
        if rank in environment and size in environment:
            for name in (rank, size):
                if not environment[name].isdecimal():
                    raise ValueError(f"{name}={environment[name]!r} is no number. Write the share as 3/16.")
            number = int(environment[rank])
            if rank == "SLURM_ARRAY_TASK_ID":  # an array may begin at 1, and count in steps
                number -= int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
                number //= int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
            yield Share(number, int(environment[size]))


def at_paths_of(files: tuple[InputFile, ...], known: Corpus) -> Corpus:
    """A corpus that was read through before, at the paths where its files are now."""
    pairs = zip(files, known.files, strict=True)
    return replace(known, files=tuple(replace(old, path=new.path, version=new.version) for new, old in pairs))
