"""The projection onto a generator's range, and pictures from few measurements."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import nn
from wellposed import Identity, Problem, Space
from wellposed.edge import build_operator
from wellposed.errors import IncompatibleError, ShapeError
from wellposed.plugins.generative_bilinear import project
from wellposed.plugins.generative_bilinear.projection import GenerativeProjection
from wellposed.plugins.priors.generator import NetworkGenerator

F64 = torch.float64
FAST = {"step_size": 0.1, "decay": 100.0, "max_steps": 400}


@pytest.fixture
def linear():
    """Return a generator of a known subspace, and the projection onto it."""
    stream = torch.Generator().manual_seed(0)
    matrix = torch.randn(20, 4, generator=stream, dtype=F64)
    layer = nn.Linear(4, 20, bias=False, dtype=F64)
    layer.weight.data = matrix.clone()
    prior = NetworkGenerator(
        network=nn.Sequential(layer, nn.Unflatten(1, (1, 4, 5))),
        latent_shape=(4,),
        out_shape=(1, 4, 5),
        dtype=F64,
    )
    return prior, matrix @ torch.linalg.pinv(matrix)


def test_a_linear_generator_has_the_orthogonal_projection(linear):
    prior, projector = linear
    x = torch.rand(3, 1, 4, 5, generator=torch.Generator().manual_seed(1), dtype=F64)
    want = (x.flatten(1) @ projector).reshape(x.shape)
    got = project(prior, x, step_size=0.03, max_steps=300)
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(project(prior, got, step_size=0.03, max_steps=300), got)
    for update in ("normalised", "adam"):
        near = project(prior, x, update=update, **FAST)
        torch.testing.assert_close(near, want, rtol=0, atol=1e-2)


def test_pictures_in_range_are_found(relu_generator):
    prior = relu_generator(4, 40, (1, 8, 8), 2)
    z = torch.randn(10, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    with torch.no_grad():
        x = prior.decode(z)
    near = project(prior, x, update="normalised", **FAST)
    off = (near - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert int((off < 0.01).sum()) >= 9
    assert near.shape == x.shape and not near.requires_grad
    alone = project(prior, x[3], update="normalised", **FAST)
    torch.testing.assert_close(alone, near[3], rtol=1e-6, atol=1e-8)


def test_a_penalty_pulls_the_codes_to_zero(linear):
    prior, _ = linear
    x = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(1), dtype=F64)
    solver = GenerativeProjection(penalty=2.0, step_size=0.03, max_steps=300)
    found = solver.solve(Problem(operator=Identity(prior.out_space), measurement=x, prior=prior))
    a = prior.network[0].weight.detach()
    want = torch.linalg.solve(a.T @ a + 2 * torch.eye(4, dtype=F64), a.T @ x.flatten())
    best = found.extras["latents"]["image"][found.extras["best"]]
    torch.testing.assert_close(best, want, rtol=1e-8, atol=0)


def test_a_picture_from_a_third_of_its_pixels(relu_generator):
    prior = relu_generator(4, 40, (1, 8, 8), 2)
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    seen = (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(2)) < 1 / 3).to(F64)
    op = build_operator("mask", {"mask": seen}, x_space=Space((1, 8, 8), F64))
    with torch.no_grad():
        x = prior.decode(z)
    solver = GenerativeProjection(update="normalised", restarts=8, **FAST)
    found = solver.solve(Problem(operator=op, measurement=op(x), prior=prior))
    off = (found.image - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert int((off < 0.02).sum()) >= 5 and found.operator is op


def test_errors(linear):
    prior, _ = linear
    with pytest.raises(ShapeError, match="measurement of shape"):
        project(prior, torch.zeros(1, 5, 5, dtype=F64))
    x = torch.zeros(1, 5, 5, dtype=F64)
    problem = Problem(operator=Identity(Space((1, 5, 5), F64)), measurement=x, prior=prior)
    with pytest.raises(IncompatibleError, match=r"pictures of shape \(1, 5, 5\).*\(1, 4, 5\)"):
        GenerativeProjection().solve(problem)
    fitting = Problem(
        operator=Identity(prior.out_space), measurement=x[:, :4], prior=prior, initial=x[:, :4]
    )
    with pytest.raises(IncompatibleError, match="starts from codes"):
        GenerativeProjection().solve(fitting)
    assert attrs.fields(GenerativeProjection).max_steps.default == 10_000


def test_an_unknown_helper_is_an_attribute_error():
    import wellposed.plugins.generative_bilinear as plugin

    with pytest.raises(AttributeError, match="has no attribute 'projekt'"):
        plugin.projekt  # noqa: B018
