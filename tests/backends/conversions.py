"""Graphs traced once a session: most tests are about what becomes of a conversion, not about tracing it again."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e5studio.backends import onnx_conversion, openvino, openvino_conversion
from e5studio.models import ModelMeta

_export = onnx_conversion.export
_to_openvino = functools.cache(openvino_conversion.convert)


@functools.cache
def _onnx_file(folder: Path, meta: ModelMeta) -> bytes:
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "model.onnx"
        _export(folder, meta, path)
        return path.read_bytes()


@contextmanager
def traced_once() -> Iterator[None]:
    """Trace each checkpoint at its first conversion only; files are written, read and checked as ever."""

    def export(folder: Path, meta: ModelMeta, path: Path) -> None:
        path.write_bytes(_onnx_file(folder, meta))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "_trace", _to_openvino)
        patch.setattr(onnx_conversion, "export", export)
        yield
