"""The left column: model, texts, prompts, examples, links."""
