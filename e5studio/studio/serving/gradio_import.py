"""What must be settled before Gradio is imported: which settings it reads, and that it writes no files of its own.

Importing this module does not import Gradio.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from e5studio.network import send_no_telemetry

GRADIO_SETTINGS = {"GRADIO_ROOT_PATH", "GRADIO_TEMP_DIR"}
"""Variables of the environment that are left to Gradio."""

_STUBS_MODULE = "gradio.component_meta"


def set_up_gradio() -> None:
    """Have Gradio read none of the host's settings but those of the page, send no telemetry, and start fast.

    Must run before it or the Hub's client is imported. Its other variables are for pages that are being written: one
    makes `launch` wait, others start processes, watch folders or open them to visitors, and a value that it cannot
    read ends its import.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_") and name not in GRADIO_SETTINGS]:
        del os.environ[name]
    send_no_telemetry()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Gradio would compute statistics of the latest events, at each event, for a page that is not served.
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000000000"
    os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "1"
    if not any(isinstance(finder, _WithoutStubs) for finder in sys.meta_path):
        sys.meta_path.insert(0, _WithoutStubs())


class _WithoutStubs(MetaPathFinder):
    """Imports Gradio without its type stubs.

    For each class of a component, Gradio parses the file of the class twice and writes a .pyi file beside it, for
    editors. That is a third of the time of its import.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _STUBS_MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_without_stubs(module: ModuleType) -> None:
            execute(module)
            module.create_or_modify_pyi = lambda *_: None  # type: ignore[attr-defined]

        spec.loader.exec_module = execute_without_stubs  # type: ignore[method-assign]
        return spec
