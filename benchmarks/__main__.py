"""Run a benchmark by name: `python -m benchmarks NAME [options]`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def names() -> list[str]:
    """Return the modules beside this one that can be run."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(m.name for m in found if not m.name.startswith("_"))


def main(argv: list[str]) -> int:
    """Dispatch to `benchmarks/NAME.py`, whose `main(argv)` returns an exit code."""
    if not argv or argv[0] in ("-h", "--help") or argv[0] not in names():
        known = f"usage: python -m benchmarks NAME [options]; NAME is one of {', '.join(names())}"
        print(known, file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    return int(importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
