"""Pure functions over arrays that help to read embeddings."""
