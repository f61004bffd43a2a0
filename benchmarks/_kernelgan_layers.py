"""KernelGAN as the paper draws it: every layer run, spectral normalisation layer by layer.

The reference of the speed benchmark: the same losses, crops and schedule, by autograd.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

__all__ = ["Layers"]

SIDE = 13


def _generator() -> nn.Sequential:
    sides = (7, 5, 3, 1, 1, 1)
    channels = (1, 64, 64, 64, 64, 64, 1)
    layers = [
        nn.Conv2d(a, b, n, stride=2 if i == 5 else 1, bias=False)
        for i, (a, b, n) in enumerate(zip(channels, channels[1:], sides, strict=False))
    ]
    for layer in layers:
        nn.init.xavier_normal_(layer.weight, gain=0.1)
    return nn.Sequential(*layers)


def _discriminator(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = [spectral_norm(nn.Conv2d(channels, 64, 7))]
    for _ in range(5):
        layers += [spectral_norm(nn.Conv2d(64, 64, 1)), nn.BatchNorm2d(64), nn.ReLU(True)]
    layers += [spectral_norm(nn.Conv2d(64, 1, 1)), nn.Sigmoid()]
    return nn.Sequential(*layers)


class Layers:
    """One picture's generator and discriminator, trained by `step` on given crops."""

    def __init__(self, channels: int, bicubic: Tensor) -> None:
        self.generator, self.discriminator = _generator(), _discriminator(channels)
        self.adams = [
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))
            for net in (self.generator, self.discriminator)
        ]
        self.bicubic = bicubic.float()[None, None]
        at = torch.arange(SIDE).float()
        hill = torch.exp(-((at - SIDE // 2) ** 2) / (2 * SIDE**2))
        self.frame = 30 * (1 - hill[:, None] * hill)
        self.frame[2:-2, 2:-2] = 0
        self.at = at

    def kernel(self) -> Tensor:
        """Return the kernel, by pushing a unit pixel through the layers."""
        k = torch.zeros(1, 1, 2 * SIDE - 1, 2 * SIDE - 1)
        k[..., SIDE - 1, SIDE - 1] = 1
        for layer in self.generator:
            k = F.conv2d(k, layer.weight)
        return k.flip(-2, -1)[0, 0]

    def step(self, crop: Tensor, real: Tensor) -> None:
        """Train the generator once, then the discriminator; crops `(C, h, w)` in [-1, 1]."""
        made = self.generator(crop[:, None]).transpose(0, 1)
        loss = (self.discriminator(made) - 1).abs().mean()
        target = F.conv2d(F.pad(crop[:, None], [3] * 4), self.bicubic, stride=2)[:, 0, 3:-3, 3:-3]
        loss = loss + 5 * F.mse_loss(made[0], target) + self._regularization(self.kernel())
        self.adams[0].zero_grad()
        loss.backward()
        self.adams[0].step()
        with torch.no_grad():
            made = self.generator(crop[:, None]).transpose(0, 1)
            made = made + torch.randn_like(made) / 255
        self.adams[1].zero_grad()
        loss = (self.discriminator(real[None]) - 1).abs().mean()
        loss = (loss + self.discriminator(made).abs().mean()) / 2
        loss.backward()
        self.adams[1].step()

    def _regularization(self, k: Tensor) -> Tensor:
        total = k.sum()
        rows, columns = (k.sum(1) * self.at).sum() / total, (k.sum(0) * self.at).sum() / total
        return (
            0.5 * (1 - total).abs()
            + 0.5 * (k * self.frame).abs().mean()
            + 5 * k.abs().clamp_min(1e-12).pow(0.2).mean()
            + ((rows - 6.5) ** 2 + (columns - 6.5) ** 2) / 2
        )
