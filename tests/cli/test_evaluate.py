"""`e5studio evaluate`: tables for people, mteb's form for programs, one sentence for every mistake."""

from __future__ import annotations

import csv
import json

import mteb
import pytest
from typer.testing import CliRunner

from e5studio import evaluation
from e5studio.cli.app import app
from e5studio.evaluation import PublishedScore, published
from tests.evaluation.local_tasks import in_mteb

TOPICS = ["summit", "valley", "river", "stone", "protein", "pumpkin", "oil", "salt", "snow", "forest", "desert", "sea"]
DOCUMENTS = [
    ("protein", "46 grams a day is the average requirement of protein."),
    ("", "The highest point of a mountain is its summit."),
    ("rivers", "Rivers run through valleys."),
    *((f"about {topic}", f"What there is to know of the {topic}.") for topic in TOPICS),
]
QUERIES = ["how much protein should a female eat", "summit define", "where do rivers run", *TOPICS, "not judged"]


@pytest.fixture
def run():
    def run_command(*arguments, **environment):
        result = CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": None, **environment})
        assert "Traceback" not in result.output
        return result

    return run_command


@pytest.fixture
def run_json(run):
    def run_command(*arguments):
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run_command


@pytest.fixture
def own(checkpoints):
    return ["--model", checkpoints("e5").folder, "--prompt-kind", "query_passage"]


@pytest.fixture
def instruct(checkpoints):
    return ["--model", checkpoints("multilingual-e5-instruct").folder, "--prompt-kind", "instruct"]


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "scifact"
    (folder / "qrels").mkdir(parents=True)
    write_lines(
        folder / "corpus.jsonl", [{"_id": f"d{n}", "title": t, "text": x} for n, (t, x) in enumerate(DOCUMENTS)]
    )
    write_lines(folder / "queries.jsonl", [{"_id": f"q{n}", "text": text} for n, text in enumerate(QUERIES)])
    rows = "".join(f"q{n}\td{n}\t1\n" for n in range(15))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{rows}", encoding="utf-8")
    return folder


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [("a man sits", "a man is sitting", 4.5), ("a cat, asleep", "stocks fell", 0.2), ("rain", "it rains", 3.8)]
    rows += [(f"the {topic}", f"a {TOPICS[n // 2]}", n % 6) for n, topic in enumerate(TOPICS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])
    return path


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


class TestTables:
    def test_retrieval(self, run, own, beir):
        result = run(beir, *own)
        assert result.exit_code == 0, result.output
        assert "SciFact, test: 15 queries (1 without a relevant document left out), 15 documents." in result.stdout
        assert "Prompts by the authors' rules." in result.stdout
        for heading in ("nDCG@10", "95 % interval", "MAP@10", "recall@100", "MRR@10", "prompts"):
            assert heading in result.stdout
        assert "query: / passage:" in result.stdout
        assert "30 texts" in result.stderr

    def test_pairs(self, run, own, pairs):
        result = run(pairs, *own)
        assert "pairs, test: 15 pairs" in result.stdout
        assert "Spearman" in result.stdout
        assert "query: on all" in result.stdout

    def test_several_settings_make_one_table_and_a_test(self, run, own, beir):
        result = run(beir, *own, "--prompts", "query_passage", "--prompts", "none")
        assert result.stdout.count("nDCG@10") == 2  # the table's heading, and the test's
        assert "Against row 1" in result.stdout
        assert [line.split()[0] for line in result.stdout.splitlines()[2:4]] == ["1", "2"]

    def test_precisions_are_rows_beside_float32(self, run, own, beir):
        result = run(beir, *own, "--precision", "int8", "--precision", "binary")
        assert result.exit_code == 0, result.output
        table, tests = result.stdout.split("Against row 1")
        rows = [line for line in table.splitlines() if " torch " in line]
        assert ["int8 vectors" in row for row in rows] == [False, True, False]
        assert ["binary vectors" in row for row in rows] == [False, False, True]
        assert [line.split()[0] for line in tests.strip().splitlines()[-2:]] == ["2", "3"]

    def test_several_tasks_make_several_tables(self, run, own, beir, pairs):
        result = run(beir, pairs, *own)
        assert result.stdout.index("SciFact, test") < result.stdout.index("pairs, test")

    def test_mtebs_rules_are_said(self, run, own, pairs):
        result = run(pairs, *own, "--protocol", "mteb")
        assert "by mteb's rules" in result.stdout
        assert "none" in result.stdout.splitlines()[2]

    def test_cards_instruction_is_said(self, run, instruct, pairs, beir):
        strange = beir.rename(beir.with_name("mine"))
        result = run(strange, *instruct)
        assert "web search" in result.stderr
        assert "claim" not in result.stdout
        assert "Given a scientific claim" in run(strange, *instruct, "--task", "SciFact").stdout
        assert "semantically similar text" in run(pairs, *instruct).stdout

    def test_what_cannot_be_had_is_left_out(self, run, own, pairs):
        result = run(pairs, *own, "--dtype", "int8", "--dtype", "float32", "--backend", "torch")
        assert result.exit_code == 3, result.output
        assert "Left out" in result.stderr
        assert "--backend openvino" in result.stderr
        assert len([line for line in result.stdout.splitlines() if " torch " in line]) == 1

    def test_model_that_is_not_there_leaves_the_others_alone(self, run, own, pairs):
        result = run(pairs, *own, "--model", "e5-small-v2", "--local-files-only")
        assert result.exit_code == 3, result.output
        assert "Left out: e5-small-v2" in result.stderr
        assert "Spearman" in result.stdout

    def test_same_setting_by_two_names_is_one_row(self, run, own, pairs):
        result = run(pairs, *own, "--dtype", "auto", "--dtype", "float32")
        assert len([line for line in result.stdout.splitlines() if " torch " in line]) == 1

    def test_chosen_cut_offs_are_the_columns(self, run, own, beir):
        result = run(beir, *own, "--k", "2", "--k", "5")
        for heading in ("nDCG@2", "nDCG@5", "MAP@5", "recall@5"):
            assert heading in result.stdout
        assert "nDCG@10" not in result.stdout


