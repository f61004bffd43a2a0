"""How a benchmark of trained methods ends: with what is to be said below its table, or an error."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from wellposed.errors import WellposedError

__all__ = ["with_notes"]


def with_notes(parser: argparse.ArgumentParser, run: Callable[[], list[str]]) -> int:
    """Print what `run` prints and then the notes it returns; return the exit status.

    An error of ours ends the program with its text instead, and status 1.
    """
    try:
        notes = run()
    except WellposedError as error:
        parser.exit(1, f"{error}\n")
    if notes:
        print()
    for note in notes:
        print(f"- {note}")
    return 0
