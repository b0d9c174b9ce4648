"""BERTopic, KeyBERT and SetFit take the model in place of a SentenceTransformer."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from e5studio.adapters.sentence_transformers import E5SentenceTransformer
from e5studio.errors import UnsupportedError

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # KeyBERT imports litellm where it is, which asks the network
TEXTS = [
    "Female adults need forty-six grams of protein a day.",
    "Protein is in beans, fish and eggs.",
    "The summit is the highest point of a mountain.",
    "Climbers reach the summit of the mountain in May.",
]


def imported(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture
def model(offline_encoder):
    return E5SentenceTransformer(offline_encoder)


def test_keybert(model):
    keywords = imported("keybert").KeyBERT(model=model).extract_keywords(TEXTS[:2], top_n=1)
    assert [word for scored in keywords for word, _ in scored] == ["protein", "protein"]


@pytest.mark.filterwarnings("ignore")
def test_bertopic(model):
    bertopic = imported("bertopic")
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    topics = bertopic.BERTopic(
        embedding_model=model,
        umap_model=PCA(2),
        hdbscan_model=KMeans(2, random_state=0),
        representation_model=bertopic.representation.KeyBERTInspired(),
    )
    assigned, _ = topics.fit_transform(TEXTS)
    assert assigned[0] == assigned[1] != assigned[2] == assigned[3]
    [topic], _ = topics.find_topics("mountains", top_n=1)
    assert topic == assigned[2]


@pytest.mark.filterwarnings("ignore")
def test_setfit_uses_it_and_is_refused_its_training(model):
    setfit = imported("setfit")
    from datasets import Dataset
    from sklearn.linear_model import LogisticRegression

    classifier = setfit.SetFitModel(model_body=model, model_head=LogisticRegression())
    classifier.fit(TEXTS, [0, 0, 1, 1], num_epochs=1)  # the head alone
    assert np.array_equal(classifier.predict(["Eggs have protein.", "High mountains"]), [0, 1])
    with pytest.raises(UnsupportedError, match=r"SentenceTransformer, train and save it there"):
        setfit.Trainer(
            model=classifier,
            args=setfit.TrainingArguments(report_to="none"),
            train_dataset=Dataset.from_dict({"text": TEXTS, "label": [0, 0, 1, 1]}),
        )
