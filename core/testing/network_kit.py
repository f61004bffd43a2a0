"""`NetworkKit`: a network takes any size it says, starts from a seed, and its cut is exact."""

from __future__ import annotations

import contextlib
import copy
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import DtypeError, ParameterError, ShapeError, WellposedError
from ..network import Network, NetworkSpec, SplitNetwork
from ..space import Space
from .cuda_checks import CudaChecks
from .engine import Trial, check, fail
from .measure import assert_close, assert_same
from .strategies import batch_shapes

__all__ = ["NetworkKit"]

T = Trial[NetworkSpec]

_SIDES = ((5, 4), (1, 7), (6, 1), (3, 3), (8, 5), (1, 1))
_EXACT = 1e-10


class NetworkKit(CudaChecks[NetworkSpec]):
    """Checks of a `NetworkSpec` and of the `Network` that it builds; examples are small specs.

    Networks are tried in double precision, in evaluation mode, with weights moved away from where
    they start, so that no layer that starts at zero hides what it does.
    """

    kind = "network"

    def batches(self, subject: NetworkSpec) -> list[tuple[int, ...]]:
        """Return every kind of batch."""
        return batch_shapes()

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return the picture of a new network, built from the trial's seed."""
        network = trial.placed("network", lambda: _moved(component, trial))
        x, conditions = _data(network, trial)
        with torch.no_grad():
            return {"picture": network(x, **conditions)}

    @check(corners=True)
    def test_shapes_and_dtypes(self, trial: T) -> None:
        """`(*batch, C, H, W)` gives `(*batch, C_out, *out_sides(H, W))`: odd, even, single rows."""
        for dtype in (torch.float64, torch.float32):
            network = _moved(trial.subject, trial).to(dtype)
            x, conditions = _data(network, trial)
            with torch.no_grad():
                got = network(x, **conditions)
            sides = network.out_sides(x.shape[-2], x.shape[-1])
            want = x.new_empty(*x.shape[:-3], network.out_channels, *sides)
            assert_same(got, want, what=f"{_name(trial)} for {tuple(x.shape)}")
            if not bool(got.isfinite().all()):
                fail(f"{_name(trial)} gives numbers that are not finite.")

    @check(share=0.5)
    def test_starts_from_its_seed(self, trial: T) -> None:
        """A seed decides all weights, in every precision, and torch's random state is left alone.

        Every parameter and buffer is set.
        """
        before = torch.get_rng_state()
        first = trial.subject.build(seed=trial.seed, dtype=torch.float64).state_dict()
        again = trial.subject.build(seed=trial.seed, dtype=torch.float64).state_dict()
        other = trial.subject.build(seed=trial.seed + 1, dtype=torch.float64).state_dict()
        single = trial.subject.build(seed=trial.seed).state_dict()
        if not torch.equal(before, torch.get_rng_state()):
            fail(f"{_name(trial)}.build changes torch's global random state.")
        network = trial.subject.build(seed=trial.seed)
        for name, tensor in (*first.items(), *network.named_buffers()):
            if not bool(tensor.isfinite().all()):
                fail(f"{_name(trial)}: {name} is not set by `initialise`.")
        if not all(torch.equal(first[name], again[name]) for name in first):
            fail(f"{_name(trial)} starts from other weights when built from one seed again.")
        if all(torch.equal(first[name], other[name]) for name in first):
            fail(f"{_name(trial)} starts from the same weights whatever the seed.")
        if not all(torch.equal(first[name].to(single[name].dtype), single[name]) for name in first):
            fail(f"{_name(trial)} starts from other weights in single precision.")

    @check()
    def test_batch_equals_loop(self, trial: T) -> None:
        """In evaluation mode each sample is treated alone, its conditions, too."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial, (3,))
        with torch.no_grad():
            together = network(x, **conditions)
            alone = network(x[1], **{k: v[1] for k, v in conditions.items()})
            shared = network(x, **{k: v[1] for k, v in conditions.items()})
        space = Space(alone.shape, alone.dtype)
        what = f"{_name(trial)}: sample 1 of 3"
        assert_close(together[1], alone, space, what=what, rtol=_EXACT)
        what = f"{_name(trial)}: sample 1 of 3, a condition for all"
        assert_close(shared[1], alone, space, what=what, rtol=_EXACT)

    @check(share=0.3)
    def test_module_pickles_and_copies(self, trial: T) -> None:
        """A pickled and a deep-copied network give the same."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial)
        try:
            pickled = pickle.loads(pickle.dumps(network))
        except Exception as error:  # whatever it is, the network cannot go to a worker
            fail(f"{_name(trial)}: the network cannot be pickled: {error}")
        copies = {"pickled": pickled, "deep-copied": copy.deepcopy(network)}
        with torch.no_grad():
            want = network(x, **conditions)
            for how, other in copies.items():
                if not torch.equal(other(x, **conditions), want):
                    fail(f"{_name(trial)}: the {how} network gives another picture.")

    @check(share=0.3)
    def test_state_dict_round_trip(self, trial: T) -> None:
        """All that was learned is in `state_dict`, and loads strictly into a new network."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial)
        state = network.state_dict()
        if not all(isinstance(value, Tensor) for value in state.values()):
            fail(f"{_name(trial)}.state_dict() holds more than tensors.")
        other = trial.subject.build(seed=trial.seed + 1, dtype=torch.float64).eval()
        other.load_state_dict(state, strict=True)
        with torch.no_grad():
            if not torch.equal(other(x, **conditions), network(x, **conditions)):
                fail(f"{_name(trial)} gives another picture with its weights loaded.")

    @check()
    def test_gradients_are_finite(self, trial: T) -> None:
        """Each parameter, and the picture, has a finite gradient."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial)
        x.requires_grad_()
        network(x, **conditions).abs().square().sum().backward()
        values: dict[str, Tensor] = {**dict(network.named_parameters()), "x": x}
        for name, value in values.items():
            if value.grad is None:
                fail(f"{_name(trial)}: {name} has no part in the picture.")
            if not bool(value.grad.isfinite().all()):
                fail(f"{_name(trial)}: the gradient of {name} is not finite.")

    @check()
    def test_input_is_not_modified(self, trial: T) -> None:
        """A call writes neither into the picture nor, in evaluation mode, into the network."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial)
        given = {"x": x, **conditions, **network.state_dict()}
        kept = {name: value.clone() for name, value in given.items()}
        with torch.no_grad():
            network(x, **conditions)
        changed = [name for name, value in given.items() if not torch.equal(value, kept[name])]
        if changed:
            fail(f"{_name(trial)} changed {', '.join(changed)} in place.")

    @check(share=0.5)
    def test_wrong_input_is_refused(self, trial: T) -> None:
        """Wrong channels, sizes, dtypes and conditions are errors that say so."""
        network = _moved(trial.subject, trial)
        x, conditions = _data(network, trial, ())
        name = next(iter(conditions), "")
        whole = torch.ones_like(x, dtype=torch.int32)
        calls: dict[str, tuple[type[WellposedError], Callable[[], Tensor]]] = {
            "one channel more": (
                ShapeError,
                lambda: network(torch.cat([x, x[:1]]), **conditions),
            ),
            "no channels": (ShapeError, lambda: network(x[0], **conditions)),
            "another dtype": (
                DtypeError,
                lambda: network(whole, **conditions),
            ),
            "an unknown condition": (ParameterError, lambda: network(x, **conditions, odd=x)),
        }
        if network.size is not None:
            calls["another size"] = (ShapeError, lambda: network(x[:, 1:], **conditions))
        if conditions:
            wrong = {**conditions, name: torch.cat([conditions[name]] * 2, -1)}
            calls["no condition"] = (ParameterError, lambda: network(x))
            calls["a condition of another size"] = (ShapeError, lambda: network(x, **wrong))
        for what, (error, call) in calls.items():
            with contextlib.suppress(error):
                call()
                fail(f"{_name(trial)} took {what}; expected a {error.__name__}.")

    @check(corners=True)
    def test_split_is_the_network(self, trial: T) -> None:
        """A split network is `head(features(y), base(y))`, and its head joins no samples."""
        network = _moved(trial.subject, trial)
        if not isinstance(network, SplitNetwork):
            return
        y, conditions = _data(network, trial)
        with torch.no_grad():
            z, base = network.features(y, **conditions), network.base(y)
            whole, parts = network(y, **conditions), network.head(z, base)
            plain = network.head(z)
        space = Space(whole.shape[-3:], whole.dtype)
        assert_close(parts, whole, space, what=f"{_name(trial)}: head(features)", rtol=_EXACT)
        if base is not None:
            what = f"{_name(trial)}: head(z) + base"
            assert_close(plain + base, whole, space, what=what, rtol=_EXACT)
        if trial.batch and math.prod(trial.batch) > 1:
            with torch.no_grad():
                first = network.head(z[0])
            what = f"{_name(trial)}.head of one sample"
            assert_close(first, plain[0], space, what=what, rtol=_EXACT)

    @check(corners=True)
    def test_head_adjoint_is_that_of_its_jacobian(self, trial: T) -> None:
        """`head_adjoint(z, v)` is `torch.func.vjp`'s, with and without the known picture."""
        network = _moved(trial.subject, trial)
        if not isinstance(network, SplitNetwork):
            return
        y, conditions = _data(network, trial)
        with torch.no_grad():
            z = network.features(y, **conditions)
            x = network.head(z)
            v = trial.randn(Space(x.shape[-3:], x.dtype), 3)
            want = torch.func.vjp(network.head, z)[1](v)[0]
            got, with_x = network.head_adjoint(z, v), network.head_adjoint(z, v, x)
        space = Space(z.shape[-3:], z.dtype)
        name = f"{_name(trial)}.head_adjoint"
        assert_close(got, want, space, what=name, rtol=_EXACT)
        assert_close(with_x, want, space, what=f"{name}(x)", rtol=_EXACT)


def _moved(spec: NetworkSpec, trial: Trial[Any]) -> Network:
    """Return a network in evaluation mode whose weights are not where they start."""
    network = spec.build(seed=trial.seed, dtype=torch.float64).eval()
    generator = trial.generator(40)
    with torch.no_grad():
        for weight in network.parameters():
            noise = torch.randn(weight.shape, dtype=weight.dtype, generator=generator)
            weight.add_(0.1 * noise)
    return network


def _data(
    network: Network, trial: Trial[Any], batch: tuple[int, ...] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a picture of a size that the network takes, and its conditions."""
    lead = trial.batch if batch is None else batch
    height, width = _SIDES[trial.seed % len(_SIDES)]
    if network.size is not None:
        height = width = network.size
    dtype = next(network.parameters()).dtype
    kind = torch.complex128 if network.complex_valued else torch.float64
    x = trial.randn(Space((network.channels, height, width), kind), 1, lead)
    x = x.to(dtype.to_complex() if network.complex_valued else dtype)
    conditions = {
        name: trial.rand(Space((channels, height, width), torch.float64), 2, lead).to(dtype)
        for name, channels in network.conditions.items()
    }
    return x, conditions


def _name(trial: T) -> str:
    return type(trial.subject).__name__
