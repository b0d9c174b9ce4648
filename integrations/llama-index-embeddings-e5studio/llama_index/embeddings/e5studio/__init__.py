"""E5 embeddings for LlamaIndex, over the encoder of E5 Studio."""

from llama_index.embeddings.e5studio.base import E5Embedding

__all__ = ["E5Embedding"]
