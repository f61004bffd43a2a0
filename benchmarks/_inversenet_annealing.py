"""The paper's figure 4: how z comes nearer to the truth in the first hundred iterations."""

from __future__ import annotations

import copy
import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from torch import Tensor
from wellposed import Problem
from wellposed.training import Recipe, load_recipe, solver_from_weights, train
from wellposed.training.installed import find_recipe

from . import _inversenet_protocol as protocol
from ._held_out import faces
from ._inversenet_figures import Differences, draw_annealing

__all__ = ["ITERATIONS", "annealing", "annealing_recipe"]

ITERATIONS: Final = (1, 25, 50, 100)
_FACES: Final = 36  # a batch of the paper's


def annealing(name: str, changes: Mapping[str, Any], data: Path, out: Path, *, device: str) -> None:
    """Train a recipe for 100 iterations, print what it left at each stop, and draw figure 4.

    The networks restore held-out pictures as they do in training, normalised by the batch: what
    the running means of a first iteration would make of them, the denoising network never sees.
    """
    recipe = annealing_recipe(name, changes)
    held = faces(data, recipe.as_data()).held
    truth = torch.stack([held[key] for key in sorted(held)][:_FACES])
    one = protocol.degraded([truth], "motion", device=device)[0]
    print(
        f"Annealing: {name}, {len(truth)} pictures held out, of {truth.shape[2]} x "
        f"{truth.shape[3]} pixels in [0, 1]; no noise\n"
    )
    print("| iteration | z - x̂: mean | variance | z - x: mean | variance | x̂ - x: variance |")
    print("|---|---|---|---|---|---|")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for iteration, weights in _stops(recipe, data, Path(folder), device):
            x, z = _restored(weights, one, device)
            differences = Differences(iteration=iteration, change=z - x, error=z - one.truth)
            found.append(differences)
            cells = [
                f"{value:+.4f} | {spread:.5f}"
                for value, spread in (
                    (float(d.mean()), float(d.var()))
                    for d in (differences.change, differences.error)
                )
            ]
            left = float((x - one.truth).var())
            print(f"| {iteration} | {' | '.join(cells)} | {left:.5f} |", flush=True)
        _print_watched(Path(folder) / "log.csv", ITERATIONS)
    draw_annealing(found, out)


def annealing_recipe(name: str, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe whose rate does not depend on the number of steps, with z watched."""
    recipe = load_recipe(find_recipe(name), changes=changes)
    constant = attrs.evolve(recipe.schedule, name="constant", milestones=(), warmup=0)
    return attrs.evolve(
        recipe, schedule=constant, watch=("z",), log_every=1, save_every=ITERATIONS[-1]
    )


def _stops(recipe: Recipe, data: Path, folder: Path, device: str) -> Iterator[tuple[int, Path]]:
    for iteration in ITERATIONS:
        result = train(recipe, data=data, out=folder, resume=True, steps=iteration, device=device)
        assert result.weights is not None
        yield iteration, result.weights


def _restored(weights: Path, one: protocol.Measured, device: str) -> tuple[Tensor, Tensor]:
    """Return x̂ and z, with batch normalisation as in training."""
    solver: Any = solver_from_weights(weights, device=device)
    # copies: the file's own networks may be asked for again
    f, g = (copy.deepcopy(network).train() for network in (solver.inverting, solver.denoising))
    ready = attrs.evolve(solver, inverting=f, denoising=g)
    with torch.no_grad():
        found = ready.solve(Problem(operator=one.operator, measurement=one.measurement))
    return found.image, found.extras["z"]


def _print_watched(log: Path, iterations: Sequence[int]) -> None:
    """Print what training itself noted of its own pictures at these iterations."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file)}
    print(
        "\nof the pictures trained on, before the step of that number, from the log (x̂ - z, z - x):"
    )
    for iteration in iterations:
        row = rows[iteration]
        cells = [
            f"{what} {kind} {float(row[f'z_{what}_{kind}']):+.5f}"
            for what in ("change", "error")
            for kind in ("mean", "variance")
        ]
        print(f"- iteration {iteration}: {', '.join(cells)}")
