"""`NoiseKit`: noise is noise, drawn from the generator that was given, and its data term fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..moves import fields_of
from ..noise import Noise
from ..space import Space
from .cuda_checks import CudaChecks
from .engine import Trial, check, fail
from .functional import check_prox
from .measure import assert_close, assert_same, norm
from .prior_kit import _own_batch
from .strategies import batch_shapes

__all__ = ["NoiseKit"]

T = Trial[Noise]

_EXACT = 1e-9


class NoiseKit(CudaChecks[Noise]):
    """Checks of a `Noise`; examples are instances."""

    kind = "noise"

    def batches(self, subject: Noise) -> list[tuple[int, ...]]:
        """Return what its parameters allow."""
        return batch_shapes(_own_batch(subject))

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return a draw, and the data term of another measurement."""
        drawn = component.sample(_data(trial)[1], trial.generator(8))
        return {"sample": drawn, **self.device_outputs(component, trial)}

    def device_outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return the data term: a generator of another device draws other numbers."""
        space, z, y = _data(trial)
        step = _spread(trial.steps(0.1), space)
        return {
            "value": component.value(z, y, space),
            "grad": component.grad(z, y),
            "prox": component.prox(z, y, step),
        }

    @check()
    def test_shapes_and_dtypes(self, trial: T) -> None:
        """Draws, gradients and proximal points are like z; values have the batch shape."""
        space, z, y = _data(trial)
        noise = trial.subject
        assert_same(noise.sample(z), z, what=f"{noise.name}.sample")
        assert_same(noise.grad(z, y), z, what=f"{noise.name}.grad")
        assert_same(noise.prox(z, y, 0.1), z, what=f"{noise.name}.prox")
        values = noise.value(z, y, space)
        assert_same(values, torch.zeros(trial.batch, dtype=z.dtype), what=f"{noise.name}.value")

    @check()
    def test_noise_is_noise(self, trial: T) -> None:
        """A draw differs from the clean measurement, from the next draw, and between samples."""
        noise = trial.subject
        space = Space((1, 16, 16), torch.float64)
        clean = torch.full((*trial.batch, *space.shape), 0.5, dtype=space.dtype)
        generator = trial.generator(8)
        first, second = noise.sample(clean, generator), noise.sample(clean, generator)
        if _is_silent(noise) and torch.equal(first, clean):
            return
        if bool((norm(first - clean, space) == 0).any()):
            fail(f"{noise.name}.sample returns a sample unchanged.")
        if bool((norm(first - second, space) == 0).any()):
            fail(f"{noise.name}.sample draws the same twice from one generator.")
        rows = first.reshape(-1, space.numel)
        if len(rows) > 1 and torch.equal(rows[0], rows[1]):
            fail(f"{noise.name}.sample draws the same for all samples.")

    @check()
    def test_draws_are_unbiased(self, trial: T) -> None:
        """Over many pixels the mean of a draw is the clean value, within five deviations."""
        noise = trial.subject
        space = Space((1, 64, 64), torch.float64)
        clean = torch.full((*trial.batch, *space.shape), 0.5, dtype=space.dtype)
        gap = (noise.sample(clean, trial.generator(9)) - clean).flatten(-3)
        allowed = 5.5 * gap.std(-1) / gap.shape[-1] ** 0.5
        if bool((gap.mean(-1).abs() > allowed).any()):
            fail(f"{noise.name}.sample moves the mean by {float(gap.mean(-1).abs().max()):.3g}.")

    @check()
    def test_generator_decides(self, trial: T) -> None:
        """One generator state gives one draw, and torch's global state is left alone."""
        _, z, _ = _data(trial)
        noise = trial.subject
        before = torch.get_rng_state()
        first, second = (noise.sample(z, trial.generator(8)) for _ in range(2))
        if not torch.equal(first, second):
            fail(f"{noise.name}.sample does not follow its generator.")
        if not torch.equal(before, torch.get_rng_state()):
            fail(f"{noise.name}.sample changes torch's global random state.")

    @check()
    def test_gradient_is_that_of_the_value(self, trial: T) -> None:
        """`grad` agrees with autograd through `value`."""
        space, z, y = _data(trial)
        noise = trial.subject
        z = z.requires_grad_()
        total = noise.value(z, y, space).sum()
        got = noise.grad(z.detach(), y)
        want = torch.autograd.grad(total, z)[0] if total.requires_grad else torch.zeros_like(got)
        assert_close(got, want, space, what=f"{noise.name}.grad", rtol=_EXACT)

    @check()
    def test_prox_beats_competitors(self, trial: T) -> None:
        """The proximal point of the data term is better than any other."""
        space, v, y = _data(trial)
        noise, tau = trial.subject, trial.steps(1.0)
        p = noise.prox(v, y, _spread(tau, space))
        check_prox(
            lambda z: noise.value(z, y, space).nan_to_num(torch.inf),
            p,
            v,
            tau,
            space,
            trial,
            convex=True,
            rtol=_EXACT,
            what=f"{noise.name}.prox",
        )

    @check()
    def test_quadratic_is_what_it_says(self, trial: T) -> None:
        """`is_quadratic` means `D(z) = 1/2 |z - y|^2`, whatever the noise level."""
        space, z, y = _data(trial)
        noise = trial.subject
        same = torch.allclose(noise.value(z, y, space), 0.5 * norm(z - y, space) ** 2, rtol=1e-10)
        if noise.is_quadratic and not same:
            fail(f"{noise.name}.is_quadratic, but its value is not 1/2 |z - y|^2.")

    @check()
    def test_batch_equals_loop(self, trial: T) -> None:
        """The data term treats each sample alone; a NaN stays in its own."""
        noise, own = trial.subject, _own_batch(trial.subject)
        space, z, y = _data(trial, (3, *own))
        tau = _spread(torch.full((3, *own), 0.3, dtype=torch.float64), space)
        bad = z.clone()
        bad[0] = torch.nan
        maps: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
            "grad": lambda z, y, t: noise.grad(z, y),
            "prox": lambda z, y, t: noise.prox(z, y, t),
        }
        for name, f in maps.items():
            what = f"{noise.name}.{name}: sample 1 of 3"
            together = f(z, y, tau)
            assert_close(together[1], f(z[1], y[1], tau[1]), space, what=what)
            what = f"{noise.name}.{name}: a sample beside one with NaN"
            assert_close(f(bad, y, tau)[1], together[1], space, what=what)
        alone = noise.value(z[1], y[1], space)
        if not torch.allclose(noise.value(bad, y, space)[1], alone, rtol=1e-10, atol=0):
            fail(f"{noise.name}.value of a sample depends on the others.")

    @check()
    def test_input_is_not_modified(self, trial: T) -> None:
        """No method writes into its arguments."""
        space, z, y = _data(trial)
        kept = z.clone(), y.clone()
        noise = trial.subject
        noise.sample(z), noise.value(z, y, space), noise.grad(z, y), noise.prox(z, y, 0.1)
        if not (torch.equal(z, kept[0]) and torch.equal(y, kept[1])):
            fail(f"{noise.name} changed an argument in place.")


def _is_silent(noise: Noise) -> bool:
    """Whether the model says that there is no noise: its level is 0, or it has no fields at all."""
    level = getattr(noise, "sigma", None)
    return not fields_of(noise) or (level is not None and bool((torch.as_tensor(level) == 0).all()))


def _data(trial: Trial[Any], batch: tuple[int, ...] | None = None) -> tuple[Space, Tensor, Tensor]:
    """Return a space, a positive clean measurement and a noisy one."""
    generator = trial.generator(30)
    height, width, colours = (int(torch.randint(1, 8, (), generator=generator)) for _ in range(3))
    lead = trial.batch if batch is None else batch
    if batch is None and lead:
        width = lead[-1]  # as many samples as columns: a parameter must not go along the width
    space = Space((colours, height, width), torch.float64)
    return space, trial.rand(space, 0, lead) + 0.1, trial.rand(space, 1, lead) + 0.1


def _spread(value: Tensor, space: Space) -> Tensor:
    return value[(...,) + (None,) * space.ndim]
