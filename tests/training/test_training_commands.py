"""`e5studio train`, `mine` and `evaluate --compare`: tables for people, JSON for programs, sentences for mistakes."""

from __future__ import annotations

import json

import pytest

from tests.training.conftest import make_pairs, write_pairs


@pytest.fixture
def parent_options(checkpoints):
    return ["--model", checkpoints("e5").folder, "--prompt-kind", "query_passage", "--device", "cpu"]


@pytest.fixture
def beir(tmp_path):
    """The same kind of queries as a retrieval set."""
    folder, rows = tmp_path / "general", make_pairs(14, seed=3)
    (folder / "qrels").mkdir(parents=True)
    write_pairs(folder / "corpus.jsonl", [{"_id": f"d{i}", "text": row["positive"]} for i, row in enumerate(rows)])
    write_pairs(folder / "queries.jsonl", [{"_id": f"q{i}", "text": row["query"]} for i, row in enumerate(rows)])
    lines = ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}\t1" for i in range(14))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")
    return folder


def test_train_then_compare(run, pairs, beir, parent_options, checkpoints, tmp_path):
    output = tmp_path / "my-e5"
    figures = ["--batch-size", 8, "--epochs", 1, "--learning-rate", "1e-3", "--evaluate", beir]
    result = run("train", pairs, *parent_options, "-o", output, *figures)
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith(("pairs", "general"))]
    assert ["10 queries" in rows[0], "14 queries" in rows[1]] == [True, True]
    assert "negatives were mined" in result.stdout
    assert f"e5studio studio --model {output} --model {checkpoints('e5').folder}" in result.stderr
    for stage in ("Evaluating the model as it is", "Mining negatives", "Training", "Evaluating the trained model"):
        assert stage in result.stderr
    compared = run("evaluate", beir, "--compare", checkpoints("e5").folder, output, *parent_options[2:])
    assert compared.exit_code == 0, compared.output
    assert "Row 2, my-e5, " in compared.stdout
    assert any(word in compared.stdout for word in ("is better", "is worse", "shows no gain"))


def test_train_as_json(run, pairs, parent_options, tmp_path):
    result = run("train", pairs, *parent_options, "-o", tmp_path / "my-e5", "--json", "--held-out", 0, "--epochs", 1)
    report = json.loads(result.stdout)
    assert report["data"]["held_out_queries"] == 0
    assert report["verdicts"] == []
    assert "no queries were held out" in " ".join(report["not_measured"])


def test_mine_writes_what_train_reads(run, pairs, parent_options, tmp_path):
    from e5studio.training import read_training_set

    output = tmp_path / "mined.jsonl"
    result = run("mine", pairs, *parent_options, "-o", output, "--negatives", 3, "--depth", 20, "--top")
    assert result.exit_code == 0, result.output
    assert "are probably answers, too" in result.stderr
    mined = read_training_set(output)
    assert [each.query for each in mined.examples] == [row["query"] for row in make_pairs(40)]
    assert max(len(each.negatives) for each in mined.examples) == 3
    assert len(output.read_text().splitlines()) == 40
    again = run("mine", pairs, *parent_options, "-o", output)
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_mine_writes_every_answer(run, parent_options, tmp_path):
    """One that was left out would be a negative of its query elsewhere."""
    from e5studio.training import read_training_set

    rows = make_pairs(8)
    rows.append({"query": rows[0]["query"], "positive": "summit of another"})
    output = tmp_path / "mined.jsonl"
    result = run("mine", write_pairs(tmp_path / "two.jsonl", rows), *parent_options, "-o", output)
    assert result.exit_code == 0, result.output
    answers = [len(each.positives) for each in read_training_set(output).examples]
    assert answers == [2, *[1] * 7]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["train", "PAIRS"], "--output"),
        (["train", "missing.jsonl", "-o", "OUT"], "There is no file or folder missing.jsonl"),
        (["mine", "PAIRS", "-o", "out.jsonl", "--no-mine"], "No such option"),
        (["train", "PAIRS", "-o", "EXISTING"], "exists already"),
        (["train", "PAIRS", "-o", "OUT", "--columns", "a", "b"], "'b' is missing"),
        (["train", "PAIRS", "-o", "OUT", "-i", "Find answers"], "not trained with instructions"),
        (["mine", "PAIRS", "-o", "negatives.csv"], "does not end in .jsonl"),
        (["mine", "PAIRS", "-o", "out.jsonl", "--negatives", "9", "--depth", "3"], "no more than ranks"),
    ],
)
def test_mistakes_are_sentences(command, words, run, pairs, parent_options, tmp_path):
    places = {"PAIRS": pairs, "OUT": tmp_path / "out", "EXISTING": tmp_path}
    result = run(*(places.get(each, each) for each in command), *parent_options)
    assert result.exit_code in (1, 2)
    assert words in " ".join(result.output.split())


def test_compare_stands_in_place_of_model(run, beir, parent_options):
    result = run("evaluate", beir, "--compare", "e5-small-v2", "e5-base-v2", *parent_options)
    assert result.exit_code == 2
    assert "in place of --model" in " ".join(result.output.split())