class TestJson:
    def test_is_mtebs_form(self, run_json, own, beir, pairs):
        found = run_json(beir, pairs, *own, "--prompts", "query_passage", "--prompts", "none", "--k", 1, "--k", 10)
        assert [result["task_name"] for result in found["results"]] == ["SciFact", "SciFact", "pairs", "pairs"]
        for result in found["results"]:
            read = mteb.TaskResult.model_validate(result)
            assert read.get_score() == pytest.approx(result["scores"]["test"][0]["main_score"])
        assert [(each["first"], each["second"]) for each in found["comparisons"]] == [(0, 1), (2, 3)]
        entry = found["results"][0]["scores"]["test"][0]
        assert entry["main_score"] == entry["ndcg_at_10"]
        assert {"map_at_1", "recall_at_10", "precision_at_10", "mrr_at_10"} <= entry.keys()

    def test_says_how_it_was_made(self, run_json, own, pairs):
        [result] = run_json(pairs, *own, "--protocol", "mteb", "--backend", "torch")["results"]
        ours = result["e5studio"]
        assert ours["protocol"] == "mteb"
        assert ours["prompts"]["query"] == ours["prompts"]["document"] == ""
        assert (ours["encoder"]["backend"], ours["encoder"]["dtype"]) == ("torch", "float32")
        assert ours["interval"]["low"] <= result["scores"]["test"][0]["main_score"] <= ours["interval"]["high"]
        assert ours["work"]["n_texts"] == 30

    def test_cache_changes_nothing(self, run_json, own, beir, tmp_path):
        first, second = (
            run_json(beir, *own, "--cache", tmp_path / "vectors")["results"][0]["scores"] for _ in range(2)
        )
        assert first == second == run_json(beir, *own)["results"][0]["scores"]
        assert (tmp_path / "vectors" / "vectors.sqlite3").stat().st_size


class TestCheck:
    @pytest.fixture
    def publish(self, monkeypatch):
        def one(value):
            row = PublishedScore("e5", "SciFact", "test", "ndcg_at_10", value, "both", "", "a paper")
            monkeypatch.setattr(published, "_N_SAMPLES", {})
            monkeypatch.setattr(published, "published_scores", lambda: (row,))

        return one

    def test_agreement_and_disagreement(self, run, run_json, own, beir, publish):
        score = run_json(beir, *own)["results"][0]["scores"]["test"][0]["main_score"]
        publish(score)
        agreeing = run(beir, *own, "--check")
        assert agreeing.exit_code == 0
        assert "agrees" in agreeing.stdout
        publish(score - 0.1)
        differing = run(beir, *own, "--check")
        assert differing.exit_code == 4
        assert "+0.1000" in differing.stdout
        assert "differs" in differing.stdout
        assert "a paper" in differing.stdout

    def test_other_data_under_the_name_are_not_compared(self, run, own, beir, publish, monkeypatch):
        publish(0.1)
        monkeypatch.setattr(published, "_N_SAMPLES", {"SciFact": 300})
        result = run(beir, *own, "--check")
        assert result.exit_code == 0
        assert "other data" in result.stdout

    def test_other_metric_is_not_compared(self, run, own, beir, publish):
        publish(0.1)
        result = run(beir, *own, "--check", "--k", "5")
        assert result.exit_code == 0
        assert "it is ndcg_at_10" in result.stdout

    def test_quantised_vectors_are_not_compared(self, run, own, beir, publish):
        publish(0.1)
        assert "the documents' vectors are int8" in run(beir, *own, "--check", "--precision", "int8").stdout

    def test_nothing_published(self, run, own, pairs):
        result = run(pairs, *own, "--check")
        assert result.exit_code == 0
        assert "Nothing is published" in result.stdout


