"""`motion_blur`: a blur with another kernel, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from wellposed import Space
from wellposed.edge import build_operator
from wellposed.errors import ShapeError
from wellposed.plugins.kernels.inversenet import InverseNetMotion
from wellposed.plugins.operators.blur import Blur, MotionBlur

F64 = torch.float64
# boundary: SciPy's name
MODES = {"reflect": "mirror", "symmetric": "reflect", "circular": "wrap", "replicate": "nearest",
         "zero": "constant"}  # fmt: skip


def rand(*shape):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("boundary", MODES)
def test_it_convolves_with_the_kernel_of_inversenet(boundary):
    op = build_operator("motion_blur", {"boundary": boundary}, x_space=Space((2, 14, 17), F64))
    kernel = InverseNetMotion().tensor(dtype=F64)
    assert kernel.shape == (1, 1, 9, 9)
    x = rand(2, 14, 17)
    want = [
        scipy.ndimage.convolve(c.numpy(), kernel[0, 0].numpy(), mode=MODES[boundary]) for c in x
    ]
    np.testing.assert_allclose(op(x).numpy(), np.stack(want), rtol=1e-10)


def test_it_is_a_blur_in_everything_else():
    x = rand(3, 12, 13)
    params = {"kernel": {"name": "gaussian", "params": {"width": 2.0}}, "boundary": "zero"}
    space = Space((3, 12, 13), F64)
    motion, blur = (build_operator(name, params, x_space=space) for name in ("motion_blur", "blur"))
    assert isinstance(motion, MotionBlur) and isinstance(blur, Blur)
    assert not isinstance(motion, Blur)
    assert torch.equal(motion(x), blur(x)) and torch.equal(motion.H(x), blur.H(x))
    named = build_operator("blur", {"kernel": "inversenet_motion"}, x_space=space)
    assert torch.equal(build_operator("motion_blur", x_space=space)(x), named(x))


def test_defaults_without_a_space_are_each_their_own():
    motion, blur = MotionBlur(in_shape=(1, 20, 20)), Blur(in_shape=(1, 20, 20))
    torch.testing.assert_close(motion.kernel, InverseNetMotion().tensor())
    assert motion.kernel.dtype == torch.float32
    peak = blur.kernel[0, 0].flatten().argmax()  # a Gaussian, in whose middle it is largest
    assert int(peak) == blur.kernel[0, 0].numel() // 2
    torch.testing.assert_close(blur.kernel, blur.kernel.mT)


def test_the_picture_behind_a_valid_measurement_is_larger_by_the_kernel():
    space = MotionBlur.image_space_for(Space((3, 5, 6), F64), boundary="valid")
    assert space.shape == (3, 13, 14)
    op = build_operator("motion_blur", {"boundary": "valid"}, y_space=Space((3, 12, 13), F64))
    assert op.in_space.shape == (3, 20, 21) and op.out_space.shape == (3, 12, 13)


def test_errors_bear_its_name():
    with pytest.raises(ShapeError, match=r"MotionBlur"):
        MotionBlur(in_shape=(1, 5, 5), boundary="valid")
