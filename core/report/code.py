"""Python text that repeats a restoration."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any

__all__ = ["call_text", "hung", "literal"]

_WIDTH = 88


def literal(value: Any, *, indent: int = 4) -> str:
    """Return plain data as Python text that fits behind a name."""
    return pprint.pformat(value, width=_WIDTH - 12 - indent, sort_dicts=False)


def call_text(function: str, first: str, arguments: Mapping[str, str]) -> str:
    """Return a call as source text, one line per argument where one line is too long for all.

    `first` and the arguments are source text themselves.
    """
    parts = [first, *(f"{name}={hung(text, len(name) + 1)}" for name, text in arguments.items())]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    return f"{function}(\n" + "".join(f"    {hung(part, 4)},\n" for part in parts) + ")"


def hung(text: str, columns: int) -> str:
    """Return a text with its continuation lines moved to the right."""
    return text.replace("\n", "\n" + " " * columns)
