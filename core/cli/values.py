"""From what is typed on a command line to plain data, by the rules of the YAML files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wellposed.registry import ParameterError, parse_value

__all__ = ["component", "operators", "parameters", "value_of"]


def value_of(text: str) -> Any:
    """Return what `text` means as YAML (`3`, `1e-3`, `[1, 2]`, `{name: x}`), or the text itself."""
    try:
        return parse_value(text)
    except ParameterError:
        if text[:1] in "[{":  # meant as YAML, so say what is wrong with it
            raise
        return text


def component(text: str | None) -> Any:
    """Return a component given as a name, or as inline YAML: `{name: x, params: {...}}`, a list."""
    if text is None or not text.lstrip().startswith(("{", "[")):
        return text
    return value_of(text)


def parameters(texts: Sequence[str], option: str) -> dict[str, Any]:
    """Return `key=value` texts as a nested mapping; a dot in a key leads inside.

    `kernel.name=motion` and `kernel.params.length=9` together are
    `{kernel: {name: motion, params: {length: 9}}}`; so are `kernel=motion` and the second.
    Raises: ParameterError for a text without `=`, a key given twice, or YAML that is not valid.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        steps = key.strip().split(".")
        if not equals or not all(steps):
            raise ParameterError(
                f"{option} expects key=value, as in {option} max_steps=50; got {text!r}"
            )
        try:
            _put(found, steps, value_of(value), option)
        except ParameterError as error:
            error.where = f"{option} {key}"  # "line 1" would say nothing here
            raise
    return found


def operators(names: Sequence[str], texts: Sequence[str]) -> Any:
    """Return `--op` names with their `-p` parameters, as a problem file would hold them.

    With several operators, each key starts with the name of its operator (or with its number,
    from 0, where a name appears twice): `--op mask --op blur -p blur.kernel=motion`.
    Raises: ParameterError.
    """
    given = [component(name) for name in names]
    values = parameters(texts, "-p")
    if len(given) == 1:
        return with_params(given[0], values, "op")
    if any(isinstance(item, list) for item in given):
        raise ParameterError("--op is one list of operators, or given once for each of them")
    labels = [item if isinstance(item, str) else str(item.get("name")) for item in given]
    each: list[dict[str, Any]] = [{} for _ in given]
    for key, value in values.items():
        places = [i for i, label in enumerate(labels) if key in (label, str(i))]
        if len(places) != 1 or not isinstance(value, dict):
            choices = " or ".join(f"{label}." for label in labels)
            numbers = " or ".join(f"{i}." for i in range(len(labels)))
            raise ParameterError(
                f"with several operators, -p {key} must start with one of their names ({choices}) "
                f"or their numbers ({numbers})"
            )
        each[places[0]].update(value)
    return [
        with_params(item, p, f"op[{i}]")
        for i, (item, p) in enumerate(zip(given, each, strict=True))
    ]


def with_params(given: Any, params: dict[str, Any], path: str) -> Any:
    """Return a component with more parameters; those given last win.

    Raises: ParameterError where there is no component, or a list of them.
    """
    if not params:
        return given
    if given is None:
        raise ParameterError(
            f"parameters ({', '.join(params)}) but no name; give --{path} NAME", where=path
        )
    if isinstance(given, str):
        return {"name": given, "params": params}
    if not isinstance(given, dict):
        raise ParameterError(
            f"parameters ({', '.join(params)}) go with one component; got a list, in which each "
            "has its own",
            where=path,
        )
    return {**given, "params": _changed(given.get("params") or {}, params)}


def _changed(old: Any, new: Any) -> Any:
    """Return parameters with others put in; `kernel.params.length` changes the kernel there is."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    found = {**old, **new}
    for key in old.keys() & new.keys():
        known, value = old[key], new[key]
        known = {"name": known} if isinstance(known, str) else known
        if isinstance(known, dict) and "name" in known and isinstance(value, dict):
            if set(value) == {"params"}:
                inner = _changed(known.get("params") or {}, value["params"])
                found[key] = {**known, "params": inner}
    return found


def _put(target: dict[str, Any], steps: list[str], value: Any, option: str) -> None:
    first, *rest = steps
    if not rest:
        known = target.get(first)
        if isinstance(value, str) and isinstance(known, dict) and "name" not in known:
            known["name"] = value  # `-p kernel.params.length=9 -p kernel=motion`
            return
        if first in target:
            raise ParameterError("is given twice")
        target[first] = value
        return
    inner = target.setdefault(first, {})
    if isinstance(inner, str):  # a name, now to get parameters
        inner = target[first] = {"name": inner}
    if not isinstance(inner, dict):
        raise ParameterError(f"{first} already has the value {inner!r}")
    _put(inner, rest, value, option)
