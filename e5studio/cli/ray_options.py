"""The options by which `e5studio encode` has its shards made by Ray."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import typer

from e5studio.jobs.ray import Actors

_PANEL = "Ray (a folder of shards made by actors)"
_NUMBERS = re.compile(r"([1-9]\d*)(?:-([1-9]\d*))?")


@dataclass(frozen=True)
class RayOptions:
    """Where Ray is, and its actors."""

    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="local starts Ray on this machine, auto finds the cluster of this machine; or its address.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    actors: Annotated[
        str,
        typer.Option(
            metavar="N or N-M", help="Actors; with 2-16 Ray adds some where there is room.", rich_help_panel=_PANEL
        ),
    ] = "1"
    actor_cpus: Annotated[
        int, typer.Option(min=1, help="Processors of an actor, the threads of its model.", rich_help_panel=_PANEL)
    ] = 1
    actor_gpus: Annotated[float, typer.Option(min=0, help="GPUs of an actor.", rich_help_panel=_PANEL)] = 0.0

    def pool(self, *, is_file: bool) -> Actors | None:
        """The actors; None without Ray."""
        if self.ray is None:
            return None
        if is_file:
            raise typer.BadParameter(
                "Actors make a folder of shards: give --output a name without an ending. `e5studio jobs merge` makes "
                "one file of it.",
                param_hint="--ray",
            )
        numbers = _NUMBERS.fullmatch(self.actors)
        least, most = (int(each or 0) for each in numbers.groups()) if numbers else (0, 0)
        if not least or (most and most < least):
            raise typer.BadParameter(
                f"{self.actors!r} is no number of actors. Write 4, or 2-16.", param_hint="--actors"
            )
        return Actors(least, most or None, self.actor_cpus, self.actor_gpus)
