"""What all commands share: errors as one message and an exit code, and where text is printed."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, ParamSpec

import typer
from wellposed.registry.errors import WellposedError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "USAGE",
    "Debug",
    "console",
    "fail",
    "gathered_warnings",
    "guarded",
]

FAILED: Final = 1
"""Exit code of checks that did not pass."""
USAGE: Final = 2
"""Exit code of everything that the user can put right."""
INTERRUPTED: Final = 130
_PIPE_WIDTH: Final = 200

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Let a command end with one clear message; its `debug` argument asks for the traceback."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except WellposedError as error:
            if kwargs.get("debug"):
                raise
            fail(str(error))
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # `wellposed list | head`
            sys.stderr.close()
            raise typer.Exit(0) from None
        except OSError as error:  # a name that is too long, a folder that may not be looked into
            if kwargs.get("debug") or error.filename is None:
                raise
            fail(f"{error.filename}: {error.strerror}.")

    return run


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Print a message on stderr and end the command.

    Raises: typer.Exit, always.
    """
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


@contextmanager
def gathered_warnings(category: type[Warning]) -> Iterator[list[str]]:
    """Give the texts of all warnings of a category, which are not shown by themselves."""
    texts: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        before = warnings.showwarning

        def show(message: Any, kind: Any, *place: Any, **more: Any) -> None:
            if issubclass(kind, category):
                texts.append(str(message))
            else:
                before(message, kind, *place, **more)

        warnings.showwarning = show  # type: ignore[assignment]  # its arguments are passed on
        yield texts


def console(**options: Any) -> Console:
    """Return a console on the present stdout; into a pipe, lines are long and without colours."""
    from rich.console import Console

    if not sys.stdout.isatty():
        options.setdefault("width", _PIPE_WIDTH)
    return Console(highlight=False, **options)
