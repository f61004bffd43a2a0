"""`Network`: what learned solvers train; `SplitNetwork`: one cut before its last activation."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Final, cast, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from .component import Component
from .errors import DtypeError, ParameterError, ShapeError
from .space import same_kind_dtype

__all__ = ["ConvolutionHead", "Network", "NetworkSpec", "SplitNetwork"]

UPSCALING: Final = ("transposed", "shuffle")


class NetworkSpec(Component):
    """What is registered as a network: its documented parameters, which `build` turns into it.

    A frozen attrs class, so that a recipe or a solver can hold and write it; the weights are
    elsewhere, in the `Network` that was built, and travel as its `state_dict`.
    """

    @abstractmethod
    def _module(self) -> Network:
        """Return the network with whatever weights; it is made on torch's meta device."""

    @final
    def build(
        self,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Network:
        """Return a new network, its weights drawn from `seed`, in training mode.

        Torch's global random state is neither read nor changed, and all precisions and devices
        start from the same numbers, rounded.
        """
        with torch.device("meta"):
            network = self._module()
        network.to_empty(device="cpu").to(torch.float64)
        with torch.no_grad():
            for tensor in itertools.chain(network.parameters(), network.buffers()):
                if tensor.is_floating_point():
                    tensor.fill_(torch.nan)  # so that what `initialise` forgets is seen
            network.initialise(torch.Generator().manual_seed(seed))
        return network.to(dtype=dtype, device=device)


class Network(nn.Module, ABC):
    """A network from pictures to pictures, called as `network(x, **conditions)`.

    channels: of the picture that it takes. out_channels: of the one that it gives; None: as many.
    scale: how much larger that is. size: the one height and width that it takes; None: any.
    conditions: the pictures that it needs beside x, such as a mask, and their channels; they are
    as large as x. measured: those of them that were measured as x was, such as other frames of a
    video: `channels` each, and in the network's range. The others come as they are. multiple: sides
    of which it makes the most; tiles of a larger picture start at multiples of it.
    value_range: where pictures lie. A network for [-1, 1] takes the measurement `2 y - A 1` of
    the picture `2 x - 1`, which keeps every linear A. complex_valued: whether pictures are.

    Authors write `_forward`, for x `(N, C, H, W)`, and `initialise`; `out_sides` where what comes
    out is no picture but features of one.
    Shapes: x `(*batch, C, H, W)` -> `(*batch, C_out, *out_sides(H, W))`; conditions
    `(*batch, C', H, W)`, or fewer batch axes, for all samples. bool masks are taken as 0 and 1.
    Raises: ShapeError, DtypeError; ParameterError for missing or unknown conditions.
    """

    def __init__(
        self,
        *,
        channels: int,
        out_channels: int | None = None,
        scale: int = 1,
        size: int | None = None,
        conditions: Mapping[str, int] | None = None,
        measured: Collection[str] = (),
        value_range: tuple[float, float] = (0.0, 1.0),
        complex_valued: bool = False,
        multiple: int = 1,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.out_channels = channels if out_channels is None else out_channels
        self.scale = scale
        self.size = size
        self.conditions = dict(conditions or {})
        self.measured = tuple(measured)
        for name in self.measured:
            if name not in self.conditions or self.conditions[name] % channels:
                raise ParameterError(
                    f"measured expects names of conditions that have a multiple of {channels} "
                    f"channels, as x; got {name!r} of {self.conditions}."
                )
        self.value_range = value_range
        self.complex_valued = complex_valued
        self.multiple = multiple

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draw every parameter from a CPU generator, and set every buffer; grad is off."""

    @abstractmethod
    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        """Return the picture for a checked `x (N, C, H, W)`, conditions with the same N."""

    def forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        """Return the picture."""
        flat = self._checked(x, conditions)
        return _batched(self._forward(_flat(x), **flat), x)

    def out_sides(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what it makes of a picture of that size."""
        return self.scale * height, self.scale * width

    def from_picture(self, x: Tensor) -> Tensor:
        """Return a picture in [0, 1] in the network's `value_range`."""
        low, high = self.value_range
        return x if (low, high) == (0.0, 1.0) else low + (high - low) * x

    def to_picture(self, v: Tensor) -> Tensor:
        """Return what lies in the network's `value_range` as a picture in [0, 1]."""
        low, high = self.value_range
        return v if (low, high) == (0.0, 1.0) else (v - low) / (high - low)

    def extra_repr(self) -> str:
        """Describe what goes in and comes out."""
        channels = f"channels={self.channels}, out_channels={self.out_channels}"
        return f"{channels}, scale={self.scale}, size={self.size}"

    def _checked(self, x: Tensor, conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Check the input, and return the conditions with one batch axis, in its dtype."""
        name, size = type(self).__name__, self.size
        if x.ndim < 3 or x.shape[-3] != self.channels or 0 in x.shape[-3:]:
            expected = f"(*batch, {self.channels}, {size or 'H'}, {size or 'W'})"
            raise ShapeError(f"{name} expects pictures {expected}; got {tuple(x.shape)}.")
        if size is not None and x.shape[-2:] != (size, size):
            raise ShapeError(
                f"{name} expects pictures of {size} x {size} pixels, the one size it was built "
                f"for; got {x.shape[-2]} x {x.shape[-1]}. Build it with another size, or give it "
                "overlapping tiles."
            )
        self._check_dtype(x)
        if set(conditions) != set(self.conditions):
            raise ParameterError(
                f"{name} expects the conditions {sorted(self.conditions)}; "
                f"got {sorted(conditions)}. Pass them by name: network(x, mask=mask)."
            )
        return {key: self._condition(key, value, x) for key, value in conditions.items()}

    def _check_dtype(self, x: Tensor) -> None:
        own = next((p.dtype for p in self.parameters()), x.real.dtype)
        wanted = same_kind_dtype(torch.complex64, own) if self.complex_valued else own
        if x.dtype != wanted and not torch.is_autocast_enabled(x.device.type):
            raise DtypeError(
                f"{type(self).__name__} has weights of {own} and takes pictures of {wanted}; got "
                f"{x.dtype}. Convert one of the two with .to()."
            )

    def _condition(self, key: str, value: Tensor, x: Tensor) -> Tensor:
        batch = x.shape[:-3]
        event = (self.conditions[key], *x.shape[-2:])
        lead = value.shape[:-3]
        fits = len(lead) <= len(batch) and all(
            a in (1, b) for a, b in zip(reversed(lead), reversed(batch), strict=False)
        )
        if value.shape[-3:] != event or not fits:
            raise ShapeError(
                f"{type(self).__name__} expects {key} of shape {(*batch, *event)}, or with fewer "
                f"batch axes, for all samples; got {tuple(value.shape)}."
            )
        real = x.real.dtype if x.is_complex() else x.dtype
        return _flat(value.to(real).expand(*batch, *event))


class SplitNetwork(Network):
    """A network cut before its last activation: `f(y) = h(z) + base(y)`, with `z = g(y)`.

        features: z = g(y)    head: h(z) + base    head_adjoint: (dh/dz)^T v

    A solver that moves z to lower `|A head(z) - y|^2` needs no other part of it, and never has to
    differentiate through `features`; nor may the head join the samples of a batch.

    Authors write `_features` and `_head`, `_base` where something is added, and `_head_adjoint`
    where it can be written out; `torch.func.vjp` finds it otherwise.
    Shapes: z `(*batch, C', h, w)`, v and x as the picture that the network gives.
    Source: Guo et al., 2021, Deep likelihood network for image restoration with multiple
    degradation levels, section III-C: z is the last hidden representation, before ReLU.
    """

    @abstractmethod
    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        """Return z for `y (N, C, H, W)`."""

    @abstractmethod
    def _head(self, z: Tensor) -> Tensor:
        """Return h(z), without the base."""

    def _base(self, y: Tensor) -> Tensor | None:
        """Return what is added to the head; None: nothing."""
        return None

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        """Return `(dh/dz)^T v`; x is h(z), where it is known."""
        return cast(Tensor, torch.func.vjp(self._head, z)[1](v)[0])

    @final
    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        out, base = self._head(self._features(x, **conditions)), self._base(x)
        return out if base is None else out + base

    def features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        """Return the last hidden representation, before its activation."""
        flat = self._checked(y, conditions)
        return _batched(self._features(_flat(y), **flat), y)

    def base(self, y: Tensor) -> Tensor | None:
        """Return the picture that the head adds to, such as y interpolated; None: nothing."""
        base = self._base(_flat(y))
        return None if base is None else _batched(base, y)

    def head(self, z: Tensor, base: Tensor | None = None) -> Tensor:
        """Return the picture `h(z) + base`."""
        out = _batched(self._head(_flat(z)), z)
        return out if base is None else out + base

    def head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None = None) -> Tensor:
        """Return `(dh/dz)^T v`: what h's Jacobian at z gives back for a picture v.

        x: `head(z)` without base, if it is known: a head that ends in a nonlinearity needs it.
        """
        given = None if x is None else _flat(x)
        return _batched(self._head_adjoint(_flat(z), _flat(v), given), z)


@final
class ConvolutionHead(nn.Module):
    """The last activation and the last layer of a network, with its Jacobian's adjoint.

        h(z) = out(W a(z) + b),      (dh/dz)^T v = a'(z) W^T (out'(.) v)

    a is the (leaky) ReLU of negative `slope`, out the identity or tanh. W is a convolution, or
    for `scale` > 1 a transposed convolution or a convolution followed by pixel shuffling.

    Shapes: z `(N, width, h, w)` -> `(N, channels, scale h, scale w)`.
    Raises: ParameterError for a kernel that cannot give that size.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        *,
        kernel: int,
        scale: int = 1,
        upscaling: str = "transposed",
        slope: float = 0.0,
        tanh: bool = False,
    ) -> None:
        super().__init__()
        if upscaling not in UPSCALING:
            raise ParameterError(f"upscaling expects one of {UPSCALING}; got {upscaling!r}.")
        self.scale, self.slope, self.tanh = scale, slope, tanh
        self.transposed = scale > 1 and upscaling == "transposed"
        self.layer: nn.Conv2d | nn.ConvTranspose2d
        if self.transposed:
            if kernel < scale:
                raise ParameterError(
                    f"a transposed convolution to scale {scale} expects a kernel of {scale} or "
                    f"more pixels, or it leaves gaps; got {kernel}."
                )
            pad = (kernel - scale + 1) // 2
            extra = 2 * pad - (kernel - scale)
            self.layer = nn.ConvTranspose2d(width, channels, kernel, scale, pad, extra)
        else:
            if kernel % 2 == 0:
                raise ParameterError(
                    f"the last convolution expects a kernel of odd side, to keep the size; "
                    f"got {kernel}."
                )
            self.layer = nn.Conv2d(width, channels * scale**2, kernel, padding=kernel // 2)

    def forward(self, z: Tensor) -> Tensor:
        """Return h(z)."""
        a = F.leaky_relu(z, self.slope) if self.slope else F.relu(z)
        if self.transposed:
            weight, bias, padding = self.layer.weight, self.layer.bias, self.layer.padding
            x = _transposed(a, weight, self.scale, cast(tuple[int, int], padding)[0], bias)
        else:
            x = cast(Tensor, self.layer(a))
            x = _shuffled(x, self.scale) if self.scale > 1 else x
        return torch.tanh(x) if self.tanh else x

    def adjoint(self, z: Tensor, v: Tensor, x: Tensor | None = None) -> Tensor:
        """Return `(dh/dz)^T v`; x is h(z), where it is known."""
        if self.tanh:
            v = torch.ops.aten.tanh_backward(v, self(z) if x is None else x)
        layer, pad = self.layer, cast(tuple[int, int], self.layer.padding)
        if self.transposed:
            back = _strided(v, layer.weight, self.scale, pad[0])
        else:
            v = F.pixel_unshuffle(v, self.scale) if self.scale > 1 else v
            back = F.conv2d(v, layer.weight.transpose(0, 1).flip(-2, -1), padding=pad)
        # What autograd calls for the activation: in one pass, and with gradients of its own. That
        # of z is 0, and is not asked for: autograd would add these zeros to what else z gets.
        z = z.detach()
        if self.slope:
            masked = torch.ops.aten.leaky_relu_backward(back, z, self.slope, False)
        else:
            masked = torch.ops.aten.threshold_backward(back, z, 0)
        return cast(Tensor, masked)


def _strided(v: Tensor, weight: Tensor, s: int, p: int) -> Tensor:
    """Return the adjoint of `_transposed`, without its bias."""
    if torch.compiler.is_compiling():  # which has no need of the class, and warns of it
        return F.conv2d(v, weight, stride=s, padding=p)
    return _Strided.apply(v, weight, s, p)  # type: ignore[no-any-return, no-untyped-call]


class _Strided(torch.autograd.Function):
    """A strided convolution, whose derivative in v is `_transposed`: three times torch's speed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """Return the convolution."""
        return F.conv2d(v, weight, stride=stride, padding=padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep v and the weight."""
        v, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(v, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of v and of the weight."""
        (v, weight), s, p = ctx.saved_tensors, ctx.stride, ctx.padding
        wanted_v, wanted_weight, *_ = ctx.needs_input_grad
        return (
            _transposed(grad, weight, s, p) if wanted_v else None,
            conv2d_weight(v, weight.shape, grad, s, p) if wanted_weight else None,
            None,
            None,
        )


def _transposed(a: Tensor, weight: Tensor, s: int, p: int, bias: Tensor | None = None) -> Tensor:
    """Return the transposed convolution, `s` times as large: a plain one to all phases, shuffled.

        x[s i + r - p] = sum_t W[s t + r] a[i - t] + bias

    To few channels, torch's own takes three times as long on a CPU.
    """
    inner, outer, k = weight.shape[:3]
    count = -(-k // s)  # of values of t: W is filled up with zeros,
    before = min(-p % s, count * s - k)  # before it so that whole blocks are cropped, if any
    after, p = count * s - k - before, p + before
    pad = max(count - 1 - p // s, (p - 1) // s + 1)
    crop = p - s * (count - 1 - pad)
    taps = F.pad(weight, (before, after, before, after)) if k % s else weight
    taps = taps.reshape(inner, outer, count, s, count, s).flip(2, 4)
    taps = taps.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
    each = None if bias is None else bias.repeat_interleave(s * s)
    x = _shuffled(F.conv2d(a, taps, each, padding=pad), s)
    rows, columns = (slice(crop, crop + s * n) for n in a.shape[-2:])
    return x[..., rows, columns]


def _shuffled(x: Tensor, s: int) -> Tensor:
    """Return `F.pixel_shuffle(x, s)`, in half of its time where channels come last."""
    n, c, h, w = x.shape
    phases = x.reshape(n, c // s**2, s, s, h, w).permute(0, 1, 4, 2, 5, 3)
    return phases.reshape(n, c // s**2, h * s, w * s)


def _flat(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])


def _batched(x: Tensor, like: Tensor) -> Tensor:
    return x if like.ndim == 4 else x.reshape(*like.shape[:-3], *x.shape[-3:])
