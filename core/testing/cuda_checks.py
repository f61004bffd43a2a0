"""Checks on CUDA, where there is one: same numbers, and no wait for the device in between."""

from __future__ import annotations

import torch

from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .engine import Trial, check
from .measure import assert_close

__all__ = ["CudaChecks"]


class CudaChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`. Without CUDA these pass, as there is nothing to run."""

    @check(share=0.3)
    def test_cuda_agrees_with_cpu(self, trial: Trial[ForwardOperator]) -> None:
        """On CUDA A, A^H and data_prox give what they give on the CPU."""
        if not torch.cuda.is_available():
            return
        op = trial.subject
        there = op.to(device="cuda")
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        pairs = (
            ("A x", there(x.cuda()), op(x), op.out_space),
            ("A^H y", there.H(y.cuda()), op.H(y), op.in_space),
            ("data_prox", there.data_prox(x.cuda(), y.cuda(), 0.1), op.data_prox(x, y, 0.1), None),
        )
        for what, got, want, space in pairs:
            where = f"{op.name}: {what} on CUDA"
            assert_close(got.cpu(), want, space or op.in_space, what=where, rtol=1e-9)

    @check(share=0.3)
    def test_cuda_does_not_synchronise(self, trial: Trial[ForwardOperator]) -> None:
        """After a first call, A and A^H never wait for the device: no `.item()`, no `.cpu()`."""
        if not torch.cuda.is_available():
            return
        op = trial.subject.to(device="cuda")
        x, y = trial.randn(op.in_space).cuda(), trial.randn(op.out_space, 1).cuda()
        op(x), op.H(y)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            op(x), op.H(y)
        finally:
            torch.cuda.set_sync_debug_mode(before)
