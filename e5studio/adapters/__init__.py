"""Drop-ins for the embedders of other packages: one module for each package, imported by its user.

Each is a few lines over `E5Encoder` or `Embedder`: prompts, length, order and precision are the core's.
Importing this package imports none of the others; docs/adapters.md has a recipe for each.
"""
