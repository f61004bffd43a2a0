"""wellposed: operators, priors and solvers for imaging inverse problems, as plugins.

    solution = wellposed.solve("blurred.png", op="blur", solver="admm")

Names are loaded on first use, so that `import wellposed` and the registry need no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if __name__ != "wellposed":
    raise ImportError(
        f"this package is `wellposed`; it was imported as `{__name__}`, which would make second "
        "copies of its classes. Install it (`pip install -e .`) and `import wellposed`."
    )

__version__ = "0.1.0"

# Where each public name lives; the one list behind `from wellposed import X`.
_WHERE = {
    "AnalysisPrior": "prior",
    "BilinearOperator": "bilinear",
    "BlindSolver": "solver",
    "Callback": "solver",
    "ChannelSpectra": "polyphase",
    "ComposedBilinear": "bilinear",
    "ConditionMaker": "conditions",
    "ConvolutionHead": "network",
    "Denoiser": "prior",
    "DenoiserAsProx": "prior",
    "DirectSolver": "solver",
    "Equivariance": "operator",
    "ForwardOperator": "operator",
    "GenerativePrior": "prior",
    "Identity": "algebra",
    "IterationEvent": "loop",
    "IterativeSolver": "solver",
    "Kernel": "kernel",
    "Needs": "solver",
    "Network": "network",
    "NetworkSpec": "network",
    "NetworkView": "network_view",
    "Noise": "noise",
    "NonlinearOperator": "nonlinear",
    "OperatorEstimate": "solver",
    "Pipeline": "api",
    "Prior": "prior",
    "Problem": "problem",
    "ProximalPrior": "prior",
    "Reconstruction": "solver",
    "SmoothPrior": "prior",
    "Solution": "solution",
    "Solver": "solver",
    "Space": "space",
    "SplitNetwork": "network",
    "Status": "solution",
    "Watchers": "loop",
    "computes_bf16": "devices",
    "conjugate_gradient": "linalg",
    "derived": "cache",
    "estimate_operator": "api",
    "identity_plus": "linalg",
    "kernel_tensor": "kernel",
    "linear_step": "autograd",
    "luminance": "metrics",
    "param": "fields",
    "parts_of": "parts",
    "pipeline": "api",
    "psnr": "metrics",
    "real_number": "checks",
    "replayed": "graphs",
    "sample": "samples",
    "short": "fields",
    "simulate": "api",
    "solve": "api",
    "solve_normal": "prox",
    "spd_solve": "linalg",
    "ssim": "metrics",
    "stack": "algebra",
    "tensor_param": "fields",
    "whole_number": "checks",
    "with_part": "parts",
}

__all__ = [
    "AnalysisPrior",
    "BilinearOperator",
    "BlindSolver",
    "Callback",
    "ChannelSpectra",
    "ComposedBilinear",
    "ConditionMaker",
    "ConvolutionHead",
    "Denoiser",
    "DenoiserAsProx",
    "DirectSolver",
    "Equivariance",
    "ForwardOperator",
    "GenerativePrior",
    "Identity",
    "IterationEvent",
    "IterativeSolver",
    "Kernel",
    "Needs",
    "Network",
    "NetworkSpec",
    "NetworkView",
    "Noise",
    "NonlinearOperator",
    "OperatorEstimate",
    "Pipeline",
    "Prior",
    "Problem",
    "ProximalPrior",
    "Reconstruction",
    "SmoothPrior",
    "Solution",
    "Solver",
    "Space",
    "SplitNetwork",
    "Status",
    "Watchers",
    "__version__",
    "computes_bf16",
    "conjugate_gradient",
    "derived",
    "estimate_operator",
    "identity_plus",
    "kernel_tensor",
    "linear_step",
    "luminance",
    "param",
    "parts_of",
    "pipeline",
    "psnr",
    "real_number",
    "replayed",
    "sample",
    "short",
    "simulate",
    "solve",
    "solve_normal",
    "spd_solve",
    "ssim",
    "stack",
    "tensor_param",
    "whole_number",
    "with_part",
]

if TYPE_CHECKING:
    from .algebra import Identity, stack
    from .api import Pipeline, estimate_operator, pipeline, simulate, solve
    from .autograd import linear_step
    from .bilinear import BilinearOperator, ComposedBilinear
    from .cache import derived
    from .checks import real_number, whole_number
    from .conditions import ConditionMaker
    from .devices import computes_bf16
    from .fields import param, short, tensor_param
    from .graphs import replayed
    from .kernel import Kernel, kernel_tensor
    from .linalg import conjugate_gradient, identity_plus, spd_solve
    from .loop import IterationEvent, Watchers
    from .metrics import luminance, psnr, ssim
    from .network import ConvolutionHead, Network, NetworkSpec, SplitNetwork
    from .network_view import NetworkView
    from .noise import Noise
    from .nonlinear import NonlinearOperator
    from .operator import Equivariance, ForwardOperator
    from .parts import parts_of, with_part
    from .polyphase import ChannelSpectra
    from .prior import (
        AnalysisPrior,
        Denoiser,
        DenoiserAsProx,
        GenerativePrior,
        Prior,
        ProximalPrior,
        SmoothPrior,
    )
    from .problem import Problem
    from .prox import solve_normal
    from .samples import sample
    from .solution import Solution, Status
    from .solver import (
        BlindSolver,
        Callback,
        DirectSolver,
        IterativeSolver,
        Needs,
        OperatorEstimate,
        Reconstruction,
        Solver,
    )
    from .space import Space


def __getattr__(name: str) -> object:
    import importlib

    if name in _WHERE:
        value = getattr(importlib.import_module(f"wellposed.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'wellposed' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
