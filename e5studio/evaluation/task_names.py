"""Facts about a benchmark task by its name: mteb's spelling, its kind, the authors' instruction.

The instructions are those of E5's own evaluation (microsoft/unilm, e5/utils.py,
`get_task_def_by_task_name_and_type`), verbatim, with their mistakes: the published scores were measured with them.
"""

from __future__ import annotations

import re

# Types whose instruction is the same for all tasks.
_BY_TYPE = {
    "STS": "Retrieve semantically similar text.",
    "Summarization": "Given a news summary, retrieve other semantically similar summaries",
    "BitextMining": "Retrieve parallel sentences.",
}

_CQADUPSTACK = (
    "Given a question, retrieve detailed question descriptions from Stackexchange that are duplicates to the given "
    "question"
)
_CHINESE_SEARCH = "Given a Chinese search query, retrieve web passages that answer the question"
_CHINESE_MEDICAL = "Given a Chinese community medical question, retrieve replies that best answer the question"
_WEB_SEARCH = "Given a web search query, retrieve relevant passages that answer the query"
_WIKIPEDIA = "Given a question, retrieve Wikipedia passages that answer the question"

_BY_NAME = {
    # Classification
    "AmazonCounterfactualClassification": "Classify a given Amazon customer review text as either counterfactual or "
    "not-counterfactual",
    "AmazonPolarityClassification": "Classify Amazon reviews into positive or negative sentiment",
    "AmazonReviewsClassification": "Classify the given Amazon review into its appropriate rating category",
    "Banking77Classification": "Given a online banking query, find the corresponding intents",
    "EmotionClassification": "Classify the emotion expressed in the given Twitter message into one of the six "
    "emotions: anger, fear, joy, love, sadness, and surprise",
    "ImdbClassification": "Classify the sentiment expressed in the given movie review text from the IMDB dataset",
    "MassiveIntentClassification": "Given a user utterance as query, find the user intents",
    "MassiveScenarioClassification": "Given a user utterance as query, find the user scenarios",
    "MTOPDomainClassification": "Classify the intent domain of the given utterance in task-oriented conversation",
    "MTOPIntentClassification": "Classify the intent of the given utterance in task-oriented conversation",
    "ToxicConversationsClassification": "Classify the given comments as either toxic or not toxic",
    "TweetSentimentExtractionClassification": "Classify the sentiment of a given tweet as either positive, negative, "
    "or neutral",
    "TNews": "Classify the fine-grained category of the given news title",
    "IFlyTek": "Given an App description text, find the appropriate fine-grained category",
    "MultilingualSentiment": "Classify sentiment of the customer review into positive, neutral, or negative",
    "JDReview": "Classify the customer review for iPhone on e-commerce platform into positive or negative",
    "OnlineShopping": "Classify the customer review for online shopping into positive or negative",
    "Waimai": "Classify the customer review from a food takeaway platform into positive or negative",
    # Clustering
    "ArxivClusteringP2P": "Identify the main and secondary category of Arxiv papers based on the titles and abstracts",
    "ArxivClusteringS2S": "Identify the main and secondary category of Arxiv papers based on the titles",
    "BiorxivClusteringP2P": "Identify the main category of Biorxiv papers based on the titles and abstracts",
    "BiorxivClusteringS2S": "Identify the main category of Biorxiv papers based on the titles",
    "MedrxivClusteringP2P": "Identify the main category of Medrxiv papers based on the titles and abstracts",
    "MedrxivClusteringS2S": "Identify the main category of Medrxiv papers based on the titles",
    "RedditClustering": "Identify the topic or theme of Reddit posts based on the titles",
    "RedditClusteringP2P": "Identify the topic or theme of Reddit posts based on the titles and posts",
    "StackExchangeClustering": "Identify the topic or theme of StackExchange posts based on the titles",
    "StackExchangeClusteringP2P": "Identify the topic or theme of StackExchange posts based on the given paragraphs",
    "TwentyNewsgroupsClustering": "Identify the topic or theme of the given news articles",
    "CLSClusteringS2S": "Identify the main category of scholar papers based on the titles",
    "CLSClusteringP2P": "Identify the main category of scholar papers based on the titles and abstracts",
    "ThuNewsClusteringS2S": "Identify the topic or theme of the given news articles based on the titles",
    "ThuNewsClusteringP2P": "Identify the topic or theme of the given news articles based on the titles and contents",
    # Reranking and pair classification
    "AskUbuntuDupQuestions": "Retrieve duplicate questions from AskUbuntu forum",
    "MindSmallReranking": "Retrieve relevant news articles based on user browsing history",
    "SciDocsRR": "Given a title of a scientific paper, retrieve the titles of other relevant papers",
    "StackOverflowDupQuestions": "Retrieve duplicate questions from StackOverflow forum",
    "SprintDuplicateQuestions": "Retrieve duplicate questions from Sprint forum",
    "TwitterSemEval2015": "Retrieve tweets that are semantically similar to the given tweet",
    "TwitterURLCorpus": "Retrieve tweets that are semantically similar to the given tweet",
    "T2Reranking": _CHINESE_SEARCH,
    "MMarcoReranking": _CHINESE_SEARCH,
    "CMedQAv1": _CHINESE_MEDICAL,
    "CMedQAv2": _CHINESE_MEDICAL,
    "Ocnli": "Retrieve semantically similar text.",
    "Cmnli": "Retrieve semantically similar text.",
    # Retrieval
    "ArguAna": "Given a claim, find documents that refute the claim",
    "ClimateFEVER": "Given a claim about climate change, retrieve documents that support or refute the claim",
    "CQADupstack": _CQADUPSTACK,
    "DBPedia": "Given a query, retrieve relevant entity descriptions from DBPedia",
    "FEVER": "Given a claim, retrieve documents that support or refute the claim",
    "FiQA2018": "Given a financial question, retrieve user replies that best answer the question",
    "HotpotQA": "Given a multi-hop question, retrieve documents that can help answer the question",
    "MSMARCO": _WEB_SEARCH,
    "NFCorpus": "Given a question, retrieve relevant documents that best answer the question",
    "NQ": _WIKIPEDIA,
    "QuoraRetrieval": "Given a question, retrieve questions that are semantically equivalent to the given question",
    "SCIDOCS": "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper",
    "SciFact": "Given a scientific claim, retrieve documents that support or refute the claim",
    "Touche2020": "Given a question, retrieve detailed and persuasive arguments that answer the question",
    "TRECCOVID": "Given a query on COVID-19, retrieve documents that answer the query",
    "T2Retrieval": _CHINESE_SEARCH,
    "MMarcoRetrieval": _WEB_SEARCH,
    "DuRetrieval": _CHINESE_SEARCH,
    "CovidRetrieval": "Given a question on COVID-19, retrieve news articles that answer the question",
    "CmedqaRetrieval": _CHINESE_MEDICAL,
    "EcomRetrieval": "Given a user query from an e-commerce website, retrieve description sentences of relevant "
    "products",
    "MedicalRetrieval": "Given a medical question, retrieve user replies that best answer the question",
    "VideoRetrieval": "Given a video search query, retrieve the titles of relevant videos",
    "MIRACLRetrieval": _WIKIPEDIA,
}

