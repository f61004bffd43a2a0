"""`Component`: what operators, priors, noise models and solvers have in common."""

from __future__ import annotations

from abc import ABC
from typing import Any, Self

import torch

from .moves import device_of, fields_of, move
from .space import Space

__all__ = ["Component", "params_for"]


class Component(ABC):  # noqa: B024 - the contracts derived from it have the abstract methods
    """A frozen object that has a name for error texts, and moves by giving a new one."""

    @property
    def name(self) -> str:
        """Short name for error texts."""
        return type(self).__name__

    @property
    def device(self) -> torch.device | None:
        """Device of the parameters; None when there are none, and any device will do."""
        return device_of(self)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Return it, with its networks, on another device or in another precision.

        This one is unchanged. Raises: DtypeError when `dtype` is not a floating-point dtype.
        """
        return move(self, device=device, dtype=dtype)


def params_for(cls: type, space: Space, params: dict[str, Any]) -> dict[str, Any]:
    """Return constructor arguments for pictures of `space`: size and dtype unless given.

    Tensors follow the precision of `space`, since here they come from text or files; constructors
    never convert.
    """
    names = {f.alias for f in fields_of(cls)}
    sized = {"in_shape": space.shape, "dtype": space.dtype}
    defaults = {name: value for name, value in sized.items() if name in names}
    return move({**defaults, **params}, dtype=space.dtype)
