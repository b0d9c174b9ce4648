"""The script that several components begin with: fetches values that came as an address."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent

PAYLOAD_SCRIPT = (_HERE / "payload.js").read_text(encoding="utf-8")
