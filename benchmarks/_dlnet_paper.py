"""What the DL-Net paper prints: the cells of its tables, as strings, to be shown beside ours.

Source: Guo et al., 2021, Deep likelihood network for image restoration with multiple degradation
levels, arXiv:1904.09105v4. A cell of a table of faces is `l1 / l2 / PSNR`; one of
super-resolution is the PSNR at `x2 / x3 / x4`.
"""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["OVERHEAD", "TABLES", "Table"]


@attrs.frozen
class Table:
    """One table of the paper: a cell for each method and column."""

    title: str
    task: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]


def _rows(text: str) -> dict[str, tuple[str, ...]]:
    """Return the cells of lines `method: cell cell ...`."""
    lines = (line.split(":") for line in text.strip().splitlines())
    return {name.strip(): tuple(cells.split()) for name, cells in lines}


_HOLES = ("s = 10", "s = 20", "s = 30", "s = 20, centered")
_SHARES = ("r = 15%", "r = 45%", "r = 75%", "r in [0%, 75%]")
_WIDTHS = ("u = 0", "u = 1.3", "u = 2.6")

TABLES: Final = {
    "II": Table(
        "Image inpainting on CelebA",
        "inpainting",
        _HOLES,
        _rows("""
Autoencoder (Default): 0.2556/0.1269/15.49 0.2482/0.1299/15.38 0.2600/0.1733/14.17 0.2470/0.1226/15.62
Autoencoder (s = 20, centered): 0.2116/0.0951/17.16 0.2258/0.1402/15.67 0.2616/0.2321/13.19 0.0246/0.0031/32.27
Autoencoder (Joint): 0.0227/0.0015/35.00 0.0305/0.0040/30.87 0.0494/0.0118/26.13 0.0295/0.0035/31.50
On-Demand Learning: 0.0230/0.0015/34.93 0.0307/0.0040/30.85 0.0496/0.0118/26.12 0.0299/0.0036/31.43
Multi-Task Learning: 0.0178/0.0010/36.65 0.0263/0.0036/31.37 0.0470/0.0118/26.11 0.0253/0.0032/32.06
DL-Net: 0.0129/0.0008/38.47 0.0214/0.0033/32.03 0.0413/0.0110/26.54 0.0205/0.0028/32.82
"""),  # noqa: E501
    ),
    "III": Table(
        "Image interpolation on CelebA",
        "interpolation",
        _SHARES,
        _rows("""
Autoencoder (Default): 0.0924/0.0159/24.64 0.0527/0.0062/28.59 0.0565/0.0095/26.78 0.0705/0.0112/26.67
Autoencoder (Joint): 0.0256/0.0017/34.36 0.0347/0.0036/31.07 0.0597/0.0104/26.32 0.0345/0.0037/31.68
On-Demand Learning: 0.0251/0.0016/34.50 0.0343/0.0035/31.15 0.0589/0.0102/26.41 0.0340/0.0036/31.78
Multi-Task Learning: 0.0216/0.0013/35.58 0.0335/0.0034/31.24 0.0619/0.0110/26.05 0.0327/0.0035/32.22
DL-Net: 0.0138/0.0007/38.35 0.0240/0.0023/33.09 0.0488/0.0083/27.42 0.0233/0.0024/34.51
"""),  # noqa: E501
    ),
    "VI": Table(
        "Image inpainting on CelebA, known pixels kept",
        "inpainting",
        _HOLES[1:3],
        _rows("""
Autoencoder (Joint): 0.0117/0.0031/32.37 0.0332/0.0109/26.52
On-Demand Learning: 0.0117/0.0031/32.37 0.0331/0.0110/26.52
Multi-Task Learning: 0.0117/0.0031/32.33 0.0341/0.0113/26.35
DL-Net: 0.0117/0.0031/32.42 0.0328/0.0108/26.62
"""),
    ),
    "VII": Table(
        "Image interpolation on CelebA, known pixels kept",
        "interpolation",
        _SHARES[1:3],
        _rows("""
Autoencoder (Joint): 0.0204/0.0027/32.31 0.0512/0.0098/26.61
On-Demand Learning: 0.0203/0.0027/32.35 0.0505/0.0096/26.70
Multi-Task Learning: 0.0204/0.0027/32.27 0.0532/0.0103/26.34
DL-Net: 0.0171/0.0021/33.52 0.0439/0.0080/27.54
"""),
    ),
    "XII": Table(
        "Super-resolution, Set5",
        "super_resolution",
        _WIDTHS,
        _rows("""
Bicubic: 33.66/30.39/28.42 29.02/26.57/24.78 26.13/25.32/24.33
VDSR: 37.62/33.89/31.56 30.65/30.36/29.88 26.39/26.34/26.33
VDSR (DL-Net): 36.47/33.28/31.09 36.25/33.28/31.17 34.97/32.89/30.99
DRRN: 37.82/34.23/31.86 30.65/30.30/29.83 26.39/26.35/26.31
DRRN (DL-Net): 37.32/33.76/31.34 37.39/33.83/31.41 36.76/33.53/31.41
IDN: 37.73/34.07/31.76 30.64/30.32/29.88 26.39/26.35/26.33
IDN (DL-Net): 37.07/33.49/31.24 37.05/33.58/31.27 36.50/33.32/31.14
SRMDNF: 37.79/34.12/31.96 37.45/34.16/31.99 34.12/33.02/31.77
"""),
    ),
    "XIII": Table(
        "Super-resolution, Set14",
        "super_resolution",
        _WIDTHS,
        _rows("""
VDSR: 33.12/29.88/28.15 27.93/27.58/27.09 24.61/24.58/24.55
VDSR (DL-Net): 32.49/29.53/27.86 32.28/29.58/27.93 30.89/29.30/27.74
DRRN: 33.39/30.03/28.32 27.93/27.53/27.08 24.61/24.59/24.54
DRRN (DL-Net): 33.10/29.85/28.06 33.18/29.97/28.11 32.19/29.77/28.01
IDN: 33.28/29.97/28.21 27.93/27.54/27.12 24.61/24.59/24.56
IDN (DL-Net): 32.83/29.71/27.99 32.89/29.73/28.02 32.14/29.52/27.92
"""),
    ),
    "XIV": Table(
        "Super-resolution, BSD500: the 100 pictures known as BSD100",
        "super_resolution",
        _WIDTHS,
        _rows("""
VDSR: 31.96/28.87/27.34 27.66/27.24/26.67 24.97/24.94/24.88
VDSR (DL-Net): 31.49/28.67/27.20 31.44/28.71/27.25 30.09/28.57/27.20
DRRN: 32.13/29.02/27.44 27.66/27.21/26.65 24.97/24.94/24.87
DRRN (DL-Net): 31.98/28.88/27.32 32.10/28.94/27.36 31.35/28.88/27.34
IDN: 32.05/28.94/27.40 27.66/27.22/26.67 24.97/24.94/24.88
IDN (DL-Net): 31.83/28.82/27.26 31.93/28.89/27.30 31.20/28.83/27.30
"""),
    ),
}

# Table VIII: seconds for the whole test set, by K; K = 1 is the plain network.
OVERHEAD: Final = {
    "cpu": {1: 3.824, 2: 4.346, 3: 4.747, 4: 5.255, 5: 5.884},
    "cuda": {1: 1.330, 2: 1.595, 3: 1.630, 4: 1.747, 5: 1.876},
}
