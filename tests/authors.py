"""What the authors' two evaluation scripts feed to the tokenizer, task by task.

Written from microsoft/unilm, e5/mteb_beir_eval.py and e5/mteb_except_retrieval_eval.py, and kept
apart from `e5studio`, of which nothing is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference import Reference

INSTRUCTIONS = {
    "SciFact": "Given a scientific claim, retrieve documents that support or refute the claim",
    "QuoraRetrieval": "Given a question, retrieve questions that are semantically equivalent to the given question",
    "STSBenchmark": "Retrieve semantically similar text.",
    "Banking77Classification": "Given a online banking query, find the corresponding intents",
    "ArxivClusteringS2S": "Identify the main and secondary category of Arxiv papers based on the titles",
    "SprintDuplicateQuestions": "Retrieve duplicate questions from Sprint forum",
    "AskUbuntuDupQuestions": "Retrieve duplicate questions from AskUbuntu forum",
    "SummEval": "Given a news summary, retrieve other semantically similar summaries",
    "Tatoeba": "Retrieve parallel sentences.",
}


@dataclass(frozen=True)
class Authors:
    """The scripts' view of a model.

    Attributes:
        reference: Gives the tokenizer.
        prefix_type: "query_or_passage" or "instruction".
        pool_type: "avg" or "last".
    """

    reference: Reference
    prefix_type: str
    pool_type: str

    def prompt(self, task: str) -> str:
        if self.prefix_type == "query_or_passage":
            return "query: "
        return f"Instruct: {INSTRUCTIONS[task]}\nQuery: "

    def queries(self, task: str, queries: list[str]) -> list[str]:
        return [self.prompt(task) + query for query in queries]

    def corpus(self, task: str, corpus: list[dict[str, str]]) -> list[str]:
        if task in ["QuoraRetrieval"]:
            return self.queries(task, [document["text"] for document in corpus])
        texts = ["{} {}".format(document.get("title", ""), document["text"]).strip() for document in corpus]
        if self.prefix_type == "query_or_passage":
            return [f"passage: {text}" for text in texts]
        return texts

    def token_ids(self, input_texts: list[str]) -> list[list[int]]:
        make = self.reference.batch_with_eos if self.pool_type == "last" else self.reference.batch
        batch = make(input_texts, max_length=512)
        rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
        return [ids[mask.bool()].tolist() for ids, mask in rows]
