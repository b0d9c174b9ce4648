"""`e5studio serve`: embeddings over HTTP, on the routes of OpenAI, TEI, Cohere and Ollama."""

from __future__ import annotations

import importlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from e5studio.backends import BackendName, DType
from e5studio.cli.options import grouped, model_or_default, not_blank
from e5studio.cli.terminal import say
from e5studio.errors import MissingDependencyError
from e5studio.models import PromptKind
from e5studio.options import EncodeOptions, ModelOptions
from e5studio.server.listening import bind
from e5studio.server.loading import load_models, read_model

_PACKAGES = ("starlette", "uvicorn", "orjson", "prometheus_client")
_LIMITS = "Limits"
_MODELS = "Models"


@dataclass(frozen=True)
class ServedModels:
    """The options that say which models are served, and how they compute."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL[=KIND]",
            envvar=["E5STUDIO_SERVE_MODELS", "E5STUDIO_MODEL"],
            help="A model, another Hub id, or a local folder, followed by =query_passage, =instruct or =none where it "
            "does not say how it was trained; may be repeated. In the environment: with spaces between.",
            rich_help_panel=_MODELS,
        ),
    ] = None
    prompt_kind: Annotated[
        PromptKind | None,
        typer.Option(
            envvar="E5STUDIO_PROMPT_KIND", help="The same as =KIND, for every model.", rich_help_panel=_MODELS
        ),
    ] = None
    backend: Annotated[
        BackendName, typer.Option(envvar="E5STUDIO_BACKEND", help="What computes.", rich_help_panel=_MODELS)
    ] = "auto"
    dtype: Annotated[
        DType, typer.Option(envvar="E5STUDIO_DTYPE", help="Precision; auto is float32.", rich_help_panel=_MODELS)
    ] = "auto"
    device: Annotated[
        str, typer.Option(envvar="E5STUDIO_DEVICE", help="auto, cpu, cuda, mps.", rich_help_panel=_MODELS)
    ] = "auto"
    max_tokens: Annotated[
        int | None,
        typer.Option(min=4, envvar="E5STUDIO_MAX_TOKENS", help="Tokens read of a text.", rich_help_panel=_MODELS),
    ] = None
    local_files_only: Annotated[
        bool, typer.Option("--local-files-only", help="Never download.", rich_help_panel=_MODELS)
    ] = False

    def named(self) -> list[ModelOptions]:
        """The options of each model; of the default one where none is named."""
        options = ModelOptions(
            "",
            prompt_kind=self.prompt_kind,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            local_files_only=self.local_files_only,
        )
        return [read_model(name, options) for name in self.model or [model_or_default(None)]]


@dataclass(frozen=True)
class ServerLimits:
    """The options that bound what is admitted."""

    max_client_batch_size: Annotated[
        int,
        typer.Option(
            min=1, envvar="E5STUDIO_MAX_CLIENT_BATCH_SIZE", help="Texts of a request.", rich_help_panel=_LIMITS
        ),
    ] = 2_048
    payload_limit: Annotated[
        int,
        typer.Option(min=1_000, envvar="E5STUDIO_PAYLOAD_LIMIT", help="Bytes of a request.", rich_help_panel=_LIMITS),
    ] = 8_000_000
    max_concurrent_requests: Annotated[
        int,
        typer.Option(
            min=1, envvar="E5STUDIO_MAX_CONCURRENT_REQUESTS", help="Requests at a time.", rich_help_panel=_LIMITS
        ),
    ] = 512
    max_queue_tokens: Annotated[
        int,
        typer.Option(
            min=512, envvar="E5STUDIO_MAX_QUEUE_TOKENS", help="Tokens that may wait.", rich_help_panel=_LIMITS
        ),
    ] = 1 << 20
    drain_seconds: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="E5STUDIO_DRAIN_SECONDS",
            help="Time to answer what was admitted, at the end.",
            rich_help_panel=_LIMITS,
        ),
    ] = 60


@grouped
def serve(
    *,
    models: ServedModels,
    limits: ServerLimits,
    host: Annotated[str, typer.Option(envvar="E5STUDIO_HOST", help="0.0.0.0 for all addresses.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, envvar="E5STUDIO_PORT", help="0 for any free one.")] = 8080,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            callback=lambda keys: keys and [key for key in keys if not_blank(key)],
            envvar="E5STUDIO_API_KEY",
            help="Keys that open; without one the server is open.",
        ),
    ] = None,
    default_role: Annotated[
        Literal["refuse", "query", "document", "none"],
        typer.Option(
            envvar="E5STUDIO_DEFAULT_ROLE",
            help="The role of texts of which a request says none; none: their clients put the prompt in front.",
        ),
    ] = "refuse",
    token_ids: Annotated[
        Literal["refuse", "own", "cl100k"],
        typer.Option(envvar="E5STUDIO_TOKEN_IDS", help="Whose vocabulary token ids in place of texts are of."),
    ] = "refuse",
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(envvar="E5STUDIO_CORS_ORIGIN", help="Pages of this address may call; none by default."),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json-output", envvar="E5STUDIO_JSON_OUTPUT", help="Log JSON.")
    ] = False,
) -> None:
    """Serve embeddings over HTTP, on the routes of OpenAI, TEI, Cohere and Ollama."""
    _check_packages()
    named = models.named()
    with bind(host, port) as listener, ThreadPoolExecutor(1) as thread:
        importing = thread.submit(_import_server)  # beside the models: it takes a third of the time that they take
        served, leases = load_models(named, EncodeOptions(max_tokens=models.max_tokens, show_progress=False))
        run, application = importing.result()
        run.log_to_stderr(as_json=json_output)
        server = application.Server(
            served,
            application.ServerOptions(
                roles=application.Roles(default_role),
                token_ids=application.TokenIds.load(token_ids),
                limits=application.Limits(
                    max_body_bytes=limits.payload_limit, max_concurrent=limits.max_concurrent_requests
                ),
                max_items=limits.max_client_batch_size,
                max_queue_tokens=limits.max_queue_tokens,
                api_keys=api_key or (),
                cors_origins=cors_origin or (),
            ),
        )
        address = f"[{host}]" if ":" in host else host
        listed = ", ".join(each.name for each in served)
        listener.listen()  # before anybody is told where
        say(f"Serving {listed} on http://{address}:{listener.getsockname()[1]}")
        run.serve(listener, server, drain_seconds=limits.drain_seconds)
        for lease in leases:
            lease.release()


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"The server needs {', '.join(missing)}.", "Install it with: pip install 'e5studio[server]'"
        )


def _import_server() -> tuple[Any, Any]:
    return importlib.import_module("e5studio.server.run"), importlib.import_module("e5studio.server.app")
