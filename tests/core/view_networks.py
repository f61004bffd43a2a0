"""Small networks and problems for the tests of `NetworkView`."""

from __future__ import annotations

import torch
from torch import nn
from wellposed import ConvolutionHead, Network, Space, SplitNetwork
from wellposed.edge import build_operator

F64 = torch.float64


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rand(*shape, seed=0, dtype=F64):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operator(name, shape, dtype=F64, **params):
    return build_operator(name, params, x_space=Space(shape, dtype))


class Toy(SplitNetwork):
    """Knows where in its frame a pixel is, so that tiles differ from the whole."""

    def __init__(self, channels=1, *, scale=1, size=None, masked=0, tanh=True, skip=False, **more):
        conditions = {"mask": masked} if masked else {}
        super().__init__(channels=channels, scale=scale, size=size, conditions=conditions, **more)
        self.first = nn.Conv2d(channels + masked, 3, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(3, size or 1, size or 1))
        self.tail = ConvolutionHead(
            3, self.out_channels, kernel=5, scale=scale, upscaling="shuffle", tanh=tanh
        )
        self.skip = skip
        self.runs = []

    def initialise(self, generator):
        for p in self.parameters():
            p.copy_(0.4 * torch.randn(p.shape, dtype=p.dtype, generator=generator))

    def _features(self, y, **conditions):
        self.runs.append(len(y))
        return self.first(torch.cat([y, *conditions.values()], 1)) + self.place

    def _base(self, y):
        return (
            y.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
            if self.skip
            else None
        )

    def _head(self, z):
        return self.tail(z)

    def _head_adjoint(self, z, v, x):
        return self.tail.adjoint(z, v, x)


class Same(Network):
    """Gives what it takes."""

    def __init__(self, channels=1, **options):
        super().__init__(channels=channels, **options)

    def initialise(self, generator):
        """Nothing to draw."""

    def _forward(self, x, **conditions):
        return x


def toy(seed=0, dtype=F64, **options):
    network = Toy(**options).to(F64)
    with torch.no_grad():
        network.initialise(torch.Generator().manual_seed(seed))
    return network.to(dtype).eval()


def fidelity(view, z):
    return (view.operator(view.head(z)) - view.target).abs().square().sum() / 2


def check_gradient(view):
    """The gradient that is written out is that of autograd, also of a batch."""
    with torch.no_grad():
        z = view.features() + 0.1
        got = view.gradient(z)
    leaf = z.clone().requires_grad_()
    (want,) = torch.autograd.grad(fidelity(view, leaf), leaf)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12 * float(want.abs().max()))
    again = view.head_adjoint(z, view.data_grad(view.head(z)))
    torch.testing.assert_close(again, got, rtol=1e-12, atol=1e-13)
    flat = z.reshape(-1, *z.shape[-3:])  # all samples and tiles along one axis
    torch.testing.assert_close(view.gradient(flat).reshape(z.shape), got)
    torch.testing.assert_close(view.head(flat), view.head(z))
    again = view.head_adjoint(flat, view.data_grad(view.head(flat)), view.tiles(flat))
    torch.testing.assert_close(again.reshape(z.shape), got, rtol=1e-12, atol=1e-13)


# name, picture, batch, network
PROBLEMS = {
    "fits": ("blur", (1, 6, 7), (2,), {"tanh": True}),
    "skip": ("strided_blur", (1, 8, 6), (2,), {"scale": 2, "skip": True, "tanh": False}),
    "range": ("strided_blur", (1, 8, 6), (), {"scale": 2, "value_range": (-1.0, 1.0)}),
    "tiles": ("blur", (2, 9, 11), (2,), {"channels": 2, "size": 4, "value_range": (-1.0, 1.0)}),
    "tiles, skip": ("blur", (1, 9, 4), (), {"size": 4, "skip": True}),
    "tiles, scale": ("strided_blur", (1, 13, 18), (2,), {"scale": 2, "size": 4, "skip": True}),
    "smaller": ("mask", (1, 3, 5), (2, 1), {"size": 6}),
    "crop": ("strided_blur", (1, 7, 9), (2,), {"scale": 2, "skip": True}),
    "continued": ("strided_blur", (1, 10, 9), (2,), {"scale": 3, "skip": True}),
    "colour": ("strided_blur", (3, 8, 7), (2,), {"scale": 2, "skip": True}),
    "colour, tiles": ("mask", (3, 9, 7), (2,), {"size": 4, "value_range": (-1.0, 1.0)}),
    "grey": ("blur", (1, 6, 5), (2,), {"channels": 3, "skip": True}),
    "grey, tiles": ("blur", (1, 6, 5), (2,), {"channels": 3, "size": 4}),
}


def problem(key, *, dtype=F64, **more):
    name, shape, batch, options = PROBLEMS[key]
    params = {"mask": rand(*shape[1:]) > 0.3} if name == "mask" else {}
    if name == "strided_blur":
        params = {"stride": options["scale"]}
    op = operator(name, shape, dtype, **params)
    network = toy(dtype=dtype, **options)
    y = op(rand(*batch, *shape, dtype=dtype))
    return network, op, y
