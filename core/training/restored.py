"""`Restored`: what a learner makes of a batch of measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from torch import Tensor
from wellposed.registry.errors import suggestion

from ..errors import ParameterError

__all__ = ["PICTURE", "Restored"]

PICTURE: Final = "picture"  # what recipes call the result, beside the parts


class Restored(NamedTuple):
    """Pictures `(b, C, H, W)`, and others that were found on the way to them, by name."""

    picture: Tensor
    parts: Mapping[str, Tensor] = {}

    def of(self, name: str) -> Tensor:
        """Return the picture, or the part of that name. Raises: ParameterError."""
        if name == PICTURE:
            return self.picture
        if name not in self.parts:
            known = (PICTURE, *self.parts)
            raise ParameterError(
                f"what is trained finds no {name!r}.{suggestion(name, known)} It finds: "
                f"{', '.join(known)}",
                where="of",
            )
        return self.parts[name]

    def like(self, name: str, truth: Tensor) -> Tensor:
        """Return the picture, or a part of the truth's shape. Raises: ParameterError."""
        found = self.of(name)
        if found.shape != truth.shape:
            raise ParameterError(
                f"{name!r} has the shape {tuple(found.shape[1:])}, pictures have "
                f"{tuple(truth.shape[1:])}; name what is a picture",
                where="of",
            )
        return found
