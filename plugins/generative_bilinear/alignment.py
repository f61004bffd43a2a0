"""Taking out what blind recovery cannot know: a circular shift, and a scale."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed.errors import ShapeError

__all__ = ["Aligned", "aligned"]


@attrs.frozen(eq=False, kw_only=True)
class Aligned:
    """A recovered pair, moved and scaled; shift `(*batch, 2)`, down and right, scale `batch`."""

    image: Tensor
    parameter: Tensor | None
    shift: Tensor
    scale: Tensor


def aligned(
    image: Tensor,
    truth: Tensor,
    parameter: Tensor | None = None,
    *,
    shift: bool = True,
    scale: bool = True,
) -> Aligned:
    """Return a recovered picture, shifted (circularly) and scaled to be next to the truth.

        argmin_{a, s}  |a roll(image, s) - truth|^2,    found exactly, over all s

    The parameter undergoes the opposite, `roll(parameter, -s) / a`, so that their circular
    convolution stays what it is (as long as the kernel does not leave its own frame, in which it
    wraps around). For a pointwise product there is no shift: `shift=False`. Score the result by
    `psnr(found.image, truth)`, and say that it was aligned.

    Shapes: image and truth `(*batch, C, H, W)`; parameter `(*batch, C|1, kh, kw)`.
    Raises: ShapeError when image and truth differ in shape, or the parameter in batch axes.
    Cost: three FFTs.
    """
    if image.shape != truth.shape or image.ndim < 3:
        raise ShapeError(
            "a picture and its truth must have one shape (*batch, C, H, W) to be aligned; got "
            f"{tuple(image.shape)} and {tuple(truth.shape)}."
        )
    if parameter is not None and parameter.ndim != image.ndim:
        raise ShapeError(
            "a parameter has the batch axes of its picture, (*batch, C or 1, kh, kw); got "
            f"{tuple(parameter.shape)} beside a picture of shape {tuple(image.shape)}."
        )
    batch = image.shape[:-3]
    moves = torch.zeros(*batch, 2, dtype=torch.long, device=image.device)
    if shift:
        spectrum = torch.fft.rfft2(image).conj() * torch.fft.rfft2(truth)
        match = torch.fft.irfft2(spectrum.sum(-3), s=image.shape[-2:])
        match = match.abs() if scale else match  # a scale may be negative
        best = match.flatten(-2).argmax(-1)
        moves = torch.stack((best // image.shape[-1], best % image.shape[-1]), -1)
        # The short way round: a kernel's frame is another than the picture's.
        sides = torch.tensor(image.shape[-2:], device=image.device)
        moves = (moves + sides // 2) % sides - sides // 2
    image = _rolled(image, moves)
    factor = torch.ones(batch, dtype=image.dtype, device=image.device)
    if scale:
        power, common = image.square().sum((-3, -2, -1)), (image * truth).sum((-3, -2, -1))
        factor = torch.where((power > 0) & (common != 0), common / power, factor)
    wide = factor[..., None, None, None]
    if parameter is not None:
        parameter = _rolled(parameter, -moves) / wide
    return Aligned(image=wide * image, parameter=parameter, shift=moves, scale=factor)


def _rolled(x: Tensor, moves: Tensor) -> Tensor:
    """Return each sample rolled by its own whole number of pixels."""
    for axis, dim in enumerate((-2, -1)):
        at = torch.arange(x.shape[dim], device=x.device) - moves[..., axis, None]
        at = at.remainder(x.shape[dim])
        index = at[..., None, :, None] if dim == -2 else at[..., None, None, :]
        x = torch.take_along_dim(x, index, dim)
    return x
