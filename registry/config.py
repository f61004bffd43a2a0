"""Configuration files: a strict, safe subset of YAML 1.2, in and out.

YAML 1.1, which PyYAML reads, has traps: ``1e-3`` is text, ``on`` is true, ``010`` is eight. Here
they are a float, text and ten. Nodes are turned into values by our own few lines, hence no tag can
build an object, and what would be guessed elsewhere is an error with its line.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml
from wellposed.registry.errors import ParameterError, join_path
from wellposed.registry.scalars import shown

MOST_BYTES: Final = 2**20
MOST_NODES: Final = 100_000  # after expansion of aliases; a file of MOST_BYTES may come close
MOST_DEPTH: Final = 100

_PREFIX: Final = "tag:yaml.org,2002:"
_PLAIN: Final = "plain"
_NULL = re.compile(r"~|null|Null|NULL|", re.ASCII)
_TRUE = re.compile(r"true|True|TRUE", re.ASCII)
_FALSE = re.compile(r"false|False|FALSE", re.ASCII)
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NONFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)


class _Loader(yaml.SafeLoader):
    """Used up to the node graph only: unquoted scalars are marked, and resolved by `_Values`."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node that has none of its own."""
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return tag


class _Dumper(yaml.SafeDumper):
    """Quotes whatever any YAML version would not read back as text."""

    def ignore_aliases(self, data: object) -> bool:
        """Write repeated objects in full: anchors are hard to read."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Escape line breaks of all kinds: PyYAML folds some of them in its other styles."""
        style = None if text.isprintable() else '"'
        return self.represent_scalar(f"{_PREFIX}str", text, style=style)

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent lists inside mappings."""
        super().increase_indent(flow, False)


def load_yaml(text_or_path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a configuration: a mapping of text to plain values.

    A path object is a file; a string is YAML, or the name of a file if it cannot be a mapping (one
    line without a colon and blank, as in ``recipe.yaml``).

    Raises: ParameterError with file and line, for anything that is not safe and unambiguous.
    """
    text, label = _read(text_or_path)
    value = _parse(text, label)
    if not isinstance(value, dict):
        got = "nothing" if value is None else shown(value)
        raise ParameterError(f"expected a mapping at the top; got {got}", where=label)
    return value


def parse_value(text: str) -> Any:
    """Read one value as typed on a command line: ``3``, ``1e-3``, ``true``, ``[1, 2]``."""
    return _parse(text, "")


def dump_yaml(data: Mapping[str, object]) -> str:
    """Write plain data so that `load_yaml` returns the same; tuples become lists.

    Raises: ParameterError for an object, a key that is not text, or data that contains itself.
    """
    if not isinstance(data, Mapping):
        raise ParameterError(f"expected a mapping at the top; got {shown(data)}")
    text: str = yaml.dump(
        _checked(data, "", 0),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None,
    )
    return text


