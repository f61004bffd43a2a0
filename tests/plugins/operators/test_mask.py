"""Masks: what is missing, what is filled in, and what is refused."""

import attrs
import pytest
import torch
import wellposed
from wellposed import Space, sample
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.operators.identity import Denoising
from wellposed.plugins.operators.mask import HoleMask, Mask, RandomMask


def test_a_mask_multiplies_whatever_its_axes():
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    for lead in [(), (1,), (3,), (1, 1), (1, 3), (4, 1), (4, 3)]:
        mask = torch.randn(*lead, 5, 6, dtype=torch.float64)
        op = Mask(in_shape=(3, 5, 6), mask=mask)
        torch.testing.assert_close(op(x), x * mask, rtol=0, atol=0)
        assert op.batch_shape == ((4,) if lead[:1] == (4,) else ())


def test_a_boolean_mask_goes_with_any_picture():
    mask = torch.rand(5, 6) < 0.5
    for dtype in (torch.float32, torch.float64, torch.complex64):
        x = torch.randn(1, 5, 6, dtype=dtype)
        assert torch.equal(Mask(in_shape=(1, 5, 6), mask=mask, dtype=dtype)(x), x * mask)


def test_the_proximal_map_is_the_weighted_mean():
    mask = torch.randn(1, 4, 5, dtype=torch.float64)
    v, y = torch.randn(2, 2, 1, 4, 5, dtype=torch.float64).unbind()
    got = Mask(in_shape=(1, 4, 5), mask=mask).data_prox(v, y, torch.tensor([0.3, 7.0]).double())
    tau = torch.tensor([0.3, 7.0]).double()[:, None, None, None]
    torch.testing.assert_close(got, (v + tau * mask * y) / (1 + tau * mask**2))


@pytest.mark.parametrize("per_channel", [False, True])
def test_random_masks_miss_the_asked_fraction(per_channel):
    op = RandomMask(in_shape=(3, 40, 50), missing=0.8, per_channel=per_channel, seed=3)
    assert op.mask.shape == ((3, 40, 50) if per_channel else (1, 40, 50))
    assert ((op.mask == 0).sum((-2, -1)) == 1600).all()
    again = RandomMask(in_shape=(3, 40, 50), missing=0.8, per_channel=per_channel, seed=3)
    assert torch.equal(op.mask, again.mask)
    assert not torch.equal(op.mask, attrs.evolve(op, seed=4).mask)
    if per_channel:
        assert not torch.equal(op.mask[0], op.mask[1])


def test_holes_stand_where_they_are_told():
    assert HoleMask(in_shape=(1, 9, 20), size=3).corner == (3, 8)
    assert HoleMask(in_shape=(1, 9, 20), size=3, top=0, left=17).corner == (0, 17)
    assert HoleMask(in_shape=(1, 9, 20)).mask.sum() == 9 * 20 - 2 * 2
    drawn = {HoleMask(in_shape=(1, 9, 20), size=3, seed=s).corner for s in range(200)}
    assert {r for r, _ in drawn} == set(range(7)) and {c for _, c in drawn} == set(range(18))
    mask = HoleMask(in_shape=(2, 9, 20), size=3, top=1, left=4).mask
    missing = torch.zeros(1, 9, 20)
    missing[:, 1:4, 4:7] = 1
    assert torch.equal(1 - mask, missing)


def test_filling_keeps_known_pixels_and_reproduces_flat_pictures():
    op = RandomMask(in_shape=(1, 17, 30), missing=0.7, dtype=torch.float64)
    x = torch.rand(1, 17, 30, dtype=torch.float64)
    filled = op.initial_estimate(op(x))
    torch.testing.assert_close(op(filled), op(x), rtol=1e-12, atol=0)
    assert filled.min() >= 0 and filled.max() <= 1
    flat = torch.full((1, 17, 30), 0.3, dtype=torch.float64)
    torch.testing.assert_close(op.initial_estimate(op(flat)), flat)


