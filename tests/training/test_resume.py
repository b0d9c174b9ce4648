"""A run that was killed goes on to the same weights; short memory makes the parts of a step smaller."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import pytest
import safetensors.numpy
import safetensors.torch
import torch

from e5studio.errors import NonFiniteError, OutOfMemoryError, OutputError
from e5studio.options import ModelOptions
from e5studio.training import TrainOptions, step_loss, train
from e5studio.training.work_folder import read_note, write_note, writing
from tests.training.conftest import RECIPE, make_pairs, write_pairs

EVERY_STEP = {"checkpoint_seconds": 0.0, "has_dropout": True}


class KilledError(Exception):
    """In place of the system's kill: nothing below catches it, and nothing is tidied up after it."""


def weights_of(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def assert_same_weights(one, other):
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert max(abs(first[name] - second[name]).max() for name in first) <= 1e-6


def killing_at(stage, step):
    def on_stage(name, done, _total):
        if (name, done) == (stage, step):
            raise KilledError

    return on_stage


@pytest.fixture(scope="module")
def whole(checkpoints, tmp_path_factory):
    """A run over the same pairs that nothing interrupted."""
    root, made = tmp_path_factory.mktemp("whole"), checkpoints("e5")
    parent = ModelOptions(made.meta, path=made.folder, device="cpu", backend="torch")
    path = write_pairs(root / "pairs.jsonl", make_pairs(40))
    return train(path, parent, root / "my-e5", TrainOptions(recipe={**RECIPE, **EVERY_STEP}))


@pytest.mark.parametrize("step", [1, 3])
def test_a_stopped_run_ends_as_an_uninterrupted_one(step, whole, run_training, pairs, tmp_path):
    with pytest.raises(KilledError):
        run_training(pairs, output="stopped", recipe=EVERY_STEP, on_stage=killing_at("training", step))
    assert not (tmp_path / "stopped").exists()
    resumed = run_training(pairs, output="stopped", recipe=EVERY_STEP)
    assert resumed.report.trained.steps.n_resumed == step - 1  # the step's own checkpoint is written after it
    assert resumed.report.trained.steps.losses == pytest.approx(whole.report.trained.steps.losses, abs=1e-5)
    assert_same_weights(whole.folder, resumed.folder)


def test_half_a_checkpoint_is_none(whole, run_training, pairs, tmp_path):
    with pytest.raises(KilledError):
        run_training(pairs, output="stopped", recipe=EVERY_STEP, on_stage=killing_at("training", 4))
    checkpoints = tmp_path / "stopped.train" / "checkpoints"
    newest = max(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    half = shutil.copytree(newest, checkpoints / "checkpoint-4")
    (half / "whole").unlink()
    (half / "trained.safetensors").write_bytes(b"half")
    assert_same_weights(whole.folder, run_training(pairs, output="stopped", recipe=EVERY_STEP).folder)


def test_a_run_stopped_after_training_does_not_train_again(run_training, pairs):
    with pytest.raises(KilledError):
        run_training(pairs, on_stage=killing_at("after", 40))
    stages = []
    result = run_training(pairs, on_stage=lambda *stage: stages.append(stage[0]))
    assert "training" not in stages
    assert len(result.report.trained.steps.losses) == 4
    assert result.report.seconds["training"] > 0


def test_other_data_or_settings_do_not_go_on_with_it(run_training, pairs, tmp_path):
    with pytest.raises(KilledError):
        run_training(pairs, recipe=EVERY_STEP, on_stage=killing_at("training", 2))
    stages = []
    for changes in ({"recipe": {**EVERY_STEP, "learning_rate": 1e-4}}, {"is_symmetric": True}, {"held_out": 0.4}):
        with pytest.raises(OutputError, match="other settings"):
            run_training(pairs, **{"recipe": EVERY_STEP, **changes}, on_stage=lambda *stage: stages.append(stage))
    write_pairs(pairs, make_pairs(41))
    with pytest.raises(OutputError, match=r"other settings \(data\)"):
        run_training(pairs, recipe=EVERY_STEP, on_stage=lambda *stage: stages.append(stage))
    assert stages == [], "refused before anything is computed"


@pytest.mark.parametrize("name", ["trained.safetensors", "optimizer.pt", "whole"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(name, whole, run_training, pairs, tmp_path):
    with pytest.raises(KilledError):
        run_training(pairs, output="stopped", recipe=EVERY_STEP, on_stage=killing_at("training", 4))
    path = tmp_path / "stopped.train" / "checkpoints" / "checkpoint-3" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    resumed = run_training(pairs, output="stopped", recipe=EVERY_STEP)
    assert resumed.report.trained.steps.n_resumed == 2
    assert_same_weights(whole.folder, resumed.folder)


def test_a_full_disk_is_a_sentence_and_costs_nothing(whole, run_training, pairs, monkeypatch):
    save, full = safetensors.torch.save_file, [False, True, True]

    def save_or_fail(tensors, path, **options):
        if full.pop(0) if full else False:
            raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")
        save(tensors, path, **options)

    monkeypatch.setattr(safetensors.torch, "save_file", save_or_fail)
    for _ in range(2):
        with pytest.raises(OutputError, match=r"cannot be written .* MB are free\): .*No space left"):
            run_training(pairs, output="stopped", recipe=EVERY_STEP)
    resumed = run_training(pairs, output="stopped", recipe=EVERY_STEP)
    assert resumed.report.trained.steps.n_resumed == 1
    assert_same_weights(whole.folder, resumed.folder)


def test_a_note_is_whole_or_missing(tmp_path):
    write_note(tmp_path / "note", {"a": 1})
    assert read_note(tmp_path / "note") == {"a": 1}
    (tmp_path / "note").write_bytes(b'{"a": ')
    assert read_note(tmp_path / "note") is None
    assert read_note(tmp_path / "missing") is None


def test_faults_other_than_of_writing_stay_what_they_are(tmp_path):
    with pytest.raises(KeyError), writing("The model", tmp_path):
        raise KeyError("name")
    with pytest.raises(RuntimeError, match="out of memory"), writing("The model", tmp_path):
        raise RuntimeError("CUDA out of memory")
    with pytest.raises(OutputError, match=r"The model cannot be written to .* Free some space"):
        with writing("The model", tmp_path):
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


def test_a_model_that_was_moved_away_is_trained_again(run_training, pairs, tmp_path):
    with pytest.raises(KilledError):
        run_training(pairs, on_stage=killing_at("after", 40))
    shutil.rmtree(tmp_path / "my-e5.train" / "model")
    assert len(run_training(pairs).report.trained.steps.losses) == 4


def test_weights_that_run_away_are_a_sentence(run_training, pairs, monkeypatch):
    loss = step_loss.contrastive_loss
    monkeypatch.setattr(step_loss, "contrastive_loss", lambda *given, **options: loss(*given, **options) * torch.nan)
    with pytest.raises(NonFiniteError, match="smaller --learning-rate"):
        run_training(pairs, held_out=0)


def test_two_runs_never_share_a_folder(run_training, pairs, tmp_path):
    from e5studio import file_lock

    (tmp_path / "my-e5.train").mkdir()
    with file_lock.held(tmp_path / "my-e5.train" / "lock"), pytest.raises(OutputError, match="Another run"):
        run_training(pairs)


PROGRAM = """
import os, sys, torch
torch.set_num_threads(1)
from e5studio.options import ModelOptions
from e5studio.training import TrainOptions, train
pairs, model, output, recipe = sys.argv[1], sys.argv[2], sys.argv[3], eval(sys.argv[4])
def on_stage(stage, done, total):
    if (stage, done) == ("training", 3):
        os.kill(os.getpid(), 9)
parent = ModelOptions(model, prompt_kind="query_passage", device="cpu", backend="torch")
train(pairs, parent, output, TrainOptions(recipe=recipe), on_stage=on_stage)
"""


@pytest.mark.long
def test_kill_minus_nine(whole, run_training, pairs, checkpoints, tmp_path):
    recipe = repr({**RECIPE, **EVERY_STEP})
    arguments = [str(pairs), str(checkpoints("e5").folder), str(tmp_path / "killed"), recipe]
    assert subprocess.run([sys.executable, "-c", PROGRAM, *arguments], timeout=280).returncode == -signal.SIGKILL
    resumed = run_training(pairs, output="killed", recipe=EVERY_STEP)
    assert resumed.report.trained.steps.n_resumed == 2
    assert_same_weights(whole.folder, resumed.folder)


def short_of_memory(monkeypatch, most_tokens):
    embed = step_loss.StepLoss._embed_chunk

    def embed_or_fail(self, ids, mask):
        if torch.is_grad_enabled() and ids.numel() > most_tokens:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return embed(self, ids, mask)

    monkeypatch.setattr(step_loss.StepLoss, "_embed_chunk", embed_or_fail)


def test_short_memory_halves_the_parts_and_changes_no_loss(run_training, tmp_path, monkeypatch):
    pairs = write_pairs(tmp_path / "few.jsonl", make_pairs(12))
    usual = run_training(pairs, output="usual", held_out=0)
    short_of_memory(monkeypatch, 60)
    monkeypatch.setattr("e5studio.training.trainer.MIN_CHUNK_TOKENS", 16)
    short = run_training(pairs, output="short", held_out=0)
    steps = short.report.trained.steps
    assert steps.n_halved >= 4
    assert steps.losses == pytest.approx(usual.report.trained.steps.losses, abs=1e-3)


def test_no_memory_at_all_is_a_sentence(run_training, pairs, monkeypatch):
    short_of_memory(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match="does not fit into memory, in the smallest chunks"):
        run_training(pairs, held_out=0)
