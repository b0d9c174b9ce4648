"""The folder of a job opens as an embedded corpus: its texts, columns and scores are those of `e5studio search`."""

from __future__ import annotations

import gc
import json
import shutil
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from e5studio.errors import FileFormatError, FingerprintMismatchError, PromptError, UnknownModelError
from e5studio.model_pool import ModelPool
from e5studio.studio.corpus import corpus_folder
from e5studio.studio.corpus.corpus_folder import corpus_folders, spread_positions
from e5studio.studio.corpus.search import search_corpus
from e5studio.studio.corpus.tab import CorpusTab
from e5studio.studio.corpus.visitor_store import VisitorStores
from e5studio.studio.engine.catalog import Catalog, named_catalog
from e5studio.studio.engine.engine import Engine
from e5studio.studio.services import Services
from tests.cli.conftest import _commands_are_built_once, _weights_are_read_once
from tests.jobs.conftest import text_of as words_of
from tests.studio.browsing import MARKS
from tests.studio.node_text import text_of

__all__ = ["_commands_are_built_once", "_weights_are_read_once"]

pytest.importorskip("pyarrow")
pytestmark = MARKS[1:]  # no browser
VISITOR = SimpleNamespace(session_hash="somebody")
QUERY = "cat rain stone"


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """40 rows of which one has no text."""
    path = tmp_path_factory.mktemp("texts") / "animals.jsonl"
    rows = [
        {"id": f"d{number}", "text": words_of(number), "kind": "ab"[number % 2], "stars": number, "query": f"{number}?"}
        for number in range(40)
    ]
    rows[7]["text"] = " "
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def own(checkpoints):
    """The options of a model of one's own."""
    return ["--model", checkpoints("e5").folder, "--prompt-kind", "query_passage", "--backend", "torch"]


@pytest.fixture
def job(run, own, texts, tmp_path):
    """Makes the folder of a job."""

    def make(*options, name="animals", role="document", source=texts):
        out = tmp_path / name
        result = run("encode", source, "-o", out, "--shard-rows", 16, "--role", role, *own, *options)
        assert result.exit_code in (0, 3), result.output
        return out

    return make


@pytest.fixture(scope="module")
def engine(checkpoints):
    pool = ModelPool()
    yield Engine(pool, catalog=named_catalog([f"{checkpoints('e5').folder}=query_passage"]))
    pool.clear()


def opened(engine, folder, **options):
    [corpus] = corpus_folders([str(folder)])
    return corpus.open(engine, **options)


def search_by_command(run, own, folder, top_k):
    result = run("search", folder, QUERY, "--json", "-k", top_k, *own[:2])
    assert result.exit_code == 0, result.output
    [of_query] = json.loads(result.stdout)["results"]
    return of_query["hits"]


@pytest.mark.parametrize(
    ("options", "role"),
    [
        ((), "document"),
        (("--precision", "float16"), "document"),
        (("--precision", "int8"), "query"),
        (("--precision", "uint8"), "document"),
        (("--precision", "ubinary"), "document"),
        (("--long", "pool"), "document"),
    ],
)
def test_hits_are_those_of_the_command_line(job, run, own, engine, options, role):
    folder = job(*options, role=role)
    shared = opened(engine, folder)
    assert shared.embedded.setting.prompt_mode == ("symmetric" if role == "query" else "retrieval")
    hits = search_corpus(engine, shared.embedded, QUERY, top_k=39).hits
    expected = search_by_command(run, own, folder, 39)
    np.testing.assert_allclose([hit.score for hit in hits], [hit["score"] for hit in expected], atol=2e-3)
    assert {hit.label: hit.text for hit in hits} == {f"#{hit['row']}": hit["text"] for hit in expected}
    assert hits[0].label == f"#{expected[0]['row']}"


def test_parts_of_long_texts_are_texts_of_their_own(job, run, own, engine, tmp_path):
    source = tmp_path / "long.jsonl"
    source.write_text("".join(json.dumps({"text": f"{words_of(11)} " * 200, "id": n}) + "\n" for n in range(3)))
    folder = job("--long", "chunk", source=source)
    shared = opened(engine, folder)
    assert len(shared.table) > 3
    assert shared.table.columns == ("row", "chunk", "start", "end", "text", "id")
    assert shared.embedded.corpus.row_word == "part"
    assert len(set(shared.embedded.corpus.lines)) == len(shared.table)
    hits = search_corpus(engine, shared.embedded, QUERY, top_k=5).hits
    expected = search_by_command(run, own, folder, 5)
    np.testing.assert_allclose([hit.score for hit in hits], [hit["score"] for hit in expected], atol=2e-3)


