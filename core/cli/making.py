"""`check`, `demo` and `new-plugin`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .guard import FAILED, Debug, console, guarded

__all__ = ["check", "demo", "new_plugin"]


@guarded
def check(
    name: Annotated[str, typer.Argument(help="A component, as in `wellposed list`.")],
    kind: Annotated[
        str | None, typer.Option("--kind", "-k", help="Where one name has several kinds.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Run the conformance kit on a component; the exit code is 1 when a check fails."""
    from wellposed.registry import default_registry

    from .names import specs_called

    if kind == "plugin":
        subjects = [("plugin", name)]
    else:
        reference = default_registry().reference
        subjects = [(spec.kind, reference(spec)) for spec in specs_called(name, kind)]
    failed = sum(_check_one(*subject) for subject in subjects)
    if failed:
        typer.echo(f"{failed} check{'s' * (failed > 1)} failed.", err=True)
        raise typer.Exit(FAILED)


def _check_one(kind: str, name: str) -> int:
    """Print each check as it ends, and return how many failed."""
    try:
        from ..testing.runner import iter_checks
    except ModuleNotFoundError as error:
        from ..errors import BrokenPluginError

        install = "pip install 'wellposed[testing]'"
        raise BrokenPluginError(
            f"the kit needs {error.name}, which is not installed: {install}", install=install
        ) from error
    typer.echo(f"{kind} {name}")
    total = failed = 0
    for result in iter_checks(kind, name):
        word = "passed" if result.passed else "FAILED"
        word = "skipped" if result.passed and result.message else word
        typer.echo(f"  {word}  {result.name.removeprefix('test_')}  ({result.seconds:.2f} s)")
        if result.message:
            typer.echo("\n".join(f"      {line}" for line in result.message.splitlines()))
        total, failed = total + 1, failed + (not result.passed)
    typer.echo(f"  {total - failed} of {total} checks passed")
    return failed


@guarded
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the report.")] = Path(
        "wellposed-demo"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="Small pictures.")] = False,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only the cases whose title holds this.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Restore bundled pictures under several operators; print a table and write an HTML report."""
    from ..demo import run_demo

    page, failures = run_demo(out, quick=quick, only=only or (), console=console())
    typer.echo(f"report: {page}")
    if failures:
        typer.echo(f"{failures} case{'s' * (failures > 1)} failed.", err=True)
        raise typer.Exit(FAILED)


@guarded
def new_plugin(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is not there yet.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the package; else that of the folder.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Start a plugin package: an operator, its manifest and its passing tests."""
    from ..scaffold import new_plugin as make

    for path in make(folder, name or folder.resolve().name):
        typer.echo(path)
    place = folder if folder.is_absolute() else f"./{folder}"  # pip takes a bare name for a package
    tests = shlex.quote(str(place))
    typer.echo(f"\nNow: pip install -e {shlex.quote(f'{place}[test]')} && python -m pytest {tests}")
