"""The tables of the InverseNet paper, our numbers beside its own.

    python -m benchmarks inversenet --table 1 --data FACES --kind faces [--weights DIR ...]
    python -m benchmarks inversenet --table 1 --data BSDS500 --kind natural [--whole]
    python -m benchmarks inversenet --table 2 --data FACES --lfw LFW --natural BSDS500
    python -m benchmarks inversenet --task x4 --data BSDS500
    python -m benchmarks inversenet --task colour --data FACES
    python -m benchmarks inversenet --look SHEET.png --data FACES --kind faces
    python -m benchmarks inversenet --annealing --data FACES --out FIGURE.png [--recipe NAME]
    python -m benchmarks inversenet --throughput [--device cuda]

1: motion deblurring, beside classical methods that are told the kernel. 2: networks trained on
natural pictures, tested on others. --task x4, colour: what the paper shows, but gives no figures
of. --annealing: figure 4, by a short training. --weights: folders that are searched for weights
with cards; which row a file belongs to follows from what its card's operator does; default: the
weights that are installed. Rows without weights show `-`, and the command that trains them stands
below. The protocol is written in `_inversenet_protocol.py`, the baselines in
`_inversenet_baselines.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from wellposed import Problem
from wellposed.cli.values import parameters
from wellposed.errors import WeightsError
from wellposed.training import solver_from_weights

from . import _inversenet_paper as paper
from . import _inversenet_protocol as protocol
from ._held_out import held_out
from ._inversenet_annealing import annealing
from ._inversenet_baselines import BASELINES, TIKHONOV, Baseline, solved, tuned
from ._inversenet_figures import draw_sheet
from ._inversenet_paper import INVERSENET, NEURAL, PIX2PIX, ROBUST, WIENER
from ._inversenet_protocol import Measured, Restore, Score
from ._inversenet_throughput import throughput
from ._inversenet_weights import Kind, Trained, commands, find, recipes
from ._notes import with_notes

_SIDES = {"motion": 64, "x4": 256, "colour": 128}
_RECIPE = "motion_deblurring_faces_small"
_LOOKED_AT = 6


def main(argv: list[str]) -> int:
    """Run `python -m benchmarks inversenet`."""
    parser = _parser()
    options = parser.parse_args(argv)
    data_needed = not options.throughput
    if data_needed and (options.data is None or not options.data.exists()):
        parser.error("--data: expected the pictures to test on, a folder or an archive")
    if options.pictures is not None and options.pictures < 1:
        parser.error("--pictures: expected 1 or more")
    if options.annealing and options.out is None:
        parser.error("--out: expected where to write the figure, a .png")
    return with_notes(parser, lambda: _run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks inversenet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", choices=["1", "2"])
    what.add_argument("--task", choices=list(protocol.OPERATORS), help="motion: table 1")
    what.add_argument("--annealing", action="store_true", help="draw figure 4")
    what.add_argument("--throughput", action="store_true", help="what the toolkit costs")
    what.add_argument("--look", type=Path, metavar="OUT", help="write a sheet of pictures")
    parser.add_argument("--data", type=Path, help="pictures: a folder, or for faces a zip archive")
    parser.add_argument("--kind", choices=["faces", "natural"], help="of --data")
    parser.add_argument("--lfw", type=Path, help="of table 2: LFW, a folder or a zip archive")
    parser.add_argument("--natural", type=Path, help="of table 2: the folder BSDS500")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="folders, or files")
    parser.add_argument("--pictures", type=int, help="test on that many only")
    parser.add_argument("--whole", action="store_true", help="natural pictures whole, not a part")
    parser.add_argument("--networks", action="store_true", help="leave the baselines out")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, of [0, 1]")
    parser.add_argument("--rounded", action="store_true", help="measurements in 256 levels")
    parser.add_argument("--recipe", default=_RECIPE, help="of --annealing and --throughput")
    parser.add_argument("--set", action="append", default=[], help="a change of it: KEY=VALUE")
    parser.add_argument("--out", type=Path, help="of --annealing: the figure")
    parser.add_argument("--seconds", type=float, default=10.0, help="of --throughput, for each")
    parser.add_argument("--cpu-time", action="store_true", help="of --throughput, a busy machine")
    parser.add_argument("--device", default="cpu")
    return parser


def _run(options: argparse.Namespace) -> list[str]:
    """Print what was asked for; return what is to be said below."""
    if options.throughput:
        throughput(options.recipe, options.device, options.seconds, cpu_time=options.cpu_time)
        return []
    if options.annealing:
        changes = parameters(options.set, "--set")
        annealing(options.recipe, changes, options.data, options.out, device=options.device)
        return [f"figure: {options.out}"]
    found, notes = find(options.weights)
    found, more = _usable(found, options.device)
    notes += more
    if options.look:
        return [*notes, *_look(options, found)]
    if options.table == "2":
        return [*notes, *_transfer(options, found)]
    if options.table == "1" or options.task == "motion":
        return [*notes, *_motion(options, found)]
    return [*notes, *_without_a_table(options, found)]


def _usable(found: Iterable[Trained], device: str) -> tuple[list[Trained], list[str]]:
    """Return the weights that this version can read, and what is wrong with the others."""
    good, notes = [], []
    for one in found:
        try:
            solver_from_weights(one.path, device=device)
        except WeightsError as error:
            notes.append(str(error))
        else:
            good.append(one)
    return good, notes


def _header(title: str, about: str, options: argparse.Namespace, columns: Sequence[str]) -> None:
    rounding = "rounded to 256 levels" if options.rounded else "not rounded"
    print(f"{title}: {about}")
    print(
        "PSNR over R, G and B in [0, 1], restored pictures limited to that, no border cut off; "
        f"SSIM: wellposed.ssim. Noise of the measurement: {options.noise:g}, {rounding}.\n"
    )
    print(f"| method | | {' | '.join(columns)} |")
    print(f"|---|---|{'---|' * len(columns)}")


def _line(method: str, whose: str, cells: Iterable[str]) -> None:
    print(f"| {method} | {whose} | {' | '.join(cells)} |", flush=True)


def _cells(score: paper.Cell | Score) -> tuple[str, str]:
    score = score if isinstance(score, Score) else Score(*score)
    return score.cells


# Pictures


def _pictures(
    options: argparse.Namespace, task: str, kind: str, rows: Sequence[Trained]
) -> tuple[list[Measured], str, list[str]]:
    """Return the measured test pictures, what they are, and notes."""
    notes: list[str] = []
    if kind == "faces":
        whole, notes = _faces(options.data, task, rows)
        batches = [whole[: options.pictures]]
        about = "faces that training held out"
    else:
        side = None if options.whole else _SIDES[task]
        batches = protocol.natural(options.data, side, options.pictures)
        about = "natural pictures (BSD100 stands in for ImageNet)"
    return _degraded(options, batches, task), _about(batches, about), notes


def _faces(path: Path, task: str, rows: Sequence[Trained]) -> tuple[Tensor, list[str]]:
    mine = [one for one in rows if one.kind.pictures == "faces"]
    otherwise = [
        recipe for _, recipe, its in recipes() if (its.task, its.pictures) == (task, "faces")
    ]
    return held_out(path, mine, otherwise[:1])


def _degraded(options: argparse.Namespace, batches: Iterable[Tensor], task: str) -> list[Measured]:
    return protocol.degraded(
        batches, task, sigma=options.noise, rounded=options.rounded, device=options.device
    )


def _about(batches: Sequence[Tensor], what: str) -> str:
    count = sum(len(batch) for batch in batches)
    sizes = sorted({(batch.shape[2], batch.shape[3]) for batch in batches})
    return f"{count} {what}, {', '.join(f'{h} x {w}' for h, w in sizes)} pixels"


# Table 1


def _motion(options: argparse.Namespace, found: Sequence[Trained]) -> list[str]:
    """Print table 1; return notes."""
    kind = options.kind or "faces"
    rows = [one for one in found if (one.kind.task, one.kind.pictures) == ("motion", kind)]
    measured, about, notes = _pictures(options, "motion", kind, rows)
    printed = paper.MOTION[kind]
    columns = ("PSNR, dB", "SSIM")
    _header(f"Table 1. {paper.TITLES['1']}", about, options, columns)
    blurred = protocol.scores(measured, lambda one: {"y": one.measurement})["y"]
    _line("the blurred picture", "ours", _cells(blurred))
    best: dict[str, Score] = {}
    for method in (WIENER, ROBUST):
        _line(method, "paper", _cells(printed[method]))
        for baseline in (b for b in BASELINES if b.row == method and not options.networks):
            score = _baseline(method, baseline, measured)
            best.setdefault(method, score)
    _line(NEURAL, "paper", _cells(printed[NEURAL]))
    for method in (PIX2PIX, INVERSENET):
        _line(method, "paper", _cells(printed[method]))
        for score in _ours(method, rows, measured, options.device):
            if method not in best or score.psnr > best[method].psnr:
                best[method] = score
    _gains(printed, best)
    return [*notes, *_missing([Kind("motion", m, kind) for m in (PIX2PIX, INVERSENET)], rows)]


def _baseline(method: str, baseline: Baseline, measured: Sequence[Measured]) -> Score:
    choice, score = tuned(baseline, measured)
    told = ", ".join(f"{key} {_short(value)}" for key, value in choice.items())
    _line(method, f"ours: {baseline.label}, {told}", _cells(score))
    return score


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ours(
    method: str, rows: Sequence[Trained], measured: Sequence[Measured], device: str
) -> list[Score]:
    """Print the lines of a method's weights, of z and x where there are both; return those of x."""
    found = []
    for one in (row for row in rows if row.kind.method == method):
        shown = protocol.scores(measured, _restorer(one, device))
        for name, score in shown.items():
            _line(method, f"ours, {name}: {one.details}", _cells(score))
        found.append(shown["x̂"])
    if not found:
        _line(method, "ours", "--")
    return found


