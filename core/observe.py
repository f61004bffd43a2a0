"""Telling plugins what happens: an observer that fails is warned about, and changes nothing."""

from __future__ import annotations

import warnings
from typing import Any

from wellposed.registry import default_registry

__all__ = ["has_observers", "notify"]


def has_observers(hook: str) -> bool:
    """Whether any plugin implements a hook."""
    return bool(getattr(default_registry().hook, hook).get_hookimpls())


def notify(hook: str, /, **payload: Any) -> list[Any]:
    """Call a hook of all plugins and return what they returned.

    A solve is worth more than its progress bar: an exception in an observer becomes a warning.
    """
    if not has_observers(hook):
        return []
    try:
        results: list[Any] = getattr(default_registry().hook, hook)(**payload)
    except Exception as error:
        warnings.warn(
            f"a plugin's {hook} failed and was ignored: {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
        return []
    return results
