"""Compare a wheel with the files of a folder under version control: none missing, none too many.

Usage: check_wheel.py WHEEL FOLDER PACKAGE, where PACKAGE is the folder inside FOLDER that the wheel holds.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile


def main() -> None:
    """Exit with a message where the two differ."""
    wheel_path, folder, package = sys.argv[1:]
    command = ["git", "-C", folder, "ls-files", "-z", package]
    tracked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = set(tracked.split("\0")) - {""}
    with zipfile.ZipFile(wheel_path) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    if packed != expected:
        sys.exit(
            f"Missing in the wheel: {sorted(expected - packed)}; not under version control: {sorted(packed - expected)}"
        )


if __name__ == "__main__":
    main()
