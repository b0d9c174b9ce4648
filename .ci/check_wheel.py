"""Compare a wheel with the package's files under version control: none missing, none too many."""

from __future__ import annotations

import subprocess
import sys
import zipfile


def main() -> None:
    """Exit with a message where the two differ."""
    tracked = subprocess.run(["git", "ls-files", "-z", "e5studio"], capture_output=True, text=True, check=True).stdout
    expected = set(tracked.split("\0")) - {""}
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    if packed != expected:
        sys.exit(
            f"Missing in the wheel: {sorted(expected - packed)}; not under version control: {sorted(packed - expected)}"
        )


if __name__ == "__main__":
    main()
