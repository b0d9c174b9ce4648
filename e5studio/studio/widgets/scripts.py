"""Scripts that several components begin with: opening parcels, and labels in the visitor's language."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent

PARCEL_SCRIPT = (_HERE / "payload.js").read_text(encoding="utf-8")
LABEL_SCRIPT = (_HERE / "labels.js").read_text(encoding="utf-8")
