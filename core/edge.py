"""Where text becomes components: names, mappings, arrays and paths end here.

Below this module there are only objects.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import wellposed.registry as reg
from torch import Tensor
from wellposed.registry import default_registry
from wellposed.registry.errors import located

from .bilinear import BilinearOperator
from .conditions import ConditionMaker
from .errors import BrokenPluginError, IncompatibleError, ParameterError, ShapeError
from .kernel import Kernel
from .network import NetworkSpec
from .noise import Noise
from .nonlinear import NonlinearOperator
from .operator import ForwardOperator
from .prior import Prior
from .problem import AnyOperator
from .rasters import MAX_VALUES
from .solver import Solver
from .space import Space, real_partner

__all__ = [
    "build_conditions",
    "build_noise",
    "build_operator",
    "build_prior",
    "build_solver",
    "check_kind",
    "load_operator",
    "register_types",
]

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "complex64": torch.complex64,
    "complex128": torch.complex128,
}
_BASES = {"solver": Solver, "prior": Prior, "noise": Noise}
# A name with one of these was meant as a file, not as a kernel.
_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".mat", ".npz", ".pt")
Given = Any  # a name, {name:, params:}, or an object


@functools.cache
def register_types() -> None:
    """Teach the registry how text becomes tensors, dtypes and nested components; once."""
    reg.register_type(Tensor, _tensor_from)
    reg.register_type(torch.dtype, _dtype_from)
    reg.register_unstructure(Tensor, _tensor_to_data)
    reg.register_unstructure(np.ndarray, _array_to_data)
    reg.register_unstructure(torch.dtype, lambda d: str(d).removeprefix("torch."))
    reg.register_component_type(ForwardOperator, "operator")
    reg.register_component_type(BilinearOperator, "bilinear")
    reg.register_component_type(Kernel, "kernel")
    reg.register_component_type(Prior, "prior")
    reg.register_component_type(Solver, "solver")
    reg.register_component_type(NetworkSpec, "network")
    reg.register_component_type(Noise, "noise")
    reg.register_component_type(ConditionMaker, "condition")


def build_solver(given: Given, params: Mapping[str, Any] | None = None) -> Solver:
    """Return a solver from a name, a mapping or an object."""
    return cast(Solver, _built("solver", Solver, given, params))


def build_prior(given: Given, params: Mapping[str, Any] | None = None) -> Prior | None:
    """Return a prior from a name, a mapping or an object; None stays None."""
    return None if given is None else _built("prior", Prior, given, params)


def build_noise(given: Given) -> Noise | None:
    """Return a noise model from a name, a mapping or an object; None stays None."""
    return None if given is None else _built("noise", Noise, given, None)


def build_conditions(given: Mapping[str, Any] | None, like: Tensor) -> dict[str, Tensor]:
    """Return conditions as tensors, where a measurement is and in its precision.

    Each is a tensor, an array, a picture or a path, or a list of them, which are put one behind
    the other in their channels.
    Raises: ParameterError, ShapeError and what reading a picture raises, with the path.
    """
    if given is not None and not isinstance(given, Mapping):
        raise ParameterError(
            "expected a mapping of names and pictures, such as {'edges': 'edges.png'}; got "
            f"{type(given).__name__}.",
            where="conditions",
        )
    found = {}
    for name, value in (given or {}).items():
        with located(f"conditions.{name}"):
            found[name] = _condition(value).to(device=like.device)
            if found[name].is_floating_point():
                found[name] = found[name].to(real_partner(like.dtype))
    return found


def _condition(value: Any) -> Tensor:
    from .images import to_tensor

    if isinstance(value, Tensor):
        return value
    if not isinstance(value, (list, tuple)):
        return to_tensor(value)
    parts = [_condition(item) for item in value]
    if not parts or len({(*part.shape[:-3], *part.shape[-2:]) for part in parts}) != 1:
        raise ShapeError(
            "expected one picture or several of one size; got "
            f"{', '.join(str(tuple(part.shape)) for part in parts) or 'an empty list'}."
        )
    return torch.cat(parts, -3)


def build_operator(
    given: Given,
    params: Mapping[str, Any] | None = None,
    *,
    y_space: Space | None = None,
    x_space: Space | None = None,
) -> AnyOperator:
    """Return an operator for measurements of `y_space`, or for pictures of `x_space`.

    A sequence of operators is their composition, the first being applied last, as in `A @ B`; the
    last may be bilinear.
    Raises: ShapeError when no picture gives a measurement of `y_space`; ParameterError for a name
    without a space.
    """
    register_types()
    if isinstance(given, Sequence) and not isinstance(given, str):
        if params:
            raise ParameterError(
                "op_params go with one operator; in a sequence, give each its own."
            )
        return _composed(given, y_space, x_space)
    if not isinstance(given, (str, Mapping)):
        if params:
            raise ParameterError("op_params go with an operator's name; an object has its own.")
        return given  # type: ignore[no-any-return]
    if x_space is None and y_space is None:
        raise ParameterError(
            "an operator by name needs a size: give x_space=Space((C, H, W)), that of the "
            "picture, or y_space=, that of the measurement."
        )
    name, values = _name_and_params("op", given, params)
    cls = load_operator(name)
    typed = reg.structure_params(cls, values, path="op.params")
    if x_space is None:
        assert y_space is not None
        x_space = _sized(cls, name, y_space, typed)
        _check_size(name, "pictures", x_space, y_space)
    reg.check_missing(cls, {**typed, "in_shape": 0, "dtype": 0}, "op.params")
    op: ForwardOperator | BilinearOperator = cls.for_image(x_space, **typed)
    _check_size(name, "measurements", op.out_space, x_space)
    if y_space is not None and op.out_space != y_space:
        raise ShapeError(
            f"op {name} gives measurements of shape {op.out_space.shape} ({op.out_space.dtype}) "
            f"with these parameters; got a measurement of shape {y_space.shape} ({y_space.dtype})."
        )
    return op


def _check_size(name: str, what: str, found: Space, given: Space) -> None:
    """Refuse a size that follows from a mistyped parameter, before memory is asked for it."""
    if found.numel > max(MAX_VALUES, given.numel):
        raise ShapeError(
            f"op {name} with these parameters goes with {what} of shape {found.shape}, which are "
            f"more than {MAX_VALUES} (2^28) values. Take other parameters, or smaller pictures."
        )


def _sized(cls: Any, name: str, y_space: Space, params: dict[str, Any]) -> Space:
    if "in_shape" in params:
        return Space(params["in_shape"], y_space.dtype)
    space: Space = cls.image_space_for(y_space, **params)
    return space


def _composed(
    given: Sequence[Given], y_space: Space | None, x_space: Space | None
) -> ForwardOperator | BilinearOperator:
    if not given:
        raise ParameterError("op expects at least one operator; got an empty list.")
    total: Any = None
    order = range(len(given)) if x_space is None else reversed(range(len(given)))
    for number in order:
        op = build_operator(given[number], y_space=y_space, x_space=x_space)
        innermost = number == len(given) - 1
        if not isinstance(op, ForwardOperator) and not (
            innermost and isinstance(op, BilinearOperator)
        ):
            raise IncompatibleError(
                "a list of operators can hold linear ones only, of which the last may be "
                f"bilinear; got {op.name}."
            )
        if total is None:
            total = op
        else:
            total = total @ op if x_space is None else op @ total
        if x_space is not None:
            x_space = op.out_space
        elif isinstance(op, ForwardOperator):
            y_space = op.in_space
    found: ForwardOperator | BilinearOperator = total
    return found


def _built(kind: str, base: type, given: Given, params: Mapping[str, Any] | None) -> Any:
    register_types()
    if not isinstance(given, (str, Mapping)):
        if params:
            raise ParameterError(f"{kind} parameters go with a name; an object has its own.")
        if not isinstance(given, base):
            raise ParameterError(
                f"{kind} expects a name, a mapping {{name:, params:}} or a {base.__name__}; "
                f"got {type(given).__name__}."
            )
        return given
    check_kind(kind, given)
    return reg.build(default_registry(), kind, given, path=kind, params=params)


def check_kind(kind: str, given: Given) -> None:
    """Check that a solver, prior or noise model by name is what its plugin declares it to be.

    Raises: BrokenPluginError; UnknownComponent and AmbiguousName.
    """
    name = given.get("name") if isinstance(given, Mapping) else given
    if isinstance(name, str):
        with located(kind):
            cls = default_registry().load(kind, name)
            _check_class(f"{kind} {name!r}", cls, _BASES[kind])


def _check_class(what: str, cls: type, *bases: type) -> None:
    if not issubclass(cls, bases):
        wanted = " or ".join(base.__name__ for base in bases)
        raise BrokenPluginError(
            f"{what} is the class {cls.__name__}, which is no {wanted}: its plugin declares it "
            "wrongly. `wellposed check` tells its author more."
        )


def _name_and_params(
    path: str, given: str | Mapping[str, Any], params: Mapping[str, Any] | None
) -> tuple[str, Mapping[str, Any]]:
    if isinstance(given, str):
        return given, params or {}
    unknown = set(given) - {"name", "params"}
    if unknown or not isinstance(given.get("name"), str):
        raise ParameterError(
            f"{path} expects a mapping {{name:, params:}}; got the keys {sorted(map(str, given))}."
        )
    return given["name"], {**(given.get("params") or {}), **(params or {})}


def load_operator(name: str) -> Any:
    """Return the class of a linear or bilinear operator by its name.

    Raises: UnknownComponent, AmbiguousName, BrokenPluginError; IncompatibleError for a nonlinear
    operator.
    """
    registry = default_registry()
    bilinear = {s.name for s in registry.specs("bilinear")}
    cls = registry.load("bilinear" if name in bilinear else "operator", name)
    if issubclass(cls, NonlinearOperator):
        raise IncompatibleError(
            f"operator {name!r} is nonlinear, and cannot be sized for a picture by its name; "
            "give the object."
        )
    _check_class(f"operator {name!r}", cls, ForwardOperator, BilinearOperator)
    return cls


def _tensor_from(value: object) -> Tensor | Kernel:
    """Read numbers that are all finite, see `_numbers_from`; a tensor is taken as it is."""
    if isinstance(value, (Tensor, Kernel)):
        return value
    found = _numbers_from(value)
    if isinstance(found, Tensor) and not bool(found.isfinite().all()):
        raise ParameterError("expected finite numbers; got NaN or infinity among them.")
    return found


def _numbers_from(value: object) -> Tensor | Kernel:
    """Read a tensor from nested lists, a number, `{npy: file}` or `{picture: file}`; a name stands
    for a kernel.
    """
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping) and set(value) == {"npy"}:
        return _tensor_from_file(value["npy"])
    if isinstance(value, Mapping) and set(value) == {"picture"}:
        return _tensor_from_picture(value["picture"])
    if isinstance(value, Mapping) and set(value) == {"data", "dtype"}:
        return _tensor_from_data(value)
    if isinstance(value, str) and value.endswith(".npy"):
        return _tensor_from_file(value)
    if isinstance(value, str) and value.lower().endswith(_FILES):
        raise ParameterError(
            f"expected numbers, a .npy file or the name of a kernel; got the file {value!r}. A "
            "mask is read from a picture by {picture: FILE}, a kernel from .png and .mat by "
            "{name: file, params: {path: FILE}}; save anything else with numpy.save."
        )
    if isinstance(value, (str, Mapping)):
        kernel: Kernel = reg.build(default_registry(), "kernel", value, path="")
        return kernel
    if isinstance(value, bool):  # a list of them is a mask, but no number is meant by one alone
        raise ParameterError(f"expected numbers; got {value}.")
    try:
        return torch.tensor(value, dtype=torch.float64).float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(
            "expected numbers, nested lists of numbers, {npy: file} or the name of a kernel; "
            f"got {type(value).__name__} ({error})."
        ) from None


def _tensor_from_file(file: object) -> Tensor:
    if not isinstance(file, (str, Path)):
        raise ParameterError(f"npy expects a path; got {type(file).__name__}.")
    try:
        with open(file, "rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ParameterError(f"cannot read {file} as .npy: {error}") from None
    if array.dtype.kind not in "biufc":
        raise ParameterError(f"{file} holds no array of numbers, but of {array.dtype}.")
    return torch.from_numpy(np.ascontiguousarray(array))


def _tensor_from_picture(file: object) -> Tensor:
    """Read a picture as numbers in [0, 1], `(C, H, W)`; one channel where all are the same."""
    from .images import read

    if not isinstance(file, (str, Path)):
        raise ParameterError(f"picture expects a path; got {type(file).__name__}.")
    found = read(file).tensor
    return found[:1] if bool((found == found[:1]).all()) else found


def _tensor_from_data(value: Mapping[str, Any]) -> Tensor:
    """Read what `_tensor_to_data` wrote: exact, complex numbers as pairs."""
    dtype = getattr(torch, str(value["dtype"]), None)
    if not isinstance(dtype, torch.dtype):
        raise ParameterError(f"dtype expects one such as float32; got {value['dtype']!r}.")
    try:
        if dtype.is_complex:
            pairs = torch.tensor(value["data"], dtype=torch.float64)
            return torch.view_as_complex(pairs).to(dtype)
        return torch.tensor(value["data"], dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ParameterError(f"data cannot be read as {value['dtype']}: {error}") from None


def _tensor_to_data(value: Tensor) -> dict[str, Any]:
    dtype = str(value.dtype).removeprefix("torch.")
    flat = torch.view_as_real(value.to(torch.complex128)) if value.is_complex() else value
    return {"data": flat.tolist(), "dtype": dtype}


def _array_to_data(value: np.ndarray) -> dict[str, Any]:
    return _tensor_to_data(torch.from_numpy(np.ascontiguousarray(value)))


def _dtype_from(value: object) -> torch.dtype:
    if not isinstance(value, str) or value not in _DTYPES:
        raise ParameterError(f"expected one of {', '.join(_DTYPES)}; got {value!r}.")
    return _DTYPES[value]