def _restorer(one: Trained, device: str) -> Restore:
    solver = solver_from_weights(one.path, device=device)

    def run(measured: Measured) -> Mapping[str, Tensor]:
        problem = Problem(operator=measured.operator, measurement=measured.measurement)
        found: Any = solver.solve(problem)
        parts = {"z": found.extras["z"]} if "z" in found.extras else {}
        return {**parts, "x̂": found.image}

    return run


def _gains(printed: Mapping[str, paper.Cell], best: Mapping[str, Score]) -> None:
    """Print what InverseNet gains over the others: of several lines of ours by the first of
    Wiener's, as in the paper, and the best of networks.
    """
    for other in (WIENER, PIX2PIX):
        margin = printed[INVERSENET][0] - printed[other][0]
        _line(f"{INVERSENET} over {other}", "paper", (f"{margin:+.2f}", ""))
        if INVERSENET in best and other in best:
            ours = best[INVERSENET].psnr - best[other].psnr
            _line(f"{INVERSENET} over {other}", "ours", (f"{ours:+.2f}", ""))


def _missing(kinds: Iterable[Kind], rows: Sequence[Trained]) -> list[str]:
    """Return how to train what has no weights."""
    notes = []
    for kind in kinds:
        if any(one.kind == kind for one in rows):
            continue
        ways = "; ".join(commands(kind)) or "no recipe ships"
        notes.append(f"no weights for {kind.method}, {kind.task}, {kind.pictures}: {ways}")
    return notes


