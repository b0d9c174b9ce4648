"""Sentences of the guide: the tour, and the glossary, whose words open their card wherever a sentence has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word that a newcomer cannot know.

    Attributes:
        name: As the glossary lists it.
        words: How sentences of the page write it, in small letters.
        meaning: What it is, and what follows for the reader.
    """

    name: str
    words: tuple[str, ...]
    meaning: str


TOUR_TITLE = "The Studio in a minute"
TOUR: tuple[tuple[str, str], ...] = (
    (
        "Texts",
        "Write queries and passages on the left, one on each line, or press an example. A few short texts are scored "
        "as you type; Score does it for more.",
    ),
    (
        "Scores",
        "Each cell compares two texts. Compare the cells of a row with each other: the outlined one is the best. Click "
        "a cell to see which words carry its score.",
    ),
    ("Map", "Texts of like meaning lie near each other. Click a point to see which texts are nearest to it in truth."),
    ("Compare", "The same texts with another model, prompt or precision: what changes, and for which texts."),
    ("Corpus", "Drop a file anywhere on the page to search it, to see it as a map, and to measure the search."),
    ("Diagnose and Code", "What is wrong or unusual about your texts, and programs that compute the same scores."),
    (
        "Take it with you",
        "Copy link holds texts and settings. Below each result you can save pictures, tables, a page.",
    ),
)
GLOSSARY_TITLE = "Words"
CLOSE = "Close"

GLOSSARY: tuple[Term, ...] = (
    Term(
        "Embedding",
        ("embedding", "embeddings", "vector", "vectors"),
        "A list of numbers, some hundreds of them, that a model makes of a text. Texts of like meaning get like lists.",
    ),
    Term(
        "Cosine \N{MULTIPLICATION SIGN} 100",
        ("cosine \N{MULTIPLICATION SIGN} 100", "cosine"),
        "The score: how alike the directions of two vectors are, 100 for the same. It is no percentage of likeness. E5 "
        "gives 70 and more even to unrelated texts, so that the order of scores says more than their height.",
    ),
    Term(
        "Prompt",
        ("prompt", "prompts", "in front of queries", "in front of passages"),
        "A few words that are put in front of every text, such as “query: ”. The model was trained with them and "
        "scores worse without. E5's papers call them prefixes.",
    ),
    Term(
        "Instruction",
        ("instruction",),
        "The task in a sentence, in front of each query. Models with “instruct” in their name take one.",
    ),
    Term(
        "Token",
        ("tokens", "token"),
        "A piece of text as the model reads it: a short word, or a part of a longer one. Prompts count too.",
    ),
    Term(
        "Truncation",
        ("longer than the model reads", "cut off", "read whole", "never read"),
        "A model reads so many tokens of a text, most of E5 512. What comes after them changes nothing in its vector. "
        "Split long texts.",
    ),
    Term(
        "Pooling",
        ("takes the mean of its tokens", "into its last token", "pooling"),
        "How the vectors of a text's tokens become one: most of E5 take their mean, e5-mistral takes the last token's.",
    ),
    Term(
        "Softmax",
        ("softmax", "share of row"),
        "Turns the scores of a row into shares of 100 %, as the training did. A share says how far the best is ahead "
        "of the others in this row, not how likely it is to be right.",
    ),
    Term(
        "PCA",
        ("pca",),
        "A map along the directions in which the texts differ most. It bends nothing, and loses what differs in other "
        "directions.",
    ),
    Term(
        "UMAP and t-SNE",
        ("umap", "t-sne"),
        "Maps that keep near texts together and give up far distances. Sizes of groups, gaps between them and axes "
        "mean nothing.",
    ),
    Term(
        "Trustworthiness",
        ("trustworthiness",),
        "Whether the neighbours of a text on the map are near it in truth: 1 where all are, about 0.5 by chance.",
    ),
    Term(
        "Topics by k-means",
        ("k-means", "silhouette"),
        "K-means parts texts into groups around their means. The silhouette says how far the groups are apart: 1 for "
        "clearly, 0 for not at all.",
    ),
    Term(
        "Hub",
        ("hubs", "hub", "skewness"),
        "A text that is among the nearest of very many others. It comes up in searches that it has nothing to do with.",
    ),
    Term(
        "BEIR",
        ("beir",),
        "Fifteen public data sets for search. In the list of models, BEIR is the mean nDCG@10 over them, times 100, "
        "as the authors published it.",
    ),
    Term(
        "nDCG@10",
        ("ndcg@10", "ndcg"),
        "How good the first ten hits are: 1 where the best answers come first, less the further down they come, 0 "
        "where none is among them.",
    ),
    Term(
        "MRR and Recall@k",
        ("mean reciprocal rank", "mrr", "recall"),
        "MRR is the mean of 1 / rank of the first right hit. Recall@k is the share of the right ones that are among "
        "the first k.",
    ),
    Term(
        "95 % interval",
        ("95 % interval", "interval", "chance"),
        "Other queries would have given another mean; with 95 of 100 such sets it lies within. Where the interval of a "
        "difference holds 0, the difference may be chance.",
    ),
    Term(
        "float32, bfloat16, int8",
        ("float32", "bfloat16", "int8", "precision"),
        "How exactly a model computes. float32 gives the published vectors; bfloat16 and int8 are faster and take less "
        "memory, and their vectors differ a little. Never mix vectors of two precisions.",
    ),
    Term(
        "Fingerprint",
        ("fingerprint",),
        "A short code for all that changes a vector: model, revision, precision, length. Only vectors with the same "
        "one can be compared.",
    ),
)
