"""The pair of networks as one exported program."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn
from wellposed import Problem, Space
from wellposed.edge import build_operator
from wellposed.plugins.inversenet.solver import InverseNet
from wellposed.plugins.networks.inversenet import InverseNetDae, InverseNetUnet


class Pair(nn.Module):
    """What a user writes around the solver, to export it for one operator."""

    def __init__(self, solver: InverseNet, problem: Problem) -> None:
        super().__init__()
        self.f, self.g = solver.inverting, solver.denoising
        self.solver, self.problem = solver, problem

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        found = self.solver._reconstruct(Problem(operator=self.problem.operator, measurement=y))
        return found.extras["z"], found.image


def test_the_pair_can_be_exported_and_makes_the_same_picture():
    space = Space((3, 9, 10))  # no multiple of what the networks halve
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, *space.shape, generator=generator)
    op = build_operator("motion_blur", x_space=space)
    problem = Problem(operator=op, measurement=op(x))
    solver = InverseNet(
        inverting=InverseNetUnet(depth=1, width=2).build(seed=0).eval(),
        denoising=InverseNetDae(width=4).build(seed=1).eval(),
    )
    with torch.no_grad():
        program = torch.export.export(Pair(solver, problem), (problem.measurement,)).module()
        y = problem.measurement.flip(0, -1)  # another one than it was traced with
        found = solver.solve(attrs.evolve(problem, measurement=y))
        z, image = program(y)
    assert torch.equal(z, found.extras["z"])
    assert torch.equal(image, found.image)
