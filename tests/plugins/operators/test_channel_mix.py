"""Channel mixing against a plain product in every pixel."""

import pytest
import torch
from wellposed import Space
from wellposed.errors import DtypeError, ShapeError
from wellposed.plugins.operators.blur import Blur
from wellposed.plugins.operators.channel_mix import ChannelMix, Grayscale


@pytest.mark.parametrize("lead", [(), (1,), (2,)])
@pytest.mark.parametrize("out", [1, 3, 5])
def test_each_pixel_is_multiplied(lead, out):
    response = torch.randn(*lead, out, 3, dtype=torch.float64)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    y = ChannelMix(in_shape=(3, 4, 5), response=response)(x)
    for b in range(2):
        one = response[b % response.shape[0]] if lead else response
        for i in range(4):
            for j in range(5):
                torch.testing.assert_close(y[b, :, i, j], one @ x[b, :, i, j])


@pytest.mark.parametrize("out", [1, 2, 5])
def test_the_proximal_map_solves_the_dense_system(out):
    op = ChannelMix(in_shape=(3, 2, 2), response=torch.randn(out, 3, dtype=torch.float64))
    a = op.as_matrix()
    v = torch.randn(2, *op.in_space.shape, dtype=torch.float64)
    y = torch.randn(2, *op.out_space.shape, dtype=torch.float64)
    tau = torch.tensor([0.5, 30.0], dtype=torch.float64)
    got = op.data_prox(v, y, tau)
    for b in range(2):
        system = torch.eye(12, dtype=torch.float64) + tau[b] * a.T @ a
        want = torch.linalg.solve(system, v[b].flatten() + tau[b] * a.T @ y[b].flatten())
        torch.testing.assert_close(got[b].flatten(), want)
    truth = torch.linalg.matrix_norm(a, 2)
    torch.testing.assert_close(op.norm_bound(), truth)


def test_grayscale_is_the_luma_and_starts_without_tint():
    x = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    op = Grayscale(in_shape=(3, 4, 5), dtype=torch.float64)
    y = op(x)
    torch.testing.assert_close(y[:, 0], 0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])
    start = op.initial_estimate(y)
    torch.testing.assert_close(op(start), y)
    assert torch.equal(start[:, 0], start[:, 2])
    assert Grayscale.image_space_for(Space((1, 4, 5))).shape == (3, 4, 5)


def test_refusals():
    with pytest.raises(ShapeError, match=r"response expects .* with C = 3.*got \(2, 4\)"):
        ChannelMix(in_shape=(3, 4, 5), response=torch.ones(2, 4))
    with pytest.raises(DtypeError, match=r"response expects torch.float64.*got torch.float32"):
        ChannelMix(in_shape=(3, 4, 5), response=torch.ones(2, 3), dtype=torch.complex128)
    with pytest.raises(ShapeError, match=r"expects a colour picture"):
        Grayscale(in_shape=(1, 4, 5))


def test_equal_rows_at_a_large_step():
    response = 1e4 * torch.tensor([[0.3, 0.6, 0.1]]).expand(3, 3)
    v, y = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mix = ChannelMix(in_shape=(3, 4, 4), response=response)
    blur = Blur(in_shape=(3, 4, 4), kernel=torch.ones(1, 1, 1, 1), boundary="circular")
    row = response[0].double()
    fit = (y.double().mean(0) - torch.einsum("c,chw->hw", row, v.double())) / row.square().sum()
    want = v + row[:, None, None] * fit
    for op in (mix, mix @ blur):
        got = op.data_prox(v, y, 1.0).double()
        torch.testing.assert_close(got, want, rtol=0, atol=0.05)


def test_the_norm_of_a_response_that_is_not_finite_leaves_the_others():
    response = torch.randn(2, 2, 3, dtype=torch.float64)
    want = torch.linalg.matrix_norm(response[1], 2)
    response[0, 0, 0] = torch.nan
    bound = ChannelMix(in_shape=(3, 4, 4), response=response).norm_bound()
    assert bound[0].isnan()
    torch.testing.assert_close(bound[1], want)
