"""Processes that serve a benchmark: one line of JSON asks, one answers.

Needs Python alone, because peers' environments import it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parent.parent


class WorkerError(Exception):
    """The worker's own sentence about what failed."""


class Worker:
    """A process that serves requests.

    Args:
        python: Its interpreter.
        script: A file of this folder.
        arguments: For the script.
        log: Where its stderr goes; None shares ours.
        environment: Variables to set for it.
    """

    def __init__(
        self,
        python: str,
        script: str,
        *arguments: str,
        log: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._name = " ".join((script, *arguments))
        self._log = log.open("w") if log else None
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name(script)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for the answer.

        Raises:
            WorkerError: The worker died.
        """
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self._process.stdout.readline()
        if not answer:
            raise WorkerError(f"{self._name} died over {request.get('do')!r}.")
        return json.loads(answer)

    def call(self, do: str, **request: Any) -> Any:
        """As `ask`, of a worker that answers {"answer": ...} or {"failed": sentence}.

        Raises:
            WorkerError: With the sentence.
        """
        reply = self.ask(do=do, **request)
        if "failed" in reply:
            raise WorkerError(reply["failed"])
        return reply["answer"]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        if self._log:
            self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def serve(server: Any) -> None:
    """Answer requests on stdin with the server's methods until it ends; for the process that a Worker starts.

    What a method raises is answered with its sentence. What is printed meanwhile goes to stderr.
    """
    answers = sys.stdout
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any]
        with contextlib.redirect_stdout(sys.stderr):
            try:
                answer = {"answer": getattr(server, request.pop("do"))(**request)}
            except Exception as error:
                answer = {"failed": f"{type(error).__name__}: {error}".split("\n")[0]}
        print(json.dumps(answer), file=answers, flush=True)
