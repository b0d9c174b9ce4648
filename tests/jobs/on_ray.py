"""A program that makes jobs by local Ray and without it, and compares their bytes.

Usage: python -m tests.jobs.on_ray FOLDER MODEL. A program of its own: Ray starts processes, and warns as it likes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from e5studio.cli.app import app
from e5studio.encoder import E5Encoder
from e5studio.errors import JobError
from e5studio.jobs.folder import JobFolder
from e5studio.jobs.plan import Plan, Share
from e5studio.jobs.ray import Actors, connected, embed_dataset, import_ray, run_on_ray
from e5studio.jobs.run import read_corpus, run_job
from e5studio.options import ModelOptions
from tests.jobs.killing import check_rows, shards

N_ROWS = 300
BACKEND = "openvino"  # the actors read what the first encoder converted, and start without torch


def main(folder: Path, model: str) -> None:
    """Make the same job in four ways; embed a dataset."""
    texts = folder / "texts.jsonl"
    rows = [
        {"id": row, "text": " " if row % 97 == 5 else f"text {row} " + "cat dog " * (row % 9)} for row in range(N_ROWS)
    ]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encoder = E5Encoder(model, prompt_kind="query_passage", backend=BACKEND, device="cpu")
    corpus = read_corpus([texts], {}, None, "truncate", JobFolder(folder / "none"))
    plan = Plan(corpus, encoder.spec, encoder.resolve_prompt("document"), shard_rows=64)
    options = ModelOptions(model, prompt_kind="query_passage", backend=BACKEND, device="cpu")
    local, ray_first, local_first = (begun(folder / name, plan) for name in ("local", "ray_first", "local_first"))
    run_job(plan, local, encoder)
    run_job(plan, local_first, encoder, Share(0, 2))
    with connected("local"):
        by_command(texts, folder / "command", model)
        another = ModelOptions(model, prompt_kind="none", backend=BACKEND, device="cpu")
        with pytest.raises(JobError, match="this node loads"):
            run_on_ray(plan, ray_first, another, Actors())
        ran = run_on_ray(plan, ray_first, options, Actors(), Share(1, 2))
        again = run_on_ray(plan, local_first, options, Actors())
        check_dataset(rows, model, encoder)
    run_job(plan, ray_first, encoder)
    expected = shards(local, plan)
    for job in (JobFolder(folder / "command"), ray_first, local_first):
        assert shards(job, plan) == expected, job.path
        check_rows(job, plan)
    assert (ran.n_done, ran.n_rejected, len(ran.records), len(ran.reasons)) == (128, 2, 2, 2)
    assert (again.n_checked, again.n_rows) == (3, 128)
    assert ran.n_tokens == sum(record.tokens for record in ran.records.values())
    sys.stdout.write("done\n")


def by_command(texts: Path, output: Path, model: str) -> None:
    """The job by `e5studio encode --ray`, which takes the Ray that is there."""
    own = ["-m", model, "--prompt-kind", "query_passage", "--backend", BACKEND, "--device", "cpu"]
    job = ["encode", str(texts), "-o", str(output), "-r", "document", "--shard-rows", "64"]
    result = CliRunner().invoke(app, [*job, *own, "--ray", "local", "--actors", "1-2"])
    assert result.exit_code == 3, result.output
    assert "Wrote 296 vectors" in result.stderr


def begun(path: Path, plan: Plan) -> JobFolder:
    """A folder that holds the plan."""
    folder = JobFolder(path)
    folder.begin(plan)
    return folder


def check_dataset(rows: list[dict[str, object]], model: str, encoder: E5Encoder) -> None:
    """Every row comes out with the encoder's vector, or says why not."""
    rows = [*rows, {"id": N_ROWS, "text": None}]
    dataset = import_ray("ray.data").from_arrow(pa.Table.from_pylist(rows))
    options = {"prompt_kind": "query_passage", "backend": BACKEND, "device": "cpu"}
    embedded = embed_dataset(dataset, model, role="document", batch_size=128, **options)  # type: ignore[arg-type]
    [table] = [pa.concat_tables(embedded.iter_batches(batch_size=None, batch_format="pyarrow"))]
    table = table.sort_by("id")
    assert table.column("id").to_pylist() == list(range(N_ROWS + 1))
    assert table.schema.field("vector").type == pa.list_(pa.float32(), encoder.spec.embed_dim)
    reasons = dict(zip(table.column("id").to_pylist(), table.column("rejected").to_pylist(), strict=True))
    assert {row: reason for row, reason in reasons.items() if reason} == {
        5: "empty",
        102: "empty",
        199: "empty",
        296: "empty",
        300: "missing",
    }
    good = table.filter(pa.compute.is_null(table.column("rejected")))
    vectors = np.stack(good.column("vector").to_numpy())
    np.testing.assert_allclose(vectors, encoder.encode_document(good.column("text").to_pylist()), atol=2e-6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