# Table 2


def _transfer(options: argparse.Namespace, found: Sequence[Trained]) -> list[str]:
    """Print table 2; return notes."""
    rows = [one for one in found if (one.kind.task, one.kind.pictures) == ("motion", "natural")]
    held, notes = _faces(options.data, "motion", ())
    sets: dict[str, list[Tensor]] = {"CelebA": [held[: options.pictures]]}
    if options.lfw:
        sets["LFW"] = protocol.lfw(options.lfw, options.pictures)
    if options.natural:
        side = None if options.whole else _SIDES["motion"]
        sets["ImageNet"] = protocol.natural(options.natural, side, options.pictures)
    names = {"ImageNet": "ImageNet; ours: BSD100"}
    columns = [f"{names.get(name, name)}: {what}" for name in sets for what in ("PSNR", "SSIM")]
    about = "; ".join(_about(batches, f"of {names.get(k, k)}") for k, batches in sets.items())
    _header(f"Table 2. {paper.TITLES['2']}", about, options, columns)
    printed = [_cells(paper.TRANSFER[k]) if k in paper.TRANSFER else ("-", "-") for k in sets]
    _line(INVERSENET, "paper, trained on VOC", (cell for pair in printed for cell in pair))
    measured = {name: _degraded(options, batches, "motion") for name, batches in sets.items()}

    def line(method: str, whose: str, shown: Mapping[str, Score]) -> None:
        _line(method, whose, (cell for score in shown.values() for cell in score.cells))

    for method in (INVERSENET, PIX2PIX):
        for one in (row for row in rows if row.kind.method == method):
            run = _restorer(one, options.device)
            all_of = {name: protocol.scores(parts, run)["x̂"] for name, parts in measured.items()}
            line(method, f"ours: {one.details}", all_of)
    if not any(one.kind.method == INVERSENET for one in rows):
        _line(INVERSENET, "ours", "-" * len(columns))
    blurred = {
        k: protocol.scores(m, lambda one: {"y": one.measurement})["y"] for k, m in measured.items()
    }
    line("the blurred picture", "ours", blurred)
    return [*notes, *_missing([Kind("motion", INVERSENET, "natural")], rows)]


