"""Puts the commands together into one program."""

from __future__ import annotations

import typer

from e5studio import __version__
from e5studio.cli.encode import encode
from e5studio.cli.evaluate import evaluate
from e5studio.cli.jobs import jobs
from e5studio.cli.mine import mine
from e5studio.cli.models import models
from e5studio.cli.score import score
from e5studio.cli.search import search
from e5studio.cli.serve import serve
from e5studio.cli.studio import studio
from e5studio.cli.terminal import PlainCommand
from e5studio.cli.train import train
from e5studio.network import send_no_telemetry
from e5studio.streams import set_up_streams
from e5studio.studio.launch import ending_at_once

app = typer.Typer(
    name="e5studio",
    help="E5 text embeddings with the recipe exactly right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (models, score, encode, search, evaluate, train, mine, serve, studio):
    app.command(cls=PlainCommand)(_command)
app.add_typer(jobs, name="jobs")


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line of this process."""
    set_up_streams()
    send_no_telemetry()
    with ending_at_once():
        app(prog_name="e5studio")