def test_a_large_job_gives_evenly_spaced_rows_with_their_own_vectors(job, engine):
    folder = job()
    everything = opened(engine, folder)
    shared = opened(engine, folder, max_rows=10)
    lines = shared.embedded.corpus.lines
    assert lines == tuple(everything.embedded.corpus.lines[position] for position in np.arange(10) * 39 // 10)
    assert (len(shared.table), shared.table.n_source_rows, everything.table.n_source_rows) == (10, 39, None)
    rows = [everything.embedded.corpus.lines.index(line) for line in lines]
    np.testing.assert_array_equal(shared.embedded.vectors, everything.embedded.vectors[rows])


@pytest.mark.parametrize("n", [1, 50_000, 50_001, 1_024_001, 1_000_000_000])
def test_few_groups_of_rows_are_read_of_however_many(n):
    positions = spread_positions(n, 50_000)
    assert len(positions) == min(n, 50_000)
    assert np.all(np.diff(positions) > 0)
    assert 0.99 * n <= positions[-1] + 1 <= n
    assert len(np.unique(positions // 4096)) <= 251


def test_longer_texts_than_are_taken_make_it_fewer_rows(job, engine, monkeypatch):
    monkeypatch.setattr("e5studio.studio.corpus.table_file.MAX_CHARACTERS", 800)
    shared = opened(engine, job())
    assert 0 < len(shared.table) < 39
    assert shared.table.n_source_rows == 39


def test_what_has_no_texts_says_how_to_make_what_has(job, engine):
    with pytest.raises(FileFormatError, match=r"vectors without their texts.*--keep text,id\."):
        opened(engine, job("--keep", "id"))


def test_another_length_is_another_encoder(job, engine):
    with pytest.raises(FingerprintMismatchError, match="max_tokens 64 and not 512"):
        opened(engine, job("--max-tokens", 64))


def test_an_unknown_prompt_is_a_sentence(run, own, texts, engine, tmp_path):
    run("encode", texts, "-o", tmp_path / "odd", "--prompt", "find: ", *own)
    with pytest.raises(PromptError, match=r"'find: '.*e5studio search odd --prompt TEXT"):
        opened(engine, tmp_path / "odd")
    run("encode", texts, "-o", tmp_path / "bare", "--prompt", "", *own)
    assert opened(engine, tmp_path / "bare").embedded.setting.prompt_mode == "none"


def test_a_model_that_is_not_offered_is_named_with_the_option_that_offers_it(job, engine):
    with pytest.raises(UnknownModelError, match=r"does not offer, 'e5'.*--model FOLDER, where FOLDER is .* called e5"):
        opened(Engine(engine.pool, catalog=Catalog()), job())


def test_other_files_of_the_model_are_refused(job, engine, checkpoints, tmp_path):
    folder = job()
    other = tmp_path / "copy" / checkpoints("e5").folder.name
    shutil.copytree(checkpoints("e5").folder, other)
    (other / "README.md").write_text("another")
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**settings, "layer_norm_eps": 1e-6}))
    catalog = named_catalog([f"{other}=query_passage"])
    with pytest.raises(
        FingerprintMismatchError, match=r"needs e5 by torch in float32.*revision .*make it again on this one"
    ) as caught:
        opened(Engine(engine.pool, catalog=catalog), folder)
    assert str(tmp_path) not in str(caught.value)


def test_unfinished_and_damaged_jobs_are_sentences_without_paths(job, engine):
    folder = job()
    [corpus] = corpus_folders([str(folder)])
    first = min((folder / "shards").iterdir())
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 255
    damages = [lambda: first.write_bytes(content), first.unlink, (folder / "job.json").unlink]
    for damage, message in zip(
        damages, ["Parquet", "1 of the 3 shards of animals", "animals holds no job"], strict=True
    ):
        damage()
        with pytest.raises(FileFormatError, match=message) as caught:
            corpus.open(engine)
        assert str(folder.parent) not in str(caught.value)


def test_what_is_no_job_is_refused_at_the_start(tmp_path, job):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileFormatError, match=r"holds no job: there is no job\.json"):
            corpus_folders([str(path)])
    folder = job()
    with pytest.raises(FileFormatError, match="named twice"):
        corpus_folders([str(folder), f"{folder}/../animals/"])


def test_folders_of_one_name_are_told_apart(job, tmp_path):
    shutil.copytree(job(), tmp_path / "old" / "animals")
    names = [each.name for each in corpus_folders([str(tmp_path / "animals"), str(tmp_path / "old" / "animals")])]
    assert names == [f"animals ({tmp_path.name})", "animals (old)"]


