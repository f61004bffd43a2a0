"""A progress bar for solvers: an ordinary callback, as anybody can write one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .loop import IterationEvent

__all__ = ["SolveProgress", "solve_progress"]


class SolveProgress:
    """Shows which picture is being worked on, and the steps of its solver.

    It reads no tensor of an event, so that it never makes a GPU wait.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        """Start the bar that counts pictures."""
        self._progress = progress
        self._pictures = progress.add_task("", total=total, visible=total > 1)
        self._steps = progress.add_task("", total=None)

    @property
    def console(self) -> Console:
        """Where to print while the bars are shown."""
        return self._progress.console

    def begin(self, name: str) -> None:
        """Name the picture whose turn it is."""
        self._progress.update(self._pictures, description="pictures")
        self._progress.reset(self._steps, description=name, total=None)

    def end(self) -> None:
        """Count the picture, finished or failed."""
        self._progress.advance(self._pictures)

    def __call__(self, event: IterationEvent) -> None:
        """Show one more step of the solver; the callback of `wellposed.solve`."""
        self._progress.update(self._steps, completed=event.step, total=event.max_steps)


@contextmanager
def solve_progress(total: int, console: Console | None = None) -> Iterator[SolveProgress]:
    """Show progress on stderr while the block runs; nothing is drawn into a pipe or a file."""
    console = console or Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    shown = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with shown:
        yield SolveProgress(shown, total)