_STS = ("STSBenchmark", "BIOSSES", "SICK-R", "STS12", "STS13", "STS14", "STS15", "STS16", "STS17", "STS22")

# As BEIR's folders are called, where that is more than another spelling.
_FOLDERS = {
    "cqadupstack": "CQADupstack",
    "dbpediaentity": "DBPedia",
    "fiqa": "FiQA2018",
    "miracl": "MIRACLRetrieval",
    "quora": "QuoraRetrieval",
    "webistouche2020": "Touche2020",
    "stsb": "STSBenchmark",
    "stsbenchmarksts": "STSBenchmark",
}

_BESIDE_A_KEY = re.compile(r"[^0-9a-z]")
_VARIANT = re.compile(r"(\.v\d+|HardNegatives|-reranking)+$", re.IGNORECASE)
_KNOWN = {_BESIDE_A_KEY.sub("", name.casefold()): name for name in (*_BY_NAME, *_STS)} | _FOLDERS

# The tasks for which mteb sets `ignore_identical_ids`; a test compares them with its registry.
_SKIP_OWN_ID = frozenset(
    """
    ArguAna ArguAna-Fa ArguAna-NL ArguAna-PL BSARDRetrieval DanFEVER EcomRetrieval FEVER FEVER-Fa FEVER-NL
    FeedbackQARetrieval FiQA-PL FiQA2018 FiQA2018-Fa FiQA2018-NL FiQADecontaminated IFIRFiQA JaCWIRRetrieval
    JaGovFaqsRetrieval LegalQANLRetrieval MLQuestions MMarcoRetrieval MMarcoRetrievalMultilingual MSMARCO
    MSMARCO-Fa MSMARCO-PL MedicalRetrieval NLPJournalAbsArticleRetrieval PersianWebDocumentRetrieval Quora-NL
    QuoraRetrieval QuoraRetrieval-Fa QuoraRetrievalDecontaminated RiaNewsRetrieval RuBQRetrieval
    RuSciBenchCiteRetrieval RuSciBenchCociteRetrieval SynPerChatbotRAGFAQRetrieval SynPerChatbotRAGTopicsRetrieval
    SynPerChatbotTopicsRetrieval SynPerQARetrieval T2Retrieval TRECDL2019 TRECDL2020 VideoRetrieval
    bBSARDNLRetrieval mMARCO-NL
    """.split()
)

# The authors' script embeds these documents as queries: like is searched among like.
_DOCUMENTS_AS_QUERIES = ("QuoraRetrieval",)


def known_task(name: str) -> str:
    """A task's name in mteb's spelling ("scifact" -> "SciFact"); an unknown name is returned unchanged."""
    return _KNOWN.get(_BESIDE_A_KEY.sub("", name.casefold()), name)


def authors_instruction(name: str, task_type: str) -> str | None:
    """The authors' instruction for a task; None if they have none.

    Args:
        name: mteb's name; a later version of a task ("STS22.v2") has the instruction of the first.
        task_type: mteb's type, such as "Retrieval" or "STS".
    """
    if task_type in _BY_TYPE:
        return _BY_TYPE[task_type]
    base = _base_name(name)
    if task_type == "Retrieval" and base.casefold().startswith("cqadupstack"):
        return _CQADUPSTACK
    return _BY_NAME.get(base)


def skips_own_id(name: str) -> bool:
    """Whether queries of this task are in the corpus under their own id and must not find themselves."""
    return _base_name(name) in _SKIP_OWN_ID


def has_documents_like_queries(name: str) -> bool:
    """Whether the authors embed this retrieval task's documents as queries."""
    return _base_name(name) in _DOCUMENTS_AS_QUERIES


def _base_name(name: str) -> str:
    return known_task(_VARIANT.sub("", name))
