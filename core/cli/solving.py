"""`solve` and `simulate`: from picture files to picture files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .guard import USAGE, Debug, gathered_warnings, guarded

if TYPE_CHECKING:
    from torch import Tensor

    from ..api import Pipeline
    from ..images import Picture
    from ..progress import SolveProgress
    from ..report import Entry

__all__ = ["simulate", "solve"]

Names = list[str]
Op = Annotated[
    Names | None,
    typer.Option("--op", help="The operator to undo; repeat for a composition, outermost first."),
]
OpParams = Annotated[
    Names | None, typer.Option("-p", metavar="KEY=VALUE", help="A parameter of the operator.")
]
NoiseName = Annotated[str | None, typer.Option("--noise", help="The noise model.")]
NoiseParams = Annotated[
    Names | None, typer.Option("-n", metavar="KEY=VALUE", help="A parameter of the noise.")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="A problem as a YAML file; options add to it.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]
Seed = Annotated[int | None, typer.Option(help="Seed of all random numbers.")]
Bits = Annotated[int | None, typer.Option(help="8 or 16 (TIFF also 32); else those of the input.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing results.")]


@guarded
def solve(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, or .npy.")],
    op: Op = None,
    op_params: OpParams = None,
    solver: Annotated[str | None, typer.Option("--solver", help="The solver.")] = None,
    solver_params: Annotated[
        Names | None, typer.Option("-s", metavar="KEY=VALUE", help="A parameter of the solver.")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option("--prior", help="The prior; null for the solver's own, if it has one."),
    ] = None,
    prior_params: Annotated[
        Names | None,
        typer.Option(
            "-r",
            metavar="KEY=VALUE",
            help="A parameter of the prior, given or the solver's own.",
        ),
    ] = None,
    noise: NoiseName = None,
    noise_params: NoiseParams = None,
    conditions: Annotated[
        Names | None,
        typer.Option(
            "--condition",
            metavar="NAME=FILE",
            help="What else is known: edges=edges.png. A name given again puts pictures one "
            "behind the other; for many pictures, a folder with files of their names.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A file, or a folder for several pictures.")
    ] = None,
    config: Config = None,
    device: Device = None,
    seed: Seed = None,
    bits: Bits = None,
    force: Force = False,
    report: Annotated[
        Path | None, typer.Option(help="Also write an HTML page with before and after.")
    ] = None,
    save_kernel: Annotated[
        Path | None,
        typer.Option(
            help="Also write the kernel, as .npy, .mat or .png, or without a suffix as all three; "
            "for several pictures, a folder."
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Restore pictures.

    A name may be inline YAML, as in --prior '{name: tv, params: {weight: 0.02}}', and so may a
    value: -p 'kernel={name: motion, params: {length: 9, angle: 30}}'. Dots lead inside:
    -p kernel=motion -p kernel.params.length=9. `wellposed info NAME` shows the parameters.
    """
    from ..config import problem_from
    from .given import conditions_from
    from .outputs import plan, plan_kernels, plan_report

    data = _problem(config, op, op_params, noise, noise_params, device, seed)
    _merge(data, "solver", solver, solver_params, "-s")
    _check_named(data, "op", "solver")
    _merge_prior(data, prior, prior_params)
    if conditions:
        data["conditions"] = {**(data.get("conditions") or {}), **conditions_from(conditions)}
    pipe = problem_from(data).pipeline()
    targets = plan(images, out, tail="-restored", bits=bits, force=force)
    kernels = plan_kernels(images, targets, save_kernel, force=force)
    plan_report(report, images, targets, force=force)
    jobs = list(zip(images, targets, kernels, strict=True))
    failed, entries, crash = _solve_all(pipe, jobs, bits, report, data)
    if report is not None:
        from ..report import write_report

        write_report(report, "Restored pictures", entries, subject="picture")
        typer.echo(f"report: {report}")
    if failed:
        typer.echo(f"{len(failed)} of {len(images)} pictures failed:", err=True)
        for name, message in failed:
            typer.echo(f"  {name}: {message}", err=True)
        if crash is not None:
            raise crash
        raise typer.Exit(USAGE)


