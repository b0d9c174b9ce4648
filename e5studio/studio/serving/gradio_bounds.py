"""Bounds on what Gradio takes without any, by inner names of Gradio: see `gradio_patches`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from gradio import route_utils, routes
from gradio.route_utils import FileUploadProgress, GradioMultiPartParser
from starlette.formparsers import MultiPartException

from e5studio.studio.serving.connections import BoundedConnection, connection_limit
from e5studio.studio.serving.log_limit import limit_log_lines
from e5studio.studio.serving.visitors import Shares

MAX_FILES_OF_UPLOAD = 10
"""Most files of one upload; the page sends one."""

_MAX_UPLOADS_WATCHED = 1_000


def bound_gradio() -> None:
    """Bound connections, uploads and log lines; before a page is launched."""
    limit_log_lines()
    BoundedConnection.connections_of = Shares(connection_limit())
    route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]
    routes.file_upload_statuses = UploadProgress()


class UploadParser(GradioMultiPartParser):
    """Gradio's parser of uploads (route_utils.py), for a few files and nothing else.

    Gradio's takes a thousand files at once, holds fields that are no files in memory, and leaves the files of an upload
    that breaks off.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "max_files": MAX_FILES_OF_UPLOAD, "max_fields": 1})

    def on_headers_finished(self) -> None:
        """As Gradio's, for files.

        Raises:
            MultiPartException: It is no file.
        """
        super().on_headers_finished()
        if self._current_part.file is None or self._current_part.field_name != "files":
            raise MultiPartException("An upload has files only, in fields named 'files'.")

    async def parse(self) -> Any:
        """As Gradio's; deletes what was written where it fails."""
        try:
            return await super().parse()
        except BaseException:
            for file in self._files_to_close_on_error:
                file.close()
                with suppress(OSError):
                    Path(file.name).unlink()
            raise


class UploadProgress(FileUploadProgress):
    """Gradio's progress of uploads (route_utils.py), which keeps every name that anybody ever asked for."""

    def track(self, upload_id: str) -> None:
        """As Gradio's; forgets the oldest of many."""
        super().track(upload_id)
        while len(self._statuses) > _MAX_UPLOADS_WATCHED:
            self.stop_tracking(next(iter(self._statuses)))

    async def is_tracked(self, upload_id: str) -> bool:
        """As Gradio's; forgets a name that no upload has."""
        try:
            return await super().is_tracked(upload_id)
        finally:
            if upload_id not in self._statuses:
                self._signals.pop(upload_id, None)

    def stop_tracking(self, upload_id: str) -> None:
        """As Gradio's, the signal too."""
        super().stop_tracking(upload_id)
        self._signals.pop(upload_id, None)