def test_what_one_visitor_has_open_is_not_read_for_another(job, engine, monkeypatch):
    folder = job()
    [corpus] = corpus_folders([str(folder)])
    stores = VisitorStores()
    _, store = stores.open_or_create()
    n_bytes = store.n_bytes
    store.set_shared(corpus.open(engine))
    assert store.n_bytes == n_bytes  # it counts for nobody
    with monkeypatch.context() as patch:
        patch.setattr(corpus_folder, "_read_table", None)
        assert corpus.open(engine).embedded is store.embedded
    (folder / "manifest").rename(folder / "away")
    with pytest.raises(FileFormatError):
        corpus.open(engine)
    (folder / "away").rename(folder / "manifest")
    store.clear()
    gc.collect()
    assert corpus._latest() is None


@pytest.fixture
def tab(engine, job):
    with gr.Blocks():
        return CorpusTab(Services(engine, corpora=corpus_folders([str(job())])))


def open_folder(tab, token=None):
    [folder] = tab.folders
    *_, last = tab.on_folder(VISITOR, token, folder)
    return last


def test_a_button_opens_a_folder_and_everything_works_on_it(tab):
    [button] = tab.folders.values()
    assert button.value == "animals: 40 rows"
    last = open_folder(tab)
    token, panel = last[tab.token], tab.search
    assert text_of(last[tab.line]) == "animals · 39 texts · e5"
    assert "39 texts of animals embedded with e5." in text_of(last[tab.job.status])
    assert "Left out: 1 row without a vector." in text_of(last[tab.source.summary])
    assert last[tab.source.text]["value"] == "text"
    assert [choice["title"] for choice in last[panel.filter]["choices"]] == ["All texts", "a (20)", "b (19)"]
    *_, placed = panel.on_place(VISITOR, token, None, "group", None, None, None, "pca", 2, 15, 0.1, 30, 0)
    assert placed[panel.corpus_map] is not None
    hits = panel.on_search(token, QUERY, "2:b", "")[panel.hits]["hits"]
    assert [name for name, _ in hits[0]["fields"]] == ["id", "kind", "stars", "query"]
    assert {dict(hit["fields"])["kind"] for hit in hits} == {"b"}
    like = panel.on_like(SimpleNamespace(_data={"label": hits[0]["label"]}), token, "")[panel.hits]
    assert f"Most like {hits[0]['label']}" in text_of(like["head"])
    saved = panel.on_export(SimpleNamespace(_data={"kind": ".parquet"}), token)[panel.save]
    assert "addresses" in saved
    again = tab.on_open(gr.EventData(None, {"token": token}))
    assert "39 texts of animals embedded" in text_of(again[tab.job.status])
    assert "stays on the server" in text_of(tab.on_delete(token)[tab.job.status])


def test_the_vectors_of_a_folder_are_evaluated_without_embedding(tab, engine, monkeypatch):
    pytest.importorskip("pytrec_eval")
    token = open_folder(tab)[tab.token]
    panel, model = tab.evaluation, engine.catalog.models[0].name
    embedded = []
    from e5studio.studio.corpus import embedding

    real = embedding._embed
    monkeypatch.setattr(embedding, "_embed", lambda *each: embedded.append(len(each[3])) or real(*each))
    *_, last = panel.on_measure(VISITOR, "query", "", [], "", [], token, model, "retrieval", "", "text", "")
    [row] = last[panel.evaluation].rows
    assert embedded == [39]  # the queries
    assert row.n_dropped.shape == (39,)
    *_, last = panel.on_measure(VISITOR, "query", "", [], "", [], token, model, "none", "", "text", "")
    assert embedded == [39, 39, 39]


def test_a_folder_that_cannot_be_opened_leaves_the_texts_before_it(tab):
    token = tab.on_paste("", "one\ntwo")[tab.token]
    [folder] = tab.folders
    (folder._path / "job.json").unlink()
    *_, last = tab.on_folder(VISITOR, token, folder)
    assert "animals holds no job" in text_of(last[tab.job.status])
    assert tab.on_open(gr.EventData(None, {"token": token}))[tab.source.text]["value"] == "text"


def test_a_part_of_a_folder_says_so_and_names_the_command_for_all(tab, monkeypatch):
    monkeypatch.setattr(corpus_folder.CorpusFolder.open, "__defaults__", (corpus_folder.ignore_progress, 10))
    last = open_folder(tab)
    assert text_of(last[tab.line]) == "animals · 10 texts of 39 · e5"
    status = text_of(last[tab.job.status])
    assert '10 of 39 rows, evenly spaced. All are searched by e5studio search animals "..."' in status
