"""The script that opens parcels, for the components whose values may come as one."""

from __future__ import annotations

from pathlib import Path

PARCEL_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