@pytest.mark.parametrize("op", ["random_mask", "hole_mask"])
def test_filling_is_much_better_than_zeros(op):
    picture = sample()[:, :128, :128]
    solution_space = Space(tuple(picture.shape))
    cls = RandomMask if op == "random_mask" else HoleMask
    built = cls.for_image(solution_space)
    y = built(picture)
    assert wellposed.psnr(built.initial_estimate(y), picture) > wellposed.psnr(y, picture) + 6


def test_filling_of_weak_pixels_amplifies_no_noise():
    mask = torch.ones(1, 16, 16, dtype=torch.float64)
    mask[:, 4:12, 4:12] = 1e-8
    op = Mask(in_shape=(1, 16, 16), mask=mask)
    noise = 0.01 * torch.randn(1, 16, 16, dtype=torch.float64)
    assert op.initial_estimate(op(torch.full_like(noise, 0.5)) + noise).max() < 0.7


def test_filling_has_no_scale():
    mask = torch.rand(1, 9, 9, dtype=torch.float64)
    y = mask * torch.rand(1, 9, 9, dtype=torch.float64)
    x = Mask(in_shape=(1, 9, 9), mask=mask).initial_estimate(y)
    for s in (1e-9, 1e9):
        scaled = Mask(in_shape=(1, 9, 9), mask=s * mask)
        torch.testing.assert_close(scaled.initial_estimate(s * y), x, rtol=1e-10, atol=0)


def test_nothing_measured_is_filled_with_zeros():
    op = Mask(in_shape=(1, 5, 5), mask=torch.zeros(5, 5))
    assert torch.equal(op.initial_estimate(torch.zeros(1, 5, 5)), torch.zeros(1, 5, 5))


def test_a_mask_from_text_follows_the_picture():
    op = Mask.for_image(Space((1, 2, 2), torch.float64), mask=torch.ones(2, 2))
    assert op.mask.dtype == torch.float64 and op.in_space.dtype == torch.float64


def test_the_identity_measures_the_picture():
    x = torch.rand(2, 3, 4, 5)
    op = Denoising(in_shape=(3, 4, 5))
    assert torch.equal(op(x), x) and op.has_closed_prox
    torch.testing.assert_close(op.data_prox(x, 0 * x, 3.0), x / 4)


def test_refusals():
    with pytest.raises(ShapeError, match=r"Mask.mask expects \(H, W\).*got \(2, 4, 5\)"):
        Mask(in_shape=(3, 4, 5), mask=torch.ones(2, 4, 5))
    with pytest.raises(DtypeError, match=r"expects torch.float64 or bool.*got torch.float32"):
        Mask(in_shape=(3, 4, 5), mask=torch.ones(4, 5), dtype=torch.float64)
    with pytest.raises(DtypeError, match=r"expects torch.float32 or bool.*got torch.uint8"):
        Mask(in_shape=(3, 4, 5), mask=torch.ones(4, 5, dtype=torch.uint8))
    with pytest.raises(ParameterError, match=r"at least 0 and at most 1; got 1.5"):
        RandomMask(in_shape=(1, 4, 5), missing=1.5)
    with pytest.raises(ParameterError, match=r"seed expects a whole number.*got -1"):
        RandomMask(in_shape=(1, 4, 5), seed=-1)
    with pytest.raises(ParameterError, match=r"no larger than the picture"):
        HoleMask(in_shape=(1, 4, 5), size=5)
    with pytest.raises(ParameterError, match=r"HoleMask.left expects.*at most 3.*got 4"):
        HoleMask(in_shape=(1, 4, 5), size=2, left=4)


def test_a_mask_drawn_inside_a_transform_serves_afterwards():
    op = RandomMask(in_shape=(1, 4, 5), missing=0.5)
    x = torch.rand(1, 4, 5)
    torch.func.grad(lambda z: op(z).square().sum())(x)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(op(x).square().sum(), x)
    torch.testing.assert_close(grad, 2 * op.mask * x)