@guarded
def simulate(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to degrade.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="A picture file, or .npy for any measurement.")
    ],
    op: Op = None,
    op_params: OpParams = None,
    noise: NoiseName = None,
    noise_params: NoiseParams = None,
    config: Config = None,
    device: Device = None,
    seed: Seed = None,
    bits: Bits = None,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Degrade a picture: apply an operator and add noise."""
    from ..config import problem_from
    from ..images import write
    from .outputs import plan

    data = _problem(config, op, op_params, noise, noise_params, device, seed)
    _check_named(data, "op")
    problem = problem_from(data, solver_needed=False)
    (target,) = plan([image], out, tail="-simulated", bits=bits, force=force)
    picture, tensor = _load(image)
    measured = problem.simulate(tensor)
    if target.suffix.lower() != ".npy":
        _check_is_picture(measured, target)
    write(target, measured, bits=bits, like=picture)
    typer.echo(f"{target}: {tuple(measured.shape)} {measured.dtype}".replace("torch.", ""))


def _problem(
    config: Path | None,
    op: Names | None,
    op_params: Names | None,
    noise: str | None,
    noise_params: Names | None,
    device: str | None,
    seed: int | None,
) -> dict[str, Any]:
    from wellposed.registry import load_yaml

    from .values import operators, parameters, with_params

    data: dict[str, Any] = {} if config is None else load_yaml(config)
    if op:
        data["op"] = operators(op, op_params or [])
    elif op_params:
        data["op"] = with_params(data.get("op"), parameters(op_params, "-p"), "op")
    _merge(data, "noise", noise, noise_params, "-n")
    data |= {k: v for k, v in (("device", device), ("seed", seed)) if v is not None}
    return data


def _merge(
    data: dict[str, Any], kind: str, name: str | None, texts: Names | None, option: str
) -> None:
    from .values import component, parameters, with_params  # PyYAML, which a listing need not load

    if name is not None:
        data[kind] = component(name)
    if texts:
        data[kind] = with_params(data.get(kind), parameters(texts, option), kind)


def _merge_prior(data: dict[str, Any], prior: str | None, texts: Names | None) -> None:
    """Put in the prior; its parameters alone change the one that the solver takes by itself."""
    from ..edge import build_solver
    from ..errors import ParameterError
    from ..solver import usual_prior

    if prior == "null":
        prior = data["prior"] = None
    if texts and prior is None and data.get("prior") is None:
        built = build_solver(data["solver"])
        data["prior"] = usual_prior(built)
        if data["prior"] is None:
            raise ParameterError(
                f"expected a prior that they belong to; {built.name} takes none by itself. Give "
                "--prior NAME",
                where="-r",
            )
    _merge(data, "prior", prior, texts, "-r")


def _check_named(data: dict[str, Any], *kinds: str) -> None:
    """Say how on the command line what every problem needs is given."""
    from ..errors import ParameterError

    missing = [kind for kind in kinds if data.get(kind) is None]
    if missing:
        options = " and ".join(f"--{kind} NAME" for kind in missing)
        raise ParameterError(
            f"expected {options}, or --config FILE with {' and '.join(missing)}; got neither. "
            "`wellposed list` shows the names."
        )


def _solve_all(
    pipe: Pipeline,
    jobs: list[tuple[Path, Path, Path | None]],
    bits: int | None,
    report: Path | None,
    data: dict[str, Any],
) -> tuple[list[tuple[Path, str]], list[Entry], Exception | None]:
    """Restore one picture after the other; what goes wrong with one does not stop the others.

    The last is the first error that nobody expected, to be raised once all pictures had their turn.
    """
    from ..errors import WellposedError
    from ..progress import solve_progress

    failed: list[tuple[Path, str]] = []
    entries: list[Entry] = []
    crash: Exception | None = None
    with solve_progress(len(jobs)) as bar:
        for source, target, kernel in jobs:
            bar.begin(source.name)
            try:
                one = (source, target, kernel)
                entry = _solve_one(pipe, one, bits, data, bar, report is not None)
                entries += [entry] if entry else []
            except Exception as error:
                expected = isinstance(error, WellposedError)
                text = str(error) if expected else f"{type(error).__name__}: {error}"
                failed.append((source, text))
                crash = crash if crash or expected else error
                bar.console.print(f"{source}: failed", markup=False, soft_wrap=True)
            bar.end()
    return failed, entries, crash


def _solve_one(
    pipe: Pipeline,
    job: tuple[Path, Path, Path | None],
    bits: int | None,
    data: dict[str, Any],
    bar: SolveProgress,
    reported: bool,
) -> Entry | None:
    from ..images import check_like, write
    from ..solution import Status
    from .given import conditions_for

    source, target, kernel = job
    picture, tensor = _load(source)
    if picture is not None:
        check_like(target, picture)
    given = conditions_for(data.get("conditions"), source)
    with gathered_warnings(UserWarning) as told:
        solution = pipe(tensor, conditions=given, callback=bar).require()
        write(target, solution.image, bits=bits, like=picture)
        if kernel is not None:
            solution.save_kernel(kernel)
    for text in dict.fromkeys(told[:1] + told[-1:]):  # an inner solve may warn in every step
        bar.console.print(f"{source}: {text}", markup=False, soft_wrap=True)
    steps, seconds = int(solution.steps.max()), solution.provenance.seconds
    taken = f"{solution.status} in {steps} steps, {seconds:.2f} s"
    if solution.status is Status.DIRECT:
        taken = f"{seconds:.2f} s"
    bar.console.print(f"{source} -> {target}: {taken}", markup=False, soft_wrap=True)
    if not reported:
        return None
    from ..report import entry_of

    return entry_of(solution, title=source.name, problem=data, source=str(source))


def _load(path: Path) -> tuple[Picture | None, Tensor]:
    from ..images import read, to_tensor

    if path.suffix.lower() == ".npy":
        return None, to_tensor(path)
    picture = read(path)
    return picture, picture.tensor


def _check_is_picture(measured: Tensor, target: Path) -> None:
    """Refuse to squeeze into [0, 1] what was never meant to be there."""
    from ..errors import ImageFileError
    from ..images import LEAST, MOST

    hint = f"is no picture, which {target.suffix} holds; write .npy."
    if measured.is_complex():
        raise ImageFileError(f"cannot write {target}: a complex measurement {hint}")
    low, high = float(measured.min()), float(measured.max())
    if low < LEAST or high > MOST:
        raise ImageFileError(
            f"cannot write {target}: a measurement with values from {low:.3g} to {high:.3g} {hint}"
        )