# Super-resolution, and colours


def _without_a_table(options: argparse.Namespace, found: Sequence[Trained]) -> list[str]:
    """Print the figures of a task that has no table in the paper; return notes."""
    task = options.task
    kind = options.kind or {"x4": "natural", "colour": "faces"}[task]
    rows = [one for one in found if (one.kind.task, one.kind.pictures) == (task, kind)]
    measured, about, notes = _pictures(options, task, kind, rows)
    title = {
        "x4": "Super-resolution x4 with the flat kernel of 7 x 7 pixels",
        "colour": "Joint super-resolution x2 and colourisation",
    }[task]
    _header(f"{title} (no table in the paper)", about, options, ("PSNR, dB", "SSIM"))
    _line(
        "bicubic interpolation" + (", grey" if task == "colour" else ""),
        "ours: the operator's initial estimate, which the first network is given",
        _cells(protocol.scores(measured, _interpolated)["x"]),
    )
    if not options.networks:
        _baseline(TIKHONOV.row, TIKHONOV, measured)
    _ours(INVERSENET, rows, measured, options.device)
    return [*notes, *_missing([Kind(task, INVERSENET, kind)], rows)]


def _interpolated(one: Measured) -> Mapping[str, Tensor]:
    return {"x": one.operator.initial_estimate(one.measurement)}


# A sheet of pictures


def _look(options: argparse.Namespace, found: Sequence[Trained]) -> list[str]:
    """Write a sheet of a few test pictures; return notes."""
    kind = options.kind or "faces"
    options.pictures = min(options.pictures or _LOOKED_AT, _LOOKED_AT)
    options.whole = False
    rows = [one for one in found if one.kind == Kind("motion", INVERSENET, kind)]
    measured, about, notes = _pictures(options, "motion", kind, rows)
    one = measured[0]
    columns = {"blurred": one.measurement}
    wiener = next(b for b in BASELINES if b.row == WIENER)
    tv = next(b for b in BASELINES if b.prior == "tv" and b.border == "unknown")
    for name, baseline in (("Wiener", wiener), ("TV", tv)):
        choice, _ = tuned(baseline, measured)
        columns[name] = solved(baseline, choice, one)
    for row in rows[:1]:
        shown = _restorer(row, options.device)(one)
        columns |= {"z": shown["z"], "x^": shown["x̂"]}
        notes.append(f"networks: {row.path}, {row.details}")
    columns["truth"] = one.truth
    draw_sheet(columns, options.look)
    missing = _missing([Kind("motion", INVERSENET, kind)], rows)
    return [f"{options.look}: {about}; {', '.join(columns)}", *notes, *missing]
