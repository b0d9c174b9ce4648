"""The HTTP server: OpenAI's, TEI's, Cohere's and Ollama's embedding routes over one engine. It knows no Gradio.

A request goes through these modules, in this order:

- `app`: all routes. `endpoint`: what every request has in common: key, body, answer, one log line.
- `limits`: what a request may cost, checked before it costs that.
- `dialects`: thin translations; a dialect knows field names, answers and errors, and nothing of batches.
- `roles`: which prompt goes in front of the texts. No choice is an error, unless the server has a default.
- `text_engine`: what dialects ask of an engine. The Studio has one of its own, and serves two of the dialects.
- `engine`: the texts of all waiting requests become batches; `batch_queue` says which texts come next.

`run` starts uvicorn and ends it when the process is asked to end.
"""
