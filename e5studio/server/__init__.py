"""The HTTP server: OpenAI's, TEI's, Cohere's and Ollama's embedding routes over one engine. It knows no Gradio.

A request goes through these modules, in this order:

- `app`: routes, and what every request has in common: key, body, answer, metrics, one log line.
- `limits`: what a request may cost, checked before it costs that.
- `dialects`: thin translations; a dialect knows field names, answers and errors, and nothing of batches.
- `roles`: which prompt goes in front of the texts. No choice is an error, unless the server has a default.
- `engine`: the texts of all waiting requests become batches; `batch_queue` says which texts come next.

`run` starts uvicorn and ends it when the process is asked to end.
"""
