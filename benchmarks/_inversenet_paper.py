"""What the InverseNet paper prints, to be shown beside ours.

Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, tables 1
and 2. Its third data set, CUB-200-2011, is not among ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["INVERSENET", "MOTION", "NEURAL", "PIX2PIX", "ROBUST", "TITLES", "TRANSFER", "WIENER"]

WIENER: Final = "Wiener filter"
ROBUST: Final = "Robust motion deblurring"
NEURAL: Final = "Neural motion deblurring"
PIX2PIX: Final = "Pix2Pix with comparator"
INVERSENET: Final = "InverseNet"

Cell = tuple[float, float]  # PSNR in dB and SSIM

# Table 1: faces are its CelebA, natural pictures its ImageNet.
MOTION: Final[Mapping[str, Mapping[str, Cell]]] = {
    "faces": {
        WIENER: (20.92, 0.7020),
        ROBUST: (25.06, 0.8052),
        NEURAL: (25.76, 0.9649),
        PIX2PIX: (23.59, 0.8553),
        INVERSENET: (34.02, 0.9738),
    },
    "natural": {
        WIENER: (20.44, 0.6357),
        ROBUST: (23.37, 0.7283),
        NEURAL: (24.74, 0.9074),
        PIX2PIX: (22.05, 0.7335),
        INVERSENET: (28.87, 0.9446),
    },
}

# Table 2: InverseNet trained on PASCAL VOC. It has no LFW.
TRANSFER: Final[Mapping[str, Cell]] = {"CelebA": (27.90, 0.9373), "ImageNet": (28.52, 0.9303)}

TITLES: Final = {"1": "Motion deblurring", "2": "Trained on natural pictures, tested on others"}
