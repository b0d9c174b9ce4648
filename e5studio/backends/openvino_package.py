"""The openvino package, imported without its telemetry; what somebody else has imported before stays as it is.

Left alone, OpenVINO reports every import to its makers, from a process that it forks for that.
"""

from __future__ import annotations

import sys
from typing import Any

_REPORTER = "openvino_telemetry"


def _import_quietly() -> Any:
    modules: dict[str, Any] = sys.modules
    is_blocked = modules.setdefault(_REPORTER, None) is None  # what can't be imported, OpenVINO does without
    try:
        import openvino
    finally:
        if is_blocked:
            del modules[_REPORTER]
    return openvino


openvino: Any = _import_quietly()
