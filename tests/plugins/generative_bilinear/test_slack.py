"""Leaving the range: the energy by hand, and what it gains where the generator falls short."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from wellposed.errors import IncompatibleError
from wellposed.plugins.generative_bilinear.bilinear import GenerativeBilinear
from wellposed.plugins.generative_bilinear.slack import GenerativeBilinearSlack

F64 = torch.float64


def test_the_energy_is_that_of_the_authors(blurred):
    problem, prior, _ = blurred(batch=(2,), shape=(3, 6, 6), kernel=(3, 3))
    solver = GenerativeBilinearSlack(parameter_prior=prior, restarts=2)
    stream = torch.Generator().manual_seed(0)
    w = torch.rand(2, 2, 1, 3, 3, generator=stream, dtype=F64)
    made, x = torch.rand(2, 2, 2, 3, 6, 6, generator=stream, dtype=F64)
    energy, squares = solver._energy(problem, (w, made, x))
    y = problem.measurement.numpy()
    for r, b in np.ndindex(2, 2):

        def data(picture, r=r, b=b):
            laid = np.zeros((6, 6))
            laid[:3, :3] = w[r, b, 0].numpy()
            laid = np.roll(laid, (-1, -1), (0, 1))
            off = np.fft.fft2(y[b]) - np.fft.fft2(laid) * np.fft.fft2(picture[r, b].numpy())
            return (np.abs(off) ** 2).mean((1, 2)).sum()  # mean over the frequencies

        p = x[r, b].numpy()
        tv = np.abs(np.diff(p, axis=1)).sum() + np.abs(np.diff(p, axis=2)).sum()
        far = np.mean((p - made[r, b].numpy()) ** 2)
        want = data(made) + 0.5 * data(x) + 100 * far + 0.001 * tv
        np.testing.assert_allclose(energy[r, b].item(), want, rtol=1e-12)
        np.testing.assert_allclose(squares[r, b].item(), data(x), rtol=1e-12)


def test_the_free_picture_starts_near_grey(blurred):
    problem, prior, _ = blurred()
    state = GenerativeBilinearSlack(parameter_prior=prior, restarts=20).init(problem)
    x = state.points[2]
    assert abs(float(x.mean()) - 0.5) < 1e-3 and abs(float(x.std()) - 0.01) < 1e-3


def test_it_gets_nearer_where_the_generator_cannot(blurred):
    problem, prior, (w, x) = blurred(batch=(4,))
    stream = torch.Generator().manual_seed(9)
    truth = x + 0.15 * x.std() * torch.randn(x.shape, generator=stream, dtype=F64)
    problem = attrs.evolve(problem, measurement=problem.operator(w, truth))
    shared = {"parameter_prior": prior, "restarts": 8, "max_steps": 400, "step_size": 0.05}
    bound = GenerativeBilinear(
        **shared, update="adam", decay=150.0, parameter_penalty=0.0, image_penalty=0.0
    ).solve(problem)
    free = GenerativeBilinearSlack(**shared, decay=150.0).solve(problem)
    losses = [f.extras["losses"].amin(-1) for f in (bound, free)]
    assert bool((losses[1] < 0.5 * losses[0]).all())
    assert free.extras["generated"].shape == free.image.shape
    assert set(free.extras["latents"]) == {"parameter", "image", "picture"}
    torch.testing.assert_close(
        free.operator(free.image), problem.operator(free.extras["parameter"], free.image)
    )


def test_errors(blurred):
    problem, prior, _ = blurred()
    solver = GenerativeBilinearSlack(parameter_prior=prior)
    with pytest.raises(IncompatibleError, match="GenerativeBilinearSlack needs a prior"):
        solver.solve(attrs.evolve(problem, prior=None))
    with pytest.raises(IncompatibleError, match=r"pictures of shape \(1, 8, 8\)"):
        solver.solve(attrs.evolve(problem, prior=prior))


def test_it_can_begin_where_another_solver_ends(blurred):
    problem, prior, _ = blurred(batch=(3,))
    first = GenerativeBilinear(parameter_prior=prior, restarts=4, max_steps=30, update="adam")
    solver = GenerativeBilinearSlack(parameter_prior=prior, first=first, restarts=7, max_steps=5)
    found = first.solve(problem)
    state = solver.init(problem)
    assert state.losses.shape == (3, 1)
    for i, best in enumerate(found.extras["best"].tolist()):
        for number, name in enumerate(("parameter", "image")):
            codes = found.extras["latents"][name]
            torch.testing.assert_close(state.points[number][i, 0], codes[i, best])
        torch.testing.assert_close(state.points[2][i, 0], found.image[i])
    torch.testing.assert_close(state.losses[:, 0], found.extras["losses"].amin(-1))
    after = solver.solve(problem)
    assert bool((after.extras["losses"][:, 0] < state.losses[:, 0]).all())
    assert not after.image.requires_grad


@pytest.mark.parametrize(
    ("codes", "seed", "what"),
    [(5, 1, r"codes h of shape \(3,\).*\(5,\)"), (3, 5, "stand for other parameters w")],
)
def test_where_it_begins_has_to_have_the_same_codes(blurred, relu_generator, codes, seed, what):
    problem, prior, _ = blurred()
    other = relu_generator(codes, 20, problem.operator.w_space.shape, seed)
    first = GenerativeBilinear(parameter_prior=other, restarts=1, max_steps=1)
    solver = GenerativeBilinearSlack(parameter_prior=prior, first=first)
    with pytest.raises(IncompatibleError, match=rf"^first: .* {what}"):
        solver.solve(problem)
