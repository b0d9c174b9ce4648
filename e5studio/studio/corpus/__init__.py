"""Thousands of texts: read from a file, embedded, searched, mapped, measured with known answers. Knows no Gradio."""
