"""The recursive module against equation (5) written out, and its derivatives against autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from wellposed.plugins.dlnet import recursion
from wellposed.plugins.dlnet.recursion import _Step, refine
from wellposed.plugins.networks.context_encoder import ContextEncoder
from wellposed.plugins.networks.vdsr import Vdsr


class Linear:
    """A head h(z) = w z, for which the gradient of 1/2 |h(z) - y|^2 is w (w z - y)."""

    def __init__(self, w: float) -> None:
        self.w = w

    def head(self, z: Tensor) -> Tensor:
        return self.w * z

    def head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None = None) -> Tensor:
        return self.w * v


def printed(z, y, w, updates, rate, corrected=False):
    """Equation (5), line by line, in NumPy."""
    b1, b2 = 0.9, 0.999
    m, v = np.zeros_like(z), np.zeros_like(z)
    for k in range(1, updates + 1):
        g = w * (w * z - y)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        c1, c2 = (1 - b1**k, 1 - b2**k) if corrected else (1 - b1, 1 - b2)
        z = z - rate * (m / c1) / np.sqrt(np.maximum(v / c2, 1e-16))
    return w * z


@pytest.mark.parametrize("adam", ["printed", "bias_corrected"])
@pytest.mark.parametrize("updates", [0, 1, 2, 4, 9])
def test_steps_are_those_of_equation_5(adam, updates):
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((3, 2, 4, 5)), rng.standard_normal((3, 2, 4, 5))
    y[0, 0, 0, 0] = 1.7 * z[0, 0, 0, 0]  # nothing to gain there: the gradient is 0
    y[0, 0, 0, 1] = 1.7 * z[0, 0, 0, 1] + 1e-10  # and here below the clamp
    target = torch.from_numpy(y)
    found = refine(
        torch.from_numpy(z), Linear(1.7), lambda h: h - target,
        updates=updates, rate=0.01, adam=adam,
    )  # fmt: skip
    expected = printed(z, y, 1.7, updates, 0.01, adam == "bias_corrected")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_bias_corrected_steps_are_those_of_torch():
    torch.manual_seed(0)
    z, y = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 3, 4, 4).double()
    p = torch.nn.Parameter(z.clone())
    optimiser = torch.optim.Adam([p], lr=0.01, eps=1e-300)
    for _ in range(6):
        optimiser.zero_grad()
        (0.5 * (p - y).square().sum()).backward()
        optimiser.step()
    found = refine(z, Linear(1.0), lambda h: h - y, updates=6, rate=0.01, adam="bias_corrected")
    torch.testing.assert_close(found, p.detach(), rtol=1e-10, atol=1e-12)


class Passing:
    """A head that does nothing, and makes no tensors of its own."""

    def head(self, z: Tensor) -> Tensor:
        return z

    def head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None = None) -> Tensor:
        return v


# torch.func.vmap loops where torch has no rule for an operation in place, and says so
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("adam", ["printed", "bias_corrected"])
@pytest.mark.parametrize("network", [Passing(), Linear(1.7)])
def test_steps_in_place_are_the_same_and_change_nothing_else(adam, network):
    generator = torch.Generator().manual_seed(0)
    z, y = (torch.randn(2, 3, 4, 4, generator=generator) for _ in range(2))
    kept = z.clone()

    def gradient(h):
        return (h - y).mean(1, keepdim=True).expand(h.shape)  # of one channel, for all

    def refined():
        return refine(z, network, gradient, updates=5, rate=0.01, adam=adam)

    with torch.no_grad():
        found = refined()
        mapped = torch.func.vmap(lambda t: refine(
            z, network, lambda h: h - t, updates=3, rate=0.01, adam=adam
        ))(torch.stack([y, -y]))  # fmt: skip
        alone = refine(z, network, lambda h: h + y, updates=3, rate=0.01, adam=adam)
    torch.testing.assert_close(mapped[1], alone)
    assert torch.equal(z, kept)
    torch.testing.assert_close(found, refined(), rtol=0, atol=0)


def test_printed_steps_grow_as_the_missing_bias_correction_says():
    z = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    ends = [
        refine(z, Linear(1.0), torch.ones_like, updates=k, rate=1.0, adam="printed").item()
        for k in range(5)
    ]
    steps = -np.diff(ends)
    np.testing.assert_allclose(steps, [1, 1.344, 1.565, 1.721], atol=5e-4)


def by_autograd(z, network, gradient, updates, rate):
    """The same steps with every gradient taken by autograd, twice where it has to be."""
    m = v = 0
    for k in range(1, updates + 1):
        h = network.head(z)
        (g,) = torch.autograd.grad(h, z, gradient(h), create_graph=True)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = (m / 0.1) / (v / 0.001).clamp_min(1e-16).sqrt()
        z = z - rate * (step.detach() if k == 1 else step)
    return network.head(z)


@pytest.mark.parametrize("chunk", [2**20, 1])
@pytest.mark.parametrize("updates", [1, 2, 4])
@pytest.mark.parametrize(
    "spec", [Vdsr(scale=2, depth=3, width=4), ContextEncoder(size=16, width=2, channels=1)]
)
def test_gradients_of_training_equal_autograd(monkeypatch, spec, updates, chunk):
    monkeypatch.setattr(recursion, "_CHUNK_BYTES", chunk)
    torch.manual_seed(1)
    network = spec.build(seed=3, dtype=torch.float64)
    y = torch.rand(3, 1, 16, 16, dtype=torch.float64)
    target = torch.rand_like(network(y))
    weight = torch.rand_like(target)

    def gradient(h: Tensor) -> Tensor:
        return weight * (h - target)

    results = []
    for way in ("ours", "autograd"):
        network.zero_grad()
        z = network.features(y)
        if way == "ours":
            x = refine(z, network, gradient, updates=updates, rate=0.01, adam="printed")
        else:
            x = by_autograd(z, network, gradient, updates, 0.01)
        (x - target.flip(-1)).square().sum().backward()
        grads = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        results.append((x.detach(), grads))
    (x1, g1), (x2, g2) = results
    torch.testing.assert_close(x1, x2, rtol=1e-10, atol=1e-12)
    assert g1.keys() == g2.keys() and len(g1) > 4
    for name in g1:
        torch.testing.assert_close(g1[name], g2[name], rtol=1e-6, atol=1e-9, msg=name)


def test_the_written_out_step_equals_autograd():
    torch.manual_seed(0)
    z, m, g = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    v = torch.rand(2, 3, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: _Step.apply(*a, 0.1, 1e-16), (z, m, v, g))
    # where v is held at its least value, r does not move with it
    held = torch.full((2, 3, 4), 1e-3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *a: _Step.apply(*a, 0.1, 100.0), (z, m, held, g))


def test_single_precision_training_sees_no_noise_of_the_first_step():
    """With K = 2 the fidelity's curvature must not enter: its true derivative is 0."""
    spec = Vdsr(scale=1, depth=3, width=4)
    y = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = {}
    for dtype in (torch.float32, torch.float64):
        network = spec.build(seed=1, dtype=dtype)
        target = y.to(dtype)
        z = network.features(target)
        x = refine(z, network, lambda h, t=target: h - t, updates=1, rate=1e-3, adam="printed")
        (x - target.flip(-1)).square().sum().backward()
        found[dtype] = torch.cat([p.grad.flatten().double() for p in network.parameters()])
    error = (found[torch.float32] - found[torch.float64]).norm() / found[torch.float64].norm()
    assert error < 1e-3


@pytest.mark.parametrize("samples", [0, 1, 5])
def test_chunks_change_nothing(monkeypatch, samples):
    network = Vdsr(scale=2, depth=3, width=4).build(seed=0)
    z = torch.randn(samples, 4, 6, 7, generator=torch.Generator().manual_seed(0))
    results = []
    for chunk in (1, 2**30):
        monkeypatch.setattr(recursion, "_CHUNK_BYTES", chunk)
        x = refine(z, network, lambda h: h - 0.5, updates=3, rate=0.1, adam="printed")
        results.append(x)
    assert results[0].shape == (samples, 1, 12, 14)
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
