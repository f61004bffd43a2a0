"""Kernels, priors, solvers, noise models and bilinear operators: found out, or let pass."""

from __future__ import annotations

import pytest
from wellposed.testing import (
    BilinearKit,
    CheckFailure,
    ConditionKit,
    KernelKit,
    NetworkKit,
    NoiseKit,
    PriorKit,
    SolverKit,
    check_names,
)
from wellposed.testing import broken_networks as networks
from wellposed.testing import broken_others as broken
from wellposed.testing import broken_solvers as solvers

KITS = {
    "condition": (ConditionKit, broken.faulty_conditions, broken.CONDITION_FAULTS),
    "kernel": (KernelKit, broken.faulty_kernels, broken.KERNEL_FAULTS),
    "prior": (PriorKit, broken.faulty_priors, broken.PRIOR_FAULTS),
    "noise": (NoiseKit, broken.faulty_noises, broken.NOISE_FAULTS),
    "network": (NetworkKit, networks.faulty_networks, networks.NETWORK_FAULTS),
    "solver": (SolverKit, solvers.faulty_solvers, solvers.SOLVER_FAULTS),
    "bilinear": (BilinearKit, solvers.faulty_bilinears, solvers.BILINEAR_FAULTS),
}
FAULTS = [(kind, fault) for kind, (_, _, faults) in KITS.items() for fault in faults]
CHECKS = [(kind, check) for kind in KITS for check in check_names(kind)]


def kit_of(kind, fault="none"):
    base, strategy, _ = KITS[kind]
    return type("Some", (base,), {"examples": strategy(fault), "reproducible": True})()


@pytest.mark.parametrize(("kind", "fault"), FAULTS, ids=lambda v: v.replace(" ", "_"))
def test_a_fault_is_found_by_its_check(kind, fault):
    with pytest.raises((CheckFailure, RuntimeError, ValueError)):
        getattr(kit_of(kind, fault), KITS[kind][2][fault])()


@pytest.mark.parametrize(("kind", "check"), CHECKS)
def test_a_correct_component_passes(kind, check):
    getattr(kit_of(kind), check)()
