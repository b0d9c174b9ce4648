"""The folder of a job: its plan, its shards and a record of each. All that knows how they are stored.

job.json                                the plan
shards/part-00000-of-00012.parquet      the vectors
rejects/part-00000-of-00012.jsonl       the rows without one, and why; none where all rows have one
manifest/part-00000-of-00012.json       the record, which is written last: a shard without it is none
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from e5studio.errors import FileFormatError, FingerprintMismatchError, OutputError
from e5studio.file_digest import digest_of
from e5studio.files.atomic import atomic_files
from e5studio.files.parquet import open_parquet
from e5studio.files.remote import RemotePath
from e5studio.jobs.corpus import PLAN
from e5studio.jobs.plan import Layout, Plan
from e5studio.jobs.records import Reject, ShardRecord

_FOLDERS = ("shards", "rejects", "manifest")
INDEX = "index"
"""What a search writes beside the shards."""

_ENDINGS: dict[Layout, str] = {"parquet": ".parquet", "parts": ".npy"}
_SHARD_NAME = re.compile(r"part-\d{5,}-of-\d{5,}")
_WAIT = 10.0  # seconds, for another worker that writes the plan, which takes milliseconds


class JobFolder:
    """A folder on a disk that holds one job."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def plan_path(self) -> Path:
        """Where the plan stands."""
        return self.path / PLAN

    def read_plan(self, *, overwrite: bool = False) -> Plan | None:
        """The plan; None where there is no job.

        Args:
            overwrite: Take a damaged one for none.

        Raises:
            FileFormatError: It is damaged.
        """
        try:
            content = self.plan_path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return Plan.from_json(self.plan_path, content)
        except FileFormatError:
            if overwrite:
                return None
            raise

    def begin(self, plan: Plan, *, overwrite: bool = False) -> None:
        """Write the plan, or check that the one that is there says the same.

        Args:
            plan: The job.
            overwrite: Delete another job that is there.

        Raises:
            FingerprintMismatchError: Another job is there.
            OutputError: The folder holds something else.
        """
        if self.plan_path.exists():
            earlier = self.read_plan(overwrite=True) if overwrite else None
            if overwrite and (earlier is None or earlier.differences(plan)):
                self.remove()
        elif self.path.is_dir() and (stranger := _stranger_in(self.path)):
            raise OutputError(f"{self.path} holds {stranger} and no job.", "Choose an empty folder, or a new name.")
        for name in _FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        content = json.dumps(plan.to_json(), indent=1).encode()
        deadline = time.monotonic() + _WAIT
        while (known := self.read_plan()) is None:
            try:
                with _whole_file(self.plan_path, overwrite=False) as file:
                    file.write(content)
            except OutputError:  # another worker writes it, or has written it
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        if differing := known.differences(plan):
            raise other_job(self.path, differing)
        if known.corpus.files != plan.corpus.files:  # the files were moved
            with _whole_file(self.plan_path) as file:
                file.write(content)
        self._remove_strangers(plan)

    def _remove_strangers(self, plan: Plan) -> None:
        """Delete what an earlier job, whose removal was stopped, left under other names than those of this one."""
        own = {plan.name_of(shard) for shard in range(plan.n_shards)}
        for name in _FOLDERS:
            for path in (self.path / name).iterdir():
                if _SHARD_NAME.fullmatch(path.stem) and path.stem not in own:
                    path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the job, and the folder if nothing else is in it."""
        for name in (INDEX, *reversed(_FOLDERS)):  # the records first: a shard without one is none
            folder = self.path / name
            if isinstance(folder, RemotePath):
                folder.delete_all()
            else:
                shutil.rmtree(folder, ignore_errors=True)
        self.plan_path.unlink(missing_ok=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def remove_if_older(self, output: Path) -> None:
        """Delete the parts of a file that is whole: a kill may come after it has its name and before they are removed.

        Parts that are newer than the file, or not all there, are of another run, which can go on.
        """
        plan = self.read_plan(overwrite=True) if output.exists() else None
        if plan is None:
            return
        records = [self.record_path(plan, shard) for shard in range(plan.n_shards)]
        if all(path.exists() for path in records):
            newest = max(path.stat().st_mtime_ns for path in (self.plan_path, *records))
            if newest <= output.stat().st_mtime_ns:
                self.remove()

    def shard_path(self, plan: Plan, shard: int) -> Path:
        """Where a shard stands."""
        return self.path / "shards" / (plan.name_of(shard) + _ENDINGS[plan.layout])

    def rejects_path(self, plan: Plan, shard: int) -> Path:
        """Where the rejected rows of a shard stand."""
        return self.path / "rejects" / f"{plan.name_of(shard)}.jsonl"

    def record_path(self, plan: Plan, shard: int) -> Path:
        """Where the record of a shard stands."""
        return self.path / "manifest" / f"{plan.name_of(shard)}.json"

    @contextmanager
    def writing(self, plan: Plan, shard: int) -> Iterator[BinaryIO]:
        """The file of a shard, which takes its name when the block ends without an error.

        Raises:
            OutputError: Another worker makes this shard.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context(_whole_file(self.shard_path(plan, shard)))
            except OutputError as error:
                raise OutputError(
                    f"Another worker makes {plan.name_of(shard)} of {self.path} now, so the shares of the two overlap.",
                    "Give each worker its own --shard-of, all with the same number of workers: 0/4, 1/4, ...",
                ) from error
            yield file

    @contextmanager
    def reading(self, plan: Plan, shard: int) -> Iterator[Any]:
        """A shard as a `pyarrow.parquet.ParquetFile`."""
        with open_parquet(self.shard_path(plan, shard)) as file:
            yield file

    def commit(self, plan: Plan, record: ShardRecord, rejects: Iterable[Reject]) -> ShardRecord:
        """Store the rejected rows and the record of a shard that was written; with this it is done.

        Raises:
            FingerprintMismatchError: Another job has begun here meanwhile.
        """
        if (now := self.read_plan(overwrite=True)) is None or now.digest != plan.digest:
            raise other_job(self.path, ["another plan than this run began with"])
        content = "".join(json.dumps(asdict(reject), ensure_ascii=False) + "\n" for reject in rejects)
        path = self.rejects_path(plan, record.shard)
        if content:
            encoded = content.encode(errors="replace")
            with _whole_file(path) as file:
                file.write(encoded)
            record = ShardRecord(**{**asdict(record), "rejects_sha256": hashlib.sha256(encoded).hexdigest()})
        else:
            path.unlink(missing_ok=True)
        with _whole_file(self.record_path(plan, record.shard)) as file:
            file.write(json.dumps(asdict(record)).encode())
        return record

    def record(self, plan: Plan, shard: int) -> ShardRecord | None:
        """The record of a shard; None where it is not done, or its file is gone or has another size."""
        try:
            record = ShardRecord(**json.loads(self.record_path(plan, shard).read_bytes()))
            counts = (record.shard, record.size, record.rows, record.vectors, record.tokens, *record.rejected.values())
            is_own = (record.plan, record.shard) == (plan.digest, shard) and all(type(each) is int for each in counts)
            return record if is_own and self.shard_path(plan, shard).stat().st_size == record.size else None
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def earlier(self, plan: Plan, shard: int) -> ShardRecord | None:
        """The record of a shard that need not be made again: one that is whole.

        Of a remote one the size is enough: its digest costs a download, and stores check what they hold.
        """
        return self.record(plan, shard) if isinstance(self.path, RemotePath) else self.whole(plan, shard)

    def whole(self, plan: Plan, shard: int) -> ShardRecord | None:
        """The record of a shard that is as it was written; None where it is missing, cut or damaged."""
        record = self.record(plan, shard)
        if record is None:
            return None
        try:
            is_whole = digest_of(self.shard_path(plan, shard)) == record.sha256
            if record.rejects_sha256 is not None:
                is_whole = is_whole and digest_of(self.rejects_path(plan, shard)) == record.rejects_sha256
        except OSError:
            return None
        return record if is_whole else None

    def rejects(self, plan: Plan, shard: int) -> Iterator[Reject]:
        """The rejected rows of a shard."""
        path = self.rejects_path(plan, shard)
        if path.exists():
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    yield Reject(**json.loads(line))


