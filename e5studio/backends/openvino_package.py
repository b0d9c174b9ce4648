"""The openvino package, imported without its telemetry; an earlier import by other code stays as it is.

By default, OpenVINO reports every import to its makers, from a forked process.
"""

from __future__ import annotations

import sys
from typing import Any

_REPORTER = "openvino_telemetry"


def _import_quietly() -> Any:
    modules: dict[str, Any] = sys.modules
    is_blocked = modules.setdefault(_REPORTER, None) is None  # OpenVINO works without a module that can't be imported
    try:
        import openvino
    finally:
        if is_blocked:
            del modules[_REPORTER]
    return openvino


openvino: Any = _import_quietly()
