"""What the paper's authors gave out: test pictures, blurs, and what they themselves restored.

Archives `CelebA.npz`, `SVHN.npz` and `Shoes.npz` of the pictures in the repository of the paper's
later version, in 256 levels, `(N, H, W, 3)`. What they hold, by name:

    x_orig              the pictures
    blurs               28 x 28 each, sum 1; the tap [14, 14] is the one that moves nothing
    x_range             the nearest that the authors' generator makes
    alg1_y_from_test    blurred circularly, noise of 0.01, clipped to [0, 1]; Shoes has none
    alg1_x_hat_from_test, alg2_..., alg1_w_hat_from_test, ..., alg1_x_hat_from_range
                        what their two algorithms found, kernels in 256 levels up to a factor
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import attrs
import numpy as np
import torch
from torch import Tensor
from wellposed.errors import DataError

__all__ = ["SETS", "Reference", "load"]

SETS: Final = ("CelebA", "SVHN", "Shoes")
ALGORITHMS: Final = {"algorithm 1": "alg1", "algorithm 2": "alg2"}
_NEEDED: Final = ("x_orig", "blurs", "x_range")


@attrs.frozen(eq=False, kw_only=True)
class Reference:
    """Some pictures of a set `(N, 3, H, W)` in [0, 1], and what the authors made of them.

    kernels `(N, 1, 28, 28)`, of sum 1, as are those that the algorithms found; measurement: None
    where they gave none; restored, found: by algorithm; from_range: what algorithm 1 made of the
    blurred `nearest`.
    """

    name: str
    x: Tensor
    kernels: Tensor
    nearest: Tensor
    measurement: Tensor | None
    restored: Mapping[str, Tensor]
    found: Mapping[str, Tensor]
    from_range: Tensor | None

    def to(self, device: torch.device | str) -> Reference:
        """Return it on a device."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device)
            if isinstance(value, Mapping):
                return {key: inner.to(device) for key, inner in value.items()}
            return value

        fields = attrs.fields_dict(type(self))
        return Reference(**{name: moved(getattr(self, name)) for name in fields})


def load(folder: Path, name: str, count: int | None = None, skip: int = 0) -> Reference:
    """Return `count` pictures of a set, after the first `skip`. Raises: DataError."""
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise DataError(
            f"{path} does not exist. --reference expects the folder with the authors' pictures, "
            f"as {', '.join(f'{one}.npz' for one in SETS)}."
        )
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key][skip:][:count] for key in archive.files}
    except (OSError, ValueError, AttributeError, TypeError, BadZipFile) as error:
        raise DataError(f"{path} is no archive of arrays: {error}") from error
    missing = [key for key in _NEEDED if key not in arrays]
    if missing:
        raise DataError(
            f"{path} has no {', '.join(missing)}; got {', '.join(arrays) or 'nothing'}."
        )
    if not len(arrays["x_orig"]):
        raise DataError(f"{path} has no picture after the first {skip}; give a smaller --skip.")
    known = {label: key for label, key in ALGORITHMS.items() if f"{key}_x_hat_from_test" in arrays}
    y = arrays.get("alg1_y_from_test")
    again = arrays.get("alg1_x_hat_from_range")
    return Reference(
        name=name,
        x=_pictures(arrays["x_orig"]),
        kernels=_kernels(arrays["blurs"]),
        nearest=_pictures(arrays["x_range"]),
        measurement=None if y is None else _pictures(y),
        restored={
            label: _pictures(arrays[f"{key}_x_hat_from_test"]) for label, key in known.items()
        },
        found={
            label: _kernels(arrays[f"{key}_w_hat_from_test"])
            for label, key in known.items()
            if f"{key}_w_hat_from_test" in arrays
        },
        from_range=None if again is None else _pictures(again),
    )


def _pictures(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).permute(0, 3, 1, 2).float().div(255).contiguous()


def _kernels(values: np.ndarray) -> Tensor:
    taps = torch.from_numpy(values).float()[:, None]
    total = taps.sum((-2, -1), keepdim=True)
    return taps / torch.where(total > 0, total, 1)