def open_job(path: Path) -> tuple[JobFolder, Plan]:
    """A job that was begun.

    Raises:
        FileFormatError: There is none.
    """
    folder = JobFolder(path)
    plan = folder.read_plan()
    if plan is None:
        raise FileFormatError(f"{path} holds no job: there is no {PLAN}. `e5studio encode TEXTS -o FOLDER` makes one.")
    return folder, plan


def other_job(path: Path, differing: list[str]) -> FingerprintMismatchError:
    """The refusal to mix two jobs."""
    return FingerprintMismatchError(
        f"{path} holds a job with {'; '.join(differing)}.",
        "To go on, give the options and files that it was begun with. Else choose another output, or begin anew "
        "(--overwrite).",
    )


@contextmanager
def _whole_file(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A file that is there, under its name, as a whole or not at all.

    Stores have no locks and rename by copying: there an upload ends with the object under its own name, and of two
    workers the last one counts. `JobFolder.begin` reads a plan again, and shards of one plan are the same.
    """
    if isinstance(path, RemotePath):
        with path.uploading() as file:
            yield file
    else:
        with atomic_files(path, overwrite=overwrite) as (local,):
            yield local


def _stranger_in(folder: Path) -> str | None:
    """Something in a folder that is not of a job that is about to begin."""
    own = {PLAN, INDEX, *_FOLDERS}  # the plan, too: another worker may write it at this moment
    names = (entry.name for entry in folder.iterdir() if entry.name not in own and entry.name[0] != ".")
    return next(names, None)
