"""Each mistake of the usual recipes moves the trained vectors, so a run that made one would be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from e5studio import E5Encoder
from e5studio.training.pairs_file import read_training_set
from e5studio.training.steps import StepOptions, plan_steps
from tests.training.conftest import RECIPE, make_pairs

TEXTS = [row["query"] for row in make_pairs(6, seed=5)]
N_EPOCHS = 2  # so that the warm-up has a step
STEP_OPTIONS = StepOptions(RECIPE["batch_size"], N_EPOCHS, 0)


def trained_by_hand(folder, training_set, *, query="query: ", document="passage: ", scale=100.0, pooling="mean"):
    """The recipe written out with transformers alone: vectors of `TEXTS` after training."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = transformers.BertModel.from_pretrained(folder, config=config, add_pooling_layer=False, dtype=torch.float32)
    steps = plan_steps(training_set, STEP_OPTIONS)
    decayed = {name for name, _ in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name}
    groups = [
        {"params": [p for n, p in model.named_parameters() if (n in decayed) is is_decayed], "weight_decay": decay}
        for is_decayed, decay in ((True, 0.01), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW(groups, lr=RECIPE["learning_rate"])
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, round(0.1 * len(steps)), len(steps))

    def embed(texts):
        batch = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        tokens, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None].float()
        return normalize(tokens[:, 0] if pooling == "cls" else (tokens * mask).sum(1) / mask.sum(1), dim=1)

    for step in steps:
        queries = embed([query + training_set.examples[draw.example].query for draw in step])
        documents = embed([document + training_set.documents[draw.positive] for draw in step])
        cross_entropy(scale * queries @ documents.T, torch.arange(len(step))).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    with torch.no_grad():  # judged alike, whatever the training was
        batch = tokenizer(["query: " + text for text in TEXTS], padding=True, return_tensors="pt")
        tokens, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None].float()
        return normalize((tokens * mask).sum(1) / mask.sum(1), dim=1).numpy()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from tests.training.conftest import write_pairs

    path = write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl", make_pairs(40))
    return path, read_training_set(path)


@pytest.fixture
def ours(run_training, data):
    result = run_training(data[0], held_out=0, recipe={"n_negatives": 0, "n_epochs": N_EPOCHS})
    return E5Encoder(result.folder, device="cpu").encode_query(TEXTS)


def test_a_run_is_the_recipe_written_out(ours, data, checkpoints):
    np.testing.assert_allclose(ours, trained_by_hand(checkpoints("e5").folder, data[1]), atol=1e-4)


@pytest.mark.parametrize("mistake", [{"query": "", "document": ""}, {"scale": 20.0}, {"pooling": "cls"}])
def test_each_usual_mistake_is_seen(mistake, ours, data, checkpoints):
    assert np.abs(ours - trained_by_hand(checkpoints("e5").folder, data[1], **mistake)).max() > 0.01
