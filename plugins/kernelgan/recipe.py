"""What a KernelGAN run is made of: the published recipe, and ours."""

from __future__ import annotations

import attrs

from .generator import LAYERS

__all__ = ["RECIPES", "Recipe"]


@attrs.frozen(kw_only=True)
class Recipe:
    """Hyper-parameters of the training, with the values of the paper and of its authors' code.

    The last three are where the code does what the paper does not say:
    accumulate_noise: the noise on real crops stays in the picture, for all later crops;
    sum_channels: the bicubic target of each channel is the sum over the channels;
    power: of |k| in the sparsity term, 1/2 in the paper.
    """

    layers: tuple[int, ...] = LAYERS
    crop: int = 64
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    decay_every: int = 750
    sum_to_one: float = 0.5
    boundaries: float = 0.5
    sparse: float = 5.0
    centred: float = 1.0
    bicubic: float = 5.0
    bicubic_tolerance: float = 0.4
    bicubic_floor: float = 5e-6
    bicubic_every: int = 200
    accumulate_noise: bool = True
    sum_channels: bool = True
    power: float = 0.2


PAPER = Recipe()
CLEAN = attrs.evolve(PAPER, accumulate_noise=False, sum_channels=False, bicubic_tolerance=0.4 / 9)
RECIPES = {"paper": PAPER, "clean": CLEAN}