def _read(source: str | os.PathLike[str]) -> tuple[str, str]:
    if isinstance(source, str) and not _is_file_name(source):
        if len(source) > MOST_BYTES:
            raise ParameterError(f"the text is longer than {MOST_BYTES} characters")
        return source, ""
    path = pathlib.Path(source)
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        hint = "" if isinstance(source, os.PathLike) else "; nor is this text a YAML mapping"
        raise ParameterError(f"there is no file {str(source)!r}{hint}") from None
    except (OSError, ValueError) as error:
        raise ParameterError(f"the file {str(source)!r} cannot be read: {error}") from error
    if len(data) > MOST_BYTES:
        raise ParameterError(f"the file is larger than {MOST_BYTES} bytes", where=str(path))
    try:
        return data.decode("utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ParameterError("the file is not UTF-8 text", where=_place(str(path), line)) from None


def _is_file_name(text: str) -> bool:
    line = text.strip()
    return bool(line) and not re.search(r"\n|:\s|:$|^[{\[&!#'\"|>%@`-]", line)


def _place(label: str, line: int) -> str:
    return f"{label}, line {line}" if label else f"line {line}"


def _parse(text: str, label: str) -> Any:
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return None if root is None else _Values(label).value(root, 0)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _place(label, mark.line + 1) if mark else label
        raise ParameterError(f"not valid YAML: {error.problem}", where=where) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ParameterError(
            f"the character #x{error.character:04x} is not allowed in YAML",
            where=_place(label, line),
        ) from None
    except ParameterError:
        raise
    except (ValueError, OverflowError) as error:  # PyYAML on an escape such as "\UFFFFFFFF"
        raise ParameterError(f"not valid YAML: {error}", where=label) from None
    except RecursionError:
        raise ParameterError("lists and mappings are nested too deeply", where=label) from None


class _Values:
    """Turns a node graph into values, within bounds. One object per document."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.count = 0

    def error(self, message: str, node: yaml.Node) -> ParameterError:
        return ParameterError(message, where=_place(self.label, node.start_mark.line + 1))

    def value(self, node: yaml.Node, depth: int) -> Any:
        self.count += 1
        if self.count > MOST_NODES:
            raise self.error(f"more than {MOST_NODES} entries, aliases included", node)
        if depth > MOST_DEPTH:
            raise self.error(
                "lists and mappings are nested too deeply, or contain themselves", node
            )
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.ScalarNode) and kind in (_PLAIN, "str"):
            return self.scalar(node) if kind == _PLAIN else node.value
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(element, depth + 1) for element in node.value]
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, depth)
        raise self.error(f"the tag {node.tag!r} is not allowed: only plain data is read", node)

    def mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, depth + 1)
            if not isinstance(key, str):
                raise self.error(
                    f"a key must be text; got {shown(key)}: put it in quotes", key_node
                )
            if key in found:
                raise self.error(f"the key {key!r} appears twice", key_node)
            found[key] = self.value(value_node, depth + 1)
        return found

    def scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        if _NULL.fullmatch(text):
            return None
        if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
            return text[0] in "tT"
        if _INT.fullmatch(text):
            if len(text) > 1000:
                raise self.error("the number has too many digits", node)
            return int(text)
        if _OTHER_INT.fullmatch(text):
            return int(text, 0)
        if _NONFINITE.fullmatch(text):
            return float(text.replace(".", "", 1))
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isinf(number):
                raise self.error(f"the number {text} is too large; infinity is written .inf", node)
            return number
        return text


def _checked(data: object, path: str, depth: int) -> object:
    """Return a copy made of the plain types only."""
    if depth > MOST_DEPTH:
        raise ParameterError("the data is nested too deeply, or contains itself")
    if data is None or type(data) in (bool, int, float, str):
        return data
    if isinstance(data, list | tuple):
        return [_checked(v, join_path(path, f"[{i}]"), depth + 1) for i, v in enumerate(data)]
    if not isinstance(data, Mapping):
        raise ParameterError(
            f"only plain data can be written; got {shown(data)}: unstructure() it first", where=path
        )
    found = {}
    for key, value in data.items():
        if type(key) is not str:
            raise ParameterError(f"keys must be text; got {shown(key)}", where=path)
        found[key] = _checked(value, join_path(path, key), depth + 1)
    return found


_Dumper.add_representer(str, _Dumper.represent_text)
_ALL = list("-+.0123456789~nNtTfFoO")
for _tag, _pattern in (
    ("null", _NULL),
    ("bool", re.compile(f"{_TRUE.pattern}|{_FALSE.pattern}")),
    ("int", re.compile(f"{_INT.pattern}|{_OTHER_INT.pattern}")),
    ("float", re.compile(f"{_FLOAT.pattern}|{_NONFINITE.pattern}")),
):
    _Dumper.add_implicit_resolver(_PREFIX + _tag, re.compile(rf"^(?:{_pattern.pattern})$"), _ALL)
