"""The conformance kit for anybody's operators, priors, solvers and plugins."""

from __future__ import annotations

from .cases import PriorCase, SolverCase

__all__ = ["PriorCase", "SolverCase"]
