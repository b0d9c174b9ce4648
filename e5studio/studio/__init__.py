"""The Studio: a page on which people see what the embeddings say.

`launch` starts it, `app` lays it out, `engine` does the work without knowing Gradio.
Importing this package loads nothing; Gradio is imported by the layout modules alone.
"""
