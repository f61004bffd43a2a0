"""Python text that repeats a restoration."""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any

__all__ = ["python_call"]

_WIDTH = 88


def python_call(function: str, first: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as source text, one line per argument where one line is too long for all."""
    shown = {
        key: pprint.pformat(value, width=_WIDTH - 8, sort_dicts=False)
        for key, value in arguments.items()
        if value is not None
    }
    parts = [first, *(f"{key}={text}" for key, text in shown.items())]
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    indented = [part.replace("\n", "\n        ") for part in parts]
    return f"{function}(\n" + "".join(f"    {part},\n" for part in indented) + ")"
