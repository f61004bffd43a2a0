"""The tables of the DL-Net paper, our numbers beside its own.

    python -m benchmarks dlnet --table III --data FACES [--weights DIR ...] [--pictures N]
    python -m benchmarks dlnet --table XII --data SET5 [--weights DIR ...]
    python -m benchmarks dlnet --table VIII
    python -m benchmarks dlnet --protocol --data SET5 [--references DIR]

II, III: inpainting and interpolation of faces; VI, VII: the same, what was measured put back.
VIII: what the recursive module costs. XII, XIII, XIV: super-resolution of Set5, Set14 and BSD100
(the folder BSDS500). --weights: folders that are searched for weights with cards; which row a
file belongs to follows from its card's recipe; default: the weights that are installed. Rows
without weights show `-`, and the command that trains them stands below the table. --params:
other parameters for the solvers of our rows, adam=bias_corrected for example. --protocol:
the protocol on networks of others, whose figures are known. What the protocol is, and how it
was read from the paper's figures, is written in `_dlnet_protocol.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor
from wellposed import Problem
from wellposed.cli.values import parameters
from wellposed.errors import ParameterError, WellposedError
from wellposed.training import solver_from_weights

from . import _dlnet_protocol as protocol
from ._dlnet_overhead import overhead
from ._dlnet_paper import TABLES, Table
from ._dlnet_references import check_protocol
from ._dlnet_weights import Kind, Trained, commands, find, recipes
from ._held_out import held_out

_OURS = "ours"


def main(argv: list[str]) -> int:
    """Run `python -m benchmarks dlnet`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks dlnet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", choices=[*TABLES, "VIII"])
    what.add_argument("--protocol", action="store_true", help="check it on networks of others")
    parser.add_argument("--data", type=Path, help="pictures: a folder, or for faces a zip archive")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="folders, or files")
    parser.add_argument("--references", type=Path, help="folder of networks of others, as .npz")
    parser.add_argument("--pictures", type=int, help="test on that many only")
    parser.add_argument(
        "--params", nargs="+", default=[], metavar="KEY=VALUE", help="of the solvers, in their rows"
    )
    parser.add_argument("--without", nargs="+", default=[], help="names of pictures to leave out")
    parser.add_argument("--batch", type=int, default=100, help="of table VIII")
    parser.add_argument("--seconds", type=float, default=10.0, help="of table VIII, for each K")
    parser.add_argument("--cpu-time", action="store_true", help="of table VIII, on a busy machine")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    if options.table == "VIII":
        overhead(options.device, options.batch, options.seconds, cpu_time=options.cpu_time)
        return 0
    if options.data is None or not options.data.exists():
        parser.error("--data: expected the pictures to test on, a folder or an archive")
    if options.pictures is not None and options.pictures < 1:
        parser.error("--pictures: expected 1 or more")
    try:
        notes = _run(options)
    except WellposedError as error:
        parser.exit(1, f"{error}\n")
    for note in notes:
        print(f"- {note}")
    return 0


def _run(options: argparse.Namespace) -> list[str]:
    """Print what was asked for; return what is to be said below."""
    if options.protocol:
        check_protocol(options.data, options.references)
        return []
    table = TABLES[options.table]
    found, problems = find(options.weights)
    rows = [one for one in found if one.kind.task == table.task]
    run = _super_resolution if table.task == "super_resolution" else _faces
    return [*problems, *run(options, table, rows)]


def _header(number: str, table: Table, about: str) -> None:
    print(f"Table {number}. {table.title}: {about}\n")
    print(f"| method | | {' | '.join(table.columns)} |")
    print(f"|---|---|{'---|' * len(table.columns)}")


def _line(method: str, whose: str, cells: Iterable[str]) -> None:
    print(f"| {method} | {whose} | {' | '.join(cells)} |", flush=True)


def _methods(table: Table, rows: Sequence[Trained], first: Sequence[str] = ()) -> Iterator[str]:
    """Yield the paper's methods, and those that only we have; print the paper's line of each."""
    others = sorted({one.kind.method for one in rows} - set(table.rows))
    for method in dict.fromkeys([*first, *table.rows, *others]):
        if method in table.rows:
            _line(method, "paper", (cell.replace("/", " / ") for cell in table.rows[method]))
        yield method


# Faces


def _faces(options: argparse.Namespace, table: Table, rows: Sequence[Trained]) -> list[str]:
    """Print a table of faces; return notes."""
    otherwise = [recipe for _, recipe, kind in recipes() if kind.task == table.task]
    pictures, notes = held_out(options.data, rows, otherwise[:1])
    pictures = pictures[: options.pictures]
    composed = options.table in ("VI", "VII")
    _header(
        options.table,
        table,
        f"l1 / l2 / PSNR in dB. Ours: {len(pictures)} pictures that training held out",
    )

    def cells(solver: Any) -> list[protocol.FaceScore]:
        return [
            protocol.face_figures(_restored(solver, pictures, column, composed, options.device))
            for column in table.columns
        ]

    psnrs: dict[str, list[float]] = {}
    missing = []
    for method in _methods(table, rows):
        mine = [one for one in rows if one.kind.method == method]
        for one in mine:
            scores = cells(_solver(one.path, options))
            _line(method, f"{_OURS}: {one.details}", map(_face_cell, scores))
            psnrs.setdefault(method, [score.psnr for score in scores])
        if not mine:
            _line(method, _OURS, ["-"] * len(table.columns))
            missing.append(Kind(table.task, method))
    _line("estimate without a network", _OURS, map(_face_cell, cells(None)))
    _gain(table, psnrs)
    print()
    return [*notes, *_commands(missing)]