class TestMistakes:
    def test_unknown_task(self, run, own):
        result = run("SciFakt", *own)
        assert result.exit_code == 1
        assert "Did you mean: 'SciFact'" in result.stderr

    def test_broken_folder_is_told_before_a_model_is_loaded(self, run, beir):
        (beir / "queries.jsonl").unlink()
        result = run(beir, "--model", "e5-large-v2", "--local-files-only")
        assert result.exit_code == 1
        assert "queries.jsonl" in result.stderr

    def test_missing_folder(self, run, own):
        result = run("./absent", *own)
        assert result.exit_code == 1
        assert "There is no folder absent" in result.stderr

    def test_missing_table(self, run, own, tmp_path):
        result = run(tmp_path / "absent.tsv", *own)
        assert result.exit_code == 1
        assert "absent.tsv" in result.stderr

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--backend", "jax"),
            ("--dtype", "int4"),
            ("--prompts", "passage"),
            ("--precision", "float16"),
            ("--protocol", "mine"),
        ],
    )
    def test_unknown_choice(self, run, own, pairs, option, value):
        result = run(pairs, *own, option, value)
        assert result.exit_code == 2
        assert option in result.stderr
        assert value in result.stderr

    def test_cut_off_below_one(self, run, own, pairs):
        result = run(pairs, *own, "--k", "0")
        assert result.exit_code == 2
        assert "--k" in result.stderr

    @pytest.mark.parametrize("options", [("--columns", "a", "b", "c"), ("--delimiter", ";")])
    def test_options_of_tables_on_a_folder(self, run, own, beir, options):
        result = run(beir, *own, *options)
        assert result.exit_code == 2
        assert options[0] in result.stderr

    def test_precision_of_documents_that_are_not_there(self, run, own, beir, pairs):
        result = run(beir, pairs, *own, "--precision", "int8")
        assert result.exit_code == 2
        assert "--precision" in result.stderr

    def test_delimiter_of_two_characters(self, run, own, pairs):
        result = run(pairs, *own, "--delimiter", "ab")
        assert result.exit_code == 2
        assert "'ab'" in result.stderr

    def test_one_name_for_two_tasks(self, run, own, pairs, beir):
        assert run(pairs, beir, *own, "--task", "SciFact").exit_code == 2

    @pytest.mark.parametrize("option", ["--model", "--instruction"])
    def test_empty_option(self, run, own, pairs, option):
        result = run(pairs, *own, option, " ")
        assert result.exit_code == 2
        assert option in result.stderr
        assert "empty" in result.stderr

    def test_prompts_that_do_not_go_together_are_told_before_loading(self, run, pairs):
        options = ["--model", "multilingual-e5-large-instruct", "--local-files-only", "--protocol", "mteb"]
        result = run(pairs, *options)
        assert result.exit_code == 1
        assert "--instruction" in result.stderr

    def test_instruction_that_no_model_takes(self, run, own, pairs):
        result = run(pairs, *own, "--instruction", "Find it")
        assert result.exit_code == 2
        assert "--instruction" in result.stderr

    def test_model_of_the_environment_may_have_spaces(self, run, pairs, checkpoints, tmp_path):
        folder = tmp_path / "my models" / "e5"
        folder.parent.mkdir()
        folder.symlink_to(checkpoints("e5").folder)
        result = run(pairs, "--prompt-kind", "query_passage", E5STUDIO_MODEL=str(folder))
        assert result.exit_code == 0, result.output

    def test_own_model_without_a_kind(self, run, pairs, checkpoints):
        result = run(pairs, "--model", checkpoints("e5").folder)
        assert result.exit_code == 2
        assert "--prompt-kind" in result.stderr

    def test_nothing_that_was_asked_for_can_be_had(self, run, own, pairs):
        result = run(pairs, *own, "--backend", "torch", "--dtype", "int8")
        assert result.exit_code == 1
        assert "--dtype" in result.stderr or "--backend" in result.stderr


@pytest.mark.filterwarnings("ignore:The task '.*' is superseded")
class TestTasksOfMteb:
    @pytest.fixture
    def local(self, beir, monkeypatch):
        """mteb's SciFact, with the small folder's texts in place of a download."""
        data = evaluation.read_beir(beir)
        monkeypatch.setattr(evaluation, "load_task", lambda name, split: in_mteb(data), raising=False)
        return data

    def test_table_and_json(self, run, run_json, own, beir, local):
        result = run("SciFact", *own, "--prompts", "query_passage", "--prompts", "none")
        assert result.exit_code == 0, result.output
        assert "SciFact, test. Prompts by the authors' rules." in result.stdout
        assert "Against row 1" in result.stdout
        [theirs] = run_json("SciFact", *own)["results"]
        [ours] = run_json(beir, *own)["results"]
        assert theirs["mteb_version"] == mteb.__version__
        assert theirs["scores"]["test"][0]["ndcg_at_10"] == pytest.approx(
            ours["scores"]["test"][0]["ndcg_at_10"], abs=1e-5
        )
        assert theirs["e5studio"]["prompts"] == ours["e5studio"]["prompts"]
        assert theirs["e5studio"]["interval"] == pytest.approx(ours["e5studio"]["interval"], abs=1e-5)
