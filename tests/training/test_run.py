"""A whole run: what is held out stays out, the recipe is what the papers say, and the verdict follows the interval."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from e5studio import E5Encoder
from e5studio.analysis.significance import Comparison, Interval, compare_means
from e5studio.errors import FileFormatError, OutputError, PromptError, UnsupportedError, VectorError
from e5studio.evaluation import verdict_of
from e5studio.evaluation.run import retrieval_scores
from e5studio.options import ModelOptions
from e5studio.training import TrainOptions, read_training_set, train
from e5studio.training.examples import Example, TrainingSet
from e5studio.training.recipe import recipe_for
from e5studio.training.report import model_card
from e5studio.training.roles import RolePrompts
from e5studio.training.run import TrainingResult
from e5studio.training.split import as_task, split_queries
from e5studio.training.steps import StepOptions, plan_steps
from e5studio.training.verdict import Verdict
from tests.training.conftest import make_pairs, write_pairs


@pytest.fixture(scope="module")
def trained(checkpoints, tmp_path_factory):
    """One run, whose stages were recorded."""
    folder = tmp_path_factory.mktemp("trained")
    path = write_pairs(folder / "pairs.jsonl", make_pairs(40))
    made = checkpoints("e5")
    parent = ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")
    stages: list[tuple[str, int, int]] = []
    options = TrainOptions(recipe={"batch_size": 8, "n_epochs": 1, "learning_rate": 1e-3})
    result = train(path, parent, folder / "my-e5", options, on_stage=lambda *stage: stages.append(stage))
    return result, stages


def weights_of(result: TrainingResult):
    import safetensors.numpy

    return safetensors.numpy.load_file(result.folder / "model.safetensors")


def test_all_stages_tell_how_far_they_are(trained):
    result, stages = trained
    assert list(dict.fromkeys(stage for stage, _, _ in stages)) == ["before", "mining", "training", "after"]
    n_steps = len(result.report.trained.steps.losses)
    assert [(done, total) for stage, done, total in stages if stage == "training"] == [
        (step, n_steps) for step in range(n_steps + 1)
    ]


def test_the_report_and_the_card_say_what_was_done(trained):
    result, _ = trained
    report = json.loads((result.folder / "report.json").read_text())
    assert report["data"] | {"source": "", "digest": ""} == {
        "source": "", "digest": "", "documents": 40, "train_queries": 30, "left_out_queries": 0, "held_out_queries": 10
    }  # fmt: skip
    assert report["prompts"] == {"query": "query: ", "document": "passage: "}
    assert report["recipe"]["temperature"] == 0.01
    [verdict] = report["verdicts"]
    assert verdict["samples"] == 10
    assert verdict["after"] - verdict["before"] == pytest.approx(verdict["difference"])
    assert verdict["verdict"] == result.report.verdicts[0].word
    assert any("forgotten" in gap for gap in report["not_measured"])
    card = (result.folder / "README.md").read_text()
    assert "base_model: tiny/e5" in card
    assert f"{verdict['before']:.4f} | {verdict['after']:.4f}" in card
    assert "/tmp" not in card + json.dumps(report["data"])


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (
            RolePrompts.of("query_passage"),
            ['"query: " stands in front of every query and "passage: "'],
        ),
        (RolePrompts.of("query_passage", is_symmetric=True), ["of every text: both sides are queries"]),
        (RolePrompts.of("instruct", instruction="Find it"), ["instruction='Find it'", "given with each call"]),
    ],
    ids=["asymmetric", "symmetric", "instruct"],
)
def test_the_card_says_what_the_texts_need(prompts, words, trained):
    card = model_card(replace(trained[0].report, prompts=prompts), "my-e5")
    assert [word for word in words if word not in card] == []
    assert ("encode_document" in card) is not (prompts.document.text == prompts.query().text)


def test_nothing_is_left_beside_the_model(trained):
    result, _ = trained
    assert sorted(path.name for path in result.folder.parent.iterdir()) == ["my-e5", "pairs.jsonl"]


def test_the_same_seed_gives_the_same_weights(run_training, pairs):
    first, second, third = (
        weights_of(run_training(pairs, output=f"out-{number}", held_out=0, recipe={"seed": seed}))
        for number, seed in enumerate((0, 0, 1))
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not all(np.array_equal(first[name], third[name]) for name in first)


def test_words_stay_as_they_are_when_frozen(run_training, pairs, checkpoints):
    import safetensors.numpy

    before = safetensors.numpy.load_file(checkpoints("e5").folder / "model.safetensors")
    after = weights_of(run_training(pairs, held_out=0, recipe={"freezes_words": True}))
    changed = {name for name in before.keys() & after if not np.array_equal(before[name], after[name])}
    assert "embeddings.word_embeddings.weight" not in changed
    assert "encoder.layer.0.attention.self.query.weight" in changed


def test_lora_leaves_a_folder_like_any_other(run_training, pairs, encoders):
    pytest.importorskip("peft")
    result = run_training(pairs, held_out=0, recipe={"lora_rank": 4})
    trained, weights = result.report.trained.n_trained, result.report.trained.n_weights
    assert 0 < trained < weights / 2
    with E5Encoder(result.folder, device="cpu") as encoder:
        moved = encoder.encode_query(["summit"]) - encoders("e5").encode_query(["summit"])
    assert np.abs(moved).max() > 1e-3


def test_a_teacher_matryoshka_and_bfloat16_run(run_training, tmp_path):
    rows = [{**row, "negatives": ["no answer", "none"], "scores": [2, -1, 0]} for row in make_pairs(20)]
    result = run_training(
        write_pairs(tmp_path / "scored.jsonl", rows), held_out=0, recipe={"dims": (16,), "dtype": "bfloat16"}
    )
    assert result.report.mining is None
    assert np.isfinite(result.report.trained.steps.losses).all()


def test_instruct_models_take_instructions_by_row(run_training, checkpoints, tmp_path):
    made = checkpoints("multilingual-e5-instruct")
    model = ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")
    rows = [{**row, "instruction": f"Find answers {number % 2}"} for number, row in enumerate(make_pairs(24))]
    result = run_training(write_pairs(tmp_path / "pairs.jsonl", rows), model=model)
    encoder = E5Encoder(result.folder, device="cpu")
    assert encoder.meta.prompt_kind == "instruct"
    assert result.report.verdicts[0].before.n_samples == 10


def test_a_prompt_that_fills_all_tokens_is_refused_first(run_training, checkpoints, pairs):
    made, stages = checkpoints("multilingual-e5-instruct"), []
    model = ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")
    with pytest.raises(PromptError, match="leaves no room"):
        run_training(pairs, model=model, recipe={"max_tokens": 12}, on_stage=lambda *stage: stages.append(stage))
    assert stages == []


def test_instructions_for_other_models_are_refused(run_training, pairs):
    with pytest.raises(PromptError, match="not trained with instructions"):
        run_training(pairs, instruction="Find answers")


@pytest.mark.parametrize("column", ["query", "positive"])
def test_prompts_in_the_data_are_refused(column, run_training, tmp_path):
    rows = [{**row, column: f"query: {row[column]}"} for row in make_pairs(20)]
    with pytest.raises(PromptError, match="take them out of the data"):
        run_training(write_pairs(tmp_path / "pairs.jsonl", rows))


def test_mistral_is_refused_before_anything_is_done(run_training, checkpoints, pairs):
    made = checkpoints("e5-mistral-instruct")
    with pytest.raises(UnsupportedError, match="cannot be trained here"):
        run_training(pairs, model=ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch"))


def test_an_output_that_exists_is_never_replaced(run_training, pairs, tmp_path):
    (tmp_path / "my-e5").mkdir()
    with pytest.raises(OutputError, match="exists already, and a trained model is never replaced"):
        run_training(pairs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": 2.0},
        {"learning_rate": float("nan")},
        {"batch_size": 1},
        {"batch_size": 10**9},
        {"n_epochs": 1.5},
        {"lora_rank": 49},
        {"dims": (48,)},
        {"dims": (-1,)},
        {"dtype": "float16"},
        {"seed": -1},
        {"epochs": 1},
    ],
    ids=str,
)
def test_figures_out_of_range_are_refused(wrong, run_training, pairs):
    with pytest.raises(VectorError):
        run_training(pairs, recipe=wrong)


def test_too_few_queries_to_hold_some_out(run_training, tmp_path):
    with pytest.raises(FileFormatError, match="--held-out 0"):
        run_training(write_pairs(tmp_path / "few.jsonl", make_pairs(11)))


def test_held_out_queries_are_in_no_step(pairs):
    training_set = read_training_set(pairs)
    twin = training_set.examples[0]
    training_set = training_set.with_examples([*training_set.examples, replace(twin, query=twin.query.upper() + " ")])
    split = split_queries(training_set, 0.3, seed=1)
    queries = [
        {" ".join(each.query.lower().split()) for each in side.examples} for side in (split.train, split.held_out)
    ]
    assert not queries[0] & queries[1]
    assert len(split.train.examples) + len(split.held_out.examples) == 41


def test_paraphrases_stay_on_one_side():
    """A pair in both directions would be judged by what was trained on."""
    texts = [f"text {number}" for number in range(60)]
    pairs = [(row, row ^ 1) for row in range(60)]
    examples = [Example(texts[query], (answer,), (1.0,)) for query, answer in pairs]
    split = split_queries(TrainingSet(tuple(texts), tuple(examples)), 0.4, seed=0)
    sides = [{int(each.query.split()[1]) // 2 for each in side.examples} for side in (split.train, split.held_out)]
    assert len(sides[1]) == 12
    assert not sides[0] & sides[1]
    assert len(split.held_out.examples) == 24


def test_a_copy_of_the_query_is_not_judged():
    texts = [f"text {number}" for number in range(4)]
    examples = [Example(texts[0], (1,), (1.0,)), Example(texts[2], (2, 3), (1.0, 1.0)), Example("new", (0,), (1.0,))]
    task = as_task(TrainingSet(tuple(texts), tuple(examples)), "pairs")
    assert task.query_ids == ("d0", "q1", "q2"), "the first has the id of its copy, which is skipped"
    assert task.skips_own_id
    vectors = np.eye(4, dtype=np.float32)
    first = np.array([[0.8, 0.6, 0, 0]], np.float32)
    queries = np.concatenate([first, vectors[2:3], vectors[:1]])
    assert retrieval_scores(task, queries, [vectors]).values["ndcg_at_1"].tolist() == [1.0, 1.0, 1.0]


def test_no_step_holds_a_query_under_two_instructions():
    """Each answer would be a negative of the same query."""
    examples = [Example(f"query {row // 2}", (row,), (1.0,), (), (), f"task {row % 2}") for row in range(12)]
    steps = plan_steps(TrainingSet(tuple(f"text {row}" for row in range(12)), tuple(examples)), StepOptions(4, 3, 0))
    for step in steps:
        assert len({examples[draw.example].query for draw in step}) == len(step)


def test_better_answers_are_drawn_more_often():
    examples = [Example(f"query {row}", (2 * row, 2 * row + 1), (1.0, 9.0)) for row in range(100)]
    texts = tuple(f"text {row}" for row in range(200))
    steps = plan_steps(TrainingSet(texts, tuple(examples)), StepOptions(10, 10, 0))
    draws = [draw for step in steps for draw in step]
    assert np.mean([draw.positive % 2 for draw in draws]) == pytest.approx(0.9, abs=0.03)
    assert len({tuple(draw.example for draw in step) for step in steps}) == len(steps), "each epoch has its own order"


def test_one_answer_for_all_teaches_nothing(run_training, tmp_path):
    rows = [{"query": f"summit {number}", "positive": "valley"} for number in range(8)]
    with pytest.raises(FileFormatError, match="all queries have the same answer"):
        run_training(write_pairs(tmp_path / "pairs.jsonl", rows), held_out=0)


def test_queries_that_no_step_takes_are_reported(run_training, tmp_path):
    rows = [{"query": f"summit {number}", "positive": "valley"} for number in range(8)]
    rows.append({"query": "river", "positive": "stone"})
    report = run_training(write_pairs(tmp_path / "pairs.jsonl", rows), held_out=0, recipe={"n_negatives": 0}).report
    assert (report.n_train, report.n_left_out, len(report.trained.steps.losses)) == (2, 7, 1)


def test_no_step_holds_a_query_or_an_answer_twice(pairs):
    training_set = read_training_set(pairs)
    examples = [replace(each, positives=(index // 3,)) for index, each in enumerate(training_set.examples)]
    steps = plan_steps(training_set.with_examples(examples), StepOptions(8, 2, 0))
    for step in steps:
        assert len({draw.positive for draw in step}) == len(step) == len({draw.example for draw in step})
    counts = np.bincount([draw.example for step in steps for draw in step], minlength=40)
    assert counts.max() == 2
    assert counts.sum() >= 2 * 40 - 2 * 3


@pytest.mark.parametrize(
    ("name", "rate", "freezes"),
    [("e5-small-v2", 3e-5, False), ("e5-base-v2", 2e-5, False), ("multilingual-e5-large", 1e-5, False),
     ("multilingual-e5-small", 3e-5, True)],
)  # fmt: skip
def test_the_recipe_is_that_of_the_papers(name, rate, freezes):
    from e5studio.models import get_model_meta

    meta = get_model_meta(name)
    n_words = {"e5-small-v2": 30_522, "e5-base-v2": 30_522}.get(name, 250_037) * meta.embed_dim
    recipe = recipe_for(meta, n_words, 100_000, device="cpu")
    assert (recipe.learning_rate, recipe.temperature, recipe.freezes_words) == (rate, 0.01, freezes)
    on_gpu = recipe_for(meta, n_words, 100_000, device="cuda:0")
    assert recipe_for(meta, n_words, 320, device="cpu").learning_rate == pytest.approx(3 * rate), "in a few steps"
    assert (on_gpu.freezes_words, on_gpu.n_negatives, on_gpu.max_tokens) == (False, 7, 192)


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((0.001, 0.2), "better"),
        ((0.0, 0.2), "no gain"),
        ((-0.1, 0.2), "no gain"),
        ((-0.2, -0.1), "worse"),
        (None, "too few queries"),
    ],
)
def test_better_only_where_the_interval_says_so(interval, word, trained):
    [verdict] = trained[0].report.verdicts
    comparison = Comparison(0.1, None if interval is None else Interval(*interval), 0.01)
    assert Verdict("set", True, verdict.before, verdict.after, comparison).word == word


def test_an_interval_that_the_test_contradicts_claims_nothing():
    """Of 22 queries five moved, all upwards: chance does that one time in 16."""
    before = np.zeros(22)
    after = np.where(np.arange(22) < 5, 0.4, 0.0)
    comparison = compare_means(before, after)
    assert comparison.interval.low > 0
    assert comparison.p_value == pytest.approx(1 / 16, abs=0.02)
    assert verdict_of(comparison) == "no gain"
