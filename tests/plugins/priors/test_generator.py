"""Networks of others as generative priors."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.priors.generator import NetworkGenerator

F64 = torch.float64


def generator(network=None, **params):
    if network is None:
        network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Unflatten(1, (1, 2, 3)))
    return NetworkGenerator(
        **{"network": network, "latent_shape": (4,), "out_shape": (1, 2, 3), **params}
    )


def test_it_is_the_network_brought_to_the_unit_range():
    prior = generator(value_range=(-1.0, 1.0))
    z = torch.randn(2, 5, 4)
    want = (prior.network(z.reshape(10, 4)).reshape(2, 5, 1, 2, 3) + 1) / 2
    torch.testing.assert_close(prior.decode(z), want)
    assert prior.decode(z[0, 0]).shape == (1, 2, 3)
    torch.testing.assert_close(generator(prior.network).decode(z), 2 * want - 1)


def test_a_dcgan_takes_codes_of_one_pixel():
    layers = nn.Sequential(
        nn.ConvTranspose2d(8, 4, 4, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 3, 4, 2, 1),
        nn.Tanh(),
    ).eval()
    prior = generator(layers, latent_shape=(8, 1, 1), out_shape=(3, 8, 8), value_range=(-1.0, 1.0))
    pictures = prior.decode(torch.randn(5, 8, 1, 1))
    assert pictures.shape == (5, 3, 8, 8) and 0 <= pictures.min() and pictures.max() <= 1
    double = prior.to(dtype=F64)
    assert double.out_space.dtype == F64 and prior.out_space.dtype == torch.float32
    assert double.decode(torch.randn(8, 1, 1, dtype=F64)).dtype == F64


def test_errors():
    with pytest.raises(ParameterError, match=r"network expects a torch\.nn\.Module.*got function"):
        generator(lambda z: z)
    with pytest.raises(ParameterError, match=r"BatchNorm1d \(1\) in training mode.*eval"):
        generator(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    with pytest.raises(ParameterError, match=r"Dropout \(itself\) in training mode"):
        generator(nn.Dropout())
    with pytest.raises(ParameterError, match=r"value_range expects \(lowest, highest\)"):
        generator(value_range=(1.0, -1.0))
    with pytest.raises(ParameterError, match="a shape"):
        generator(latent_shape=())
    prior = generator()
    with pytest.raises(ShapeError, match=r"expects z of shape \(\*batch, 4\)"):
        prior.decode(torch.zeros(3, 5))
    with pytest.raises(DtypeError, match="expects z of dtype"):
        prior.decode(torch.zeros(3, 4, dtype=F64))
    with pytest.raises(DtypeError, match=r"network of torch.float32, and says dtype=torch.float64"):
        generator(dtype=F64).decode(torch.zeros(3, 4, dtype=F64))
    with pytest.raises(ShapeError, match=r"return pictures of shape \(3, 1, 2, 3\); got \(3, 4\)"):
        generator(nn.Identity()).decode(torch.zeros(3, 4))

    class Halves(nn.Module):
        def forward(self, z):
            return torch.zeros(len(z), 1, 2, 3, dtype=F64)

    with pytest.raises(DtypeError, match=r"network to return torch.float32; got torch.float64"):
        generator(Halves()).decode(torch.zeros(3, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_codes_elsewhere_are_refused():
    from wellposed.errors import DeviceError

    with pytest.raises(DeviceError, match=r"network on cpu; got z on cuda"):
        generator().decode(torch.zeros(3, 4, device="cuda"))
