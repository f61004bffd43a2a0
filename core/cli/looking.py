"""`list`, `info`, `plugins`, `version`: what is installed. Only `info` imports torch."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import textwrap
from typing import Annotated

import typer
from wellposed.registry import default_registry

from .guard import Debug, console, guarded

__all__ = ["info", "list_components", "plugins", "version"]

_SLOW = 1.0  # seconds that a manifest takes, which any listing and any command waits for


@guarded
def list_components(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="operator, bilinear, kernel, prior, solver, network, noise or condition."
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    debug: Debug = False,
) -> None:
    """List the installed components, with one line about each."""
    registry = default_registry()
    specs = [s for s in registry.specs(kind) if tag is None or tag in s.tags]
    rows = []
    for spec in specs:
        names = [registry.reference(spec), spec.summary]
        notes = [f"[{', '.join(spec.extras)}]"] if spec.extras else []
        rows.append([spec.kind, *names, " ".join([*notes, spec.note]).strip()])
    _table(["kind", "name", "summary", ""], rows)
    for plugin in registry.plugins():
        if plugin.seconds > _SLOW:
            typer.echo(
                f"plugin {plugin.entry_point} of {plugin.dist} took {plugin.seconds:.1f} s to "
                "load; tell its author that a manifest imports nothing heavy.",
                err=True,
            )
    if registry.broken:
        typer.echo(
            f"{len(registry.broken)} plugin(s) failed to load: run `wellposed plugins`.", err=True
        )


@guarded
def info(
    name: Annotated[str, typer.Argument(help="A component, as in `wellposed list`.")],
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help="Where one name has several kinds.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Describe a component: its source, parameters, and what it needs or offers."""
    from .describing import describe_component
    from .names import specs_called

    for spec in specs_called(name, kind):
        describe_component(spec, console())


@guarded
def plugins(debug: Debug = False) -> None:
    """List the installed plugins, with those that failed to load and why."""
    registry = default_registry()
    specs = registry.specs()
    rows = []
    for plugin in registry.plugins():
        count = sum(1 for s in specs if s.plugin == plugin)
        milliseconds = f"{1000 * plugin.seconds:.0f} ms"
        rows.append([plugin.dist, plugin.version, plugin.entry_point, f"{count}", milliseconds])
    _table(["distribution", "version", "plugin", "components", "loading"], rows)
    for broken in registry.broken:
        typer.echo(f"\nFAILED  {broken.entry_point or broken.dist} (of {broken.dist})")
        typer.echo(textwrap.indent(broken.error, " " * 8))


@guarded
def version(debug: Debug = False) -> None:
    """Show the versions of wellposed, torch and Python."""
    rows = [["wellposed", importlib.metadata.version("wellposed")]]
    rows.append(["torch", importlib.metadata.version("torch")])
    rows.append(["python", platform.python_version()])
    for name, number in rows:
        typer.echo(f"{name:<10} {number}")


def _table(header: list[str], rows: list[list[str]]) -> None:
    """Print columns; rich is left out, since importing it would double the time of a listing."""
    import shutil
    import sys

    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    style = functools.partial(typer.style, bold=True)
    for number, row in enumerate([header, *rows]):
        line = "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        line = line if limit is None or len(line) <= limit else line[: limit - 1] + "…"
        typer.echo(style(line) if number == 0 else line)
