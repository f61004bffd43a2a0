"""The operators of deepinv, if it can be imported.

Its wheel needs torchvision, which does not import beside a CPU build of torch. The modules that
are missing are replaced by empty ones while it is imported: none of them is touched by the
operators measured here.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["deepinv_forms", "load"]

_REPLACED = ("torchvision", "matplotlib", "hdf5storage", "h5py", "requests", "natsort")


class _Empty(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # a module attribute, as packages have it

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Replacer(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: only for what is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] in _REPLACED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> types.ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave it empty."""


def load() -> Any:
    """Return deepinv's `physics` module and its version; (None, why) if it does not import."""
    replacer = _Replacer()
    sys.meta_path.append(replacer)
    try:
        deepinv = importlib.import_module("deepinv")
        return importlib.import_module("deepinv.physics"), str(deepinv.__version__)
    except Exception as problem:  # whatever a foreign package raises
        return None, f"{type(problem).__name__}: {problem}"
    finally:
        sys.meta_path.remove(replacer)


def deepinv_forms(
    physics: Any, x: Tensor, y: Tensor, v: Tensor, kernel: Tensor, stride: int, tau: float
) -> dict[str, dict[str, Callable[[], object]]]:
    """Return deepinv's forms of each job."""
    shape = tuple(x.shape[1:])
    if stride > 1:
        operators = {
            "Downsampling": physics.Downsampling(
                img_size=shape, filter=kernel, factor=stride, padding="circular"
            )
        }
    else:
        operators = {
            "BlurFFT": physics.BlurFFT(img_size=shape, filter=kernel),
            "Blur": physics.Blur(filter=kernel, padding="circular"),
        }
    jobs: dict[str, dict[str, Callable[[], object]]] = {}
    for name, op in operators.items():
        op = op.to(x.device)
        jobs.setdefault("forward", {})[name] = lambda op=op: op.A(x)
        jobs.setdefault("adjoint", {})[name] = lambda op=op: op.A_adjoint(y)
        if name != "Blur":  # its prox is an iteration with a tolerance of its own
            jobs.setdefault("data_prox", {})[name] = lambda op=op: op.prox_l2(v, y, tau)
    return jobs
