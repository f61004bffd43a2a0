"""What the paper of the generative bilinear solver prints, to be shown beside ours.

Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
priors, tables 1 to 3. Its own test pictures are not known: no row here is of the pictures that ours
are of.

Table 3 calls its figures the average error per pixel, ||x - x^||_2. As mean squares they would be
better by 8 dB than what table 1 has: 0.000671 is 31.7 dB. The norm itself over the number of values
(64 x 64 x 3) agrees with table 1: 0.000671 then is an error of 0.074, or 22.6 dB. It is what is
computed here (`table_3_error`), with the decibels beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

__all__ = [
    "CNN",
    "DARK",
    "NOISE",
    "OURS",
    "TABLE_1",
    "TABLE_2",
    "TABLE_3",
    "TITLES",
    "table_3_error",
]

DARK: Final = "dark prior"
CNN: Final = "CNN"
OURS: Final = "generative"

Cell = tuple[float, float]  # PSNR in dB and SSIM

TITLES: Final = {
    "1": "Blind deblurring",
    "2": "Robustness to noise",
    "3": "What the range of the generator leaves",
}

TABLE_1: Final[Mapping[str, Mapping[str, Cell]]] = {
    "CelebA (Blur A)": {DARK: (19.674, 0.781), CNN: (28.338, 0.895), OURS: (23.525, 0.822)},
    "SVHN (Blur B)": {DARK: (14.244, 0.387), CNN: (21.450, 0.869), OURS: (21.606, 0.856)},
    "CelebA (Blur size 30)": {CNN: (19.441, 0.771), OURS: (20.072, 0.784)},
}

NOISE: Final = (10, 20, 30, 40, 50)  # per cent: standard deviations of 0.1 to 0.5

TABLE_2: Final[Mapping[str, Mapping[str, Sequence[Cell]]]] = {
    "CelebA (Blur A)": {
        CNN: ((16.556, 0.621), (14.216, 0.407), (13.450, 0.334), (12.275, 0.220), (11.772, 0.174)),
        OURS: ((22.055, 0.850), (21.601, 0.832), (21.765, 0.846), (21.682, 0.821), (20.678, 0.815)),
    },
    "SVHN (Blur A)": {
        CNN: (
            (18.908, 0.864),
            (14.464, 0.624),
            (12.634, 0.4893),
            (11.747, 0.308),
            (10.803, 0.2205),
        ),
        OURS: ((24.765, 0.967), (20.823, 0.930), (20.963, 0.935), (15.120, 0.778), (13.213, 0.733)),
    },
}

# Of the pictures themselves, and of those nearest to them in the generator's range.
TABLE_3: Final[Mapping[str, tuple[float, float]]] = {
    "SVHN (Blur A)": (0.00118, 0.000501),
    "SVHN (Blur B)": (0.000993, 0.000211),
    "CelebA (Blur A)": (0.000671, 0.000290),
    "CelebA (Blur B)": (0.000823, 0.000332),
}


def table_3_error(x: Tensor, truth: Tensor) -> Tensor:
    """Return `|x - truth|_2` over the number of values, the error of table 3; shape `batch`."""
    off = (x - truth).flatten(-3)
    error: Tensor = torch.linalg.vector_norm(off, dim=-1) / off.shape[-1]
    return error
