"""From the name of a component to its declarations, whatever their kind."""

from __future__ import annotations

from wellposed.registry import KINDS, ComponentSpec, UnknownComponent, default_registry
from wellposed.registry.errors import close_names, suggestion

__all__ = ["specs_called"]


def specs_called(name: str, kind: str | None = None) -> list[ComponentSpec]:
    """Return the components of a name, one per kind, or the one of the given kind.

    Raises: UnknownComponent with the closest names of all kinds; AmbiguousName.
    """
    registry = default_registry()
    if kind is not None:
        return [registry.spec(kind, name)]
    bare = name.rpartition("/")[2]
    later = {s.kind for s in registry.specs() if s.kind not in KINDS}  # of a newer wellposed
    kinds = [k for k in (*KINDS, *sorted(later)) if any(s.name == bare for s in registry.specs(k))]
    found = [registry.spec(k, name) for k in kinds]
    if not found:
        known = sorted({registry.reference(s) for s in registry.specs()})
        broken = len(registry.broken)
        text = f"; {broken} plugin(s) failed to load: run `wellposed plugins`" if broken else ""
        raise UnknownComponent(
            f"no component is called {name!r}.{suggestion(name, known)} "
            f"`wellposed list` shows all of them{text}",
            name=name,
            suggestions=close_names(name, known),
            available=known,
        )
    return found
