"""`train` and `weights`: learned methods, from recipes to verified files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guard import FAILED, Debug, guarded

if TYPE_CHECKING:
    from ..training.engine import Observer, TrainingResult
    from ..training.installed import InstalledWeights

__all__ = ["train", "weights"]


@guarded
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a shipped recipe.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the run.")],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A folder of pictures, a zip archive, a .npy array or an idx file; none for a "
            "recipe that draws its own.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, if there is one.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop after this time, with a checkpoint.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that read pictures which do not fit in memory.")
    ] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An entry of the recipe, such as batch=8."),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write events for TensorBoard.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a learned solver on pictures.

    The folder of the run gets the log as CSV, the last two checkpoints, and in the end the
    weights with their card. For several processes put this in front:
    torchrun --standalone --no-python --nproc-per-node 2
    """
    from ..training.engine import train as run
    from ..training.installed import find_recipe
    from ..training.recipe import load_recipe
    from .values import parameters  # PyYAML, which a listing need not load

    loaded = load_recipe(find_recipe(recipe), changes=parameters(changes or [], "--set"))
    with _plain_warnings(), _progress() as observer:
        result = run(
            loaded,
            data=data,
            out=out,
            resume=resume,
            device=device,
            steps=steps,
            max_minutes=max_minutes,
            workers=workers,
            tensorboard=tensorboard,
            observer=observer,
        )
    if _is_first():
        _tell(result)


@guarded
def weights(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Files or folders; else what is installed."),
    ] = None,
    debug: Debug = False,
) -> None:
    """List trained weights, and verify them: hash, card, precision.

    Exits with 1 when something is wrong.
    """
    from ..training.installed import installed_weights, weights_in
    from .looking import _table

    found = [one for path in paths for one in weights_in(path)] if paths else installed_weights()
    if not found:
        typer.echo("no weights are installed.")
        return
    _table(["weights", "plugin", "size", "trained for", "quality", "state"], list(map(_row, found)))
    bad = [one for one in found if one.problem]
    for one in bad:
        typer.echo(f"\nFAILED  {one.problem}", err=True)
    if bad:
        raise typer.Exit(FAILED)


def _row(one: InstalledWeights) -> list[str]:
    operator = one.card.get("trained_for") or {}
    named = operator.get("operator", "") if isinstance(operator, dict) else ""
    items = named if isinstance(named, list) else [named]
    names = [str(item.get("name", "")) if isinstance(item, dict) else str(item) for item in items]
    quality = one.card.get("quality") or {}
    psnr = quality.get("psnr") if isinstance(quality, dict) else None
    shown = f"{psnr:.2f} dB" if isinstance(psnr, float) else ""
    size = f"{one.size / 1e6:.2f} MB"
    state = "FAILED" if one.problem else "ok"
    return [one.path.stem, one.plugin, size, " @ ".join(names), shown, state]


def _tell(result: TrainingResult) -> None:
    if not result.finished:
        typer.echo(f"stopped after {result.step} of {result.steps} steps; go on with --resume.")
        return
    quality = ", ".join(f"{key} {value:.4g}" for key, value in result.quality.items())
    typer.echo(f"{result.weights}: {result.step} steps, {quality}")


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _progress() -> Iterator[Observer | None]:
    """Show steps and loss on stderr; nothing is drawn into a pipe or a file."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, highlight=False)
    if not (console.is_terminal and _is_first()):
        yield None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as shown:
        task = shown.add_task("reading", total=None)

        def observe(step: int, steps: int, loss: float | None) -> None:
            extra: dict[str, Any] = {} if loss is None else {"description": f"loss {loss:.5f}"}
            shown.update(task, completed=step, total=steps, **extra)

        yield observe


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print our warnings as one line each, without the place in our code."""
    import warnings

    from ..errors import TrainingWarning

    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(message: Any, category: Any, *place: Any, **more: Any) -> None:
            if issubclass(category, TrainingWarning):
                if _is_first():
                    typer.echo(f"Warning: {message}", err=True)
            else:
                before(message, category, *place, **more)

        warnings.showwarning = show
        yield
