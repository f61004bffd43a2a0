"""The root of the exception family, and the errors that the registry itself raises.

Every message says what was got, what was expected and what to do. The parts are kept as fields, and
every error survives pickling (a worker process hands it back whole).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def join_path(head: str, tail: str) -> str:
    """Join two pieces of a parameter path: ``solver`` + ``step`` is ``solver.step``."""
    if not head or not tail:
        return head or tail
    return f"{head}{tail}" if tail.startswith("[") else f"{head}.{tail}"


class WellposedError(Exception):
    """Base of all errors raised on purpose by wellposed.

    ``where`` is the path of the offending entry (``solver.params.step``), or empty; the text of the
    error starts with it.
    """

    def __init__(self, message: str, *, where: str = "") -> None:
        """Keep the message and its place apart, so that the place can be extended later."""
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        """Return the message behind the path."""
        return f"{self.where}: {self.message}" if self.where else self.message


class ParameterError(WellposedError, ValueError):
    """A parameter, or a line of a configuration, is not acceptable."""

    def __init__(
        self, message: str, *, where: str = "", name: str = "", choices: Sequence[str] = ()
    ) -> None:
        """Keep the offending name and what was possible instead, where they are known."""
        super().__init__(message, where=where)
        self.name = name
        self.choices = tuple(choices)


class UnknownComponent(WellposedError, LookupError):
    """No installed component has the requested name."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        kind: str = "",
        name: str = "",
        suggestions: Sequence[str] = (),
        available: Sequence[str] = (),
    ) -> None:
        """Keep what was asked for, the closest names and all names."""
        super().__init__(message, where=where)
        self.kind = kind
        self.name = name
        self.suggestions = tuple(suggestions)
        self.available = tuple(available)


class AmbiguousName(WellposedError, LookupError):
    """Several distributions declare the requested name, and none of them is ours."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        kind: str = "",
        name: str = "",
        candidates: Sequence[str] = (),
    ) -> None:
        """Keep what was asked for and the qualified names to choose from."""
        super().__init__(message, where=where)
        self.kind = kind
        self.name = name
        self.candidates = tuple(candidates)


class BrokenPluginError(WellposedError, ImportError):
    """A plugin, or the code behind one of its components, cannot be loaded."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        plugin: str = "",
        target: str = "",
        install: str = "",
    ) -> None:
        """Keep the distribution, the import target and the command that may help."""
        super().__init__(message, where=where)
        self.plugin = plugin
        self.target = target
        self.install = install


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put ``where`` in front of the path of any wellposed error raised inside the block."""
    try:
        yield
    except WellposedError as error:
        error.where = join_path(where, error.where)
        raise


def suggestion(name: str, options: Sequence[str]) -> str:
    """Return " Did you mean 'x'?", with its leading blank, if an option is close; else nothing."""
    close = close_names(name, options)
    return f" Did you mean {' or '.join(repr(option) for option in close)}?" if close else ""


def close_names(name: str, options: Sequence[str]) -> tuple[str, ...]:
    """Return up to two options that ``name`` may be a misspelling of, best first."""
    import difflib  # costs more than the rest of this module, and is needed only for errors

    folded = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=2, cutoff=0.6)
    return tuple(folded[option] for option in close)
