"""The conformance kit for anybody's operators, priors, solvers and plugins.

    class TestMyBlur(OperatorKit):
        component = ("operator", "my_blur")

Each check is a `test_*` method for pytest; `run_checks` runs the same without it. The kit needs
hypothesis: `pip install "wellposed[testing]"`.
"""

from __future__ import annotations

try:
    import hypothesis as _hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "wellposed.testing needs hypothesis, which is not installed; expected the extra `testing`. "
        'Install it: pip install "wellposed[testing]"',
        name="hypothesis",
    ) from error

from . import strategies
from .bilinear_kit import BilinearKit
from .cases import PriorCase, SolverCase
from .condition_kit import ConditionKit
from .engine import CheckFailure, CheckResult, Kit, Trial
from .kernel_kit import KernelKit
from .network_kit import NetworkKit
from .noise_kit import NoiseKit
from .operator_kit import OperatorKit
from .plugin_kit import PluginKit
from .prior_kit import PriorKit
from .runner import check_names, kit_for, run_checks
from .solver_kit import SolverKit

__all__ = [
    "BilinearKit",
    "CheckFailure",
    "CheckResult",
    "ConditionKit",
    "KernelKit",
    "Kit",
    "NetworkKit",
    "NoiseKit",
    "OperatorKit",
    "PluginKit",
    "PriorCase",
    "PriorKit",
    "SolverCase",
    "SolverKit",
    "Trial",
    "check_names",
    "kit_for",
    "run_checks",
    "strategies",
]
