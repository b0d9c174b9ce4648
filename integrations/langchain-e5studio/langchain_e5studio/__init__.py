"""E5 embeddings for LangChain, over the encoder of E5 Studio."""

from langchain_e5studio.embeddings import E5Embeddings

__all__ = ["E5Embeddings"]
