"""What all commands share: errors as one message and an exit code, and where text is printed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, ParamSpec

import typer
from wellposed.registry.errors import WellposedError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "Debug", "console", "fail", "guarded"]

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

    return run


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Print a message on stderr and end the command.

    Raises: typer.Exit, always.
    """
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


def console(**options: Any) -> Console:
    """Return a console on the present stdout; into a pipe, lines are long and without colours."""
    from rich.console import Console

    if not sys.stdout.isatty():
        options.setdefault("width", _PIPE_WIDTH)
    return Console(highlight=False, **options)