def _face_cell(score: protocol.FaceScore) -> str:
    return f"{score.l1:.4f} / {score.l2:.4f} / {score.psnr:.2f}"


def _gain(table: Table, psnrs: Mapping[str, Sequence[float]]) -> None:
    """Print what DL-Net gains over rigid-joint training, in the paper and here."""
    two = ("DL-Net", "Autoencoder (Joint)")
    paper = [[float(cell.split("/")[-1]) for cell in table.rows[name]] for name in two]
    for whose, (ours, joint) in (("paper", paper), (_OURS, [psnrs.get(name) for name in two])):
        if ours is not None and joint is not None:
            gains = (f"{a - b:+.2f} dB" for a, b in zip(ours, joint, strict=True))
            _line("DL-Net over Joint", whose, gains)


def _restored(
    solver: Any, pictures: Tensor, column: str, composed: bool, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    for x, operator, y in protocol.degraded(pictures, column, device=device):
        if solver is None:
            found = operator.initial_estimate(y)
        else:
            found = solver.solve(Problem(operator=operator, measurement=y)).image
        yield (protocol.compose(found, operator, y) if composed else found), x


# Super-resolution


def _super_resolution(
    options: argparse.Namespace, table: Table, rows: Sequence[Trained]
) -> list[str]:
    """Print a table of super-resolution; return notes."""
    pictures = list(
        protocol.test_pictures(options.data, options.pictures, options.without).values()
    )
    _header(
        options.table,
        table,
        f"PSNR of Y in dB at x2 / x3 / x4. Ours: {len(pictures)} pictures",
    )
    missing = []
    for method in _methods(table, rows, ["Bicubic"]):
        if method == "Bicubic":
            for label, enlarge in _BICUBIC.items():
                every = dict.fromkeys(protocol.SCALES, _interpolation(enlarge))
                _line(method, f"{_OURS}: {label}", _cells(pictures, every))
            continue
        lines = _by_details([one for one in rows if one.kind.method == method])
        for details, scales in lines.items():
            restorers = {s: _restorer(one.path, options) for s, one in scales.items()}
            _line(method, f"{_OURS}: {details}", _cells(pictures, restorers))
        if not lines:
            _line(method, _OURS, ["-"] * len(table.columns))
        have = {scale for scales in lines.values() for scale in scales}
        missing += [Kind(table.task, method, s) for s in protocol.SCALES if s not in have]
    print()
    return _commands(missing)


_BICUBIC = {"MATLAB's": protocol.bicubic, "TensorFlow 1's": protocol.shifted_bicubic}

Restorer = Callable[[Tensor, int, float], Tensor]


def _interpolation(enlarge: Callable[[Tensor, int], Tensor]) -> Restorer:
    def run(x: Tensor, scale: int, width: float) -> Tensor:
        return enlarge(protocol.reduction((x.shape[-2], x.shape[-1]), scale, width)(x), scale)

    return run


def _restorer(path: Path, options: argparse.Namespace) -> Restorer:
    solver = _solver(path, options)

    def run(x: Tensor, scale: int, width: float) -> Tensor:
        return protocol.restored(solver, x, scale, width, options.device)

    return run


def _solver(path: Path, options: argparse.Namespace) -> Any:
    """Return a trained solver, with the parameters that were asked for."""
    solver: Any = solver_from_weights(path, device=options.device)
    try:
        return attrs.evolve(solver, **parameters(options.params, "--params"))
    except TypeError as error:
        raise ParameterError(f"--params: {error}") from None


def _by_details(found: Sequence[Trained]) -> dict[str, dict[int, Trained]]:
    """Return lines of a row: weights that differ in nothing but their scale share one."""
    lines: dict[str, dict[int, Trained]] = {}
    for one in found:
        details = one.details
        if one.kind.scale in lines.get(details, {}):
            details = f"{details} ({one.path.parent.name})"
        lines.setdefault(details, {})[one.kind.scale] = one
    return lines


def _cells(pictures: Sequence[Tensor], restorers: Mapping[int, Restorer]) -> Iterator[str]:
    """Yield the cell of each width: the mean PSNR for each scale, `-` where there is none."""
    for width in protocol.WIDTHS:
        shown = []
        for scale in protocol.SCALES:
            run = restorers.get(scale)
            if run is None:
                shown.append("-")
                continue
            truths = [protocol.cut(x, scale) for x in pictures]
            scores = [protocol.score(run(x, scale, width), x, scale) for x in truths]
            shown.append(f"{sum(scores) / len(scores):.2f}")
        yield " / ".join(shown)


def _commands(missing: Sequence[Kind]) -> list[str]:
    """Return how to train what is missing, and for what no recipe ships."""
    notes, none = [], []
    for kind in missing:
        name = f"{kind.method} x{kind.scale}" if kind.task == "super_resolution" else kind.method
        ways = commands(kind)
        if ways:
            notes.append(f"no weights for {name}: {'; '.join(ways)}")
        else:
            none.append(name)
    if none:
        notes.append(f"no weights, and no recipe that ships, for {', '.join(none)}")
    return notes
