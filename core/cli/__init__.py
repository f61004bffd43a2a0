"""The command line: `wellposed list`, `info`, `solve`, `simulate`, `check`, `demo` and the rest."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point `wellposed`."""
    from .app import app

    app()
